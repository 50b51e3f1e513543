//! Settings of the process, and every limit of it in one place.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use pancake_model::name::NodeId;

use crate::token::Token;

/// Instances registered over the API.
pub const MAX_REGISTRATIONS: usize = 50_000;
/// Routers put over the API.
pub const MAX_ROUTERS: usize = 50_000;
/// Drains that were asked for.
pub const MAX_DRAINS: usize = 10_000;
/// Proxies known, connected or not.
pub const MAX_PROXIES: usize = 1_000;
/// Bytes of a proxy's name, its version and one of its entry points' names.
pub const MAX_PROXY_TEXT: usize = 256;
/// Entry points of one proxy.
pub const MAX_PROXY_ENTRY_POINTS: usize = 256;
/// Reasons of one refusal that are kept.
pub const MAX_NACK_REASONS: usize = 50;
/// Bytes of one reason that are kept.
pub const MAX_NACK_REASON: usize = 1_000;
/// Alarms at once; one more says that there are more.
pub const MAX_ALARMS: usize = 1_000;
/// Events that a slow reader may lag behind before it loses some, and is told so.
pub const EVENT_BUFFER: usize = 4_096;
/// Connections of all kinds.
pub const MAX_CONNECTIONS: usize = 2_000;
/// Calls at once on one connection.
pub const MAX_STREAMS: u32 = 100;
/// Bytes of an encoded snapshot; the publisher holds back a larger one. What proxies accept.
pub const MAX_SNAPSHOT: usize = pancake_table::proto::MAX_MESSAGE_BYTES;
/// Bytes of one request head over HTTP/1.
pub const MAX_HEAD: usize = 32 << 10;

/// A client must send its request head, and a proxy its first message, within this.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// A proxy that does not answer a snapshot within this is sent the next one all the same.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Pings on connections of proxies and clients; one that does not answer in as much time again is closed.
pub const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Open calls get this to end after SIGTERM.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// An instance without heartbeat is forgotten after this.
pub const FORGET_SILENT: Duration = Duration::from_secs(600);
/// A registered instance that is drained is forgotten after this (Sidecar's draining lifespan).
pub const FORGET_DRAINED: Duration = Duration::from_secs(600);
/// A proxy that is away is forgotten after this.
pub const FORGET_PROXY: Duration = Duration::from_secs(3600);
/// Between two looks at whether a drain that is waited for is complete.
pub const DRAIN_POLL: Duration = Duration::from_millis(100);
/// Questions wait this long for changes before them to be published.
pub const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);

/// Who orders waits this long for proxies to be able to answer a challenge.
pub const SPREAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A ticket key encrypts this long unless told otherwise.
pub const TICKET_KEY_PERIOD: Duration = Duration::from_secs(6 * 3_600);

/// How proxies share certificates, if they do.
#[derive(Clone, Debug)]
pub struct SharingSettings {
    /// What a proxy must know.
    pub token: Token,
    /// Whether keys may travel to other machines, though there is no TLS.
    pub allow_plaintext: bool,
    /// How long a ticket key encrypts, at least a second.
    pub ticket_key_period: Duration,
}

/// Settings of the process.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of this node.
    pub node: NodeId,
    /// Where gRPC and HTTP listen.
    pub listen: SocketAddr,
    /// The services file.
    pub services: Option<PathBuf>,
    /// Where the store is.
    pub data_dir: PathBuf,
    /// Between two looks at the services file.
    pub file_poll: Duration,
    /// Changes within this are published together.
    pub coalesce: Duration,
    /// A drain waits this long for a proxy that is away.
    pub proxy_grace: Duration,
    /// None: proxies share nothing.
    pub sharing: Option<SharingSettings>,
    /// Between two looks at heartbeats, tombstones and drains.
    pub sweep: Duration,
}

impl Settings {
    /// Defaults for a node on one machine.
    pub fn new(node: NodeId, listen: SocketAddr, data_dir: PathBuf) -> Settings {
        Settings {
            node,
            listen,
            services: None,
            data_dir,
            file_poll: pancake_discovery::sources::static_file::watch::POLL,
            coalesce: Duration::from_millis(50),
            proxy_grace: Duration::from_secs(15),
            sharing: None,
            sweep: Duration::from_millis(250),
        }
    }
}
