//! Counters as Prometheus metrics: Traefik's names and labels, and Pancake's own beside them.
//!
//! The values are read from the workers' cells when somebody asks; nothing is counted twice on the way of a request.

use http::StatusCode;
use pancake_config::traefik::static_config::Protocol;
use pancake_session::meter::{Cell, WorkerMeter};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Encoder, Registry, TextEncoder};

use super::Context;
use super::message::Answer;
use crate::change::{Provider, ProviderState};
use crate::meters::HttpSums;
use family::Families;

/// Who was refused, dropped or too slow; UDP.
mod edge;
/// Metric families under construction.
mod family;
/// `process_*`, as Prometheus clients name them.
mod process;

/// What a scrape finds, collected before: a collector has no way to fail and no context.
struct Collected(Vec<MetricFamily>);

impl Collector for Collected {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.0.clone()
    }
}

/// `/metrics`
pub(super) fn answer(context: &Context) -> Answer {
    let mut families = Families::default();
    collect(context, &mut families);
    let registry = Registry::new();
    let mut body = Vec::new();
    let encoded = registry
        .register(Box::new(Collected(families.into_families())))
        .and_then(|()| TextEncoder::new().encode(&registry.gather(), &mut body));
    match encoded {
        Ok(()) => Answer { body, content_type: prometheus::TEXT_FORMAT, ..Answer::text(StatusCode::OK, "") },
        Err(error) => Answer::error(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn collect(context: &Context, families: &mut Families) {
    let view = context.view.load_full();
    context.meters.retire(&view.table);
    families.counter("traefik_config_reloads_total", "Config reloads", &[], view.reloads as f64);
    let success = view.last_success.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let success = success.map_or(0.0, |since| since.as_secs() as f64);
    families.gauge("traefik_config_last_reload_success", "Last config reload success", &[], success);
    let labels = context.settings.prometheus.as_ref();
    entry_points(context, families, labels.is_some_and(|labels| labels.add_entry_points_labels));
    if labels.is_some_and(|labels| labels.add_routers_labels) {
        routers(context, &view.table, families);
    }
    if labels.is_some_and(|labels| labels.add_services_labels) {
        services(context, &view.table, families);
    }
    own(context, families);
    process::collect(families, context.started);
}

fn entry_points(context: &Context, families: &mut Families, http: bool) {
    for (number, entry_point) in context.settings.entry_points.iter().enumerate() {
        let name = &*entry_point.name;
        let udp = entry_point.protocol == Protocol::Udp;
        let mut open = |protocol, count: u64| {
            families.gauge(
                "traefik_open_connections",
                "How many open connections exist, by entryPoint and protocol",
                &[("entrypoint", name), ("protocol", protocol)],
                count as f64,
            );
        };
        open(if udp { "UDP" } else { "TCP" }, context.meters.open_connections(number));
        if entry_point.http3.is_some() {
            open("UDP", context.meters.open_quic_connections(number));
        }
        if http && !udp {
            exchanges(families, "entrypoint", &[("entrypoint", name)], &context.meters.entry_point(number));
        }
    }
}

fn routers(context: &Context, table: &pancake_table::compiled::Table, families: &mut Families) {
    let services: std::collections::HashMap<&str, &str> =
        table.routes.iter().map(|route| (&*route.name, &*route.service.name)).collect();
    for (name, sums) in context.meters.routers() {
        let service = services.get(&*name).copied().unwrap_or("");
        exchanges(families, "router", &[("router", &name), ("service", service)], &sums);
    }
}

fn services(context: &Context, table: &pancake_table::compiled::Table, families: &mut Families) {
    for (name, sums) in context.meters.services() {
        exchanges(families, "service", &[("service", &name)], &sums);
    }
    for service in &table.services {
        for server in &service.servers {
            families.gauge(
                "traefik_service_server_up",
                "service server is up, described by gauge value of 0 or 1.",
                &[("service", &service.name), ("url", &server.url)],
                f64::from(u8::from(server.live.is_up())),
            );
        }
    }
}

/// The families that Traefik has for entry points, routers and services alike.
fn exchanges(families: &mut Families, kind: &str, of: &[(&str, &str)], sums: &HttpSums) {
    for ((status, method), sum) in sums {
        let status = status.to_string();
        let mut labels = vec![("code", &*status), ("method", *method), ("protocol", "http")];
        labels.extend_from_slice(of);
        let name = |what: &str| format!("traefik_{kind}_{what}");
        let by = "partitioned by status code, protocol, and method.";
        let kind = if kind == "entrypoint" { "an entrypoint" } else { &format!("a {kind}") };
        let help = format!("How many HTTP requests processed on {kind}, {by}");
        families.counter(&name("requests_total"), &help, &labels, sum.requests as f64);
        let help = format!("How long it took to process the request on {kind}, {by}");
        families.histogram(&name("request_duration_seconds"), &help, &labels, sum);
        let help = format!("The total size of requests in bytes handled by {kind}, {by}");
        families.counter(&name("requests_bytes_total"), &help, &labels, sum.request_bytes as f64);
        let help = format!("The total size of responses in bytes handled by {kind}, {by}");
        families.counter(&name("responses_bytes_total"), &help, &labels, sum.response_bytes as f64);
    }
}

type CellOf = fn(&WorkerMeter) -> &Cell;

fn own(context: &Context, families: &mut Families) {
    let view = context.view.load_full();
    let one = [("version", env!("CARGO_PKG_VERSION")), ("engine", context.engine.name)];
    families.gauge("pancake_build_info", "Version and engine; always 1.", &one, 1.0);
    families.gauge("pancake_workers", "Worker threads.", &[], context.meters.workers() as f64);
    let cells: [(&str, &str, CellOf); 14] = [
        ("pancake_accepted_total", "Client connections accepted.", |worker| &worker.accepted),
        ("pancake_accept_failures_total", "Accepts that failed.", |worker| &worker.accept_failures),
        ("pancake_retries_total", "Exchanges sent again on a fresh connection.", |worker| &worker.retries),
        ("pancake_tls_handshakes_total", "TLS handshakes completed.", |worker| &worker.tls_handshakes),
        ("pancake_tls_resumed_total", "Those that resumed a session.", |worker| &worker.tls_resumed),
        ("pancake_tls_failures_total", "TLS handshakes that failed.", |worker| &worker.tls_failures),
        ("pancake_proxy_header_failures_total", "Malformed PROXY headers.", |worker| {
            &worker.proxy_header_failures
        }),
        ("pancake_tcp_connect_failures_total", "TCP servers not reached.", |worker| {
            &worker.tcp_connect_failures
        }),
        ("pancake_quic_handshakes_total", "QUIC handshakes completed.", |worker| &worker.quic_handshakes),
        ("pancake_quic_failures_total", "QUIC connections that were not made.", |worker| {
            &worker.quic_failures
        }),
        ("pancake_quic_retries_total", "Clients that were to show their address.", |worker| {
            &worker.quic_retries
        }),
        ("pancake_quic_refused_total", "QUIC clients refused: too many.", |worker| &worker.quic_refused),
        ("pancake_quic_migrations_total", "Changes of address under QUIC.", |worker| &worker.quic_migrations),
        ("pancake_tcp_unserved_total", "TCP connections without a server.", |worker| &worker.tcp_unserved),
    ];
    for (name, help, cell) in cells {
        families.counter(name, help, &[], context.meters.sum(cell) as f64);
    }
    edge::collect(&context.meters, context.settings.pancake.limits.memory_budget, families);
    let in_flight = context.meters.sum(|worker| &worker.in_flight);
    families.gauge("pancake_requests_in_flight", "Exchanges in progress.", &[], in_flight as f64);
    let failures = view.failures as f64;
    families.counter(
        "pancake_config_refused_total",
        "Changes that were refused or unreadable.",
        &[],
        failures,
    );
    families.gauge("pancake_table_routers", "Routers that serve.", &[], view.table.routes.len() as f64);
    for provider in Provider::ALL {
        let shown = view.provider(provider);
        let label = [("provider", provider.name())];
        let problems = shown.refusal.len() + shown.problems.len() + shown.unlisted;
        let help = "What is wrong with the configuration, see /api/pancake/problems.";
        families.gauge("pancake_config_problems", help, &label, problems as f64);
        let help = "Version of the snapshot that serves.";
        families.gauge("pancake_snapshot_version", help, &label, shown.snapshot.version as f64);
        let refused = f64::from(u8::from(shown.state == ProviderState::Refused));
        let help = "Whether what the provider said last is refused and what it said before serves.";
        families.gauge("pancake_config_stale", help, &label, refused);
    }
    for (id, sum) in context.meters.servers() {
        let label = [("server", &*id)];
        let help = "Exchanges that use the server now.";
        families.gauge("pancake_server_in_flight", help, &label, sum.in_flight as f64);
        let help = "Connections opened to the server.";
        families.counter("pancake_server_connects_total", help, &label, sum.connects as f64);
        let help = "Connections to the server that could not be opened.";
        families.counter("pancake_server_connect_failures_total", help, &label, sum.connect_failures as f64);
    }
    if let Some(counts) = &context.access_log {
        let help = "Access-log lines dropped because the writer did not keep up.";
        families.counter("pancake_access_log_dropped_total", help, &[], counts.dropped() as f64);
        let help = "Access-log lines lost because they could not be written.";
        families.counter("pancake_access_log_lost_total", help, &[], counts.failed() as f64);
    }
    if let Some(control) = &context.control {
        let connected = f64::from(u8::from(control.is_connected()));
        families.gauge("pancake_control_connected", "Whether the control plane is there.", &[], connected);
        let help = "Times that the stream of the control plane ended or could not be opened.";
        families.counter("pancake_control_failures_total", help, &[], control.failures() as f64);
    }
}
