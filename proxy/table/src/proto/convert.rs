//! Snapshot to message and back, with limits.
//!
//! What is checked here is only what the plain data cannot hold, and sizes; everything else is for
//! [`crate::check`].

/// TCP and UDP.
mod l4;
/// TLS.
mod tls;

use std::time::Duration;

use super::generated as pb;
use crate::check::{Problem, object};
use crate::limits::{
    MAX_ALLOWED_ORIGINS, MAX_ENTRY_POINTS_PER_ROUTER, MAX_HEALTH_FIELD_BYTES, MAX_HEALTH_HEADERS,
    MAX_MIDDLEWARES, MAX_MIDDLEWARES_PER_ROUTER, MAX_NAME_BYTES, MAX_PROBLEMS, MAX_ROUTERS, MAX_RULE_BYTES,
    MAX_SERVERS, MAX_SERVERS_PER_SERVICE, MAX_SERVICES, MAX_TRANSPORTS, MAX_URL_BYTES,
};
use crate::snapshot::middlewares::{GrpcWeb, Middleware, MiddlewareKind};
use crate::snapshot::tls::ServersTls;
use crate::snapshot::{
    HealthCheck, LoadBalancer, Router, Server, ServersTransport, Service, ServiceKind, Snapshot,
};

impl From<&Snapshot> for pb::Snapshot {
    /// `allow_empty` is false: the sender sets it where an empty snapshot is meant.
    fn from(snapshot: &Snapshot) -> pb::Snapshot {
        pb::Snapshot {
            version: snapshot.version,
            routers: snapshot.routers.iter().map(from_router).collect(),
            middlewares: snapshot.middlewares.iter().map(from_middleware).collect(),
            services: snapshot.services.iter().map(from_service).collect(),
            servers_transports: snapshot.servers_transports.iter().map(from_transport).collect(),
            allow_empty: false,
            tls: (!snapshot.tls.is_empty()).then(|| tls::from_tls(&snapshot.tls)),
            tcp: (!snapshot.tcp.is_empty()).then(|| l4::from_tcp(&snapshot.tcp)),
            udp: (!snapshot.udp.is_empty()).then(|| l4::from_udp(&snapshot.udp)),
        }
    }
}

impl From<&Problem> for pb::Problem {
    fn from(problem: &Problem) -> pb::Problem {
        let message = match problem.offset_in_rule {
            Some(offset) => format!("at byte {offset}: {}", problem.message),
            None => problem.message.clone(),
        };
        pb::Problem { object: problem.object.clone(), field: problem.field.clone(), message }
    }
}

impl TryFrom<pb::Snapshot> for Snapshot {
    type Error = Vec<Problem>;

    /// # Errors
    /// Everything that is too large or cannot be said in the plain data; at most [`MAX_PROBLEMS`].
    fn try_from(message: pb::Snapshot) -> Result<Snapshot, Vec<Problem>> {
        let mut problems = Problems(Vec::new());
        let (tls, tcp, udp) = (
            message.tls.unwrap_or_default(),
            message.tcp.unwrap_or_default(),
            message.udp.unwrap_or_default(),
        );
        let servers: usize = message.services.iter().map(count_servers).sum();
        let servers = servers + l4::count_servers(&tcp, &udp);
        problems.bound("snapshot", "routers", message.routers.len(), MAX_ROUTERS, "routers");
        let middlewares = message.middlewares.len();
        problems.bound("snapshot", "middlewares", middlewares, MAX_MIDDLEWARES, "middlewares");
        problems.bound("snapshot", "services", message.services.len(), MAX_SERVICES, "services");
        problems.bound("snapshot", "services", servers, MAX_SERVERS, "servers");
        let transports = message.servers_transports.len();
        problems.bound("snapshot", "serversTransports", transports, MAX_TRANSPORTS, "transports");
        l4::bound(&tcp, &udp, &mut problems);
        tls::bound(&tls, &mut problems);
        if !problems.0.is_empty() {
            return Err(problems.0);
        }
        let snapshot = Snapshot {
            version: message.version,
            routers: message.routers.into_iter().map(|r| to_router(r, &mut problems)).collect(),
            middlewares: message
                .middlewares
                .into_iter()
                .filter_map(|m| to_middleware(m, &mut problems))
                .collect(),
            services: message.services.into_iter().filter_map(|s| to_service(s, &mut problems)).collect(),
            servers_transports: message
                .servers_transports
                .into_iter()
                .map(|t| to_transport(t, &mut problems))
                .collect(),
            tls: tls::to_tls(tls, &mut problems),
            tcp: l4::to_tcp(tcp, &mut problems),
            udp: l4::to_udp(udp, &mut problems),
        };
        if problems.0.is_empty() { Ok(snapshot) } else { Err(problems.0) }
    }
}

