//! What happens to a request between its router and its service, and to the answer.
//!
//! A middleware can answer a request itself, or change both messages on their way. What this module does not do: decide
//! which middlewares a route has; the table says so.

/// gRPC-Web from browsers, gRPC to servers.
pub(crate) mod grpc_web;

use pancake_table::compiled::Route;
use pancake_table::snapshot::middlewares::MiddlewareKind;
use pancake_wire::h1::head::RequestHead;

use crate::meter::Method;

/// What the middlewares of a route make of a request.
pub(crate) enum Verdict {
    /// It goes on as it is.
    Pass,
    /// It is answered here.
    Answer(OwnAnswer),
    /// It is a call of gRPC-Web.
    GrpcWeb(Box<grpc_web::Call>),
}

/// An answer of the proxy without a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnAnswer {
    pub(crate) status: u16,
    /// `name: value CRLF` lines.
    pub(crate) fields: Vec<u8>,
}

/// Asks the middlewares of `route`, of which there is at least one.
pub(crate) fn judge(route: &Route, method: Method, head: &RequestHead, bytes: &[u8]) -> Verdict {
    for middleware in &route.middlewares {
        match middleware {
            MiddlewareKind::GrpcWeb(settings) => match grpc_web::judge(settings, method, head, bytes) {
                Verdict::Pass => {}
                verdict => return verdict,
            },
        }
    }
    Verdict::Pass
}
