//! Nodes, instances, routers, events: the plain data of the control plane and its state machines.
//!
//! Pure: no sockets, files, threads, clocks or randomness; time is an argument. What it does not do: keep a set of
//! these (that is `pancake-discovery`), store them (`pancake-store`), or know the wire (`pancake-api`).

/// How an instance is checked, and what a run of results means.
pub mod check;
/// What changed.
pub mod event;
/// Instances, and records of them.
pub mod instance;
/// Checked names: nodes, instances, services, routers.
pub mod name;
/// What can be registered, and what is kept of it.
pub mod registration;
/// Rules that lead to services.
pub mod router;
/// What proxies share.
pub mod sharing;
/// The order of records: (incarnation, sequence).
pub mod stamp;
/// States of an instance and how news changes them.
pub mod state;
