//! Load scenarios against peers, and what the end-to-end tests and the demo drive: a backend, a load client, processes.
//!
//! Nothing here is part of the product, and nothing here uses the proxy's own code: it sees the programs from outside.

/// A small backend.
pub mod backend;
/// A load client that counts every failure.
pub mod load;
/// Resident memory.
pub mod memory;
/// One HTTP/1.1 message over a blocking stream.
pub mod message;
/// The proxies that are compared.
pub mod peers;
/// Programs: start, wait, end, cost.
pub mod process;
/// Figures, table, chart.
pub mod report;
/// Everything in turn.
pub mod run;
/// The work that is compared.
pub mod scenario;
/// The programs of this workspace, as tests start them.
pub mod stack;
/// Routes swapped under load.
pub mod swap;
/// One run of wrk.
pub mod wrk;
