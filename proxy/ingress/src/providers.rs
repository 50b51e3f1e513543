//! Where configuration comes from. Each provider hands complete configurations to [`crate::change`].

/// The stream of a control plane.
pub mod control;
/// Traefik's file provider: one file or a directory, watched.
pub mod file;
