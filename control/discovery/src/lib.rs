//! The catalog, its sources and its health checks.
//!
//! Sources say which instances exist, checks say how they are, the catalog holds what follows. The catalog is pure;
//! only the loops in `sources` and `health` touch files and sockets. What this crate does not do yet: exchange
//! records with other nodes; the catalog's merge and digest are what that will stand on.

/// What is known: node → instances, newest record wins.
pub mod catalog;
/// What a node knows of each node, in a few bytes.
pub mod digest;
/// How they are.
pub mod health;
/// Where instances come from.
pub mod sources;