/// Problems found so far, at most [`MAX_PROBLEMS`].
struct Problems(Vec<Problem>);

impl Problems {
    fn push(&mut self, object: &str, field: &str, message: impl Into<String>) {
        if self.0.len() < MAX_PROBLEMS {
            self.0.push(Problem::error(object, field, message));
        }
    }

    fn bound(&mut self, object: &str, field: &str, found: usize, limit: usize, what: &str) {
        if found > limit {
            self.push(object, field, format!("{found} {what}, at most {limit} are allowed"));
        }
    }

    fn names(&mut self, object: &str, field: &str, names: &[String], limit: usize) {
        self.bound(object, field, names.len(), limit, "names");
        for name in names.iter().take(limit) {
            self.text(object, field, name, MAX_NAME_BYTES);
        }
    }

    /// A number that must fit.
    fn small<T: TryFrom<u32> + Default>(&mut self, object: &str, field: &str, value: u32, limit: u32) -> T {
        T::try_from(value).unwrap_or_else(|_| {
            self.push(object, field, format!("{value} is too large, at most {limit} is allowed"));
            T::default()
        })
    }

    fn text(&mut self, object: &str, field: &str, text: &str, limit: usize) {
        self.bound(object, field, text.len(), limit, "bytes");
    }
}

fn count_servers(service: &pb::Service) -> usize {
    match &service.kind {
        Some(pb::service::Kind::LoadBalancer(balancer)) => balancer.servers.len(),
        None => 0,
    }
}

/// Whole milliseconds; what is not zero stays so.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn or_millis(millis: u64, default: Duration) -> Duration {
    if millis == 0 { default } else { Duration::from_millis(millis) }
}

fn from_router(router: &Router) -> pb::Router {
    pb::Router {
        name: router.name.clone(),
        entry_points: router.entry_points.clone(),
        rule: router.rule.clone(),
        priority: router.priority,
        middlewares: router.middlewares.clone(),
        service: router.service.clone(),
        tls: router.tls.as_ref().map(tls::from_router_tls),
    }
}

fn to_router(router: pb::Router, problems: &mut Problems) -> Router {
    let of = object("router", &router.name);
    problems.text(&of, "name", &router.name, MAX_NAME_BYTES);
    problems.text(&of, "rule", &router.rule, MAX_RULE_BYTES);
    problems.text(&of, "service", &router.service, MAX_NAME_BYTES);
    problems.names(&of, "entryPoints", &router.entry_points, MAX_ENTRY_POINTS_PER_ROUTER);
    problems.names(&of, "middlewares", &router.middlewares, MAX_MIDDLEWARES_PER_ROUTER);
    let tls = router.tls.map(|spec| tls::to_router_tls(spec, &of, problems));
    Router {
        name: router.name,
        entry_points: router.entry_points,
        rule: router.rule,
        priority: router.priority,
        middlewares: router.middlewares,
        service: router.service,
        tls,
    }
}

