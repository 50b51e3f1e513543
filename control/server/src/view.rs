//! The world as messages: what gRPC, the JSON API and the status page show.

/// What proxies share, without keys.
mod certificates;
/// From messages to the model, refusing what is out of bounds.
pub mod incoming;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use pancake_api::control as api;
use pancake_model::check::{Check, CheckKind};
use pancake_model::event::Event;
use pancake_model::instance::{ProxyMode, Record};
use pancake_model::router::Router;
use pancake_model::state::State;
use pancake_table::proto;

use crate::plane::Numbered;
use crate::proxies::DrainView;
use crate::publish::qualified;
use crate::world::{At, World, count};

pub use certificates::certificates;

/// Services and their instances, by name.
pub fn services(world: &World, only: &str, tombstones: bool, at: At) -> Vec<api::Service> {
    let mut services: BTreeMap<&str, api::Service> = BTreeMap::new();
    let named = |name: &str| api::Service { name: name.to_owned(), ..api::Service::default() };
    let wanted = |name: &str| only.is_empty() || only == name;
    for record in world.catalog.records() {
        let name = record.instance.service.as_str();
        if wanted(name) && (tombstones || record.state != State::Tombstone) {
            let service = services.entry(name).or_insert_with(|| named(name));
            service.instances.push(instance(world, record, at));
        }
    }
    let routers = world.routers();
    for used in routers.iter().filter(|r| r.shadowed_by.is_none()) {
        let name = used.router.service.as_str();
        if wanted(name) {
            let service = services.entry(name).or_insert_with(|| named(name));
            service.routers.push(used.router.name.to_string());
        }
    }
    services.into_values().collect()
}

/// One instance with everything that is known of it.
pub fn instance(world: &World, record: &Record, at: At) -> api::Instance {
    let i = &record.instance;
    let id = i.id.as_str();
    let published = world.published();
    let checked = world.check_of(id);
    let check = i.check.as_ref().map(|spec| api::CheckStatus {
        spec: Some(check(spec)),
        ..checked.map_or_else(api::CheckStatus::default, |c| api::CheckStatus {
            target: c.report.target.describe(),
            ok: c.report.outcome.ok,
            output: c.report.outcome.output.clone(),
            at_unix_ms: c.at_unix_ms,
            took_us: u64::try_from(c.report.outcome.took.as_micros()).unwrap_or(u64::MAX),
            streak: c.report.streak,
            spec: None,
        })
    });
    api::Instance {
        id: i.id.to_string(),
        service: i.service.to_string(),
        node: i.node.to_string(),
        address: i.address.clone(),
        port: u32::from(i.port),
        mode: mode(i.mode).into(),
        state: state(record.state).into(),
        labels: i.labels.clone(),
        weight: i.weight,
        ttl_ms: i.ttl.map_or(0, millis),
        ttl_left_ms: world.ttl_left(id, at).map_or(0, millis),
        origin: i.origin.to_string(),
        incarnation: record.stamp.incarnation,
        sequence: record.stamp.sequence,
        check,
        published: published.active.contains(id) || published.shown.contains(id) && i.mode.is_http(),
        drained: world.drain_of(id).is_some_and(|d| d.drained),
        reason: record.reason.clone(),
    }
}

/// Nodes, by id.
pub fn nodes(world: &World) -> Vec<api::Node> {
    let local = &world.catalog.local().id;
    let alive = |id: &str| world.catalog.records_of(id).filter(|r| r.state != State::Tombstone).count();
    let node = |n: &pancake_model::instance::Node| api::Node {
        id: n.id.to_string(),
        address: n.address.clone(),
        incarnation: n.incarnation,
        instances: count(alive(n.id.as_str())),
        local: n.id == *local,
    };
    world.catalog.nodes().map(node).collect()
}

/// Routers, published or not, by name.
pub fn routes(world: &World) -> Vec<api::Route> {
    let published = world.published();
    let in_snapshot: HashMap<&str, &proto::Router> =
        published.snapshot.routers.iter().map(|r| (r.name.as_str(), r)).collect();
    let active: HashMap<&str, usize> = published.snapshot.services.iter().map(active_servers).collect();
    let routers = world.routers();
    let route = |used: &crate::world::Effective<'_>| {
        let name = qualified(used.router.name.as_str());
        let service = qualified(used.router.service.as_str());
        let problems = match used.shadowed_by {
            Some(origin) => vec![format!("another router with this name, from origin `{origin}`, is used")],
            None => published.problems.get(&used.router.name).cloned().unwrap_or_default(),
        };
        let serves = in_snapshot.get(name.as_str()).is_some_and(|r| r.rule == used.router.rule);
        api::Route {
            effective_priority: used.router.effective_priority(),
            router: Some(router(used.router)),
            origin: used.origin.to_string(),
            published: used.shadowed_by.is_none() && serves,
            problems,
            active_servers: count(active.get(service.as_str()).copied().unwrap_or(0)),
        }
    };
    routers.iter().map(route).collect()
}

fn active_servers(service: &proto::Service) -> (&str, usize) {
    let n = match &service.kind {
        Some(proto::service::Kind::LoadBalancer(b)) => {
            b.servers.iter().filter(|s| !s.draining && s.weight != Some(0)).count()
        }
        None => 0,
    };
    (service.name.as_str(), n)
}

