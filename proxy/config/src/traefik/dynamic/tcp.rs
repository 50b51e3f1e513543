//! `tcp.routers` and `tcp.services`.

use std::time::Duration;

use pancake_table::snapshot::tcp::{
    TcpHealthCheck, TcpLoadBalancer, TcpRouter, TcpServer, TcpService, TcpServiceKind, WeightedService,
};
use pancake_table::snapshot::tls::RouterTls;

use super::routers::rule_syntax;
use super::{qualified, qualified_options};
use crate::decode::Fields;
use crate::traefik::tls;

pub(super) fn router(name: String, fields: &Fields<'_, '_>) -> TcpRouter {
    rule_syntax(fields);
    if fields.get("rule").is_none() {
        fields.missing("rule", "a rule such as HostSNI(`example.org`) or HostSNI(`*`)");
    }
    if fields.get("service").is_none() {
        fields.missing("service", "the name of a service");
    }
    let texts = |key| fields.list(key).into_iter().map(|(text, _)| text);
    TcpRouter {
        name,
        entry_points: texts("entryPoints").map(str::to_string).collect(),
        rule: fields.string("rule").unwrap_or_default().to_string(),
        priority: fields.number("priority", "a whole number", |_| true).unwrap_or_default(),
        middlewares: texts("middlewares").map(qualified).collect(),
        service: fields.string("service").map(qualified).unwrap_or_default(),
        tls: fields.section("tls", router_tls),
    }
}

fn router_tls(section: &Fields<'_, '_>) -> RouterTls {
    let passthrough = section.boolean("passthrough").unwrap_or_default();
    if passthrough {
        let why = "the connection is passed through, its TLS ends at the server";
        section.ignored(&["options", "certResolver", "domains"], why);
        return RouterTls { passthrough, ..RouterTls::default() };
    }
    tls::router_tls(section, qualified_options)
}

pub(super) fn service(name: String, fields: &Fields<'_, '_>) -> TcpService {
    let kind = match one_kind(fields) {
        Some("weighted") => {
            TcpServiceKind::Weighted(fields.section("weighted", weighted).unwrap_or_default())
        }
        _ => TcpServiceKind::LoadBalancer(fields.section("loadBalancer", load_balancer).unwrap_or_default()),
    };
    TcpService { name, kind }
}

/// Which of `loadBalancer` and `weighted` is there; both or none are reported.
pub(super) fn one_kind(fields: &Fields<'_, '_>) -> Option<&'static str> {
    match (fields.get("loadBalancer"), fields.get("weighted")) {
        (Some(_), None) => Some("loadBalancer"),
        (None, Some(_)) => Some("weighted"),
        (Some(_), Some(second)) => {
            let message = format!("{} is both a loadBalancer and weighted", fields.path());
            let problem = crate::problem::Problem::new(second.span.clone(), message);
            fields.sink().push(problem.expected("one of them"));
            None
        }
        (None, None) => {
            fields.missing("loadBalancer", "a loadBalancer with servers, or weighted services");
            None
        }
    }
}

/// `weighted`.
pub(super) fn weighted(section: &Fields<'_, '_>) -> Vec<WeightedService> {
    section.not_supported(&["healthCheck"]);
    if section.get("services").is_none() {
        section.missing("services", "a list of services with name and weight");
    }
    section.sections("services", |_, part| {
        if part.get("name").is_none() {
            part.missing("name", "the name of a service");
        }
        let weight = part.number("weight", "a whole number; 0 takes nothing", |_| true);
        WeightedService {
            name: part.string("name").map(qualified).unwrap_or_default(),
            weight: weight.unwrap_or(1),
        }
    })
}

fn load_balancer(fields: &Fields<'_, '_>) -> TcpLoadBalancer {
    fields.ignored(&["terminationDelay"], "it belongs to a serversTransport");
    // Traefik's way to name the default transport.
    let transport = fields.string("serversTransport").filter(|name| *name != "default@internal");
    TcpLoadBalancer {
        servers: fields.sections("servers", |_, section| server(section)),
        servers_transport: transport.filter(|name| !name.is_empty()).map(qualified),
        health_check: fields.section("healthCheck", health_check),
        proxy_protocol: fields.section("proxyProtocol", proxy_protocol),
    }
}

fn server(fields: &Fields<'_, '_>) -> TcpServer {
    if fields.get("address").is_none() {
        fields.missing("address", "an address such as 127.0.0.1:5432");
    }
    let weight = fields.number("weight", "a whole number; 0 takes no connections", |_| true);
    TcpServer {
        address: fields.string("address").unwrap_or_default().to_string(),
        tls: fields.boolean("tls").unwrap_or_default(),
        weight: weight.unwrap_or(1),
        draining: false,
        id: String::new(),
    }
}

/// The version; 2 unless it is said.
pub(super) fn proxy_protocol(section: &Fields<'_, '_>) -> u8 {
    section.number("version", "1 or 2", |version| (1..=2).contains(version)).unwrap_or(2)
}

fn health_check(fields: &Fields<'_, '_>) -> TcpHealthCheck {
    let default = TcpHealthCheck::default();
    let text = |key| fields.string(key).filter(|text| !text.is_empty()).map(str::to_string);
    let over_zero = |key, default: Duration| fields.duration_over_zero(key).unwrap_or(default);
    let port = fields.number::<u16>("port", "a port from 1 to 65535", |_| true);
    let interval = over_zero("interval", default.interval);
    TcpHealthCheck {
        port: port.filter(|port| *port != 0),
        send: text("send"),
        expect: text("expect"),
        interval,
        unhealthy_interval: over_zero("unhealthyInterval", interval),
        timeout: over_zero("timeout", default.timeout),
    }
}