fn from_middleware(middleware: &Middleware) -> pb::Middleware {
    let kind = match &middleware.kind {
        MiddlewareKind::GrpcWeb(grpc_web) => {
            pb::middleware::Kind::GrpcWeb(pb::GrpcWeb { allow_origins: grpc_web.allow_origins.clone() })
        }
    };
    pb::Middleware { name: middleware.name.clone(), kind: Some(kind) }
}

fn to_middleware(middleware: pb::Middleware, problems: &mut Problems) -> Option<Middleware> {
    let of = object("middleware", &middleware.name);
    problems.text(&of, "name", &middleware.name, MAX_NAME_BYTES);
    let Some(pb::middleware::Kind::GrpcWeb(grpc_web)) = middleware.kind else {
        problems.push(&of, "", "has no kind that this version knows; expected grpcWeb");
        return None;
    };
    problems.names(&of, "grpcWeb.allowOrigins", &grpc_web.allow_origins, MAX_ALLOWED_ORIGINS);
    let kind = MiddlewareKind::GrpcWeb(GrpcWeb { allow_origins: grpc_web.allow_origins });
    Some(Middleware { name: middleware.name, kind })
}

fn from_service(service: &Service) -> pb::Service {
    let ServiceKind::LoadBalancer(balancer) = &service.kind;
    let balancer = pb::LoadBalancer {
        servers: balancer.servers.iter().map(from_server).collect(),
        pass_host_header: Some(balancer.pass_host_header),
        health_check: balancer.health_check.as_ref().map(from_health_check),
        servers_transport: balancer.servers_transport.clone().unwrap_or_default(),
    };
    pb::Service { name: service.name.clone(), kind: Some(pb::service::Kind::LoadBalancer(balancer)) }
}

fn to_service(service: pb::Service, problems: &mut Problems) -> Option<Service> {
    let of = object("service", &service.name);
    problems.text(&of, "name", &service.name, MAX_NAME_BYTES);
    let Some(pb::service::Kind::LoadBalancer(balancer)) = service.kind else {
        problems.push(&of, "", "has no kind that this version knows; expected loadBalancer");
        return None;
    };
    problems.bound(&of, "loadBalancer.servers", balancer.servers.len(), MAX_SERVERS_PER_SERVICE, "servers");
    problems.text(&of, "loadBalancer.serversTransport", &balancer.servers_transport, MAX_NAME_BYTES);
    let balancer = LoadBalancer {
        servers: balancer.servers.into_iter().map(|s| to_server(s, &of, problems)).collect(),
        pass_host_header: balancer.pass_host_header.unwrap_or(true),
        health_check: balancer.health_check.map(|h| to_health_check(h, &of, problems)),
        servers_transport: non_empty(balancer.servers_transport),
    };
    Some(Service { name: service.name, kind: ServiceKind::LoadBalancer(balancer) })
}

fn from_server(server: &Server) -> pb::Server {
    pb::Server {
        url: server.url.clone(),
        weight: Some(server.weight),
        preserve_path: server.preserve_path,
        draining: server.draining,
        id: server.id.clone(),
    }
}

fn to_server(server: pb::Server, of: &str, problems: &mut Problems) -> Server {
    problems.text(of, "loadBalancer.servers.url", &server.url, MAX_URL_BYTES);
    problems.text(of, "loadBalancer.servers.id", &server.id, MAX_NAME_BYTES);
    Server {
        url: server.url,
        weight: server.weight.unwrap_or(1),
        preserve_path: server.preserve_path,
        draining: server.draining,
        id: server.id,
    }
}

fn from_health_check(check: &HealthCheck) -> pb::HealthCheck {
    pb::HealthCheck {
        path: check.path.clone(),
        scheme: check.scheme.clone().unwrap_or_default(),
        method: check.method.clone(),
        status: check.status.map_or(0, u32::from),
        port: check.port.map_or(0, u32::from),
        interval_ms: millis(check.interval),
        unhealthy_interval_ms: millis(check.unhealthy_interval),
        timeout_ms: millis(check.timeout),
        hostname: check.hostname.clone().unwrap_or_default(),
        follow_redirects: Some(check.follow_redirects),
        headers: check.headers.clone(),
    }
}

