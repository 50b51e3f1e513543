//! `http.middlewares` and `tcp.middlewares`: `grpcWeb`; the others are known by name, not built.

use pancake_table::snapshot::middlewares::{self, GrpcWeb, MiddlewareKind};

use crate::decode::Fields;
use crate::problem::Problem;

/// A middleware, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Middleware {
    /// What it is and is not built yet.
    pub(super) missing: Option<&'static str>,
    /// What it does.
    pub(super) built: Option<middlewares::Middleware>,
}

/// Traefik's kinds for HTTP that are not built.
const KINDS: [&str; 25] = [
    "addPrefix",
    "basicAuth",
    "buffering",
    "chain",
    "circuitBreaker",
    "compress",
    "contentType",
    "digestAuth",
    "encodedCharacters",
    "errors",
    "forwardAuth",
    "headers",
    "inFlightReq",
    "ipAllowList",
    "ipWhiteList",
    "passTLSClientCert",
    "plugin",
    "rateLimit",
    "redirectRegex",
    "redirectScheme",
    "replacePath",
    "replacePathRegex",
    "retry",
    "stripPrefix",
    "stripPrefixRegex",
];

/// Traefik's kinds for TCP.
const TCP_KINDS: [&str; 3] = ["inFlightConn", "ipAllowList", "ipWhiteList"];

pub(super) fn read(name: String, fields: &Fields<'_, '_>) -> Middleware {
    let grpc_web = fields.section("grpcWeb", |section| GrpcWeb {
        allow_origins: section.list("allowOrigins").into_iter().map(|(text, _)| text.to_string()).collect(),
    });
    let kind = grpc_web.map(MiddlewareKind::GrpcWeb);
    let built = kind.map(|kind| middlewares::Middleware { name, kind });
    Middleware { built, ..read_kinds(fields, &KINDS) }
}

pub(super) fn read_tcp(_name: String, fields: &Fields<'_, '_>) -> Middleware {
    read_kinds(fields, &TCP_KINDS)
}

fn read_kinds(fields: &Fields<'_, '_>, kinds: &[&'static str]) -> Middleware {
    let mut missing = None;
    for known in kinds {
        if let Some(entry) = fields.entry(known) {
            let problem = Problem::not_supported(entry.span.clone(), format!("the middleware {known}"));
            fields.sink().push(problem);
            missing = Some(*known);
        }
    }
    Middleware { missing, built: None }
}
