//! The plain data of one middleware.

use pancake_table::snapshot::middlewares::{Middleware, MiddlewareKind};
use serde::Serialize;
use serde_json::{Value, json};

use super::Verdict;

/// A middleware as Traefik's API shows it, without its name.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::admin) struct MiddlewareInfo {
    /// What it is told, under the key of its kind.
    #[serde(flatten)]
    settings: Value,
    #[serde(rename = "error", skip_serializing_if = "Vec::is_empty")]
    errors: Vec<String>,
    pub(in crate::admin) status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    used_by: Vec<String>,
    /// Its kind, in lower case.
    #[serde(skip)]
    pub(super) kind: &'static str,
}

impl MiddlewareInfo {
    pub(super) fn new(middleware: &Middleware, verdict: Verdict, used_by: Vec<String>) -> MiddlewareInfo {
        let (kind, settings) = match &middleware.kind {
            MiddlewareKind::GrpcWeb(grpc_web) => {
                ("grpcweb", json!({"grpcWeb": {"allowOrigins": grpc_web.allow_origins}}))
            }
        };
        MiddlewareInfo { settings, errors: verdict.errors, status: verdict.status, used_by, kind }
    }
}
