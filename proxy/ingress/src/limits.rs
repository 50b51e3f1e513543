//! Every limit of the service thread, by name; the admin API shows them at `/api/pancake/status`.

use std::time::Duration;

/// Bytes of access-log lines that wait for the service thread, per worker. What does not fit is dropped and counted.
pub const ACCESS_LOG_RING_BYTES: usize = 1 << 20;
/// From this many waiting bytes on a worker wakes the access-log writer.
pub const ACCESS_LOG_BATCH_BYTES: usize = 16 << 10;
/// The access-log writer looks for lines at least this often.
pub const ACCESS_LOG_PERIOD: Duration = Duration::from_millis(100);
/// Bytes that the access-log writer hands to the kernel in one write.
pub const ACCESS_LOG_WRITE_BYTES: usize = 256 << 10;
/// A failing access log is reported in the log at most this often.
pub const ACCESS_LOG_COMPLAINT_PERIOD: Duration = Duration::from_secs(30);

/// Changes that wait for the table thread.
pub const CHANGE_QUEUE: usize = 16;
/// Problems that are kept for the API, per provider; the rest is counted.
pub const MAX_VISIBLE_PROBLEMS: usize = 1_000;
/// Problems logged per change; the rest is in the API.
pub const MAX_LOGGED_PROBLEMS: usize = 100;
/// Served tables that may still be in use by a worker that has not looked a route up since.
pub const MAX_RETIRED_TABLES: usize = 1_024;
/// The table thread frees tables that no worker uses any more at least this often.
pub const RETIRE_PERIOD: Duration = Duration::from_secs(1);

/// Receive slots of either size that a worker has, however small the memory budget is.
pub const MIN_RECEIVE_SLOTS: usize = 16;
/// What the limits of the edge did is looked at this often, for the log.
pub const EDGE_LOG_PERIOD: Duration = Duration::from_secs(5);

/// Counters of objects that are gone are put away this often.
pub const METER_PERIOD: Duration = Duration::from_secs(10);

/// Watched files are looked at this often.
pub const FILE_POLL_PERIOD: Duration = Duration::from_millis(500);
/// Files of one provider.
pub const MAX_FILES: usize = 10_000;
/// Entries of watched directories, files of other kinds included.
pub const MAX_DIRECTORY_ENTRIES: usize = 100_000;
/// Depth of watched directories.
pub const MAX_DIRECTORY_DEPTH: usize = 32;
/// Bytes of all files of one provider.
pub const MAX_FILE_BYTES: u64 = 256 << 20;

/// Bytes of one message of the control plane; a larger one ends the stream before it is read.
pub const MAX_CONTROL_MESSAGE_BYTES: usize = 256 << 20;
/// Fields of one message of the control plane, at all depths: bounds what decoding takes.
pub const MAX_CONTROL_FIELDS: usize = 8_000_000;
/// Bytes that the control plane may send ahead of what was read.
pub const CONTROL_WINDOW_BYTES: u32 = 4 << 20;
/// Messages to the control plane that wait to be sent.
pub const CONTROL_SEND_QUEUE: usize = 64;
/// Connecting to the control plane may take this long.
pub const CONTROL_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A silent connection to the control plane is probed after this.
pub const CONTROL_KEEP_ALIVE_PERIOD: Duration = Duration::from_secs(10);
/// A probe that is not answered in this time ends the connection.
pub const CONTROL_KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// A call about what is shared, a wait for other proxies included, may take this long.
pub const SHARING_CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// The right to order is renewed at most this often.
pub const MIN_LEASE_RENEW_PERIOD: Duration = Duration::from_millis(500);
/// A proxy that shares certificates orders without the control plane only what ends within this.
pub const ORDER_ALONE_BEFORE: Duration = Duration::from_secs(24 * 60 * 60);
/// What could not be ordered because of the storage or the control plane is tried again after this.
pub const ORDER_STORAGE_RETRY: Duration = Duration::from_secs(60);
/// First pause before the control plane is tried again; doubles each time, with jitter.
pub const CONTROL_BACKOFF_MIN: Duration = Duration::from_millis(200);
/// Longest such pause.
pub const CONTROL_BACKOFF_MAX: Duration = Duration::from_secs(15);
/// A stream that lived this long makes the next pause short again.
pub const CONTROL_BACKOFF_RESET: Duration = Duration::from_secs(10);
/// Problems that one refusal carries.
pub const MAX_NACK_PROBLEMS: usize = 1_000;
/// Between two writes of the snapshot that serves to disk.
pub const SAVE_PERIOD: Duration = Duration::from_secs(1);
/// Bytes of the snapshot kept on disk that are read at start.
pub const MAX_SAVED_SNAPSHOT_BYTES: u64 = 256 << 20;
/// Servers whose drain is watched at a time.
pub const MAX_WATCHED_DRAINS: usize = 100_000;
/// Between two looks at a draining server; two without a request in flight confirm the drain.
pub const DRAIN_LOOK_PERIOD: Duration = Duration::from_millis(100);

