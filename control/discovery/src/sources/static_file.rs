//! The services file: YAML or JSON.
//!
//! Three steps: `form` turns text into entries and problems, `keeper` keeps what was good when the file turns
//! bad, `watch` looks at the file. A bad entry is reported on that entry and hides no other.

/// Text to entries; every problem at once.
pub mod form;
/// What is in force when the file changes, breaks or vanishes.
pub mod keeper;
/// Looks at the file again and again.
pub mod watch;
