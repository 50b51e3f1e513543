//! Real handshakes in memory, with certificates made on the spot.

/// Which certificate, options and protocol a client gets.
mod choice;
/// Certificates of clients.
mod client_auth;
/// Certificates, tables and connections for the tests.
mod fixture;
/// What is reported.
mod problems;
/// Tickets, across tables and processes.
mod resumption;
/// TLS to servers.
mod upstream;
