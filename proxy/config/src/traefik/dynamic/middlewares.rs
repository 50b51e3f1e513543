//! `http.middlewares` and `tcp.middlewares`: known by name, not built.

use crate::decode::Fields;
use crate::problem::Problem;

/// All that is known of a middleware: its kind. None if it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Middleware {
    pub(super) kind: Option<&'static str>,
}

/// Traefik's kinds for HTTP.
const KINDS: [&str; 26] = [
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
    "grpcWeb",
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

pub(super) fn read(_name: String, fields: &Fields<'_, '_>) -> Middleware {
    read_kinds(fields, &KINDS)
}

pub(super) fn read_tcp(_name: String, fields: &Fields<'_, '_>) -> Middleware {
    read_kinds(fields, &TCP_KINDS)
}

fn read_kinds(fields: &Fields<'_, '_>, kinds: &[&'static str]) -> Middleware {
    let mut kind = None;
    for known in kinds {
        if let Some(entry) = fields.entry(known) {
            let problem = Problem::not_supported(entry.span.clone(), format!("the middleware {known}"));
            fields.sink().push(problem);
            kind = Some(*known);
        }
    }
    Middleware { kind }
}
