//! The control plane end to end: real store, real sockets, real checks; the proxy only speaks the protocol.

mod harness;

mod drains;
mod file;
mod guard;
mod http;
mod registrations;
mod restart;
mod sharing;
mod streams;
