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

/// Bytes of a TLS handshake, from the peer: a chain of client certificates fits (RFC 8446 section 4.4.2 allows more).
pub const MAX_HANDSHAKE_BYTES: usize = 128 * 1024;

/// Plaintext bytes that are sealed and sent at a time.
pub const MAX_SEALED_BYTES: usize = 64 * 1024;

/// TLS records without a byte of data in a row; such records only cost.
pub const MAX_EMPTY_RECORDS: u8 = 32;

/// Times that a peer may change its key on one connection (RFC 8446 section 4.6.3); 2^24 records each are meant.
pub const MAX_KEY_UPDATES: u8 = 64;

/// Bytes of a TLS message after the handshake: tickets are the longest.
pub const MAX_POST_HANDSHAKE_BYTES: usize = 64 * 1024;

/// A TCP flow of which so many bytes went one way is moved by the kernel from then on, where the engine can.
pub const SPLICE_THRESHOLD_BYTES: usize = 64 * 1024;

/// Flow-control window of one HTTP/2 stream (RFC 9113 section 5.2): so much of a body may be under way unasked.
pub const H2_STREAM_WINDOW_BYTES: u32 = 256 * 1024;

/// Flow-control window of an HTTP/2 connection, for all its streams together.
pub const H2_CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// Largest HTTP/2 frame that is taken.
pub const H2_FRAME_BYTES: u32 = 16 * 1024;

/// Bytes of answers that one HTTP/2 stream may have waiting to be sent.
pub const H2_SEND_BUFFER_BYTES: usize = 128 * 1024;

/// HTTP/2 streams that a client opened and gave up before they were looked at, or that broke the rules; one more ends
/// the connection (CVE-2023-44487, CVE-2025-8671).
pub const H2_PENDING_RESETS: usize = 64;

/// How long an HTTP/2 client may take none of what is sent to it.
pub const H2_WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of HTTP/2 frames that are gathered before they are sent.
pub const H2_WRITE_BYTES: usize = 64 * 1024;

/// A receive of so many bytes on an HTTP/2 connection asks for a larger buffer next.
pub const H2_READ_BYTES: usize = 4 * 1024;

/// Streams that one HTTP/2 connection to a server carries at a time, if the server allows as many.
pub const H2_SERVER_STREAMS: usize = 256;

/// HTTP/2 connections to one server, of one worker.
pub const H2_SERVER_CONNECTIONS: usize = 32;

/// Exchanges of one worker that wait for a stream to one server.
pub const H2_SERVER_WAITING: usize = 1024;

/// Buckets of the table that counts connections by client address; half a megabyte, and only where a limit is set.
pub const ADDRESS_BUCKETS: usize = 8 * 1024;

/// Addresses that one such bucket tells apart: a line of the cache.
pub const ADDRESSES_PER_BUCKET: usize = 8;

/// UDP sessions of one worker. Each has a socket of its own.
pub const MAX_UDP_SESSIONS: usize = 16 * 1024;

/// Bytes of the first datagram of a UDP session that are kept until the server has answered, so that another server
/// can be asked if it refuses; of a longer one none are.
pub const MAX_UDP_KEPT_BYTES: usize = 1500;

/// A refusal that comes later than this after the session began is not about the first datagram.
pub const UDP_RESEND_TIME: Duration = Duration::from_secs(1);

/// Bytes asked of the kernel for the datagrams that wait at a UDP entry point, per worker.
pub const UDP_RECEIVE_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// UDP servers that one session asks before it gives up.
pub const MAX_UDP_ATTEMPTS: usize = 3;

/// Errors in a row on the socket of a UDP session that do not end it.
pub const MAX_UDP_ERRORS: u8 = 16;

/// Between two looks at the memory in use, where it has a budget.
pub const PRESSURE_PERIOD: Duration = Duration::from_millis(20);

/// From so many percent of the memory budget on, bodies and tunnels wait before they receive more.
pub const PAUSE_FROM_PERCENT: u64 = 70;

/// From so many on, requests are answered 503.
pub const SHED_FROM_PERCENT: u64 = 85;

/// From so many on, connections are refused.
pub const REFUSE_FROM_PERCENT: u64 = 95;

/// A stage ends when use is so many percent of the budget below its begin.
pub const PRESSURE_SLACK_PERCENT: u64 = 10;

/// A body or tunnel waits at most so long for each receive. Were it to wait for good, what it holds would never be freed.
pub const PAUSE_TIME: Duration = Duration::from_secs(1);

/// Between two looks whether it may go on.
pub const PAUSE_PERIOD: Duration = Duration::from_millis(50);

/// An address of a server that has not answered for so long gets company by the next one (RFC 8305 section 5).
pub const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// QUIC connections of one worker and entry point.
pub const QUIC_CONNECTIONS: usize = 16 * 1024;

/// QUIC handshakes under way, per worker and entry point, from which on a client must show that its address is its own
/// (Retry, RFC 9000 section 8.1.2).
pub const QUIC_HALF_OPEN_UNTIL_RETRY: usize = 64;

/// QUIC handshakes under way from which on further clients are refused.
pub const QUIC_HALF_OPEN: usize = 1024;

/// How long the token of a Retry is good.
pub const QUIC_RETRY_TOKEN_LIFETIME: Duration = Duration::from_secs(15);

/// Bytes of a ClientHello over QUIC; those with post-quantum key shares have 2 KB.
pub const QUIC_HELLO_BYTES: usize = 16 * 1024;

/// TLS configurations that an endpoint keeps ready, by TLS options.
pub const QUIC_TLS_CONFIGS: usize = 64;

/// TLS sessions kept for early data, per worker and TLS options.
pub const QUIC_EARLY_SESSIONS: usize = 1024;

/// Requests under way on one HTTP/3 connection; quic-go, and so Traefik, allows as many.
pub const QUIC_REQUEST_STREAMS: u32 = 100;

/// Streams in one direction that a client may have: control, two of QPACK, and some of kinds that mean nothing.
pub const QUIC_UNIDIRECTIONAL_STREAMS: u32 = 16;

/// Flow-control window of one QUIC stream.
pub const QUIC_STREAM_WINDOW_BYTES: u32 = 256 * 1024;

/// Flow-control window of a QUIC connection, for all its streams together.
pub const QUIC_CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// Bytes that a QUIC connection may have sent and not known to have arrived.
pub const QUIC_SEND_WINDOW_BYTES: u64 = 1024 * 1024;

/// Receive buffer asked of the kernel for the socket of a QUIC endpoint; `net.core.rmem_max` may allow less.
pub const QUIC_RECEIVE_BUFFER_BYTES: usize = 2 * 1024 * 1024;

/// Datagrams that wait to be sent, per endpoint; connections wait meanwhile.
pub const QUIC_OUTBOX_DATAGRAMS: usize = 256;

/// Datagrams of one size that a connection makes in one go.
pub const QUIC_SEGMENTS: usize = 10;

/// Such goes of a connection until others have their turn.
pub const QUIC_TRANSMIT_RUN: usize = 8;

/// Bytes of a frame on an HTTP/3 control stream.
pub const H3_CONTROL_FRAME_BYTES: usize = 4 * 1024;

/// Body bytes of an HTTP/3 request that are gathered before they are passed on.
pub const H3_READ_BYTES: usize = 64 * 1024;

/// HTTP/3 requests given up by the client beyond those that were answered; one more ends the connection (CVE-2023-44487).
pub const H3_GIVEN_UP: u64 = 256;
