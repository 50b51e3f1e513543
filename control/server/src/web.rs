//! The status page and its JSON.
//!
//! Read only. Everything is in the binary; nothing is fetched from elsewhere. The page renews its body by asking for
//! it again every two seconds, and works without scripts too.

use askama::Template;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use pancake_api::control as api;
use serde::Serialize;

use crate::plane::Plane;
use crate::view;
use crate::world::{At, World};

const SCRIPT: &str = include_str!("web/status.js");
const STYLE: &str = include_str!("web/status.css");

/// Rows of one table on the page; the JSON has all.
const MAX_ROWS: usize = 500;

/// Answers a request that is not gRPC.
pub fn answer<B>(plane: &Plane, request: &Request<B>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused =
            text(StatusCode::METHOD_NOT_ALLOWED, "only GET; changes go over gRPC (`pancake --help`)\n");
        refused.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    let at = plane.now();
    match request.uri().path() {
        "/" => page(plane, at, false),
        "/fragment" => page(plane, at, true),
        "/status.js" => asset("text/javascript; charset=utf-8", SCRIPT),
        "/status.css" => asset("text/css; charset=utf-8", STYLE),
        "/ping" => text(StatusCode::OK, "OK"),
        "/api/status" => json(&plane.read(|w| view::status(w, at))),
        "/api/services" => {
            json(&api::ListServicesResponse { services: plane.read(|w| view::services(w, "", false, at)) })
        }
        "/api/nodes" => json(&api::ListNodesResponse { nodes: plane.read(view::nodes) }),
        "/api/routes" => {
            json(&plane.read(|w| api::ListRoutesResponse {
                version: w.published().version,
                routes: view::routes(w),
            }))
        }
        _ => text(
            StatusCode::NOT_FOUND,
            "nothing here. Pages: / /ping /api/status /api/services /api/nodes /api/routes\n",
        ),
    }
}

#[derive(Template)]
#[template(path = "status.html")]
struct Page {
    status: api::Status,
    services: Vec<api::Service>,
    nodes: Vec<api::Node>,
    routes: Vec<api::Route>,
    left_out: usize,
    now_unix_ms: u64,
}

#[derive(Template)]
#[template(path = "status.html", block = "body")]
struct Fragment {
    status: api::Status,
    services: Vec<api::Service>,
    nodes: Vec<api::Node>,
    routes: Vec<api::Route>,
    left_out: usize,
    now_unix_ms: u64,
}

fn page(plane: &Plane, at: At, fragment: bool) -> Response<Full<Bytes>> {
    let page = plane.read(|world| Page::of(world, at));
    let rendered = if fragment {
        let Page { status, services, nodes, routes, left_out, now_unix_ms } = page;
        Fragment { status, services, nodes, routes, left_out, now_unix_ms }.render()
    } else {
        page.render()
    };
    match rendered {
        Ok(html) => respond(StatusCode::OK, "text/html; charset=utf-8", html),
        Err(e) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("the page cannot be made: {e}\n")),
    }
}

impl Page {
    fn of(world: &World, at: At) -> Page {
        let mut services = view::services(world, "", false, at);
        let mut routes = view::routes(world);
        let mut left_out = routes.len().saturating_sub(MAX_ROWS);
        routes.truncate(MAX_ROWS);
        let mut room = MAX_ROWS;
        for service in &mut services {
            let n = service.instances.len();
            service.instances.truncate(room);
            left_out += n - service.instances.len();
            room -= service.instances.len();
        }
        left_out += services.len().saturating_sub(MAX_ROWS);
        services.truncate(MAX_ROWS);
        Page {
            status: view::status(world, at),
            services,
            nodes: view::nodes(world),
            routes,
            left_out,
            now_unix_ms: at.unix_ms,
        }
    }
}

/// What the template calls.
mod show {
    use pancake_api::control as api;
    pub use pancake_api::json::{mode_name, state_name};

    /// `3 s`, `2 min`, `5 h`.
    pub fn ago(now_unix_ms: &u64, then_unix_ms: &u64) -> String {
        match now_unix_ms.saturating_sub(*then_unix_ms) / 1000 {
            s @ 0..120 => format!("{s} s"),
            s @ 120..7200 => format!("{} min", s / 60),
            s => format!("{} h", s / 3600),
        }
    }

    /// A word for the state of a proxy.
    pub fn proxy_state(proxy: &api::Proxy, published: &u64) -> &'static str {
        match proxy {
            p if !p.connected => "away",
            p if p.nacked_version > p.serving_version => "refuses",
            p if p.serving_version == *published => "current",
            _ => "behind",
        }
    }

    /// `10.0.0.5:80`.
    pub fn authority(instance: &api::Instance) -> String {
        let port = u16::try_from(instance.port).unwrap_or(0);
        pancake_model::instance::authority(&instance.address, port)
    }
}

fn json(value: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_string_pretty(value) {
        Ok(body) => respond(StatusCode::OK, "application/json", body + "\n"),
        Err(e) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("no JSON: {e}\n")),
    }
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", body.to_owned())
}

fn asset(kind: &'static str, body: &'static str) -> Response<Full<Bytes>> {
    respond(StatusCode::OK, kind, body.to_owned())
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let policy =
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'";
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, header::HeaderValue::from_static(value));
    }
    response
}
