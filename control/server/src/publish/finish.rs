//! Candidate to something that every proxy accepts.
//!
//! A proxy refuses a snapshot whole if anything in it is wrong. So what the contract's own check finds is left out
//! here, with its reasons shown on the object, and the rest goes out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pancake_model::name::RouterName;
use pancake_model::router::Router;
use pancake_table::check::{Report, Severity, check, check_after};
use pancake_table::compile::{EntryPointSpec, compile};
use pancake_table::compiled::Table;
use pancake_table::snapshot::{LoadBalancer, Service, ServiceKind, Snapshot};

use super::{PROVIDER, qualified};

/// A snapshot that passes the check.
pub struct Finished {
    /// What passes.
    pub snapshot: Arc<Snapshot>,
    /// Compiled.
    pub table: Arc<Table>,
    /// Routers that do not, with the reasons.
    pub problems: BTreeMap<RouterName, Vec<String>>,
    /// Alarms by subject: services that do not.
    pub alarms: BTreeMap<String, String>,
}

/// Leaves out what does not pass. Takes milliseconds with thousands of routers: not for the async threads.
pub fn finish(mut snapshot: Snapshot, entry_points: &[String], previous: &Table) -> Finished {
    let mut problems: BTreeMap<RouterName, Vec<String>> = BTreeMap::new();
    let mut alarms = BTreeMap::new();
    let mut report = check_after(&snapshot, entry_points, Some(previous));
    if report.has_errors() {
        let services: BTreeSet<String> = report.services_left_out(&snapshot).map(str::to_owned).collect();
        let routers: BTreeSet<String> = report.routers_left_out(&snapshot).map(str::to_owned).collect();
        for name in &services {
            let name = bare(name);
            alarms.insert(format!("service {name}"), reasons(&report, "service", name).join("\n"));
        }
        for name in &routers {
            if let Ok(name) = RouterName::new(bare(name)) {
                let reasons = reasons(&report, "router", name.as_str());
                problems.insert(name, reasons);
            }
        }
        snapshot.services.retain(|s| !services.contains(&s.name));
        snapshot.routers.retain(|r| !routers.contains(&r.name));
        report = check_after(&snapshot, entry_points, Some(previous));
    }
    if report.has_errors() {
        // Only what concerns the snapshot as a whole is left: more objects than the contract allows.
        let all: Vec<String> = report.problems().iter().map(ToString::to_string).collect();
        alarms.insert("snapshot size".into(), all.join("\n"));
    }
    let specs: Vec<EntryPointSpec> = entry_points.iter().map(EntryPointSpec::new).collect();
    let snapshot = Arc::new(snapshot);
    let table = Arc::new(compile(snapshot.clone(), &report, &specs, Some(previous)));
    Finished { snapshot, table, problems, alarms }
}

/// Everything that is wrong with a router in itself: what the check says of it beside a service that is right.
pub fn judge(router: &Router) -> Vec<String> {
    let service = Service {
        name: qualified(router.service.as_str()),
        kind: ServiceKind::LoadBalancer(LoadBalancer::default()),
    };
    let snapshot = Snapshot {
        version: 0,
        routers: vec![pancake_table::snapshot::Router {
            name: qualified(router.name.as_str()),
            entry_points: router.entry_points.clone(),
            rule: router.rule.clone(),
            priority: router.priority,
            middlewares: router.middlewares.clone(),
            service: service.name.clone(),
            tls: None,
        }],
        services: vec![service],
        ..Snapshot::default()
    };
    let known =
        if router.entry_points.is_empty() { vec!["web".to_owned()] } else { router.entry_points.clone() };
    let report = check(&snapshot, &known);
    reasons(&report, "router", router.name.as_str())
}

/// Errors of one object, without its name.
fn reasons(report: &Report, kind: &str, name: &str) -> Vec<String> {
    let object = format!("{kind} {}", qualified(name));
    let of_it = report.problems().iter().filter(|p| p.severity == Severity::Error && p.object == object);
    let text = |p: &pancake_table::check::Problem| {
        let place = p.offset_in_rule.map(|at| format!(" at byte {at}")).unwrap_or_default();
        format!("{}{place}: {}", p.field, p.message)
    };
    let found: Vec<String> = of_it.map(text).collect();
    match (found.is_empty(), report.has_errors()) {
        (true, true) => vec!["left out; the reason is among the problems that are not listed".into()],
        _ => found,
    }
}

fn bare(name: &str) -> &str {
    name.strip_suffix(PROVIDER).and_then(|n| n.strip_suffix('@')).unwrap_or(name)
}
