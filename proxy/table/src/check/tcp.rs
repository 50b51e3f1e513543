//! TCP transports, services and routers.

use std::sync::Arc;

use super::routers::{Known, check_entry_points, check_middlewares, check_service, note_rule};
use super::rules::Rules;
use super::tls::{self, check_router_tls, check_servers_tls};
use super::weighted::{self, Node};
use super::{Report, Subject, cut};
use crate::compiled::Table;
use crate::limits::{MAX_HEALTH_FIELD_BYTES, MAX_NAME_BYTES, MAX_SERVERS_PER_SERVICE, MAX_WEIGHT};
use crate::map::{Map, Set, map_with_room};
use crate::rule::{Matcher, Rule};
use crate::server_url;
use crate::snapshot::Snapshot;
use crate::snapshot::tcp::{
    TcpHealthCheck, TcpLoadBalancer, TcpRouter, TcpServer, TcpServiceKind, WeightedService,
};

/// Names of the transports that TCP services may use.
pub(super) fn transports<'a>(snapshot: &'a Snapshot, report: &mut Report) -> Set<&'a str> {
    let mut names = Set::from_iter(["default"]);
    let mut seen = Set::default();
    for transport in &snapshot.tcp.servers_transports {
        let of = Subject::new("tcp serversTransport", &transport.name);
        if of.check_name(!seen.insert(&*transport.name), report) {
            names.insert(&transport.name);
        }
        check_proxy_protocol(of, "proxyProtocol.version", transport.proxy_protocol, report);
        check_servers_tls(of, &transport.tls, report);
    }
    names
}

/// Services by name, and whether they can be built. Fills `report.tcp_services`.
pub(super) fn services<'a>(
    snapshot: &'a Snapshot,
    transports: &Set<&str>,
    report: &mut Report,
) -> Map<&'a str, bool> {
    let mut nodes = Vec::with_capacity(snapshot.tcp.services.len());
    for service in &snapshot.tcp.services {
        let of = Subject::new("tcp service", &service.name);
        let before = report.errors;
        let parts: &[WeightedService] = match &service.kind {
            TcpServiceKind::Weighted(parts) => parts,
            TcpServiceKind::LoadBalancer(balancer) => {
                check_balancer(of, balancer, transports, report);
                &[]
            }
        };
        nodes.push(Node { of, parts, faulty: report.errors > before });
    }
    let buildable = weighted::buildable(nodes, report);
    report.tcp_services = buildable.order;
    buildable.names
}

fn check_balancer(of: Subject<'_>, balancer: &TcpLoadBalancer, transports: &Set<&str>, report: &mut Report) {
    if let Some(name) = &balancer.servers_transport
        && !transports.contains(&**name)
    {
        let message = format!("servers transport {:?} does not exist", cut(name, MAX_NAME_BYTES));
        of.error("loadBalancer.serversTransport", message, report);
    }
    check_proxy_protocol(of, "loadBalancer.proxyProtocol.version", balancer.proxy_protocol, report);
    let found = balancer.servers.len();
    if found > MAX_SERVERS_PER_SERVICE {
        let message = format!("{found} servers, at most {MAX_SERVERS_PER_SERVICE} are allowed");
        of.error("loadBalancer.servers", message, report);
        return;
    }
    for (place, server) in balancer.servers.iter().enumerate() {
        if let Some((field, message)) = server_problem(server) {
            of.error(format!("loadBalancer.servers[{place}].{field}"), message, report);
        }
    }
    if let Some(check) = &balancer.health_check {
        check_health(of, check, report);
    }
}

fn server_problem(server: &TcpServer) -> Option<(&'static str, String)> {
    if let Err(error) = server_url::parse_tcp(&server.address) {
        return Some(("address", error.to_string()));
    }
    if server.weight > MAX_WEIGHT {
        return Some(("weight", format!("{} is too much, at most {MAX_WEIGHT} is allowed", server.weight)));
    }
    if server.id.len() > MAX_NAME_BYTES || server.id.chars().any(char::is_control) {
        return Some(("id", format!("expected at most {MAX_NAME_BYTES} bytes without control characters")));
    }
    None
}

