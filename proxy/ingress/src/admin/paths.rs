//! Path to answer.

use http::StatusCode;

use super::message::{Answer, Asked};
use super::{Context, Served, metrics, objects, overview, own, page};
use crate::workers::Life;

/// `/ping`, if it is asked for and served. Made at once: it must answer however busy the process is.
pub(super) fn ping(asked: &Asked, context: &Context) -> Option<Answer> {
    let ping = context.settings.ping.as_ref()?;
    if !matches!(&*asked.path, "/ping" | "/ping/") {
        return None;
    }
    let serving = *context.life.borrow() == Life::Serve;
    let terminating = StatusCode::from_u16(ping.terminating_status_code);
    Some(match serving {
        true => Answer::text(StatusCode::OK, "OK"),
        false => Answer::text(terminating.unwrap_or(StatusCode::SERVICE_UNAVAILABLE), "Service Unavailable"),
    })
}

/// Everything else.
pub(super) fn answer(asked: &Asked, context: &Context) -> Answer {
    let served = Served::of(&context.settings);
    if served.metrics && matches!(&*asked.path, "/metrics" | "/metrics/") {
        return metrics::answer(context);
    }
    let Some(api) = context.settings.api.as_ref().filter(|_| served.api) else {
        return Answer::not_found("404 page not found");
    };
    let path = asked.path.strip_prefix(&api.base_path).and_then(|path| path.strip_prefix("/api/"));
    match path {
        Some(path) => of_api(path.trim_end_matches('/'), asked, context),
        None => Answer::not_found("404 page not found"),
    }
}

fn of_api(path: &str, asked: &Asked, context: &Context) -> Answer {
    if let Some(name) = path.strip_prefix("http/routers/") {
        return objects::router(context, name);
    }
    if let Some(name) = path.strip_prefix("http/services/") {
        return objects::service(context, name);
    }
    if let Some(name) = path.strip_prefix("http/middlewares/") {
        return objects::middleware(context, name);
    }
    if let Some(name) = path.strip_prefix("entrypoints/") {
        return overview::entry_point(context, name);
    }
    match path {
        "rawdata" => objects::raw_data(context),
        "http/routers" => objects::routers(asked, context),
        "http/services" => objects::services(asked, context),
        "http/middlewares" => objects::middlewares(asked, context),
        "tcp/routers" | "tcp/services" | "tcp/middlewares" | "udp/routers" | "udp/services"
        | "tls/certificates" => page::answer::<()>(asked, Vec::new()),
        "entrypoints" => overview::entry_points(asked, context),
        "overview" => overview::overview(context),
        "version" => overview::version(context),
        "pancake/status" => own::status(context),
        "pancake/problems" => own::problems(context),
        "pancake/explain" => own::explain(asked, context),
        _ => Answer::not_found("404 page not found"),
    }
}
