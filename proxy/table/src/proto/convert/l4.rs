//! TCP and UDP.

use std::time::Duration;

use super::{Problems, millis, non_empty, or_millis, pb, tls};
use crate::check::object;
use crate::limits::{
    MAX_ENTRY_POINTS_PER_ROUTER, MAX_HEALTH_FIELD_BYTES, MAX_MIDDLEWARES_PER_ROUTER, MAX_NAME_BYTES,
    MAX_ROUTERS, MAX_RULE_BYTES, MAX_SERVERS_PER_SERVICE, MAX_SERVICE_PARTS, MAX_SERVICES, MAX_TRANSPORTS,
    MAX_URL_BYTES,
};
use crate::snapshot::tcp::{
    Tcp, TcpHealthCheck, TcpLoadBalancer, TcpRouter, TcpServer, TcpServersTransport, TcpService,
    TcpServiceKind, WeightedService,
};
use crate::snapshot::tls::ServersTls;
use crate::snapshot::udp::{Udp, UdpRouter, UdpService, UdpServiceKind};

/// Servers and parts of all services.
pub(super) fn count_servers(tcp: &pb::Tcp, udp: &pb::Udp) -> usize {
    let tcp = tcp.services.iter().map(|service| match &service.kind {
        Some(pb::tcp_service::Kind::LoadBalancer(balancer)) => balancer.servers.len(),
        Some(pb::tcp_service::Kind::Weighted(weighted)) => weighted.services.len(),
        None => 0,
    });
    let udp = udp.services.iter().map(|service| match &service.kind {
        Some(pb::udp_service::Kind::LoadBalancer(balancer)) => balancer.servers.len(),
        Some(pb::udp_service::Kind::Weighted(weighted)) => weighted.services.len(),
        None => 0,
    });
    tcp.chain(udp).sum()
}

/// Sizes that are refused before anything is looked into.
pub(super) fn bound(tcp: &pb::Tcp, udp: &pb::Udp, problems: &mut Problems) {
    let counts = [
        ("tcp.routers", tcp.routers.len(), MAX_ROUTERS, "routers"),
        ("tcp.services", tcp.services.len(), MAX_SERVICES, "services"),
        ("tcp.serversTransports", tcp.servers_transports.len(), MAX_TRANSPORTS, "transports"),
        ("udp.routers", udp.routers.len(), MAX_ROUTERS, "routers"),
        ("udp.services", udp.services.len(), MAX_SERVICES, "services"),
    ];
    for (field, found, limit, what) in counts {
        problems.bound("snapshot", field, found, limit, what);
    }
}

pub(super) fn from_tcp(tcp: &Tcp) -> pb::Tcp {
    pb::Tcp {
        routers: tcp.routers.iter().map(from_router).collect(),
        services: tcp.services.iter().map(from_service).collect(),
        servers_transports: tcp.servers_transports.iter().map(from_transport).collect(),
    }
}

pub(super) fn to_tcp(tcp: pb::Tcp, problems: &mut Problems) -> Tcp {
    Tcp {
        routers: tcp.routers.into_iter().map(|router| to_router(router, problems)).collect(),
        services: tcp.services.into_iter().filter_map(|service| to_service(service, problems)).collect(),
        servers_transports: tcp.servers_transports.into_iter().map(|t| to_transport(t, problems)).collect(),
    }
}

fn from_router(router: &TcpRouter) -> pb::TcpRouter {
    pb::TcpRouter {
        name: router.name.clone(),
        entry_points: router.entry_points.clone(),
        rule: router.rule.clone(),
        priority: router.priority,
        middlewares: router.middlewares.clone(),
        service: router.service.clone(),
        tls: router.tls.as_ref().map(tls::from_router_tls),
    }
}

fn to_router(router: pb::TcpRouter, problems: &mut Problems) -> TcpRouter {
    let of = &object("tcp router", &router.name);
    problems.text(of, "name", &router.name, MAX_NAME_BYTES);
    problems.text(of, "rule", &router.rule, MAX_RULE_BYTES);
    problems.text(of, "service", &router.service, MAX_NAME_BYTES);
    problems.names(of, "entryPoints", &router.entry_points, MAX_ENTRY_POINTS_PER_ROUTER);
    problems.names(of, "middlewares", &router.middlewares, MAX_MIDDLEWARES_PER_ROUTER);
    TcpRouter {
        name: router.name,
        entry_points: router.entry_points,
        rule: router.rule,
        priority: router.priority,
        middlewares: router.middlewares,
        service: router.service,
        tls: router.tls.map(|spec| tls::to_router_tls(spec, of, problems)),
    }
}

