//! How instances are: TCP and HTTP checks.
//!
//! `schedule` is pure and says what is due; `probe` asks one instance once; `runner` joins them: spread over
//! time, many at once but bounded. What it does not do: decide what an unhealthy instance means for routing.

/// Asks one instance once.
pub mod probe;
/// Runs what is due.
pub mod runner;
/// What is due when, and what a result means.
pub mod schedule;