/// Health checks under way at a time.
pub const MAX_CONCURRENT_CHECKS: usize = 64;
/// Redirects that a health check follows, as Go's client does.
pub const MAX_CHECK_REDIRECTS: usize = 10;
/// Bytes of a response head that a health check accepts.
pub const MAX_CHECK_HEAD_BYTES: usize = 64 << 10;
/// Shortest time between two checks of a server.
pub const MIN_CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// Host names of servers are resolved again this often.
pub const RESOLVE_PERIOD: Duration = Duration::from_secs(30);
/// A host name that was not resolved yet is tried again after this.
pub const RESOLVE_RETRY_PERIOD: Duration = Duration::from_secs(2);
/// Resolving one host name may take this long.
pub const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// A change waits at most this long for the names that it brings.
pub const RESOLVE_BEFORE_SERVING_TIME: Duration = Duration::from_secs(2);
/// Host names resolved at a time.
pub const MAX_CONCURRENT_RESOLVES: usize = 16;

/// Connections to the admin entry point.
pub const MAX_ADMIN_CONNECTIONS: usize = 64;
/// Bytes of a request head to the admin entry point.
pub const MAX_ADMIN_HEAD_BYTES: usize = 32 << 10;
/// A request head to the admin entry point must be there in this time.
pub const ADMIN_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection to the admin entry point lives no longer than this.
pub const ADMIN_CONNECTION_TIME: Duration = Duration::from_secs(60);
/// Objects on one page of the API, unless the request says otherwise; Traefik's default.
pub const API_PAGE: usize = 100;

/// What is left when the service thread is told to stop is written in this time.
pub const STOP_TIME: Duration = Duration::from_secs(2);

/// Orders under way at a time, per resolver.
pub const MAX_PARALLEL_ORDERS: usize = 4;
/// Names of one certificate; the limit of Let's Encrypt.
pub const MAX_NAMES_PER_CERTIFICATE: usize = 100;
/// Certificates that routers may want of one resolver; the rest is reported and left out.
pub const MAX_WANTED_CERTIFICATES: usize = 10_000;
/// Failed orders of one set of names in [`FAILED_ORDERS_PERIOD`]; below the five validations of Let's Encrypt.
pub const MAX_FAILED_ORDERS: usize = 4;
/// The time in which failed orders count.
pub const FAILED_ORDERS_PERIOD: Duration = Duration::from_secs(60 * 60);
/// First pause after a failed order; doubles each time, with jitter.
pub const ORDER_BACKOFF_MIN: Duration = Duration::from_secs(60);
/// Longest such pause.
pub const ORDER_BACKOFF_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest wait that a CA may ask for; what is longer is cut to this.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// One order, from the account to the chain.
pub const ORDER_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// One request to a CA.
pub const ACME_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of one answer of a CA.
pub const MAX_ACME_ANSWER_BYTES: usize = 1 << 20;
/// Tries of one request whose nonce the CA did not accept (RFC 8555 section 6.5).
pub const MAX_NONCE_TRIES: usize = 8;
/// Unused nonces kept per account.
pub const MAX_NONCES: usize = 16;
/// Between two looks at an order or authorization, unless the CA says otherwise; doubles up to [`ACME_POLL_MAX`].
pub const ACME_POLL_MIN: Duration = Duration::from_millis(250);
/// Longest time between two such looks.
pub const ACME_POLL_MAX: Duration = Duration::from_secs(10);
/// Alternate chains that are looked at for the preferred one.
pub const MAX_ALTERNATE_CHAINS: usize = 8;
/// Certificates are looked at at least this often.
pub const RENEW_LOOK_PERIOD: Duration = Duration::from_secs(24 * 60 * 60);
/// Who wants to order while another proxy does asks again after this.
pub const ORDER_LEASE_RETRY: Duration = Duration::from_secs(2);
/// Bytes of the storage file.
pub const MAX_ACME_STORAGE_BYTES: u64 = 64 << 20;
/// What other proxies on this host write is looked for this often.
pub const ACME_SHARE_PERIOD: Duration = Duration::from_millis(200);
/// Answers to challenges that proxies on this host share at a time.
pub const MAX_SHARED_ANSWERS: usize = 1_000;
/// A shared answer older than this was left by a proxy that did not end well, and is put away.
pub const SHARED_ANSWER_AGE: Duration = Duration::from_secs(60 * 60);
/// One run of a DNS hook.
pub const DNS_HOOK_TIMEOUT: Duration = Duration::from_secs(120);
/// Bytes of a DNS hook's complaint that an error carries.
pub const MAX_DNS_HOOK_COMPLAINT: usize = 500;
/// One exchange with a DNS server.
pub const DNS_TIMEOUT: Duration = Duration::from_secs(5);
/// Tries of one such exchange.
pub const MAX_DNS_TRIES: usize = 3;
/// The record of a dns-01 challenge must be seen in this time.
pub const DNS_PROPAGATION_TIMEOUT: Duration = Duration::from_secs(120);
/// Between two looks for it.
pub const DNS_PROPAGATION_PERIOD: Duration = Duration::from_secs(2);
/// Servers of a zone that are asked for the record.
pub const MAX_ZONE_SERVERS: usize = 16;

/// Whether the keys of session tickets are old is looked at this often.
pub const TICKET_LOOK_PERIOD: std::time::Duration = std::time::Duration::from_secs(60);
/// Bytes of a file with certificates, a key, authorities or a revocation list.
pub const MAX_PEM_BYTES: u64 = 16 << 20;
/// Bytes of a file with an OCSP response.
pub const MAX_OCSP_BYTES: u64 = 64 << 10;
