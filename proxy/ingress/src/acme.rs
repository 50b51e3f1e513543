//! Certificates from an ACME CA (RFC 8555): what routers want is ordered, stored in the form of Traefik's `acme.json`, served
//! and renewed.
//!
//! In: resolvers, wanted names. Out: certificates and answers to challenges through [`run::Sink`] and the token table that
//! workers read, states for the admin API. It reads no configuration and terminates no TLS. Several proxies can share one
//! account and its certificates: see [`shared`].

/// An account at a CA.
pub mod account;
/// tls-alpn-01.
pub mod alpn;
/// What a stored certificate is good for.
pub mod certificate;
/// The protocol.
pub mod client;
/// dns-01.
pub mod dns;
/// Why there is no certificate.
pub mod error;
/// Keys of accounts and certificates.
pub mod keys;
/// One order.
pub mod order;
/// What is to be ordered when.
pub mod plan;
/// One resolver: what is due is ordered and stored.
mod resolve;
/// The tasks.
pub mod run;
/// Resolvers, and the certificates that routers want.
pub mod settings;
/// What several proxies share.
pub mod shared;
/// What the admin API tells.
pub mod status;
/// The storage file.
pub mod storage;
