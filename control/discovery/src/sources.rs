//! Where instances come from.
//!
//! Registrations over the API reach the catalog through the server; here are the sources that are read.

/// Lengths of time as people write them.
pub mod duration;
/// The services file: YAML or JSON.
pub mod static_file;
