//! What can go wrong between a wanted name and its certificate: whose fault, and when to try again.

use std::path::PathBuf;
use std::time::Duration;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The storage file cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The CA did not answer.
    #[error("{url}: {cause}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// What happened.
        cause: String,
    },
    /// The CA refused (RFC 8555 section 6.7).
    #[error("{url}: the CA refused: {detail} ({kind})")]
    Refused {
        /// What was asked.
        url: String,
        /// `urn:ietf:params:acme:error:…`
        kind: String,
        /// In the CA's words.
        detail: String,
        /// When the CA allows the next try.
        retry_after: Option<Duration>,
    },
    /// The CA answered with what no ACME server answers.
    #[error("{url}: not an ACME answer: {what}")]
    Malformed {
        /// What was asked.
        url: String,
        /// What is wrong with the answer.
        what: String,
    },
    /// The CA did not find the proof.
    #[error("{domain}: the CA could not check the {challenge} challenge: {detail}")]
    Unproven {
        /// The name to prove.
        domain: String,
        /// Kind of challenge.
        challenge: &'static str,
        /// In the CA's words.
        detail: String,
    },
    /// The CA does not offer the configured challenge for a name.
    #[error("{domain}: the CA offers no {challenge} challenge, only {offered}")]
    NotOffered {
        /// The name to prove.
        domain: String,
        /// Kind of challenge.
        challenge: &'static str,
        /// Kinds that the CA offers.
        offered: String,
    },
    /// A step took longer than its limit.
    #[error("{what} took longer than {} s", limit.as_secs())]
    TooSlow {
        /// The step.
        what: String,
        /// Its limit.
        limit: Duration,
    },
    /// The names cannot be ordered as configured.
    #[error("{0}")]
    Wanted(String),
    /// The record of a dns-01 challenge could not be set or seen.
    #[error("dns-01: {0}")]
    Dns(String),
    /// A key could not be read, made or used.
    #[error("{0}")]
    Key(String),
}

impl Error {
    /// When the CA allows the next try, if it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the CA does not know the account: it must be made anew.
    pub fn account_is_gone(&self) -> bool {
        matches!(self, Error::Refused { kind, .. } if kind == "urn:ietf:params:acme:error:accountDoesNotExist")
    }
}

/// Why the storage file cannot be used. It is never overwritten then.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Reading or writing failed.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        cause: std::io::Error,
    },
    /// Others can read the keys in it.
    #[error("{}: permissions {mode:o} are too open, expected 600", path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is not in Traefik's form.
    #[error("{}: {what}; expected the form of Traefik's acme.json: repair the file or move it away", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The control plane, through which it is shared, refused or is away.
    #[error("what is shared through the control plane: {0}")]
    Shared(String),
    /// It is larger than a storage file ever is.
    #[error("{}: larger than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
}
