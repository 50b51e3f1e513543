//! What runs beside requests. Each loop takes no input: it looks, compares, and brings the world in line.

/// The services file.
pub mod file;
/// Health checks.
pub mod health;
/// Keys of session tickets, and answers that have ended.
pub mod sharing;
/// Heartbeats, drains, old tombstones and proxies.
pub mod sweep;