fn from_service(service: &TcpService) -> pb::TcpService {
    let kind = match &service.kind {
        TcpServiceKind::Weighted(parts) => pb::tcp_service::Kind::Weighted(from_parts(parts)),
        TcpServiceKind::LoadBalancer(balancer) => pb::tcp_service::Kind::LoadBalancer(pb::TcpLoadBalancer {
            servers: balancer.servers.iter().map(from_server).collect(),
            servers_transport: balancer.servers_transport.clone().unwrap_or_default(),
            health_check: balancer.health_check.as_ref().map(from_health_check),
            proxy_protocol: balancer.proxy_protocol.map_or(0, u32::from),
        }),
    };
    pb::TcpService { name: service.name.clone(), kind: Some(kind) }
}

fn to_service(service: pb::TcpService, problems: &mut Problems) -> Option<TcpService> {
    let of = &object("tcp service", &service.name);
    problems.text(of, "name", &service.name, MAX_NAME_BYTES);
    let kind = match service.kind {
        Some(pb::tcp_service::Kind::Weighted(weighted)) => {
            TcpServiceKind::Weighted(to_parts(weighted, of, problems))
        }
        Some(pb::tcp_service::Kind::LoadBalancer(balancer)) => {
            TcpServiceKind::LoadBalancer(to_balancer(balancer, of, problems))
        }
        None => {
            problems.push(of, "", "has no kind that this version knows; expected loadBalancer or weighted");
            return None;
        }
    };
    Some(TcpService { name: service.name, kind })
}

fn to_balancer(balancer: pb::TcpLoadBalancer, of: &str, problems: &mut Problems) -> TcpLoadBalancer {
    let found = balancer.servers.len();
    problems.bound(of, "loadBalancer.servers", found, MAX_SERVERS_PER_SERVICE, "servers");
    problems.text(of, "loadBalancer.serversTransport", &balancer.servers_transport, MAX_NAME_BYTES);
    TcpLoadBalancer {
        servers: balancer.servers.into_iter().map(|server| to_server(server, of, problems)).collect(),
        servers_transport: non_empty(balancer.servers_transport),
        health_check: balancer.health_check.map(|check| to_health_check(check, of, problems)),
        proxy_protocol: to_version(balancer.proxy_protocol, of, "loadBalancer.proxyProtocol", problems),
    }
}

/// Zero means none.
fn to_version(version: u32, of: &str, field: &str, problems: &mut Problems) -> Option<u8> {
    let version: u8 = problems.small(of, field, version, 2);
    (version != 0).then_some(version)
}

fn from_parts(parts: &[WeightedService]) -> pb::Weighted {
    let part =
        |part: &WeightedService| pb::WeightedService { name: part.name.clone(), weight: Some(part.weight) };
    pb::Weighted { services: parts.iter().map(part).collect() }
}

fn to_parts(weighted: pb::Weighted, of: &str, problems: &mut Problems) -> Vec<WeightedService> {
    let found = weighted.services.len();
    problems.bound(of, "weighted.services", found, MAX_SERVICE_PARTS, "services");
    let part = |part: pb::WeightedService| {
        problems.text(of, "weighted.services", &part.name, MAX_NAME_BYTES);
        WeightedService { name: part.name, weight: part.weight.unwrap_or(1) }
    };
    weighted.services.into_iter().take(MAX_SERVICE_PARTS).map(part).collect()
}

fn from_server(server: &TcpServer) -> pb::TcpServer {
    pb::TcpServer {
        address: server.address.clone(),
        tls: server.tls,
        weight: Some(server.weight),
        draining: server.draining,
        id: server.id.clone(),
    }
}

fn to_server(server: pb::TcpServer, of: &str, problems: &mut Problems) -> TcpServer {
    problems.text(of, "loadBalancer.servers.address", &server.address, MAX_URL_BYTES);
    problems.text(of, "loadBalancer.servers.id", &server.id, MAX_NAME_BYTES);
    TcpServer {
        address: server.address,
        tls: server.tls,
        weight: server.weight.unwrap_or(1),
        draining: server.draining,
        id: server.id,
    }
}

fn from_health_check(check: &TcpHealthCheck) -> pb::TcpHealthCheck {
    pb::TcpHealthCheck {
        port: check.port.map_or(0, u32::from),
        send: check.send.clone(),
        expect: check.expect.clone(),
        interval_ms: millis(check.interval),
        unhealthy_interval_ms: millis(check.unhealthy_interval),
        timeout_ms: millis(check.timeout),
    }
}

fn to_health_check(check: pb::TcpHealthCheck, of: &str, problems: &mut Problems) -> TcpHealthCheck {
    let default = TcpHealthCheck::default();
    for (field, text) in [("send", &check.send), ("expect", &check.expect)] {
        let field = format!("loadBalancer.healthCheck.{field}");
        problems.text(of, &field, text.as_deref().unwrap_or(""), MAX_HEALTH_FIELD_BYTES);
    }
    let port: u16 = problems.small(of, "loadBalancer.healthCheck.port", check.port, u16::MAX.into());
    let interval = or_millis(check.interval_ms, default.interval);
    TcpHealthCheck {
        port: (port != 0).then_some(port),
        send: check.send,
        expect: check.expect,
        interval,
        unhealthy_interval: or_millis(check.unhealthy_interval_ms, interval),
        timeout: or_millis(check.timeout_ms, default.timeout),
    }
}

