//! Durable state of the control plane: one trait, and the store embedded in the process.
//!
//! A `Store` keeps what cannot be learned again: registrations, the last good services file, routers, drains, the
//! incarnation of the node and the last published snapshot. What it does not keep: states of instances and results
//! of checks, which are observed anew after a start. Calls block; run them off the async threads.

/// What is kept, and how it changes.
pub mod contents;
/// The store in one file, by redb.
pub mod embedded;

use std::path::PathBuf;

pub use contents::{Contents, Publication, Write};
pub use embedded::Embedded;

/// Where durable state lives.
pub trait Store: Send + Sync {
    /// Everything that is kept.
    fn load(&self) -> Result<Contents, Error>;

    /// Applies all of `writes` or none; durable when it returns.
    fn commit(&self, writes: &[Write]) -> Result<(), Error>;

    /// Counts a start of the node: the incarnation to use from now on, higher than every one before.
    fn begin_incarnation(&self) -> Result<u64, Error>;
}

/// What can go wrong. None of these is fixed by trying again, except [`Error::Io`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is damaged, or is not a store. It was not changed.
    #[error(
        "the store {path} is damaged: {reason}. It was left as it is. Restore a copy, or move it away to start empty"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// Written by a newer program.
    #[error(
        "the store {path} has schema {found}; this program knows {known}. Run the program that wrote it, or a newer one"
    )]
    Schema {
        /// The file.
        path: PathBuf,
        /// In the file.
        found: u64,
        /// In this program.
        known: u64,
    },
    /// Another process has it open.
    #[error("the store {path} is in use by another process. Stop that one or choose another data directory")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("the store {path}: {reason}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
}
