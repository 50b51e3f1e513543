//! `register`, `renew`, `deregister`, `router`, `release`.

use std::time::Duration;

use pancake_api::control as api;
use pancake_api::json::state_name;

use crate::args::{Format, Mode, PutRouter, Register, Router};
use crate::connect::{Client, refusal};
use crate::output::{json, say};

/// Registers an instance.
pub async fn register(mut client: Client, format: Format, args: Register) -> anyhow::Result<()> {
    let check = check(&args)?;
    let routers = args.rule.map(|rule| api::Router {
        rule,
        entry_points: args.entry_point,
        priority: args.priority.unwrap_or(0),
        middlewares: args.middleware,
        ..api::Router::default()
    });
    let mode = match args.mode {
        Mode::Http => api::ProxyMode::Http,
        Mode::Tcp => api::ProxyMode::Tcp,
        Mode::Ws => api::ProxyMode::Ws,
    };
    let request = api::RegisterRequest {
        service: args.service.clone(),
        instance_id: args.id.unwrap_or_default(),
        address: args.address,
        port: args.port.into(),
        mode: mode.into(),
        labels: args.label.into_iter().collect(),
        ttl_ms: millis(args.ttl),
        check,
        weight: args.weight,
        routers: routers.into_iter().collect(),
    };
    let answer = client.register(request).await.map_err(|s| refusal(&s))?.into_inner();
    if format == Format::Json {
        return json(&answer);
    }
    let done = if answer.created { "registered" } else { "replaced" };
    let state = state_name(answer.state);
    say(&format!("{done} {} of {}: {state}", answer.instance_id, args.service))?;
    match answer.state() {
        api::InstanceState::Draining => {
            say(&format!("it is draining; `pancake drain {} --cancel` brings it back", answer.instance_id))
        }
        api::InstanceState::Unknown => say("it takes requests after its first good check"),
        _ => Ok(()),
    }
}

fn check(args: &Register) -> anyhow::Result<Option<api::Check>> {
    use api::check::Kind;
    let kind = match (&args.check_http, args.check_tcp) {
        (Some(path), _) => Kind::Http(api::HttpCheck { path: path.clone(), ..api::HttpCheck::default() }),
        (None, true) => Kind::Tcp(api::TcpCheck::default()),
        (None, false) => {
            let details = args.check_interval.is_some() || args.check_timeout.is_some();
            if details || args.rise.is_some() || args.fall.is_some() {
                anyhow::bail!("a check needs --check-http PATH or --check-tcp");
            }
            return Ok(None);
        }
    };
    Ok(Some(api::Check {
        kind: Some(kind),
        interval_ms: millis(args.check_interval),
        timeout_ms: millis(args.check_timeout),
        rise: args.rise.unwrap_or(0),
        fall: args.fall.unwrap_or(0),
    }))
}

/// Sends a heartbeat.
pub async fn renew(mut client: Client, format: Format, id: String) -> anyhow::Result<()> {
    let request = api::RenewRequest { instance_id: id.clone() };
    let answer = client.renew(request).await.map_err(|s| refusal(&s))?.into_inner();
    if format == Format::Json {
        return json(&answer);
    }
    match answer.ttl_ms {
        0 => say(&format!(
            "{id} is {}; it was registered without --ttl and needs no heartbeat",
            state_name(answer.state)
        )),
        ttl => say(&format!("{id} is {}; the next heartbeat is due in {ttl} ms", state_name(answer.state))),
    }
}

/// Removes an instance.
pub async fn deregister(mut client: Client, format: Format, id: String) -> anyhow::Result<()> {
    let request = api::DeregisterRequest { instance_id: id.clone() };
    let answer = client.deregister(request).await.map_err(|s| refusal(&s))?.into_inner();
    match format {
        Format::Json => json(&answer),
        Format::Table => say(&format!("deregistered {id}; it was {}", state_name(answer.state))),
    }
}

/// Adds or removes a router.
pub async fn router(mut client: Client, format: Format, args: Router) -> anyhow::Result<()> {
    match args {
        Router::Put(put) => {
            let PutRouter { name, rule, service, entry_point, priority, middleware } = *put;
            let router = api::Router {
                name: name.clone(),
                rule,
                service,
                entry_points: entry_point,
                priority,
                middlewares: middleware,
            };
            let request = api::PutRouterRequest { router: Some(router) };
            let answer = client.put_router(request).await.map_err(|s| refusal(&s))?.into_inner();
            match format {
                Format::Json => json(&answer),
                Format::Table => {
                    say(&format!("{} router {name}", if answer.created { "added" } else { "replaced" }))
                }
            }
        }
        Router::Delete { name } => {
            let request = api::DeleteRouterRequest { name: name.clone() };
            let answer = client.delete_router(request).await.map_err(|s| refusal(&s))?.into_inner();
            match format {
                Format::Json => json(&answer),
                Format::Table => say(&format!("removed router {name}")),
            }
        }
    }
}

/// Publishes what the guard holds back.
pub async fn release(mut client: Client, format: Format) -> anyhow::Result<()> {
    let answer = client.release_hold(api::ReleaseHoldRequest {}).await.map_err(|s| refusal(&s))?.into_inner();
    match format {
        Format::Json => json(&answer),
        Format::Table if answer.released => say("released; it is being published"),
        Format::Table => say("nothing is held back"),
    }
}

fn millis(time: Option<Duration>) -> u64 {
    time.map_or(0, |t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX))
}
