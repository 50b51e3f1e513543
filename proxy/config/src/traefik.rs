//! Traefik's static and dynamic configuration, version 3.7.
//!
//! Every key of the reference is either read, or refused by name as not supported yet, or accepted with a note
//! that it has no effect. Own settings are extra keys: `pancake.*` and `providers.pancake.*`.

/// Routers, services and transports.
pub mod dynamic;
/// Objects and fields to places, for problems that are found later.
pub mod source_map;
/// Process settings: entry points, providers, logs, ….
pub mod static_config;
/// Settings for TLS that both share.
mod tls;
