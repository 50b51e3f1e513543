//! `http.services`.

use std::collections::BTreeMap;
use std::time::Duration;

use pancake_table::snapshot::{HealthCheck, HealthMode, LoadBalancer, Server, Service, ServiceKind};

use super::qualified;
use crate::decode::Fields;
use crate::problem::Problem;
use crate::tree::{Value, quote};

pub(super) fn read(name: String, fields: &Fields<'_, '_>) -> Service {
    const OTHERS: [&str; 5] = ["weighted", "highestRandomWeight", "mirroring", "failover", "middlewares"];
    fields.not_supported(&OTHERS);
    let balancer = fields.section("loadBalancer", load_balancer);
    if balancer.is_none() && OTHERS.iter().all(|kind| fields.get(kind).is_none()) {
        fields.missing("loadBalancer", "a loadBalancer with servers");
    }
    Service { name, kind: ServiceKind::LoadBalancer(balancer.unwrap_or_default()) }
}

fn load_balancer(fields: &Fields<'_, '_>) -> LoadBalancer {
    fields.not_supported(&["sticky", "passiveHealthCheck"]);
    fields.section("responseForwarding", |section| {
        section.ignored(&["flushInterval"], "what a server sends is always sent on at once");
    });
    strategy(fields);
    // Traefik's way to name the default transport.
    let transport = fields.string("serversTransport").filter(|name| *name != "default@internal");
    LoadBalancer {
        servers: fields.sections("servers", |_, section| server(section)),
        pass_host_header: fields.boolean("passHostHeader").unwrap_or(true),
        health_check: fields.section("healthCheck", health_check),
        servers_transport: transport.filter(|name| !name.is_empty()).map(qualified),
    }
}

fn strategy(fields: &Fields<'_, '_>) {
    let words = [("wrr", true), ("p2c", false), ("hrw", false), ("leasttime", false)];
    if fields.word("strategy", &words) == Some(false)
        && let Some((text, node)) = fields.scalar("strategy")
    {
        let what = format!("strategy {}", quote(text));
        fields.sink().push(Problem::not_supported(node.span.clone(), what).expected("wrr"));
    }
}

fn server(fields: &Fields<'_, '_>) -> Server {
    if fields.get("url").is_none() {
        fields.missing("url", "a URL such as http://127.0.0.1:8000");
    }
    let weight = fields.number("weight", "a whole number; 0 takes no requests", |_| true);
    Server {
        weight: weight.unwrap_or(1),
        preserve_path: fields.boolean("preservePath").unwrap_or_default(),
        ..Server::new(fields.string("url").unwrap_or_default())
    }
}

fn health_check(fields: &Fields<'_, '_>) -> HealthCheck {
    let default = HealthCheck::default();
    let modes = [("http", HealthMode::Http), ("grpc", HealthMode::Grpc)];
    let text = |key| fields.string(key).filter(|text| !text.is_empty()).map(str::to_string);
    let over_zero = |key, default: Duration| fields.duration_over_zero(key).unwrap_or(default);
    let is_status = |status: &u16| *status == 0 || (100..600).contains(status);
    let status = fields.number("status", "a status from 100 to 599", is_status);
    let port = fields.number::<u16>("port", "a port from 1 to 65535", |_| true);
    let interval = over_zero("interval", default.interval);
    HealthCheck {
        mode: fields.word("mode", &modes).unwrap_or_default(),
        path: text("path").unwrap_or(default.path),
        scheme: text("scheme"),
        method: text("method").unwrap_or(default.method),
        status: status.filter(|status| *status != 0),
        port: port.filter(|port| *port != 0),
        interval,
        unhealthy_interval: over_zero("unhealthyInterval", interval),
        timeout: over_zero("timeout", default.timeout),
        hostname: text("hostname"),
        follow_redirects: fields.boolean("followRedirects").unwrap_or(true),
        headers: headers(fields),
    }
}

fn headers(fields: &Fields<'_, '_>) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    for entry in fields.names("headers") {
        match &entry.value.value {
            Value::Scalar(scalar) => {
                headers.insert(entry.key.clone(), scalar.text.clone());
            }
            _ => {
                let message = format!("the header {} has no single value", quote(&entry.key));
                fields.sink().push(Problem::new(entry.value.span.clone(), message).expected("one value"));
            }
        }
    }
    headers
}
