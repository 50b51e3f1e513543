//! Bytes to messages and back: the pure protocol codecs of Pancake.
//!
//! Nothing here opens a socket, reads a clock, spawns a thread or keeps global state: bytes and limits are arguments,
//! offsets and verdicts are results. What a verdict means for the connection (answer, close, retry, log) is decided by
//! the session; routing, header policy and trust in `X-Forwarded-*` are not here either.
#![forbid(unsafe_code)]

// Why the first bytes of a connection are refused.
pub mod reject;
// The PROXY protocol, versions 1 and 2, in and out.
pub mod proxy_protocol;
// The first message of a TLS client, to route by.
pub mod client_hello;
// HTTP/1.0 and HTTP/1.1 (RFC 9112).
pub mod h1;
// Base64 in pieces, for gRPC-Web.
pub mod base64;
// HTTP/3 (RFC 9114): frames and fields.
pub mod h3;
