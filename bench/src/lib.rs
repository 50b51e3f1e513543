//! Load scenarios against peers, and what the end-to-end tests and the demo drive: a backend, a load client, processes.
//!
//! Nothing here is part of the product, and nothing here uses the proxy's own code: it sees the programs from outside.

/// A small backend.
pub mod backend;
/// One run of h2load.
pub mod h2load;
/// A load of TLS handshakes.
pub mod handshakes;
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
/// CPU time per request.
pub mod rate;
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
/// The certificate of a run, and clients that check it.
pub mod tls;
/// One run of wrk.
pub mod wrk;
