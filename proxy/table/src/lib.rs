//! The routing contract: one model that every provider reads into, and its compiled form.
//!
//! Pure: no sockets, files, threads, clocks or randomness. In: a [`snapshot::Snapshot`]. Out: every problem with
//! it ([`check`]), or a [`compiled::Table`] that workers look routes up in. What it does not do: read
//! configuration text (that is `pancake-config`), pick servers (that is `pancake-balance`).

/// The messages of `pancake.certificates.v1`: what proxies share through a control plane.
pub mod certificates;
/// All problems of a snapshot at once.
pub mod check;
/// Snapshot to table; unchanged objects keep their identity.
pub mod compile;
/// A snapshot compiled for look-up: the data that sessions read.
pub mod compiled;
/// What changed between two snapshots.
pub mod diff;
/// Why a request goes where it goes, in plain words.
pub mod explain;
/// Every limit by name.
pub mod limits;
/// Request to route.
pub mod lookup;
/// Hash maps.
mod map;
/// The protobuf form of the contract, `pancake.routing.v1`, and conversions from and to [`snapshot`].
pub mod proto;
/// The rule language of routers: text to syntax tree.
pub mod rule;
/// The URL of a server, taken apart.
pub mod server_url;
/// The plain data that providers produce.
pub mod snapshot;
