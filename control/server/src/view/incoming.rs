//! From messages to the model, refusing what is out of bounds.

use std::time::Duration;

use pancake_api::control as api;
use pancake_model::check::{Check, CheckKind};
use pancake_model::instance::{Instance, Origin, ProxyMode};
use pancake_model::name::{InstanceId, NodeId, RouterName, ServiceName};
use pancake_model::registration::MAX_ROUTERS_EACH;
use pancake_model::router::Router;

use crate::publish::finish::judge;
use crate::world::OpError;

fn invalid(e: impl ToString) -> OpError {
    OpError::Invalid(e.to_string())
}

fn port(what: &str, port: u32) -> Result<u16, OpError> {
    u16::try_from(port).map_err(|_| OpError::Invalid(format!("{what} is {port}, expected 1 to 65535")))
}

/// An instance of the local node, and the routers that come with it.
pub fn registration(
    request: api::RegisterRequest,
    node: &NodeId,
) -> Result<(Instance, Vec<Router>), OpError> {
    let service = ServiceName::new(request.service.as_str()).map_err(invalid)?;
    let port = port("port", request.port)?;
    let address = request.address.trim_start_matches('[').trim_end_matches(']').to_owned();
    let id = match request.instance_id.as_str() {
        "" => InstanceId::derived(&service, &address, port),
        id => InstanceId::new(id),
    };
    let mode = match api::ProxyMode::try_from(request.mode) {
        Ok(api::ProxyMode::Http) => ProxyMode::Http,
        Ok(api::ProxyMode::Tcp) => ProxyMode::Tcp,
        Ok(api::ProxyMode::Ws) => ProxyMode::Ws,
        Err(_) => return Err(OpError::Invalid(format!("mode {} is not known", request.mode))),
    };
    if mode == ProxyMode::Tcp && !request.routers.is_empty() {
        return Err(OpError::Invalid(
            "instances of mode tcp are listed, not routed: HTTP routers cannot lead to them".into(),
        ));
    }
    if request.routers.len() > MAX_ROUTERS_EACH {
        let n = request.routers.len();
        return Err(OpError::Invalid(format!("{n} routers, at most {MAX_ROUTERS_EACH} are allowed")));
    }
    let named = |mut r: api::Router| {
        for field in [&mut r.name, &mut r.service] {
            if field.is_empty() {
                *field = service.to_string();
            }
        }
        router(r)
    };
    let routers = request.routers.into_iter().map(named).collect::<Result<Vec<_>, _>>()?;
    let instance = Instance {
        id: id.map_err(invalid)?,
        node: node.clone(),
        address,
        port,
        mode,
        weight: if request.weight == 0 { 1 } else { request.weight },
        labels: request.labels,
        check: request.check.map(check).transpose()?,
        ttl: (request.ttl_ms > 0).then(|| Duration::from_millis(request.ttl_ms)),
        origin: Origin::Api,
        service,
    };
    instance.validate().map_err(invalid)?;
    Ok((instance, routers))
}

/// A router whose rule parses; every problem of it at once otherwise.
pub fn router(router: api::Router) -> Result<Router, OpError> {
    let router = Router {
        name: RouterName::new(router.name).map_err(invalid)?,
        rule: router.rule,
        service: ServiceName::new(router.service).map_err(invalid)?,
        entry_points: router.entry_points,
        priority: router.priority,
        middlewares: router.middlewares,
    };
    router.validate().map_err(invalid)?;
    let problems = judge(&router);
    if problems.is_empty() {
        return Ok(router);
    }
    let lines: Vec<String> = problems.iter().map(|p| format!("router {}: {p}", router.name)).collect();
    Err(OpError::Invalid(lines.join("\n")))
}

fn check(check: api::Check) -> Result<Check, OpError> {
    use api::check::Kind;
    let defaults = Check::default();
    let some_port = |p: u32| if p == 0 { Ok(None) } else { port("check port", p).map(Some) };
    let kind = match check.kind {
        Some(Kind::Http(http)) => CheckKind::Http {
            path: if http.path.is_empty() { "/".into() } else { http.path },
            port: some_port(http.port)?,
            host: (!http.host.is_empty()).then_some(http.host),
            status: match http.status {
                0 => None,
                s => {
                    Some(u16::try_from(s).map_err(|_| invalid(format!("check status {s} is not a status")))?)
                }
            },
        },
        Some(Kind::Tcp(tcp)) => CheckKind::Tcp { port: some_port(tcp.port)? },
        None => return Err(OpError::Invalid("check: neither http nor tcp is given".into())),
    };
    let or = |ms: u64, default| if ms == 0 { default } else { Duration::from_millis(ms) };
    let interval = or(check.interval_ms, defaults.interval);
    Ok(Check {
        kind,
        interval,
        timeout: or(check.timeout_ms, defaults.timeout.min(interval)),
        rise: if check.rise == 0 { defaults.rise } else { check.rise },
        fall: if check.fall == 0 { defaults.fall } else { check.fall },
    })
}
