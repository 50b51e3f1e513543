//! Pancake's own: status, problems, explanations.

use std::net::IpAddr;

use pancake_table::lookup::{EntryPointId, OwnedRequest};
use pancake_wire::h1::head::Reject;
use pancake_wire::h1::target;
use serde_json::{Value, json};

use super::Context;
use super::message::{Answer, Asked};
use super::overview::rfc3339;
use crate::change::{Provider, ProviderView};
use crate::limits;

/// `/api/pancake/problems`
pub(super) fn problems(context: &Context) -> Answer {
    let view = context.view.load_full();
    let unlisted: usize = view.providers.iter().map(|provider| provider.unlisted).sum();
    Answer::json(&json!({"problems": view.problems().collect::<Vec<_>>(), "unlisted": unlisted}))
}

/// `/api/pancake/status`
pub(super) fn status(context: &Context) -> Answer {
    let view = context.view.load_full();
    let providers = &context.settings.providers;
    let configured = |provider| match provider {
        Provider::File => providers.file.is_some(),
        Provider::Pancake => providers.pancake.is_some(),
    };
    let shown: Vec<Value> = Provider::ALL
        .into_iter()
        .filter(|provider| configured(*provider))
        .map(|provider| shown_provider(context, provider, view.provider(provider)))
        .collect();
    let listening = context.listening.iter().map(|(name, address)| json!({"name": name, "address": address}));
    Answer::json(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "state": format!("{:?}", *context.life.borrow()).to_lowercase(),
        "startDate": rfc3339(context.started),
        "engine": {"name": context.engine.name, "why": context.engine.why},
        "serviceRuntime": context.host.name(),
        "workers": context.meters.workers(),
        "entryPoints": listening.collect::<Vec<_>>(),
        "table": {
            "version": view.table.version,
            "routers": view.table.routes.len(),
            "services": view.table.services.len(),
            "reloads": view.reloads,
            "refused": view.failures,
            "lastSuccess": view.last_success.map(rfc3339),
        },
        "providers": shown,
        "accessLog": context.access_log.as_ref().map(|counts| json!({
            "droppedLines": counts.dropped(),
            "lostLines": counts.failed(),
        })),
        "limits": limits_shown(),
    }))
}

fn shown_provider(context: &Context, provider: Provider, view: &ProviderView) -> Value {
    let mut shown = json!({
        "name": provider.name(),
        "state": view.state,
        "since": view.since.map(rfc3339),
        "version": view.snapshot.version,
        "routers": view.snapshot.routers.len(),
        "services": view.snapshot.services.len(),
        "leftOut": view.left_out.routers.len() + view.left_out.services.len(),
        "problems": view.refusal.len() + view.problems.len() + view.unlisted,
    });
    if let (Provider::Pancake, Some(control)) = (provider, &context.control) {
        shown["stream"] = control.shown();
    }
    shown
}

fn limits_shown() -> Value {
    use pancake_session::limits as session;
    use pancake_table::limits as table;
    json!({
        "routers": table::MAX_ROUTERS,
        "services": table::MAX_SERVICES,
        "servers": table::MAX_SERVERS,
        "serversPerService": table::MAX_SERVERS_PER_SERVICE,
        "ruleBytes": table::MAX_RULE_BYTES,
        "connectAttempts": session::MAX_CONNECT_ATTEMPTS,
        "fieldsPerHead": session::MAX_FIELDS,
        "udpSessions": session::MAX_UDP_SESSIONS,
        "serverAddresses": table::MAX_SERVER_ADDRESSES,
        "responseHeadBytes": session::MAX_RESPONSE_HEAD_BYTES,
        "accessLogRingBytes": limits::ACCESS_LOG_RING_BYTES,
        "files": limits::MAX_FILES,
        "fileBytes": limits::MAX_FILE_BYTES,
        "controlMessageBytes": limits::MAX_CONTROL_MESSAGE_BYTES,
        "watchedDrains": limits::MAX_WATCHED_DRAINS,
        "concurrentHealthChecks": limits::MAX_CONCURRENT_CHECKS,
        "adminConnections": limits::MAX_ADMIN_CONNECTIONS,
        "visibleProblems": limits::MAX_VISIBLE_PROBLEMS,
    })
}

