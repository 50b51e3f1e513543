//! Every limit and period of the crate by name.

/// Certificates of a table, those of ACME included.
pub const MAX_CERTIFICATES: usize = 100_000;
/// Certificates of one chain.
pub const MAX_CHAIN: usize = 16;
/// Bytes of one PEM text.
pub const MAX_PEM_BYTES: usize = 4 << 20;
/// Sets of TLS options.
pub const MAX_OPTIONS: usize = 10_000;
/// ACME challenges that can be answered at the same time.
pub const MAX_CHALLENGES: usize = 10_000;
/// Problems that one build lists.
pub const MAX_TLS_PROBLEMS: usize = 1_000;
/// A certificate that expires sooner than this is reported, in seconds.
pub const EXPIRES_SOON_SECS: i64 = 7 * 24 * 3_600;

/// How long a ticket key encrypts, in seconds.
pub const TICKET_KEY_PERIOD_SECS: u64 = 6 * 3_600;
/// Ticket keys that decrypt: the one that encrypts and older ones.
pub const TICKET_KEYS_KEPT: usize = 3;
/// Ticket keys that can be set from outside.
pub const MAX_SHARED_TICKET_KEYS: usize = 16;
/// Bytes of a ticket; a session that does not fit (a very long client certificate chain) gets none.
pub const MAX_TICKET_BYTES: usize = 16 << 10;
/// Tickets sent after a TLS 1.3 handshake.
pub const TLS13_TICKETS: usize = 1;

/// Servers whose sessions one client configuration remembers.
pub const CLIENT_SESSIONS: usize = 256;