fn check_health(of: Subject<'_>, check: &TcpHealthCheck, report: &mut Report) {
    let mut expect = |good: bool, field: &str, message: &str| {
        if !good {
            of.error(format!("loadBalancer.healthCheck.{field}"), message, report);
        }
    };
    let short = |text: &Option<String>| text.as_ref().is_none_or(|t| t.len() <= MAX_HEALTH_FIELD_BYTES);
    expect(check.port != Some(0), "port", "expected 1 to 65535");
    expect(short(&check.send), "send", "the text is too long");
    expect(short(&check.expect), "expect", "the text is too long");
    expect(!check.interval.is_zero(), "interval", "expected more than zero");
    expect(!check.unhealthy_interval.is_zero(), "unhealthyInterval", "expected more than zero");
    expect(!check.timeout.is_zero(), "timeout", "expected more than zero");
}

fn check_proxy_protocol(of: Subject<'_>, field: &str, version: Option<u8>, report: &mut Report) {
    if !matches!(version, None | Some(1 | 2)) {
        of.error(field, "expected 1 or 2", report);
    }
}

/// Fills `report.tcp_rules`. `regex_bytes`: what regular expressions of HTTP rules take.
pub(super) fn routers<'a>(
    snapshot: &'a Snapshot,
    known: &Known<'_>,
    previous: Option<&'a Table>,
    regex_bytes: usize,
    report: &mut Report,
) {
    let routers = &snapshot.tcp.routers;
    let mut names = map_with_room(routers.len());
    let mut rules = Rules::new(Rule::parse_tcp, previous.map(|table| &*table.tcp_routes), regex_bytes);
    let mut served: Vec<Option<Arc<Rule>>> = Vec::with_capacity(routers.len());
    for router in routers {
        let before = report.errors;
        let of = Subject::new("tcp router", &router.name);
        of.check_name(names.insert(&*router.name, ()).is_some(), report);
        check_entry_points(of, &router.entry_points, known.entry_points, report);
        check_middlewares(of, &router.middlewares, known.middlewares, report);
        check_service(of, &router.service, known.services, report);
        let rule = rules.rule(&router.name, &router.rule);
        note_rule(of, &rule, router.priority, report);
        match (&router.tls, &rule) {
            (Some(tls), _) => {
                check_router_tls(of, tls, known.tls_options, report);
                if tls.passthrough && (tls.options.is_some() || tls.cert_resolver.is_some()) {
                    let message = "TLS is passed through, so options and certResolver have no effect";
                    of.warning("tls.passthrough", message, report);
                }
            }
            (None, Ok(rule)) => check_plain(of, rule, report),
            (None, Err(_)) => {}
        }
        served.push(rule.ok().filter(|_| report.errors == before));
    }
    tls::conflicts(routers.iter().zip(&served).filter_map(wish), report);
    report.tcp_rules = served;
}

/// What a router wants whose TLS ends here.
fn wish<'a>((router, rule): (&'a TcpRouter, &'a Option<Arc<Rule>>)) -> Option<tls::Wish<'a>> {
    let tls = router.tls.as_ref().filter(|tls| !tls.passthrough)?;
    let of = Subject::new("tcp router", &router.name);
    Some(tls::Wish { of, entry_points: &router.entry_points, hosts: rule.as_ref()?.hosts(), tls })
}

/// Without TLS there is no ClientHello, and so no name and no protocol.
fn check_plain(of: Subject<'_>, rule: &Rule, report: &mut Report) {
    let by_name = |matcher: &Matcher| {
        matches!(matcher, Matcher::Host(_) | Matcher::HostWildcard(_) | Matcher::HostRegexp(_))
    };
    if rule.any_matcher(&by_name) {
        let message = "the rule asks for a server name, but there is no TLS on the router; expected tls, or HostSNI(`*`)";
        of.error("rule", message, report);
    }
    if rule.any_matcher(&|matcher| matches!(matcher, Matcher::Alpn(_))) {
        let message =
            "the rule asks for a protocol (ALPN), but there is no TLS on the router, so none is ever offered";
        of.warning("rule", message, report);
    }
}
