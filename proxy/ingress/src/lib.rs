//! The ingress proxy: worker threads that serve, and the service thread that does what is not hot.
//!
//! `service` reads configuration, follows the control plane, checks servers, answers the admin entry point and writes
//! the access log; it never touches a request. `main` and `boot` put the parts together.

/// From the worker that served a request to a file.
pub mod access_log;
/// Certificates from an ACME CA.
pub mod acme;
/// The admin entry point.
pub mod admin;
/// From settings to a serving process, and down again.
pub mod boot;
/// The walk of a change: configuration -> check -> compile -> the table that workers read.
pub mod change;
/// What the limits of the edge did, in the log.
mod edge_log;
/// Active health checks.
pub mod health;
/// The runtime of the service thread.
pub mod host;
/// Every limit of the service thread, by name.
pub mod limits;
/// The registry of counters.
pub mod meters;
/// Where configuration comes from.
pub mod providers;
/// Names of servers to addresses.
pub mod resolve;
/// The service thread: puts the above together.
pub mod service;
/// What is shared with other proxies through the control plane.
pub mod sharing;
/// What the process tells about itself.
pub mod telemetry;
/// Worker threads.
pub mod workers;
