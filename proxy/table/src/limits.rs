//! Every limit of the crate by name. What is larger is refused with a problem that names the limit.

/// Routers of a snapshot.
pub const MAX_ROUTERS: usize = 200_000;
/// Services of a snapshot.
pub const MAX_SERVICES: usize = 200_000;
/// Servers of one service.
pub const MAX_SERVERS_PER_SERVICE: usize = 10_000;
/// Addresses that are known of a server's name at a time; more are not tried.
pub const MAX_SERVER_ADDRESSES: usize = 8;
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
/// Middlewares of a snapshot.
pub const MAX_MIDDLEWARES: usize = 50_000;
/// Origins that one middleware may allow.
pub const MAX_ALLOWED_ORIGINS: usize = 1_000;
/// Bytes of a name: router, service, transport, middleware, entry point, server id.
pub const MAX_NAME_BYTES: usize = 1_024;
/// Bytes of a server's URL.
pub const MAX_URL_BYTES: usize = 4_096;
/// Bytes of the path of a Unix socket: what `sockaddr_un` holds.
pub const MAX_UNIX_PATH_BYTES: usize = 107;
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
/// Parts of one weighted service.
pub const MAX_SERVICE_PARTS: usize = 1_000;
/// Weighted services inside each other.
pub const MAX_SERVICE_DEPTH: usize = 16;
/// Certificates of a snapshot, without those of transports.
pub const MAX_CERTIFICATES: usize = 100_000;
/// TLS options of a snapshot.
pub const MAX_TLS_OPTIONS: usize = 10_000;
/// TLS stores of a snapshot. Only one is used.
pub const MAX_TLS_STORES: usize = 100;
/// Entries of one list that says how TLS is spoken: suites, groups, protocols, authorities, revocation lists,
/// certificates of a transport.
pub const MAX_TLS_LIST: usize = 256;
/// Bytes of one PEM text.
pub const MAX_PEM_BYTES: usize = 1 << 20;
/// Bytes of all PEM texts of a message.
pub const MAX_SNAPSHOT_PEM_BYTES: usize = 128 << 20;
/// Bytes of an OCSP response.
pub const MAX_OCSP_BYTES: usize = 64 << 10;
/// Bytes of the name of a suite, group or protocol (RFC 7301 section 3.1).
pub const MAX_TLS_NAME_BYTES: usize = 255;
/// Certificates that one router may have ordered by name.
pub const MAX_DOMAINS_PER_ROUTER: usize = 256;
/// Further names of one certificate to order.
pub const MAX_SANS: usize = 100;
/// Bytes of a host name.
pub const MAX_HOST_BYTES: usize = 255;
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
