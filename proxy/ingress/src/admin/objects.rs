//! Routers and services as Traefik's API shows them: `/api/rawdata`, `/api/http/*`.

use std::collections::{BTreeMap, HashMap, HashSet};

use pancake_table::snapshot::Snapshot;
use serde::Serialize;

use super::Context;
use super::message::{Answer, Asked};
use super::page::{self, Filter};
use crate::change::{Problem, Provider, Severity, View};

/// The plain data of one middleware.
mod middleware;
/// The plain data of one router.
mod router;
/// The plain data of one service.
mod service;

pub(super) use middleware::MiddlewareInfo;
pub(super) use router::RouterInfo;
pub(super) use service::{ServiceInfo, go_duration};

/// Everything by name.
#[derive(Default)]
pub(super) struct Objects {
    pub(super) routers: BTreeMap<String, RouterInfo>,
    pub(super) middlewares: BTreeMap<String, MiddlewareInfo>,
    pub(super) services: BTreeMap<String, ServiceInfo>,
}

/// What an object is worth, and what is wrong with it.
pub(super) struct Verdict {
    pub(super) status: &'static str,
    pub(super) errors: Vec<String>,
}

/// What is wrong, by object.
struct Wrong<'a>(HashMap<&'a str, Vec<&'a Problem>>);

impl<'a> Wrong<'a> {
    fn of(view: &'a View) -> Wrong<'a> {
        let mut by_object: HashMap<&str, Vec<&Problem>> = HashMap::new();
        for problem in view.providers.iter().flat_map(|provider| &*provider.problems) {
            by_object.entry(&problem.object).or_default().push(problem);
        }
        Wrong(by_object)
    }

    fn verdict(&self, kind: &str, name: &str, serves: bool) -> Verdict {
        let problems = self.0.get(&*format!("{kind} {name}")).map_or(&[][..], |problems| problems);
        let is_error = problems.iter().any(|problem| problem.severity == Severity::Error);
        let text = |problem: &&Problem| match &*problem.field {
            "" => problem.message.clone(),
            field => format!("{field}: {}", problem.message),
        };
        Verdict {
            status: match (is_error || !serves, problems.is_empty()) {
                (true, _) => "disabled",
                (false, false) => "warning",
                (false, true) => "enabled",
            },
            errors: problems.iter().map(text).collect(),
        }
    }
}

impl Objects {
    pub(super) fn of(context: &Context, view: &View) -> Objects {
        let wrong = Wrong::of(view);
        let defaults = context.settings.default_entry_points();
        let known: Vec<&str> =
            context.settings.entry_points.iter().map(|entry_point| entry_point.name.as_str()).collect();
        let serving: HashMap<&str, i64> =
            view.table.routes.iter().map(|route| (&*route.name, route.priority)).collect();
        let built: HashMap<&str, _> =
            view.table.services.iter().map(|service| (&*service.name, service)).collect();
        let mut objects = Objects::default();
        let mut used_by: HashMap<&str, Vec<String>> = HashMap::new();
        let mut gone_through: HashMap<&str, Vec<String>> = HashMap::new();
        let each =
            |get: fn(&crate::change::ProviderView) -> [&Snapshot; 2]| view.providers.iter().flat_map(get);
        let snapshots: Vec<&Snapshot> = each(|provider| [&provider.snapshot, &provider.left_out]).collect();
        for router in snapshots.iter().flat_map(|snapshot| &snapshot.routers) {
            let priority = serving.get(&*router.name).copied();
            let verdict = wrong.verdict("router", &router.name, priority.is_some());
            used_by.entry(&router.service).or_default().push(router.name.clone());
            for name in &router.middlewares {
                gone_through.entry(name).or_default().push(router.name.clone());
            }
            let info = RouterInfo::new(router, priority, verdict, &defaults, &known);
            objects.routers.insert(router.name.clone(), info);
        }
        let kept: HashSet<&str> = view.table.snapshot.middlewares.iter().map(|one| &*one.name).collect();
        for middleware in snapshots.iter().flat_map(|snapshot| &snapshot.middlewares) {
            let name = &middleware.name;
            let verdict = wrong.verdict("middleware", name, kept.contains(&**name));
            let mut users = gone_through.remove(&**name).unwrap_or_default();
            users.sort();
            objects.middlewares.insert(name.clone(), MiddlewareInfo::new(middleware, verdict, users));
        }
        for service in snapshots.iter().flat_map(|snapshot| &snapshot.services) {
            let built = built.get(&*service.name).copied();
            let verdict = wrong.verdict("service", &service.name, built.is_some());
            let mut users = used_by.remove(&*service.name).unwrap_or_default();
            users.sort();
            let info = ServiceInfo::new(service, built, verdict, users);
            objects.services.insert(service.name.clone(), info);
        }
        objects
    }

    fn now(context: &Context) -> Objects {
        Objects::of(context, &context.view.load_full())
    }
}

/// An object with its name, as lists show it.
#[derive(Serialize)]
struct Named<'a, T> {
    #[serde(flatten)]
    info: &'a T,
    name: &'a str,
    provider: &'a str,
    #[serde(flatten)]
    more: More,
}

