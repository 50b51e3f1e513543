//! What an object names must be there.
//!
//! Only names of this provider are judged. An object whose name leads to one that was left out is left out too,
//! with the reason at the place of the name. Services that lead back to themselves are left out.

use super::{DEFAULT, Kind, Objects, PROVIDER, middlewares::Middleware};
use crate::decode::Sink;
use crate::problem::{Problem, Scope, Span};
use crate::suggest::nearest;
use crate::traefik::source_map::child;
use crate::tree::{Node, quote};
use pancake_table::snapshot::ServiceKind;
use pancake_table::snapshot::tcp::{TcpServiceKind, WeightedService};
use pancake_table::snapshot::tls::{RouterTls, TlsOptions};
use pancake_table::snapshot::udp::UdpServiceKind;

/// Names that are looked for among all that are there, to say which was probably meant.
const MAX_SUGGESTIONS: usize = 20;

/// Marks as unsound what names something that is not there or not sound; transports, services, routers in turn.
pub(super) fn resolve(objects: &mut Objects, sink: &Sink) {
    let mut resolver = Resolver { sink, suggestions: MAX_SUGGESTIONS };
    for (name, service) in &mut objects.services {
        let ServiceKind::LoadBalancer(balancer) = &service.value.kind;
        let site = Site::new("service", name, &service.node);
        service.sound &= resolver.transport(&site, balancer.servers_transport.as_ref(), &objects.transports);
    }
    for (name, service) in &mut objects.tcp_services {
        let TcpServiceKind::LoadBalancer(balancer) = &service.value.kind else { continue };
        let site = Site::new("tcp service", name, &service.node);
        service.sound &=
            resolver.transport(&site, balancer.servers_transport.as_ref(), &objects.tcp_transports);
    }
    resolver.weighted("tcp service", &mut objects.tcp_services, |service| match &service.kind {
        TcpServiceKind::Weighted(parts) => parts,
        TcpServiceKind::LoadBalancer(_) => &[],
    });
    resolver.weighted("udp service", &mut objects.udp_services, |service| match &service.kind {
        UdpServiceKind::Weighted(parts) => parts,
        UdpServiceKind::LoadBalancer(_) => &[],
    });
    for (name, router) in &mut objects.routers {
        let site = Site::new("router", name, &router.node);
        router.sound &= resolver.middlewares(&site, &router.value.middlewares, &objects.middlewares)
            & resolver.options(&site, router.value.tls.as_ref(), &objects.tls_options)
            & resolver.service(&site, &router.value.service, &objects.services);
    }
    for (name, router) in &mut objects.tcp_routers {
        let site = Site::new("tcp router", name, &router.node);
        router.sound &= resolver.middlewares(&site, &router.value.middlewares, &objects.tcp_middlewares)
            & resolver.options(&site, router.value.tls.as_ref(), &objects.tls_options)
            & resolver.service(&site, &router.value.service, &objects.tcp_services);
    }
    for (name, router) in &mut objects.udp_routers {
        let site = Site::new("udp router", name, &router.node);
        router.sound &= resolver.service(&site, &router.value.service, &objects.udp_services);
    }
}

/// The object that names others.
struct Site<'a> {
    kind: &'static str,
    name: &'a str,
    node: &'a Node,
}

impl<'a> Site<'a> {
    fn new(kind: &'static str, name: &'a str, node: &'a Node) -> Site<'a> {
        Site { kind, name, node }
    }
}

struct Fault {
    message: String,
    suggestion: Option<String>,
}

struct Resolver<'s> {
    sink: &'s Sink,
    /// Counts down.
    suggestions: usize,
}

