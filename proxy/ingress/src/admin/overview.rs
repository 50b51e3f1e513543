//! Entry points, overview and version, in Traefik's shapes.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use pancake_config::traefik::static_config::{EntryPoint, Listen};
use serde::Serialize;
use serde_json::{Value, json};

use super::Context;
use super::message::{Answer, Asked};
use super::objects::{Objects, Section, go_duration, title};
use super::page;
use crate::change::Provider;

/// `/api/overview`
pub(super) fn overview(context: &Context) -> Answer {
    let view = context.view.load_full();
    let objects = Objects::of(context, &view);
    let settings = &context.settings;
    let providers = [
        settings.providers.file.as_ref().map(|_| Provider::File),
        settings.providers.pancake.as_ref().map(|_| Provider::Pancake),
    ];
    let none = || Section::default();
    Answer::json(&json!({
        "http": {
            "routers": Section::of(objects.routers.values().map(|router| router.status)),
            "services": Section::of(objects.services.values().map(|service| service.status)),
            "middlewares": Section::of(objects.middlewares.values().map(|middleware| middleware.status)),
        },
        "tcp": {"routers": none(), "services": none(), "middlewares": none()},
        "udp": {"routers": none(), "services": none()},
        "certificates": none(),
        "features": {
            "tracing": "",
            "metrics": if settings.prometheus.is_some() { "Prometheus" } else { "" },
            "accessLog": settings.access_log.is_some(),
        },
        "providers": providers.into_iter().flatten().map(title).collect::<Vec<_>>(),
    }))
}

/// `/api/version`
pub(super) fn version(context: &Context) -> Answer {
    Answer::json(&json!({
        "Version": env!("CARGO_PKG_VERSION"),
        "Codename": "pancake",
        "startDate": rfc3339(context.started),
    }))
}

/// `/api/entrypoints`
pub(super) fn entry_points(asked: &Asked, context: &Context) -> Answer {
    let mut all: Vec<&EntryPoint> = context.settings.entry_points.iter().collect();
    all.sort_by(|one, other| one.name.cmp(&other.name));
    page::answer(asked, all.into_iter().map(shown).collect())
}

/// `/api/entrypoints/{name}`
pub(super) fn entry_point(context: &Context, name: &str) -> Answer {
    match context.settings.entry_points.iter().find(|entry_point| entry_point.name == name) {
        Some(entry_point) => Answer::json(&shown(entry_point)),
        None => Answer::not_found(format!("entry point not found: {name}")),
    }
}

fn shown(entry_point: &EntryPoint) -> Value {
    let mut value = json!({
        "address": address(&entry_point.listen),
        "transport": {
            "lifeCycle": {"graceTimeOut": go_duration(entry_point.grace_timeout)},
            "respondingTimeouts": Timeouts::of(entry_point),
        },
        "forwardedHeaders": {},
        "http": {"sanitizePath": entry_point.sanitize_path, "maxHeaderBytes": entry_point.max_header_bytes},
        "name": entry_point.name,
    });
    if entry_point.as_default {
        value["asDefault"] = true.into();
    }
    if entry_point.forwarded_headers.insecure {
        value["forwardedHeaders"]["insecure"] = true.into();
    }
    let trusted = entry_point.forwarded_headers.trusted_ips.iter().map(ToString::to_string);
    let trusted: Vec<_> = trusted.collect();
    if !trusted.is_empty() {
        value["forwardedHeaders"]["trustedIPs"] = trusted.into();
    }
    value
}

fn address(listen: &Listen) -> String {
    match listen.host {
        Some(host) => std::net::SocketAddr::new(host, listen.port).to_string(),
        None => format!(":{}", listen.port),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Timeouts {
    #[serde(skip_serializing_if = "Option::is_none")]
    read_timeout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    write_timeout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_timeout: Option<String>,
}

impl Timeouts {
    fn of(entry_point: &EntryPoint) -> Timeouts {
        let go = |timeout: Option<Duration>| timeout.map(go_duration);
        Timeouts {
            read_timeout: go(entry_point.read_timeout),
            write_timeout: go(entry_point.write_timeout),
            idle_timeout: go(entry_point.idle_timeout),
        }
    }
}

/// RFC 3339, in UTC.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}