fn to_health_check(check: pb::HealthCheck, of: &str, problems: &mut Problems) -> HealthCheck {
    let default = HealthCheck::default();
    let field = |name: &str| format!("loadBalancer.healthCheck.{name}");
    problems.bound(of, &field("headers"), check.headers.len(), MAX_HEALTH_HEADERS, "headers");
    for (name, value) in &check.headers {
        problems.text(of, &field("headers"), name, MAX_HEALTH_FIELD_BYTES);
        problems.text(of, &field("headers"), value, MAX_HEALTH_FIELD_BYTES);
    }
    let texts = [
        ("path", &check.path),
        ("scheme", &check.scheme),
        ("method", &check.method),
        ("hostname", &check.hostname),
    ];
    for (name, text) in texts {
        problems.text(of, &field(name), text, MAX_HEALTH_FIELD_BYTES);
    }
    let status: u16 = problems.small(of, &field("status"), check.status, u16::MAX.into());
    let port: u16 = problems.small(of, &field("port"), check.port, u16::MAX.into());
    let interval = or_millis(check.interval_ms, default.interval);
    HealthCheck {
        mode: default.mode,
        path: check.path,
        scheme: non_empty(check.scheme),
        method: non_empty(check.method).unwrap_or(default.method),
        status: (status != 0).then_some(status),
        port: (port != 0).then_some(port),
        interval,
        unhealthy_interval: or_millis(check.unhealthy_interval_ms, interval),
        timeout: or_millis(check.timeout_ms, default.timeout),
        hostname: non_empty(check.hostname),
        follow_redirects: check.follow_redirects.unwrap_or(default.follow_redirects),
        headers: check.headers,
    }
}

fn from_transport(transport: &ServersTransport) -> pb::ServersTransport {
    pb::ServersTransport {
        name: transport.name.clone(),
        max_idle_conns_per_host: Some(transport.max_idle_conns_per_host.into()),
        dial_timeout_ms: Some(millis(transport.dial_timeout)),
        response_header_timeout_ms: millis(transport.response_header_timeout),
        idle_conn_timeout_ms: Some(millis(transport.idle_conn_timeout)),
        disable_http2: transport.disable_http2,
        read_idle_timeout_ms: millis(transport.read_idle_timeout),
        ping_timeout_ms: Some(millis(transport.ping_timeout)),
        tls: (transport.tls != ServersTls::default()).then(|| tls::from_servers_tls(&transport.tls)),
    }
}

fn to_transport(transport: pb::ServersTransport, problems: &mut Problems) -> ServersTransport {
    let default = ServersTransport::default();
    let of = object("serversTransport", &transport.name);
    problems.text(&of, "name", &transport.name, MAX_NAME_BYTES);
    ServersTransport {
        name: transport.name,
        max_idle_conns_per_host: match transport.max_idle_conns_per_host {
            None => default.max_idle_conns_per_host,
            Some(n) => u32::try_from(n.max(0)).unwrap_or(u32::MAX),
        },
        dial_timeout: transport.dial_timeout_ms.map_or(default.dial_timeout, Duration::from_millis),
        response_header_timeout: Duration::from_millis(transport.response_header_timeout_ms),
        idle_conn_timeout: transport
            .idle_conn_timeout_ms
            .map_or(default.idle_conn_timeout, Duration::from_millis),
        disable_http2: transport.disable_http2,
        read_idle_timeout: Duration::from_millis(transport.read_idle_timeout_ms),
        ping_timeout: transport.ping_timeout_ms.map_or(default.ping_timeout, Duration::from_millis),
        tls: transport.tls.map(|tls| tls::to_servers_tls(tls, &of, problems)).unwrap_or_default(),
    }
}
