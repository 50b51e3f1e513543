//! Routers: rule, entry points, middlewares, service, TLS. What HTTP, TCP and UDP routers have in common, and HTTP routers.

use std::sync::Arc;

use super::rules::Rules;
use super::tls::{self, check_router_tls};
use super::{Report, Subject, cut};
use crate::compiled::Table;
use crate::limits::{MAX_ENTRY_POINTS_PER_ROUTER, MAX_MIDDLEWARES_PER_ROUTER, MAX_NAME_BYTES};
use crate::map::{Map, Set, map_with_room};
use crate::rule::{Rule, RuleError};
use crate::snapshot::Snapshot;

/// Priorities above are kept for routers of the proxy itself (`…@internal`), as in Traefik.
const MAX_PRIORITY: i64 = i64::MAX - 1_000;

/// What routers may name.
pub(super) struct Known<'a> {
    /// Names of entry points.
    pub(super) entry_points: &'a Set<&'a str>,
    /// Services by name, and whether they can be built.
    pub(super) services: &'a Map<&'a str, bool>,
    /// Middlewares by name, and whether they are sound.
    pub(super) middlewares: &'a Map<&'a str, bool>,
    /// TLS options by name, and whether they are sound.
    pub(super) tls_options: &'a Map<&'a str, bool>,
}

/// Fills `report.rules`. Returns the memory that regular expressions take.
pub(super) fn routers<'a>(
    snapshot: &'a Snapshot,
    known: &Known<'_>,
    previous: Option<&'a Table>,
    report: &mut Report,
) -> usize {
    let mut names = map_with_room(snapshot.routers.len());
    let mut rules = Rules::new(Rule::parse, previous.map(|table| &*table.routes), 0);
    let mut served: Vec<Option<Arc<Rule>>> = Vec::with_capacity(snapshot.routers.len());
    for router in &snapshot.routers {
        let before = report.errors;
        let of = Subject::new("router", &router.name);
        of.check_name(names.insert(&*router.name, ()).is_some(), report);
        check_entry_points(of, &router.entry_points, known.entry_points, report);
        check_middlewares(of, &router.middlewares, known.middlewares, report);
        check_service(of, &router.service, known.services, report);
        let rule = rules.rule(&router.name, &router.rule);
        note_rule(of, &rule, router.priority, report);
        if let Some(spec) = &router.tls {
            check_router_tls(of, spec, known.tls_options, report);
            if spec.passthrough {
                let message = "only TCP routers can pass TLS through; this one ends it";
                of.warning("tls.passthrough", message, report);
            }
        }
        served.push(rule.ok().filter(|_| report.errors == before));
    }
    let with_tls = snapshot.routers.iter().zip(&served).filter_map(|(router, rule)| {
        Some(tls::Wish {
            of: Subject::new("router", &router.name),
            entry_points: &router.entry_points,
            hosts: rule.as_ref().filter(|_| router.tls.is_some())?.hosts(),
            tls: router.tls.as_ref()?,
        })
    });
    tls::conflicts(with_tls, report);
    report.rules = served;
    rules.regex_bytes()
}

pub(super) fn note_rule(
    of: Subject<'_>,
    rule: &Result<Arc<Rule>, RuleError>,
    priority: i64,
    report: &mut Report,
) {
    match rule {
        Err(error) => report.push(of.problem("rule", &error.message).at(error.offset)),
        Ok(rule) => {
            for odd in rule.warnings() {
                report.push(of.odd("rule", &odd.message).at(odd.offset));
            }
        }
    }
    if priority > MAX_PRIORITY && !of.name.ends_with("@internal") {
        let message =
            format!("the router priority {priority} exceeds the max user-defined priority {MAX_PRIORITY}");
        of.error("priority", message, report);
    }
}

pub(super) fn check_entry_points(of: Subject<'_>, names: &[String], known: &Set<&str>, report: &mut Report) {
    if names.len() > MAX_ENTRY_POINTS_PER_ROUTER {
        let found = names.len();
        let message = format!("{found} entry points, at most {MAX_ENTRY_POINTS_PER_ROUTER} are allowed");
        of.error("entryPoints", message, report);
        return;
    }
    let mut valid = names.is_empty();
    for name in names {
        if known.contains(&**name) {
            valid = true;
        } else {
            let message = format!("entryPoint {:?} doesn't exist", cut(name, MAX_NAME_BYTES));
            of.warning("entryPoints", message, report);
        }
    }
    if !valid {
        of.error("entryPoints", "no valid entryPoint for this router", report);
    }
}

pub(super) fn check_middlewares(
    of: Subject<'_>,
    names: &[String],
    known: &Map<&str, bool>,
    report: &mut Report,
) {
    if names.len() > MAX_MIDDLEWARES_PER_ROUTER {
        let found = names.len();
        let message = format!("{found} middlewares, at most {MAX_MIDDLEWARES_PER_ROUTER} are allowed");
        of.error("middlewares", message, report);
        return;
    }
    for name in names {
        let shown = cut(name, MAX_NAME_BYTES);
        let message = match known.get(&**name) {
            Some(true) => continue,
            Some(false) => format!("the middleware {shown:?} has errors of its own"),
            None => format!("middleware {shown:?} does not exist"),
        };
        of.error("middlewares", message, report);
    }
}

pub(super) fn check_service(of: Subject<'_>, name: &str, services: &Map<&str, bool>, report: &mut Report) {
    let service = cut(name, MAX_NAME_BYTES);
    match services.get(name) {
        Some(true) => {}
        Some(false) => {
            of.error("service", format!("the service {service:?} has errors of its own"), report);
        }
        None if name.is_empty() => of.error("service", "the service is missing on the router", report),
        None => of.error("service", format!("the service {service:?} does not exist"), report),
    }
}
