//! TLS: rustls makes the handshakes, own code the records after them.

/// Handshakes.
pub(crate) mod handshake;
/// Records.
mod record;
/// The stream that sessions see.
pub(crate) mod stream;
