//! Every limit of the data path, by name.

use std::time::Duration;

/// Connection attempts per exchange, over different servers while there are any.
pub const MAX_CONNECT_ATTEMPTS: usize = 3;

/// Field lines per message head.
pub const MAX_FIELDS: usize = 128;

/// Bytes of a response head from a server; Go's transport, and so Traefik, stops at 10 MiB.
pub const MAX_RESPONSE_HEAD_BYTES: usize = 1024 * 1024;

/// Interim (1xx) responses passed on per exchange; Go's transport stops at 5 too.
pub const MAX_INTERIM_RESPONSES: usize = 5;

/// A request with `Expect: 100-continue` has its body asked for after this, if the server stays silent (Go's
/// `ExpectContinueTimeout`, 1 s in Traefik).
pub const EXPECT_CONTINUE_TIMEOUT: Duration = Duration::from_secs(1);

/// Body bytes that may travel in the same send buffer as the head; more is sent from where it was received.
pub const MAX_COALESCED_BODY_BYTES: usize = 2048;

/// From this many missing body bytes on, receives ask for large buffers.
pub const BULK_THRESHOLD_BYTES: u64 = 16 * 1024;

/// How long a connection that is closed with unread input keeps reading, so that the answer arrives.
pub const LINGER_TIME: Duration = Duration::from_secs(1);

/// How much input such a connection reads away.
pub const LINGER_BYTES: usize = 256 * 1024;

/// Pause after a failed accept (out of file descriptors or memory).
pub const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// Idle connections to servers are looked over this often.
pub const SWEEP_PERIOD: Duration = Duration::from_secs(1);

/// Servers whose idle connections are looked over in one go.
pub const MAX_SWEPT_SERVERS: usize = 1024;

/// Connections accepted in one go before other tasks get their turn.
pub const MAX_ACCEPT_RUN: usize = 64;

/// Rows of (status, method) that a meter makes room for at a time.
pub const METER_BLOCK_ROWS: usize = 4;

/// Blocks of rows per meter; what does not fit is counted by the first digit of its status.
pub const METER_BLOCKS: usize = 12;

/// Request text (method, target, host, user agent, referrer) kept for an access record, in bytes each.
pub const MAX_RECORDED_TEXT_BYTES: usize = 2048;

/// Boxes for exchanges that a worker keeps for later ones, about 2 KiB each.
pub const MAX_SPARE_BOXES: usize = 256;
