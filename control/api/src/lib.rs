//! The gRPC contract of the control plane: generated types, services and clients, and the limits of messages.
//!
//! What it does not do: convert between these types and the model; that is the server's and the client's work.

/// `pancake.control.v1`: instances, drains, routes, explanations, events. Messages serialize to JSON with camelCase
/// names, in the form that the HTTP API and the command line show.
pub mod control {
    #![allow(missing_docs, clippy::doc_markdown, clippy::large_enum_variant)]
    tonic::include_proto!("pancake.control.v1");
}

/// `pancake.routing.v1`: the stream of snapshots to proxies. Its messages are those of `pancake_table::proto`.
#[cfg(feature = "routing")]
pub mod routing {
    #![allow(missing_docs, clippy::doc_markdown)]
    tonic::include_proto!("pancake.routing.v1");
}

/// `pancake.certificates.v1`: what proxies share. Its messages are those of `pancake_table::certificates`.
#[cfg(feature = "routing")]
pub mod certificates {
    #![allow(missing_docs, clippy::doc_markdown)]
    tonic::include_proto!("pancake.certificates.v1");
}

/// How JSON shows enums.
pub mod json;

/// The encoded descriptor of `pancake.control.v1`, for gRPC reflection.
pub const CONTROL_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/control.bin"));

/// Bytes of one `pancake.control.v1` request; a larger one is refused before it is read.
pub const MAX_CONTROL_REQUEST: usize = 1 << 20;

/// Bytes of one `pancake.control.v1` response that a client accepts.
pub const MAX_CONTROL_RESPONSE: usize = 64 << 20;

/// Bytes of one message of a proxy on the routing stream (a Nack lists every problem).
pub const MAX_PROXY_MESSAGE: usize = 4 << 20;

/// Where the control plane listens unless told otherwise.
pub const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:7700";
