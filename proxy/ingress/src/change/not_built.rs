//! What the contract can say and the data path cannot do yet: left out with a reason, never served in another way.

use pancake_table::check::Problem;
use pancake_table::server_url::{self, Scheme};
use pancake_table::snapshot::tcp::TcpServiceKind;
use pancake_table::snapshot::{HealthMode, LoadBalancer, ServiceKind, Snapshot};

/// Takes what is not built out of `snapshot`; one problem each.
pub fn leave_out(snapshot: &mut Snapshot) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |object: String, field: &str, what: &str| {
        problems.push(Problem::error(object, field, format!("not supported yet: {what}")));
    };
    snapshot.services.retain(|service| {
        let ServiceKind::LoadBalancer(balancer) = &service.kind;
        match missing(balancer) {
            None => true,
            Some((field, what)) => {
                refuse(format!("service {}", service.name), field, what);
                false
            }
        }
    });
    snapshot.tcp.services.retain(|service| {
        let checked =
            matches!(&service.kind, TcpServiceKind::LoadBalancer(one) if one.health_check.is_some());
        if checked {
            let field = "loadBalancer.healthCheck";
            refuse(format!("tcp service {}", service.name), field, "health checks of TCP services");
        }
        !checked
    });
    problems
}

fn missing(balancer: &LoadBalancer) -> Option<(&'static str, &'static str)> {
    let schemes = || balancer.servers.iter().filter_map(|server| server_url::parse(&server.url).ok());
    let check = balancer.health_check.as_ref()?;
    if check.mode == HealthMode::Grpc {
        return Some(("loadBalancer.healthCheck.mode", "health checks by gRPC"));
    }
    let secure = check.scheme.as_deref() == Some("https");
    let plain = |url: &server_url::ServerUrl<'_>| url.scheme == Scheme::Http && url.unix.is_none();
    if secure || !schemes().all(|url| plain(&url)) {
        return Some(("loadBalancer.healthCheck", "health checks over TLS, HTTP/2 or Unix sockets"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use pancake_table::snapshot::{HealthCheck, Server, Service};

    fn service(name: &str, url: &str, health_check: Option<HealthCheck>) -> Service {
        let servers = vec![Server::new(url)];
        let kind =
            ServiceKind::LoadBalancer(LoadBalancer { servers, health_check, ..LoadBalancer::default() });
        Service { name: name.into(), kind }
    }

    #[test]
    fn what_cannot_be_served_as_asked_is_not_served_otherwise() {
        let grpc = HealthCheck { mode: HealthMode::Grpc, ..HealthCheck::default() };
        let mut snapshot = Snapshot {
            services: vec![
                service("plain@f", "http://a", Some(HealthCheck::default())),
                service("secure@f", "https://a", None),
                service("checked@f", "https://a", Some(HealthCheck::default())),
                service("grpc@f", "http://a", Some(grpc)),
                service("h2c@f", "h2c://a", None),
                service("checked-h2c@f", "h2c://a", Some(HealthCheck::default())),
            ],
            ..Snapshot::default()
        };
        let problems: Vec<_> = leave_out(&mut snapshot).iter().map(ToString::to_string).collect();
        let left: Vec<_> = snapshot.services.iter().map(|service| &*service.name).collect();
        assert_eq!(left, ["plain@f", "secure@f", "h2c@f"]);
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems.iter().all(|problem| problem.contains("not supported yet")), "{problems:?}");
    }
}