fn from_transport(transport: &TcpServersTransport) -> pb::TcpServersTransport {
    let keep_alive =
        transport.dial_keep_alive.map(|period| i64::try_from(millis(period)).unwrap_or(i64::MAX));
    pb::TcpServersTransport {
        name: transport.name.clone(),
        dial_timeout_ms: Some(millis(transport.dial_timeout)),
        dial_keep_alive_ms: Some(keep_alive.unwrap_or(-1)),
        termination_delay_ms: Some(millis(transport.termination_delay)),
        proxy_protocol: transport.proxy_protocol.map_or(0, u32::from),
        tls: (transport.tls != ServersTls::default()).then(|| tls::from_servers_tls(&transport.tls)),
    }
}

fn to_transport(transport: pb::TcpServersTransport, problems: &mut Problems) -> TcpServersTransport {
    let default = TcpServersTransport::default();
    let of = &object("tcp serversTransport", &transport.name);
    problems.text(of, "name", &transport.name, MAX_NAME_BYTES);
    let or = |millis: Option<u64>, default| millis.map_or(default, Duration::from_millis);
    TcpServersTransport {
        dial_timeout: or(transport.dial_timeout_ms, default.dial_timeout),
        dial_keep_alive: match transport.dial_keep_alive_ms {
            None => default.dial_keep_alive,
            // Less than zero is no length of time.
            Some(millis) => u64::try_from(millis).ok().map(Duration::from_millis),
        },
        termination_delay: or(transport.termination_delay_ms, default.termination_delay),
        proxy_protocol: to_version(transport.proxy_protocol, of, "proxyProtocol.version", problems),
        tls: transport.tls.map(|tls| tls::to_servers_tls(tls, of, problems)).unwrap_or_default(),
        name: transport.name,
    }
}

pub(super) fn from_udp(udp: &Udp) -> pb::Udp {
    let router = |router: &UdpRouter| pb::UdpRouter {
        name: router.name.clone(),
        entry_points: router.entry_points.clone(),
        service: router.service.clone(),
    };
    let service = |service: &UdpService| {
        let kind = match &service.kind {
            UdpServiceKind::Weighted(parts) => pb::udp_service::Kind::Weighted(from_parts(parts)),
            UdpServiceKind::LoadBalancer(servers) => {
                pb::udp_service::Kind::LoadBalancer(pb::UdpLoadBalancer { servers: servers.clone() })
            }
        };
        pb::UdpService { name: service.name.clone(), kind: Some(kind) }
    };
    pb::Udp {
        routers: udp.routers.iter().map(router).collect(),
        services: udp.services.iter().map(service).collect(),
    }
}

pub(super) fn to_udp(udp: pb::Udp, problems: &mut Problems) -> Udp {
    Udp {
        routers: udp.routers.into_iter().map(|router| to_udp_router(router, problems)).collect(),
        services: udp.services.into_iter().filter_map(|service| to_udp_service(service, problems)).collect(),
    }
}

fn to_udp_router(router: pb::UdpRouter, problems: &mut Problems) -> UdpRouter {
    let of = &object("udp router", &router.name);
    problems.text(of, "name", &router.name, MAX_NAME_BYTES);
    problems.text(of, "service", &router.service, MAX_NAME_BYTES);
    problems.names(of, "entryPoints", &router.entry_points, MAX_ENTRY_POINTS_PER_ROUTER);
    UdpRouter { name: router.name, entry_points: router.entry_points, service: router.service }
}

fn to_udp_service(service: pb::UdpService, problems: &mut Problems) -> Option<UdpService> {
    let of = &object("udp service", &service.name);
    problems.text(of, "name", &service.name, MAX_NAME_BYTES);
    let kind = match service.kind {
        Some(pb::udp_service::Kind::Weighted(weighted)) => {
            UdpServiceKind::Weighted(to_parts(weighted, of, problems))
        }
        Some(pb::udp_service::Kind::LoadBalancer(balancer)) => {
            let servers = balancer.servers;
            problems.bound(of, "loadBalancer.servers", servers.len(), MAX_SERVERS_PER_SERVICE, "servers");
            for address in &servers {
                problems.text(of, "loadBalancer.servers.address", address, MAX_URL_BYTES);
            }
            UdpServiceKind::LoadBalancer(servers)
        }
        None => {
            problems.push(of, "", "has no kind that this version knows; expected loadBalancer or weighted");
            return None;
        }
    };
    Some(UdpService { name: service.name, kind })
}
