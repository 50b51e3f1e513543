//! Configuration text to snapshots and process settings, with source spans.
//!
//! Pure: text goes in, values and problems come out. Every reader collects all its problems before it returns, and
//! each problem knows its file, line and column. What this crate does not do: read files or watch them (the
//! caller does), parse rules or judge a snapshot as a whole (that is `pancake-table`).

/// The command line of `pancake-proxy`.
pub mod args;
/// Tree to values: typed access that collects every problem.
pub mod decode;
/// Durations as Go writes them.
pub mod duration;
/// IP networks in CIDR notation.
pub mod network;
/// What is wrong, where, what was expected, what was probably meant.
pub mod problem;
/// The nearest known word.
pub mod suggest;
/// Traefik's static and dynamic configuration.
pub mod traefik;
/// One tree of mappings, sequences and scalars with positions, whatever the text was.
pub mod tree;
