//! The service thread with real files and sockets, and without workers.

/// A running service thread, and what tests ask of it.
mod rig;

/// The admin entry point.
mod admin;
/// Files that change, and the snapshot on disk.
mod changes;
/// The access log.
mod log;