/// What is published, what is held back, and what each proxy serves.
pub fn status(world: &World, at: At) -> api::Status {
    let published = world.published();
    let proxies = world.proxies.iter().map(|(id, _)| proxy(world, id)).collect();
    let alarm = |(subject, alarm): (&String, &crate::world::Alarm)| api::Alarm {
        subject: subject.clone(),
        message: alarm.message.clone(),
        since_unix_ms: alarm.since_unix_ms,
    };
    api::Status {
        node: world.catalog.local().id.to_string(),
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        published_version: published.version,
        published_at_unix_ms: published.at_unix_ms,
        routers: count(published.snapshot.routers.len()),
        services: count(published.snapshot.services.len()),
        servers: count(published.servers()),
        proxies,
        alarms: world.alarms().iter().map(alarm).collect(),
        held: world.held().unwrap_or_default().to_owned(),
        uptime_ms: millis(at.mono),
    }
}

/// One proxy; an unknown one is shown by its name alone.
pub fn proxy(world: &World, id: &str) -> api::Proxy {
    let Some(p) = world.proxies.get(id) else {
        return api::Proxy { id: id.to_owned(), ..api::Proxy::default() };
    };
    let (nacked_version, nack_reasons) = p.nacked.clone().unwrap_or_default();
    api::Proxy {
        id: id.to_owned(),
        address: p.address.clone(),
        program_version: p.program_version.clone(),
        connected: p.connection.is_some(),
        serving_version: p.serving,
        sent_version: p.sent,
        entry_points: p.entry_points.clone(),
        nacked_version,
        nack_reasons,
        since_unix_ms: p.since_unix_ms,
    }
}

/// Where a drain stands.
pub fn drain(id: &str, view: DrainView) -> api::DrainProgress {
    let line = |c: crate::proxies::Confirmation| api::DrainConfirmation {
        proxy_id: c.proxy,
        confirmed: c.confirmed,
        acknowledged: c.acknowledged,
        connected: c.connected,
    };
    api::DrainProgress {
        instance_id: id.to_owned(),
        drained: view.complete,
        proxies: view.proxies.into_iter().map(line).collect(),
        message: view.message,
    }
}

/// One event, with what is known now of what it is about.
pub fn event(world: &World, numbered: &Numbered, at: At) -> api::Event {
    use api::event::Kind;
    let kind = match &numbered.event {
        Event::Instance { record, previous } => Kind::Instance(api::InstanceChanged {
            instance: Some(instance(world, record, at)),
            previous: previous.map(|p| state(p).into()),
        }),
        Event::Router { router: r, origin, deleted } => Kind::Router(api::RouterChanged {
            router: Some(router(r)),
            origin: origin.to_string(),
            deleted: *deleted,
        }),
        Event::Published { version, routers, services, servers } => Kind::Published(api::Published {
            version: *version,
            routers: *routers,
            services: *services,
            servers: *servers,
        }),
        Event::Proxy { id } => Kind::Proxy(api::ProxyChanged { proxy: Some(proxy(world, id)) }),
        Event::Alarm { subject, message, cleared } => Kind::Alarm(api::AlarmChanged {
            alarm: Some(api::Alarm {
                subject: subject.clone(),
                message: message.clone(),
                since_unix_ms: numbered.at_unix_ms,
            }),
            cleared: *cleared,
        }),
    };
    api::Event { sequence: numbered.sequence, at_unix_ms: numbered.at_unix_ms, kind: Some(kind) }
}

/// A router.
pub fn router(router: &Router) -> api::Router {
    api::Router {
        name: router.name.to_string(),
        rule: router.rule.clone(),
        service: router.service.to_string(),
        entry_points: router.entry_points.clone(),
        priority: router.priority,
        middlewares: router.middlewares.clone(),
    }
}

fn check(check: &Check) -> api::Check {
    use api::check::Kind;
    let port = |p: &Option<u16>| p.map_or(0, u32::from);
    let kind = match &check.kind {
        CheckKind::Http { path, port: p, host, status } => Kind::Http(api::HttpCheck {
            path: path.clone(),
            port: port(p),
            host: host.clone().unwrap_or_default(),
            status: status.map_or(0, u32::from),
        }),
        CheckKind::Tcp { port: p } => Kind::Tcp(api::TcpCheck { port: port(p) }),
    };
    api::Check {
        kind: Some(kind),
        interval_ms: millis(check.interval),
        timeout_ms: millis(check.timeout),
        rise: check.rise,
        fall: check.fall,
    }
}

/// The state's code.
pub fn state(state: State) -> api::InstanceState {
    match state {
        State::Alive => api::InstanceState::Alive,
        State::Tombstone => api::InstanceState::Tombstone,
        State::Unhealthy => api::InstanceState::Unhealthy,
        State::Unknown => api::InstanceState::Unknown,
        State::Draining => api::InstanceState::Draining,
    }
}

fn mode(mode: ProxyMode) -> api::ProxyMode {
    match mode {
        ProxyMode::Http => api::ProxyMode::Http,
        ProxyMode::Tcp => api::ProxyMode::Tcp,
        ProxyMode::Ws => api::ProxyMode::Ws,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
