//! Certificates and TLS settings: from a snapshot to what a handshake uses.
//!
//! [`TlsTable::build`] runs on the table thread at each change of configuration; workers ask
//! [`TlsTable::select`] once per handshake. Tables are immutable: a change makes a new one, and connections go on
//! with what they were made with. What outlives tables ([`Tickets`], [`Challenges`]) is shared through `Arc`s.
//!
//! No sockets, files or threads; the time is an argument, or the clock that the caller gives for handshakes. Randomness
//! is used in three places only: ticket keys and their nonces ([`Tickets`]), the generated default certificate
//! ([`generated_default`]) and challenge certificates ([`challenge_certificate`]).

/// Which certificate serves which name.
mod cert_map;
/// A certificate with its chain and key, loaded, with what is wrong with it.
mod certificate;
/// Certificates that answer ACME's tls-alpn-01.
mod challenges;
/// TLS to servers.
mod client;
/// How clients show their certificates.
mod client_auth;
/// What is told about certificates.
mod describe;
/// What an X.509 certificate says about itself.
mod facts;
/// Stable digests of settings.
mod fingerprint;
/// Certificates that are made here: the default one and those of ACME challenges.
mod generate;
/// Every limit and period by name.
mod limits;
/// Names of suites, groups and versions.
mod names;
/// `tls.options` to what rustls takes.
mod options;
/// PEM texts to DER.
mod pem;
/// Everything together.
mod table;
/// Session tickets whose keys rotate and can be shared.
mod tickets;

pub use certificate::Loaded;
pub use challenges::{ACME_ALPN, Challenges, TooManyChallenges};
pub use client::{ClientTls, FaultyServerName, SystemRoots};
pub use describe::Described;
pub use facts::{Facts, KeyKind};
pub use generate::{GenerateError, challenge_certificate, generated_default};
pub use limits::*;
pub use table::{BareError, Input, Refusal, TlsTable};
pub use tickets::{SharedKey, TicketError, Tickets};

#[cfg(test)]
mod tests;
