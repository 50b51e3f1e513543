//! Every limit of the crate by name. What is larger is refused with a problem that names the limit.

/// Routers of a snapshot.
pub const MAX_ROUTERS: usize = 200_000;
/// Services of a snapshot.
pub const MAX_SERVICES: usize = 200_000;
/// Servers of one service.
pub const MAX_SERVERS_PER_SERVICE: usize = 10_000;
/// Servers of a snapshot.
pub const MAX_SERVERS: usize = 500_000;
/// Transports of a snapshot.
pub const MAX_TRANSPORTS: usize = 10_000;
/// Entry points of a process (an [`crate::lookup::EntryPointId`] is 16 bits wide).
pub const MAX_ENTRY_POINTS: usize = 4_096;
/// Entry points that one router may name.
pub const MAX_ENTRY_POINTS_PER_ROUTER: usize = 256;
/// Middlewares that one router may name.
pub const MAX_MIDDLEWARES_PER_ROUTER: usize = 256;
/// Bytes of a name: router, service, transport, middleware, entry point, server id.
pub const MAX_NAME_BYTES: usize = 1_024;
/// Bytes of a server's URL.
pub const MAX_URL_BYTES: usize = 4_096;
/// Bytes of one rule.
pub const MAX_RULE_BYTES: usize = 64 << 10;
/// Parentheses and `!` inside each other in a rule.
pub const MAX_RULE_DEPTH: usize = 64;
/// Matchers of one rule.
pub const MAX_RULE_MATCHERS: usize = 1_024;
/// Bytes of one regular expression.
pub const MAX_REGEX_BYTES: usize = 8 << 10;
/// Bytes that one compiled regular expression may take.
pub const MAX_REGEX_PROGRAM_BYTES: usize = 1 << 20;
/// Bytes that the compiled regular expressions of one rule may take.
pub const MAX_RULE_REGEX_BYTES: usize = 4 << 20;
/// Bytes that the compiled regular expressions of a snapshot may take.
pub const MAX_SNAPSHOT_REGEX_BYTES: usize = 256 << 20;
/// Weight of a server.
pub const MAX_WEIGHT: u32 = 1_000_000;
/// Headers of a health check.
pub const MAX_HEALTH_HEADERS: usize = 64;
/// Bytes of one text field of a health check.
pub const MAX_HEALTH_FIELD_BYTES: usize = 4_096;
/// Problems that a report lists; the rest is counted.
pub const MAX_PROBLEMS: usize = 1_000;
/// Candidates that an explanation lists; the rest is counted.
pub const MAX_EXPLAINED: usize = 100;
/// Names that one list of a diff holds; the rest is counted.
pub const MAX_DIFF_NAMES: usize = 50;