/// What only lists show.
#[derive(Serialize)]
#[serde(untagged)]
enum More {
    Router {
        #[serde(rename = "priorityStr")]
        priority: String,
    },
    Kind {
        #[serde(rename = "type")]
        kind: &'static str,
    },
}

fn provider_of(name: &str) -> &str {
    name.rsplit_once('@').map_or("", |(_, provider)| provider)
}

fn named_router<'a>(name: &'a str, info: &'a RouterInfo) -> Named<'a, RouterInfo> {
    Named {
        info,
        name,
        provider: provider_of(name),
        more: More::Router { priority: info.priority.to_string() },
    }
}

fn named_service<'a>(name: &'a str, info: &'a ServiceInfo) -> Named<'a, ServiceInfo> {
    Named { info, name, provider: provider_of(name), more: More::Kind { kind: "loadbalancer" } }
}

fn named_middleware<'a>(name: &'a str, info: &'a MiddlewareInfo) -> Named<'a, MiddlewareInfo> {
    Named { info, name, provider: provider_of(name), more: More::Kind { kind: info.kind } }
}

/// `/api/http/routers`
pub(super) fn routers(asked: &Asked, context: &Context) -> Answer {
    let objects = Objects::now(context);
    let filter = Filter::of(asked);
    let takes = |(name, info): &(&String, &RouterInfo)| {
        filter.takes(info.status, &[name, &info.rule], Some(&info.service))
    };
    let listed = objects.routers.iter().filter(takes).map(|(name, info)| named_router(name, info));
    page::answer(asked, listed.collect())
}

/// `/api/http/routers/{name}`
pub(super) fn router(context: &Context, name: &str) -> Answer {
    match Objects::now(context).routers.get(name) {
        Some(info) => Answer::json(&named_router(name, info)),
        None => Answer::not_found(format!("router not found: {name}")),
    }
}

/// `/api/http/services`
pub(super) fn services(asked: &Asked, context: &Context) -> Answer {
    let objects = Objects::now(context);
    let filter = Filter::of(asked);
    let takes = |(name, info): &(&String, &ServiceInfo)| filter.takes(info.status, &[name], None);
    let listed = objects.services.iter().filter(takes).map(|(name, info)| named_service(name, info));
    page::answer(asked, listed.collect())
}

/// `/api/http/services/{name}`
pub(super) fn service(context: &Context, name: &str) -> Answer {
    match Objects::now(context).services.get(name) {
        Some(info) => Answer::json(&named_service(name, info)),
        None => Answer::not_found(format!("service not found: {name}")),
    }
}

/// `/api/http/middlewares`
pub(super) fn middlewares(asked: &Asked, context: &Context) -> Answer {
    let objects = Objects::now(context);
    let filter = Filter::of(asked);
    let takes = |(name, info): &(&String, &MiddlewareInfo)| filter.takes(info.status, &[name], None);
    let listed = objects.middlewares.iter().filter(takes).map(|(name, info)| named_middleware(name, info));
    page::answer(asked, listed.collect())
}

/// `/api/http/middlewares/{name}`
pub(super) fn middleware(context: &Context, name: &str) -> Answer {
    match Objects::now(context).middlewares.get(name) {
        Some(info) => Answer::json(&named_middleware(name, info)),
        None => Answer::not_found(format!("middleware not found: {name}")),
    }
}

/// `/api/rawdata`
pub(super) fn raw_data(context: &Context) -> Answer {
    #[derive(Serialize)]
    struct RawData {
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        routers: BTreeMap<String, RouterInfo>,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        middlewares: BTreeMap<String, MiddlewareInfo>,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        services: BTreeMap<String, ServiceInfo>,
        /// Not in Traefik: what is wrong with no single object.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        problems: Vec<Problem>,
    }
    let view = context.view.load_full();
    let Objects { routers, middlewares, services } = Objects::of(context, &view);
    let of_no_object = |problem: &&Problem| {
        let (kind, name) = problem.object.split_once(' ').unwrap_or(("", ""));
        match kind {
            "router" => !routers.contains_key(name),
            "middleware" => !middlewares.contains_key(name),
            "service" => !services.contains_key(name),
            _ => true,
        }
    };
    let refused = view.providers.iter().flat_map(|provider| provider.refusal.iter());
    let serving = view.providers.iter().flat_map(|provider| provider.problems.iter()).filter(of_no_object);
    let problems = refused.chain(serving).cloned().collect();
    Answer::json(&RawData { routers, middlewares, services, problems })
}

/// `name` as somebody of the same provider would write it.
fn short<'a>(name: &'a str, user: &str) -> &'a str {
    match name.rsplit_once('@') {
        Some((short, provider)) if provider == provider_of(user) => short,
        _ => name,
    }
}

/// Counts for the overview.
#[derive(Serialize, Default)]
pub(super) struct Section {
    total: usize,
    warnings: usize,
    errors: usize,
}

impl Section {
    pub(super) fn of<'a>(statuses: impl Iterator<Item = &'a str>) -> Section {
        let mut section = Section::default();
        for status in statuses {
            section.total += 1;
            section.warnings += usize::from(status == "warning");
            section.errors += usize::from(status == "disabled");
        }
        section
    }
}

/// A provider as the overview names it.
pub(super) fn title(provider: Provider) -> &'static str {
    match provider {
        Provider::File => "File",
        Provider::Pancake => "Pancake",
    }
}
