//! Services and their servers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{Finder, Slots, Transports};
use crate::check::Report;
use crate::compiled::{Server, ServerLive, Service, Table, Transport};
use crate::map::Map;
use crate::server_url;
use crate::snapshot::{self, LoadBalancer, ServersTransport, ServiceKind, Snapshot};

/// Services that can be built and their places in `snapshot.services`.
pub(super) fn services(
    snapshot: &Snapshot,
    report: &Report,
    transports: &Transports<Transport>,
    previous: Option<&Table>,
    slots: &mut Slots,
) -> (Vec<Arc<Service>>, Vec<u32>) {
    let before: &[Arc<Service>] = previous.map_or(&[], |table| &table.services);
    let mut finder = Finder::new(before, |service| &*service.name);
    let mut services = Vec::with_capacity(snapshot.services.len());
    let mut places = Vec::with_capacity(snapshot.services.len());
    for (place, spec) in snapshot.services.iter().enumerate() {
        if !report.service_serves(place) {
            continue;
        }
        let ServiceKind::LoadBalancer(balancer) = &spec.kind;
        let transport = transports.named(balancer.servers_transport.as_deref());
        let known = previous.zip(finder.find(&spec.name)).map(|(table, at)| {
            (&table.services[at], &table.snapshot.services[table.service_places[at] as usize])
        });
        services.push(match known {
            Some((service, was)) if was == spec && has_transport(service, transport) => service.clone(),
            _ => Arc::new(service(spec, balancer, transport, known.map(|(service, _)| &**service), slots)),
        });
        places.push(u32::try_from(place).unwrap_or(u32::MAX));
    }
    (services, places)
}

/// All servers of a service have the same transport.
fn has_transport(service: &Service, transport: &Arc<Transport>) -> bool {
    service.servers.first().is_none_or(|server| server.transport == *transport)
}

/// Transports of HTTP services.
pub(super) fn transports(snapshot: &Snapshot, previous: Option<&Table>) -> Transports<Transport> {
    let specs = snapshot.servers_transports.iter().map(|spec| (&*spec.name, transport(spec)));
    let default = || transport(&ServersTransport::default());
    Transports::new(specs, default, previous.map(|table| &table.transports))
}

fn transport(spec: &ServersTransport) -> Transport {
    let limit = |duration: Duration| (!duration.is_zero()).then_some(duration);
    Transport {
        max_idle_conns_per_host: spec.max_idle_conns_per_host,
        dial_timeout: limit(spec.dial_timeout),
        response_header_timeout: limit(spec.response_header_timeout),
        idle_conn_timeout: limit(spec.idle_conn_timeout),
        disable_http2: spec.disable_http2,
        read_idle_timeout: limit(spec.read_idle_timeout),
        ping_timeout: limit(spec.ping_timeout),
        tls: Arc::new(spec.tls.clone()),
    }
}

/// Builds a service that is new or has other content than before.
fn service(
    spec: &snapshot::Service,
    balancer: &LoadBalancer,
    transport: &Arc<Transport>,
    before: Option<&Service>,
    slots: &mut Slots,
) -> Service {
    let mut known = KnownServers::new(before, transport);
    // A verdict does not outlive the check that could revise it.
    let keep_verdicts = balancer.health_check.is_some();
    let servers = balancer.servers.iter().filter_map(|spec| {
        let was = known.take(spec);
        server(spec, transport, was, keep_verdicts, slots).map(Arc::new)
    });
    let servers = servers.collect();
    Service {
        name: before.map_or_else(|| spec.name.as_str().into(), |service| service.name.clone()),
        slot: slots.services.take(),
        name_slot: before.map_or_else(|| slots.service_names.take(), |service| service.name_slot),
        servers,
        pass_host_header: balancer.pass_host_header,
        health_check: balancer.health_check.clone(),
    }
}

/// Servers that a service had, each of which may go on once.
struct KnownServers<'a> {
    servers: Map<(&'a str, &'a str), Vec<&'a Server>>,
}

impl<'a> KnownServers<'a> {
    fn new(before: Option<&'a Service>, transport: &Arc<Transport>) -> KnownServers<'a> {
        let mut servers: Map<_, Vec<&Server>> = Map::default();
        for server in before.into_iter().flat_map(|service| &service.servers).rev() {
            if server.transport == *transport {
                servers.entry((&*server.url, &*server.id)).or_default().push(server);
            }
        }
        KnownServers { servers }
    }

    fn take(&mut self, spec: &'a snapshot::Server) -> Option<&'a Server> {
        self.servers.get_mut(&(spec.url.as_str(), spec.id()))?.pop()
    }
}

/// None if the URL is none, which `check` has refused.
fn server(
    spec: &snapshot::Server,
    transport: &Arc<Transport>,
    was: Option<&Server>,
    keep_verdict: bool,
    slots: &mut Slots,
) -> Option<Server> {
    let url = server_url::parse(&spec.url).ok()?;
    let bracketed = url.address.is_some_and(|address| address.is_ipv6());
    let host = if bracketed { format!("[{}]", url.host) } else { url.host.to_owned() };
    let implied = url.port == url.scheme.default_port();
    let authority = if implied { host } else { format!("{host}:{}", url.port) };
    let live = match was {
        Some(was) if keep_verdict || was.live.is_up() => was.live.clone(),
        Some(was) => Arc::new(was.live.fresh()),
        None => Arc::new(ServerLive::new(url.address.map(|ip| SocketAddr::new(ip, url.port)))),
    };
    let configured: Arc<str> = was.map_or_else(|| spec.url.as_str().into(), |was| was.url.clone());
    Some(Server {
        slot: was.map_or_else(|| slots.servers.take(), |was| was.slot),
        id: match was {
            Some(was) => was.id.clone(),
            None if spec.id.is_empty() => configured.clone(),
            None => spec.id.as_str().into(),
        },
        url: configured,
        scheme: url.scheme,
        unix: url.unix.map(Into::into),
        authority: authority.into(),
        host: url.host.into(),
        port: url.port,
        path_prefix: if spec.preserve_path { url.path.into() } else { "".into() },
        weight: spec.weight,
        draining: spec.draining,
        transport: transport.clone(),
        live,
    })
}
