//! Routers: rule, entry points, middlewares, service.

use std::sync::Arc;

use super::{Problem, Report, cut, name_problem, object};
use crate::compile::Finder;
use crate::compiled::{Route, Table};
use crate::limits::{
    MAX_ENTRY_POINTS_PER_ROUTER, MAX_MIDDLEWARES_PER_ROUTER, MAX_NAME_BYTES, MAX_REGEX_PROGRAM_BYTES,
    MAX_SNAPSHOT_REGEX_BYTES,
};
use crate::map::{Map, Set, map_with_room};
use crate::rule::{Rule, RuleError};
use crate::snapshot::{Router, Snapshot};

/// Priorities above are kept for routers of the proxy itself (`…@internal`), as in Traefik.
const MAX_PRIORITY: i64 = i64::MAX - 1_000;

/// Fills `report.rules`.
pub(super) fn routers<'a>(
    snapshot: &'a Snapshot,
    entry_points: &[String],
    services: &Map<&str, bool>,
    previous: Option<&'a Table>,
    report: &mut Report,
) {
    let entry_points: Set<&str> = entry_points.iter().map(|name| &**name).collect();
    let mut names = map_with_room(snapshot.routers.len());
    let previous = previous.map(|table| (&*table.routes, Finder::new(&table.routes, |route| &*route.name)));
    let mut rules = Rules { previous, shared: Map::default(), regex_bytes: 0 };
    let mut served = Vec::with_capacity(snapshot.routers.len());
    for router in &snapshot.routers {
        let before = report.errors;
        if let Some(problem) = name_problem(&router.name) {
            report.push(Problem::error(object("router", &router.name), "name", problem));
        } else if names.insert(&*router.name, ()).is_some() {
            let message = "there is another router with this name before it";
            report.push(Problem::error(object("router", &router.name), "name", message));
        }
        check_entry_points(router, &entry_points, report);
        check_references(router, services, report);
        let rule = rules.rule(router);
        note_rule(router, &rule, report);
        served.push(rule.ok().filter(|_| report.errors == before));
    }
    report.rules = served;
}

fn note_rule(router: &Router, rule: &Result<Arc<Rule>, RuleError>, report: &mut Report) {
    let of = || object("router", &router.name);
    match rule {
        Err(error) => report.push(Problem::error(of(), "rule", &error.message).at(error.offset)),
        Ok(rule) => {
            for odd in rule.warnings() {
                report.push(Problem::warning(of(), "rule", &odd.message).at(odd.offset));
            }
        }
    }
    if router.priority > MAX_PRIORITY && !router.name.ends_with("@internal") {
        let message = format!(
            "the router priority {} exceeds the max user-defined priority {MAX_PRIORITY}",
            router.priority
        );
        report.push(Problem::error(of(), "priority", message));
    }
}

fn check_entry_points(router: &Router, known: &Set<&str>, report: &mut Report) {
    let of = || object("router", &router.name);
    if router.entry_points.len() > MAX_ENTRY_POINTS_PER_ROUTER {
        let found = router.entry_points.len();
        let message = format!("{found} entry points, at most {MAX_ENTRY_POINTS_PER_ROUTER} are allowed");
        report.push(Problem::error(of(), "entryPoints", message));
        return;
    }
    let mut valid = router.entry_points.is_empty();
    for name in &router.entry_points {
        if known.contains(&**name) {
            valid = true;
        } else {
            let message = format!("entryPoint {:?} doesn't exist", cut(name, MAX_NAME_BYTES));
            report.push(Problem::warning(of(), "entryPoints", message));
        }
    }
    if !valid {
        report.push(Problem::error(of(), "entryPoints", "no valid entryPoint for this router"));
    }
}

fn check_references(router: &Router, services: &Map<&str, bool>, report: &mut Report) {
    let of = || object("router", &router.name);
    if router.middlewares.len() > MAX_MIDDLEWARES_PER_ROUTER {
        let found = router.middlewares.len();
        let message = format!("{found} middlewares, at most {MAX_MIDDLEWARES_PER_ROUTER} are allowed");
        report.push(Problem::error(of(), "middlewares", message));
    } else {
        // There are no middlewares in the contract yet.
        for name in &router.middlewares {
            let message = format!("middleware {:?} does not exist", cut(name, MAX_NAME_BYTES));
            report.push(Problem::error(of(), "middlewares", message));
        }
    }
    let service = cut(&router.service, MAX_NAME_BYTES);
    match services.get(&*router.service) {
        Some(true) => {}
        Some(false) => {
            let message = format!("the service {service:?} has errors of its own");
            report.push(Problem::error(of(), "service", message));
        }
        None if router.service.is_empty() => {
            report.push(Problem::error(of(), "service", "the service is missing on the router"));
        }
        None => {
            let message = format!("the service {service:?} does not exist");
            report.push(Problem::error(of(), "service", message));
        }
    }
}

/// Parses rules, each text once if it can be helped, within a bound on memory.
struct Rules<'a> {
    /// The routes of the previous table.
    previous: Option<(&'a [Arc<Route>], Finder<'a, Route>)>,
    /// Rules with regular expressions by text.
    shared: Map<&'a str, Arc<Rule>>,
    regex_bytes: usize,
}

impl<'a> Rules<'a> {
    fn rule(&mut self, router: &'a Router) -> Result<Arc<Rule>, RuleError> {
        if let Some(rule) = self.known(router) {
            return Ok(rule);
        }
        if self.regex_bytes >= MAX_SNAPSHOT_REGEX_BYTES && may_have_regex(&router.rule) {
            let message = "the regular expressions of all routers together take too much memory";
            return Err(RuleError { offset: 0, message: message.into() });
        }
        let rule = match Rule::parse(&router.rule) {
            Ok(rule) => Arc::new(rule),
            Err(error) => {
                // What is refused has cost time all the same.
                if may_have_regex(&router.rule) {
                    self.regex_bytes += MAX_REGEX_PROGRAM_BYTES;
                }
                return Err(error);
            }
        };
        self.remember(&rule, router);
        Ok(rule)
    }

    /// From this snapshot or from the router of the same name in the previous table.
    fn known(&mut self, router: &'a Router) -> Option<Arc<Rule>> {
        if let Some(rule) = self.shared.get(&*router.rule) {
            return Some(rule.clone());
        }
        let (routes, finder) = self.previous.as_mut()?;
        let rule = &routes[finder.find(&router.name)?].rule;
        if rule.text() != router.rule {
            return None;
        }
        let rule = rule.clone();
        self.remember(&rule, router);
        Some(rule)
    }

    fn remember(&mut self, rule: &Arc<Rule>, router: &'a Router) {
        if rule.regex_bytes() > 0 {
            self.regex_bytes += rule.regex_bytes();
            self.shared.insert(&router.rule, rule.clone());
        }
    }
}

fn may_have_regex(rule: &str) -> bool {
    rule.as_bytes().windows(6).any(|w| w.eq_ignore_ascii_case(b"regexp"))
}
