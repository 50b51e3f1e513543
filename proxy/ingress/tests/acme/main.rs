//! ACME against a real CA (Pebble), a real DNS server (BIND) and files of a real Traefik.
//!
//! What is not installed is said aloud as `NOT CHECKED`; with `CI=true` it fails the test.

/// Programs, ports, waiting.
mod harness;
/// The CA.
mod pebble;
/// A running ACME service, and what tests ask of it.
mod rig;
/// What the CA finds: names, http-01 and tls-alpn-01 answers.
mod world;

/// Accounts and certificates: ordered, kept, renewed, refused.
mod certificates;
/// dns-01.
mod dns;
/// Several proxies with one storage file.
mod sharing;
/// Files of Traefik.
mod traefik;
