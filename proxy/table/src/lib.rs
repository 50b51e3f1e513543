//! The routing contract: one model that every provider reads into, and its compiled form.
//!
//! Pure: no sockets, files, threads, clocks or randomness. In: a [`snapshot::Snapshot`]. Out: every problem with
//! it ([`check`]), or a [`compiled::Table`] that workers look routes up in. What it does not do: read
//! configuration text (that is `pancake-config`), pick servers (that is `pancake-balance`).

/// The plain data that providers produce.
pub mod snapshot;
/// The protobuf form of the contract, `pancake.routing.v1`, and conversions from and to [`snapshot`].
pub mod proto;
/// The rule language of routers: text to syntax tree.
pub mod rule;
/// All problems of a snapshot at once.
pub mod check;
/// What changed between two snapshots.
pub mod diff;
/// A snapshot compiled for look-up: the data that sessions read.
pub mod compiled;
/// Snapshot to table; unchanged objects keep their identity.
pub mod compile;
/// Request to route.
pub mod lookup;