/// `/api/pancake/explain?url=http://host/path&method=GET&header=Name:value&client=10.0.0.1&entryPoint=web`: which way
/// such a request would go, and why.
pub(super) fn explain(asked: &Asked, context: &Context) -> Answer {
    let answer = entry_point(asked, context).and_then(|(id, sanitizes)| {
        let request = request(asked, sanitizes)?;
        let secure = asked.value("url").is_some_and(is_https);
        Ok(Answer::json(&context.view.load_full().table.explain(id, secure, &request)))
    });
    answer.unwrap_or_else(Answer::bad_request)
}

/// Whether a request to this URL comes over TLS.
fn is_https(url: &str) -> bool {
    url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
}

/// The number of the entry point that is asked for, and whether it sanitizes paths.
fn entry_point(asked: &Asked, context: &Context) -> Result<(EntryPointId, bool), String> {
    let settings = &context.settings;
    let default = settings.default_entry_points().first().map(|name| (*name).to_owned());
    let Some(name) = asked.value("entryPoint").map(str::to_owned).or(default) else {
        return Err("there is no entry point for routers".into());
    };
    let names = || settings.entry_points.iter().map(|entry_point| entry_point.name.as_str());
    let place = names().position(|known| known == name);
    let number = place.and_then(|place| u16::try_from(place).ok());
    number.map(|id| (EntryPointId(id), settings.entry_points[usize::from(id)].sanitize_path)).ok_or_else(
        || {
            let all = names().collect::<Vec<_>>().join(", ");
            format!("entryPoint: there is no entry point {name:?}; expected one of {all}")
        },
    )
}

/// The request as rules would see it: the same steps as for one that comes in.
fn request(asked: &Asked, sanitizes: bool) -> Result<OwnedRequest, String> {
    const EXPECTED: &str = "expected url=http://host/path";
    let method = asked.value("method").unwrap_or("GET");
    let url = asked.value("url").ok_or_else(|| format!("url is missing; {EXPECTED}"))?;
    let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let refused = |what: Reject| format!("url: {what}; {EXPECTED}");
    let parts = target::parse(method.as_bytes(), url.as_bytes()).map_err(refused)?;
    let Some(authority) = parts.authority else { return Err(format!("url: has no host; {EXPECTED}")) };
    let (mut host, mut path, mut sane) = (String::new(), String::new(), Vec::new());
    target::host_for_routing(authority.of(url.as_bytes()), &mut host).map_err(refused)?;
    let raw = match parts.path.of(url.as_bytes()) {
        [] => b"/",
        raw => raw,
    };
    let rewrite = if sanitizes { target::sanitize } else { target::normalize };
    if !rewrite(raw, &mut sane).map_err(refused)? {
        sane = raw.to_vec();
    }
    if !target::routing_path(&sane, &mut path).map_err(refused)? {
        path = String::from_utf8_lossy(&sane).into_owned();
    }
    let query = parts.query.map_or(&b""[..], |query| query.of(url.as_bytes()));
    let client_ip = match asked.value("client") {
        None => IpAddr::from([127, 0, 0, 1]),
        Some(text) => text.parse().map_err(|_| format!("client: {text:?} is not an IP address"))?,
    };
    let headers = asked.values("header").map(|header| {
        let (name, value) =
            header.split_once(':').ok_or_else(|| format!("header: {header:?} is not Name:value"))?;
        Ok((name.trim().to_owned(), value.trim().as_bytes().to_vec()))
    });
    Ok(OwnedRequest {
        method: method.to_owned(),
        host,
        path,
        query: String::from_utf8_lossy(query).into_owned(),
        headers: headers.collect::<Result<_, String>>()?,
        client_ip,
    })
}
