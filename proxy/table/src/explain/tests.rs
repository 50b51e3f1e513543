use std::sync::Arc;

use super::*;
use crate::check::check;
use crate::compile::{EntryPointSpec, compile};
use crate::lookup::OwnedRequest;
use crate::snapshot::{self, LoadBalancer, Router, ServiceKind, Snapshot};

fn table(rules: &[(&str, &str)]) -> Table {
    let servers = ["http://10.0.0.1", "http://10.0.0.2", "http://10.0.0.3", "http://x.internal"];
    let mut servers: Vec<_> = servers.map(snapshot::Server::new).into();
    servers[1].draining = true;
    servers[3].weight = 0;
    let kind = ServiceKind::LoadBalancer(LoadBalancer { servers, ..LoadBalancer::default() });
    let router = |(name, rule): &(&str, &str)| Router {
        name: (*name).into(),
        rule: (*rule).into(),
        service: "s@f".into(),
        ..Router::default()
    };
    let snapshot = Snapshot {
        version: 3,
        routers: rules.iter().map(router).collect(),
        services: vec![snapshot::Service { name: "s@f".into(), kind }],
        ..Snapshot::default()
    };
    let report = check(&snapshot, &["web".into()]);
    assert!(!report.has_errors(), "{:?}", report.problems());
    compile(Arc::new(snapshot), &report, &[EntryPointSpec::new("web")], None)
}

fn explain(table: &Table, host: &str, target: &str) -> Explanation {
    table.explain(EntryPointId(0), false, &OwnedRequest::get(host, target))
}

#[test]
fn says_which_part_failed_and_why() {
    for (rule, part, why) in [
        ("Host(`a`) && Path(`/x`)", "Path(`/x`)", "the path is \"/\""),
        ("Host(`a`) && !PathPrefix(`/`)", "!PathPrefix(`/`)", "the request matches PathPrefix(`/`)"),
        ("PathPrefix(`/api`)", "PathPrefix(`/api`)", "the path \"/\" does not start with /api"),
        ("HostRegexp(`^b`)", "HostRegexp(`^b`)", "the host \"a\" does not match ^b"),
        ("Header(`X-A`, `1`)", "Header(`X-A`, `1`)", "the request has no header X-A"),
        ("Query(`q`)", "Query(`q`)", "the query \"k=v\" has no such parameter without a value"),
        ("Method(`POST`)", "Method(`POST`)", "the method is \"GET\""),
        ("ClientIP(`10.0.0.0/8`)", "ClientIP(`10.0.0.0/8`)", "the peer of the connection is 127.0.0.1"),
    ] {
        let explanation = explain(&table(&[("r@f", rule)]), "a", "/?k=v");
        let [candidate] = &*explanation.candidates else { panic!("{rule}") };
        let [failure] = &*candidate.failed else { panic!("{rule}: {candidate:?}") };
        assert_eq!((&*failure.part, &*failure.why), (part, why));
        assert_eq!(&rule[failure.offset..failure.offset + part.len()], part);
    }
    let explanation = explain(&table(&[("r@f", "Path(`/a`)")]), "a", "/a/");
    assert_eq!(explanation.candidates[0].failed[0].why, "the path is \"/a/\": a slash at the end counts");
}

#[test]
fn names_candidates_in_order_and_the_servers_of_the_chosen_one() {
    let rules = [
        ("web@f", "Host(`a`)"),
        ("api@f", "Host(`a`) && (PathPrefix(`/api`) || PathPrefix(`/v2`))"),
        ("other@f", "Host(`b`)"),
        ("rest@f", "Path(`/`)"),
    ];
    let table = table(&rules);
    table.services[0].servers[2].live.set_up(false);
    let explanation = explain(&table, "a", "/");
    assert_eq!((explanation.routers, explanation.ruled_out, explanation.version), (4, 1, 3));
    let names: Vec<&str> = explanation.candidates.iter().map(|c| &*c.router).collect();
    assert_eq!(names, ["api@f", "rest@f"]);
    assert_eq!(explanation.candidates[0].failed.len(), 2);
    let chosen = explanation.chosen.as_ref().unwrap();
    assert_eq!((&*chosen.router, &*chosen.service, chosen.usable), ("rest@f", "s@f", 1));
    let states: Vec<&str> = chosen.servers.iter().map(|s| s.state).collect();
    assert_eq!(states, ["up", "draining", "down", "weight 0"]);
    assert_eq!(chosen.servers[0].address.as_deref(), Some("10.0.0.1:80"));
    assert_eq!(explanation.outcome, "router \"rest@f\", service \"s@f\", one of 1 usable servers of 4");
    let json = serde_json::to_value(&explanation).unwrap();
    assert_eq!(json["chosen"]["servers"][1]["state"], "draining");
}

#[test]
fn says_why_nobody_answers() {
    let table = table(&[("web@f", "Host(`a`)")]);
    let explanation = explain(&table, "b", "/");
    assert_eq!(explanation.outcome, "no router of entry point \"web\" matches: answered 404");
    assert_eq!(explanation.ruled_out, 1);
    for server in &table.services[0].servers {
        server.live.set_up(false);
    }
    let outcome = explain(&table, "a", "/").outcome;
    assert!(outcome.ends_with("none of its 4 servers is usable: answered 503"), "{outcome}");
    let nowhere = table.explain(EntryPointId(9), false, &OwnedRequest::get("a", "/"));
    assert_eq!(nowhere.outcome, "there is no entry point with this number");
}

#[test]
fn lists_are_bounded() {
    let rules: Vec<(String, String)> =
        (0..300).map(|i| (format!("r{i}@f"), format!("Header(`h`, `{i}`) && Host(`a`)"))).collect();
    let rules: Vec<(&str, &str)> = rules.iter().map(|(name, rule)| (&**name, &**rule)).collect();
    assert_eq!(explain(&table(&rules), "a", "/").candidates.len(), MAX_EXPLAINED);
}
