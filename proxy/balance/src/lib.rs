//! Which server gets the next request.
//!
//! Pure: what is usable and what time it is are arguments. What it does not do: connect, check health by itself.

/// Orders over the servers of a service.
pub mod pick;
