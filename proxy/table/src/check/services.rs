//! Transports, services, their servers and health checks.

use super::tls::check_servers_tls;
use super::{Problem, Report, Subject, object};
use crate::limits::{
    MAX_HEALTH_FIELD_BYTES, MAX_HEALTH_HEADERS, MAX_NAME_BYTES, MAX_SERVERS_PER_SERVICE, MAX_WEIGHT,
};
use crate::map::{Map, Set, map_with_room};
use crate::server_url;
use crate::snapshot::{HealthCheck, LoadBalancer, Server, Service, ServiceKind, Snapshot};

/// The transport that services use which name none.
const DEFAULT_TRANSPORT: &str = "default";

/// Names of the transports that services may use.
pub(super) fn transports<'a>(snapshot: &'a Snapshot, report: &mut Report) -> Set<&'a str> {
    let mut names = Set::from_iter([DEFAULT_TRANSPORT]);
    let mut seen = Set::default();
    for transport in &snapshot.servers_transports {
        let of = Subject::new("serversTransport", &transport.name);
        if of.check_name(!seen.insert(&*transport.name), report) {
            names.insert(&transport.name);
        }
        check_servers_tls(of, &transport.tls, report);
    }
    names
}

/// Services by name, and whether they can be built. Fills `report.services`.
pub(super) fn services<'a>(
    snapshot: &'a Snapshot,
    transports: &Set<&str>,
    report: &mut Report,
) -> Map<&'a str, bool> {
    let mut names = map_with_room(snapshot.services.len());
    report.services = Vec::with_capacity(snapshot.services.len());
    for service in &snapshot.services {
        let before = report.errors;
        let of = Subject::new("service", &service.name);
        if of.check_name(names.contains_key(&*service.name), report) {
            balancer(service, transports, report);
            names.insert(&*service.name, report.errors == before);
        }
        report.services.push(report.errors == before);
    }
    names
}

fn balancer(service: &Service, transports: &Set<&str>, report: &mut Report) {
    let ServiceKind::LoadBalancer(LoadBalancer { servers, health_check, servers_transport, .. }) =
        &service.kind;
    let mut error = |field: &str, message: String| {
        let field = format!("loadBalancer.{field}");
        report.push(Problem::error(object("service", &service.name), field, message));
    };
    if let Some(name) = servers_transport
        && !transports.contains(&**name)
    {
        error(
            "serversTransport",
            format!("servers transport {:?} does not exist", super::cut(name, MAX_NAME_BYTES)),
        );
    }
    if servers.len() > MAX_SERVERS_PER_SERVICE {
        let message = format!("{} servers, at most {MAX_SERVERS_PER_SERVICE} are allowed", servers.len());
        error("servers", message);
        return;
    }
    for (place, server) in servers.iter().enumerate() {
        if let Some((field, message)) = server_problem(server) {
            error(&format!("servers[{place}].{field}"), message);
        }
    }
    if let Some(check) = health_check {
        for (field, message) in health_problems(check) {
            error(&format!("healthCheck.{field}"), message);
        }
    }
}

fn server_problem(server: &Server) -> Option<(&'static str, String)> {
    if let Err(error) = server_url::parse(&server.url) {
        return Some(("url", error.to_string()));
    }
    if server.weight > MAX_WEIGHT {
        return Some(("weight", format!("{} is too much, at most {MAX_WEIGHT} is allowed", server.weight)));
    }
    if server.id.len() > MAX_NAME_BYTES || server.id.chars().any(char::is_control) {
        return Some(("id", format!("expected at most {MAX_NAME_BYTES} bytes without control characters")));
    }
    None
}

/// What would break the requests that the check makes.
fn health_problems(check: &HealthCheck) -> Vec<(&'static str, String)> {
    let mut problems = Vec::new();
    let mut expect = |good: bool, field: &'static str, message: &str| {
        if !good {
            problems.push((field, message.to_owned()));
        }
    };
    let visible =
        |text: &str| text.len() <= MAX_HEALTH_FIELD_BYTES && text.bytes().all(|b| b.is_ascii_graphic());
    let path_expected = "expected a path (and perhaps a query) that starts with `/`, without spaces";
    expect(
        check.path.is_empty() || check.path.starts_with('/') && visible(&check.path),
        "path",
        path_expected,
    );
    match check.scheme.as_deref() {
        None | Some("" | "http" | "https") => {}
        Some(_) => expect(false, "scheme", "expected http or https"),
    }
    let method = is_token(&check.method) && check.method.len() <= MAX_HEALTH_FIELD_BYTES;
    expect(method, "method", "expected a method name such as GET");
    expect(check.status.is_none_or(|s| (100..=599).contains(&s)), "status", "expected 100 to 599");
    expect(check.port != Some(0), "port", "expected 1 to 65535");
    expect(!check.interval.is_zero(), "interval", "expected more than zero");
    expect(!check.unhealthy_interval.is_zero(), "unhealthyInterval", "expected more than zero");
    expect(!check.timeout.is_zero(), "timeout", "expected more than zero");
    expect(check.hostname.as_deref().is_none_or(visible), "hostname", "expected a host name");
    expect(check.headers.len() <= MAX_HEALTH_HEADERS, "headers", "too many headers");
    let value = |v: &str| {
        v.len() <= MAX_HEALTH_FIELD_BYTES && v.bytes().all(|b| b == b'\t' || b >= b' ' && b != 0x7f)
    };
    let sound =
        check.headers.iter().all(|(n, v)| is_token(n) && n.len() <= MAX_HEALTH_FIELD_BYTES && value(v));
    expect(sound, "headers", "expected header names and values as in RFC 9110 section 5");
    problems
}

/// RFC 9110 section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