/// Each says whether what is named can be used.
impl Resolver<'_> {
    fn transport<T>(&mut self, site: &Site<'_>, transport: Option<&String>, known: &Kind<T>) -> bool {
        transport.is_none_or(|name| {
            self.named(site, "loadBalancer.serversTransport", name, "servers transport", known)
        })
    }

    fn service<T>(&mut self, site: &Site<'_>, service: &str, known: &Kind<T>) -> bool {
        service.is_empty() || self.named(site, "service", service, "service", known)
    }

    fn options(&mut self, site: &Site<'_>, tls: Option<&RouterTls>, known: &Kind<TlsOptions>) -> bool {
        let options = tls.and_then(|tls| tls.options.as_ref()).filter(|name| *name != DEFAULT);
        options.is_none_or(|name| self.named(site, "tls.options", name, "set of TLS options", known))
    }

    fn middlewares(&mut self, site: &Site<'_>, names: &[String], known: &Kind<Middleware>) -> bool {
        let mut sound = true;
        for (index, name) in names.iter().enumerate() {
            let field = format!("middlewares.{index}");
            if let Some(kind) = known.get(name).and_then(|middleware| middleware.value.missing) {
                let message = format!("not supported yet: the middleware {} is a {kind}", quote(name));
                self.push(site, &field, Fault { message, suggestion: None });
                sound = false;
            } else {
                sound &= self.named(site, &field, name, "middleware", known);
            }
        }
        sound
    }

    /// Services in the order in which they can be built: parts first. What is left over leads back to itself.
    fn weighted<T>(
        &mut self,
        kind: &'static str,
        services: &mut Kind<T>,
        parts: fn(&T) -> &[WeightedService],
    ) {
        let names: Vec<String> = services.keys().cloned().collect();
        let place = |name: &str| names.binary_search_by(|known| known.as_str().cmp(name)).ok();
        let mut users: Vec<Vec<usize>> = vec![Vec::new(); names.len()];
        let mut waiting = vec![0_usize; names.len()];
        for (user, service) in services.values().enumerate() {
            for part in parts(&service.value).iter().filter_map(|part| place(&part.name)) {
                users[part].push(user);
                waiting[user] += 1;
            }
        }
        let mut ready: Vec<usize> = (0..names.len()).filter(|at| waiting[*at] == 0).collect();
        while let Some(at) = ready.pop() {
            let Some(service) = services.get(&names[at]) else { continue };
            let site = Site::new(kind, &names[at], &service.node);
            let mut sound = true;
            for (index, part) in parts(&service.value).iter().enumerate().filter(|(_, p)| !p.name.is_empty())
            {
                let field = format!("weighted.services.{index}.name");
                sound &= self.named(&site, &field, &part.name, "service", services);
            }
            if let Some(service) = services.get_mut(&names[at]) {
                service.sound &= sound;
            }
            for user in &users[at] {
                waiting[*user] -= 1;
                if waiting[*user] == 0 {
                    ready.push(*user);
                }
            }
        }
        let in_loop = |part: &WeightedService| place(&part.name).is_some_and(|at| waiting[at] > 0);
        for (at, service) in services.values_mut().enumerate().filter(|(at, _)| waiting[*at] > 0) {
            let site = Site::new(kind, &names[at], &service.node);
            let listed = parts(&service.value);
            if let Some(index) = listed.iter().position(in_loop) {
                let message = format!("the service {} leads back to itself", quote(&listed[index].name));
                let field = format!("weighted.services.{index}.name");
                self.push(&site, &field, Fault { message, suggestion: None });
            }
            service.sound = false;
        }
    }

    fn named<T>(&mut self, site: &Site<'_>, field: &str, name: &str, kind: &str, known: &Kind<T>) -> bool {
        let fault = self.fault(name, kind, known);
        let sound = fault.is_none();
        if let Some(fault) = fault {
            self.push(site, field, fault);
        }
        sound
    }

    /// Why `name` cannot be used, if it cannot.
    fn fault<T>(&mut self, name: &str, kind: &str, known: &Kind<T>) -> Option<Fault> {
        let own = name.strip_suffix(PROVIDER)?.strip_suffix('@')?;
        match known.get(name) {
            Some(object) if object.sound => None,
            Some(object) => {
                let message = format!("the {kind} {} is left out, see {}", quote(name), object.span);
                Some(Fault { message, suggestion: None })
            }
            None => {
                let names = known.keys().map(|name| name.split('@').next().unwrap_or_default());
                let suggestion = if self.suggestions > 0 { nearest(own, names).map(quote) } else { None };
                self.suggestions = self.suggestions.saturating_sub(1);
                Some(Fault { message: format!("the {kind} {} does not exist", quote(name)), suggestion })
            }
        }
    }

    fn push(&self, site: &Site<'_>, field: &str, fault: Fault) {
        let problem = Problem::new(find(site.node, field), fault.message).suggest(fault.suggestion);
        let scope = Scope::Object(format!("{} {}", site.kind, site.name));
        self.sink.push(problem.scope(scope));
    }
}

/// Where the value of `field` is; as near as there is one.
fn find(node: &Node, field: &str) -> Span {
    let mut at = node;
    for step in field.split('.') {
        let Some((_, value)) = child(at, step) else { break };
        at = value;
    }
    at.span.clone()
}
