//! Middlewares.

use super::{Report, Subject};
use crate::limits::{MAX_ALLOWED_ORIGINS, MAX_NAME_BYTES};
use crate::map::{Map, map_with_room};
use crate::snapshot::Snapshot;
use crate::snapshot::middlewares::{GrpcWeb, MiddlewareKind};

/// By name, whether each is sound.
pub(super) fn middlewares<'a>(snapshot: &'a Snapshot, report: &mut Report) -> Map<&'a str, bool> {
    let mut known: Map<&str, bool> = map_with_room(snapshot.middlewares.len());
    for middleware in &snapshot.middlewares {
        let before = report.errors;
        let of = Subject::new("middleware", &middleware.name);
        of.check_name(known.contains_key(&*middleware.name), report);
        match &middleware.kind {
            MiddlewareKind::GrpcWeb(grpc_web) => check_grpc_web(of, grpc_web, report),
        }
        let sound = report.errors == before;
        // The first of a name counts, as it does when they are looked up.
        known.entry(&middleware.name).or_insert(sound);
    }
    known
}

fn check_grpc_web(of: Subject<'_>, grpc_web: &GrpcWeb, report: &mut Report) {
    let found = grpc_web.allow_origins.len();
    if found > MAX_ALLOWED_ORIGINS {
        let message = format!("{found} origins, at most {MAX_ALLOWED_ORIGINS} are allowed");
        of.error("grpcWeb.allowOrigins", message, report);
        return;
    }
    for (index, origin) in grpc_web.allow_origins.iter().enumerate() {
        let field = format!("grpcWeb.allowOrigins.{index}");
        if origin.is_empty() || origin.len() > MAX_NAME_BYTES || origin.bytes().any(|b| !b.is_ascii_graphic())
        {
            let message = "no browser sends such an origin; expected one like https://app.example, or *";
            of.error(field, message, report);
        }
    }
}
