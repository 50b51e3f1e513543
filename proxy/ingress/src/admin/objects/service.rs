//! The plain data of one service.

use std::collections::BTreeMap;
use std::time::Duration;

use pancake_table::compiled;
use pancake_table::explain::ServerState;
use pancake_table::snapshot::{HealthCheck, LoadBalancer, Server, Service, ServiceKind};
use serde::Serialize;

use super::Verdict;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::admin) struct ServiceInfo {
    load_balancer: Shown,
    #[serde(rename = "error", skip_serializing_if = "Vec::is_empty")]
    errors: Vec<String>,
    pub(in crate::admin) status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    used_by: Vec<String>,
    /// By URL: `UP`, `DOWN`, and, beyond Traefik, `DRAINING`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    server_status: BTreeMap<String, &'static str>,
}

impl ServiceInfo {
    pub(super) fn new(
        service: &Service,
        built: Option<&std::sync::Arc<compiled::Service>>,
        verdict: Verdict,
        used_by: Vec<String>,
    ) -> ServiceInfo {
        let ServiceKind::LoadBalancer(balancer) = &service.kind;
        let servers = built.iter().flat_map(|service| &service.servers);
        let server_status = servers.map(|server| {
            let status = match ServerState::of(server).state {
                "draining" => "DRAINING",
                "down" => "DOWN",
                _ => "UP",
            };
            (server.url.to_string(), status)
        });
        ServiceInfo {
            load_balancer: Shown::of(balancer),
            errors: verdict.errors,
            status: verdict.status,
            used_by,
            server_status: server_status.collect(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    servers: Vec<ShownServer>,
    strategy: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    health_check: Option<ShownCheck>,
    pass_host_header: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    servers_transport: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownServer {
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    preserve_path: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    draining: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownCheck {
    #[serde(skip_serializing_if = "Option::is_none")]
    scheme: Option<String>,
    mode: &'static str,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    interval: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    unhealthy_interval: Option<String>,
    timeout: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<String>,
    follow_redirects: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
}

impl Shown {
    fn of(balancer: &LoadBalancer) -> Shown {
        Shown {
            servers: balancer.servers.iter().map(ShownServer::of).collect(),
            strategy: "wrr",
            health_check: balancer.health_check.as_ref().map(ShownCheck::of),
            pass_host_header: balancer.pass_host_header,
            servers_transport: balancer.servers_transport.clone(),
        }
    }
}

impl ShownServer {
    fn of(server: &Server) -> ShownServer {
        ShownServer {
            url: server.url.clone(),
            weight: (server.weight != 1).then_some(server.weight),
            preserve_path: server.preserve_path,
            draining: server.draining,
            id: server.id.clone(),
        }
    }
}

impl ShownCheck {
    fn of(check: &HealthCheck) -> ShownCheck {
        let other = check.unhealthy_interval != check.interval;
        ShownCheck {
            scheme: check.scheme.clone(),
            mode: "http",
            path: check.path.clone(),
            method: (check.method != "GET").then(|| check.method.clone()),
            status: check.status,
            port: check.port,
            interval: go_duration(check.interval),
            unhealthy_interval: other.then(|| go_duration(check.unhealthy_interval)),
            timeout: go_duration(check.timeout),
            hostname: check.hostname.clone(),
            follow_redirects: check.follow_redirects,
            headers: check.headers.clone(),
        }
    }
}

/// As Go prints a `time.Duration`: `1h0m1.5s`, `300ms`.
pub(in crate::admin) fn go_duration(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    let scaled = |unit: u128, name: &str| {
        let (whole, rest) = (nanoseconds / unit, nanoseconds % unit);
        let digits = unit.to_string().len() - 1;
        let fraction = format!("{rest:0digits$}");
        let fraction = fraction.trim_end_matches('0');
        if fraction.is_empty() { format!("{whole}{name}") } else { format!("{whole}.{fraction}{name}") }
    };
    match nanoseconds {
        0 => "0s".into(),
        1..1_000 => format!("{nanoseconds}ns"),
        1_000..1_000_000 => scaled(1_000, "µs"),
        1_000_000..1_000_000_000 => scaled(1_000_000, "ms"),
        _ => {
            let (minutes, seconds) = (duration.as_secs() / 60, duration.as_secs() % 60);
            let rest = Duration::new(seconds, duration.subsec_nanos());
            let fraction = format!("{:09}", rest.subsec_nanos());
            let fraction = fraction.trim_end_matches('0');
            let point = if fraction.is_empty() { "" } else { "." };
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}{point}{fraction}s"),
                (0, minutes) => format!("{minutes}m{seconds}{point}{fraction}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}{point}{fraction}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_durations_as_go_does() {
        for (millis, text) in [
            (0, "0s"),
            (1, "1ms"),
            (1_500, "1.5s"),
            (100, "100ms"),
            (60_000, "1m0s"),
            (180_250, "3m0.25s"),
            (3_601_000, "1h0m1s"),
        ] {
            assert_eq!(go_duration(Duration::from_millis(millis)), text);
        }
        assert_eq!(go_duration(Duration::from_nanos(1_500)), "1.5µs");
    }
}
