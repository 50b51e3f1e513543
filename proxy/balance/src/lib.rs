//! Which server gets the next request, and whether a server is up.
//!
//! Pure: no sockets, clocks or randomness; seeds are arguments. State belongs to one worker, which asks nobody. Does
//! not know servers, only their places in a list.

/// From results of checks to a verdict.
pub mod health;
/// Whose turn it is.
pub mod pick;
