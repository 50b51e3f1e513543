//! Bytes to messages and back: the pure protocol codecs of Pancake.
//!
//! Nothing here opens a socket, reads a clock, spawns a thread or keeps global state: bytes and limits are arguments,
//! offsets and verdicts are results. What a verdict means for the connection (answer, close, retry, log) is decided by
//! the session; routing, header policy and trust in `X-Forwarded-*` are not here either.
#![forbid(unsafe_code)]

// HTTP/1.0 and HTTP/1.1 (RFC 9112).
pub mod h1;
