//! Connections to servers, and who gets the next request. State of one worker.
//!
//! Vectors indexed by the table's slots hold what this worker knows of a router, service or server, so that a table
//! swap costs nothing here: an entry is brought up to date when a request next needs it.

/// HTTP/2: many exchanges on one connection.
mod multiplex;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use pancake_balance::pick::WeightedRoundRobin;
use pancake_engine::{Engine, Stream, Time};
use pancake_table::compiled::{Route, Server, Service, Slot};
use pancake_table::server_url::Scheme;
use pancake_table::snapshot::tls::ServersTls;
use pancake_tls::{ClientTls, SystemRoots};
use rustls::time_provider::TimeProvider;

use crate::happy;
use crate::limits::{MAX_SWEPT_SERVERS, SWEEP_PERIOD};
use crate::meter::{HttpMeter, Opened, ServerMeter};
use crate::stream::Conn;
use crate::tls::handshake::{self, Failed};
use crate::worker::Worker;
use multiplex::Multiplex;

/// All of a worker's state about routers, services and servers.
pub(crate) struct Upstreams<E: Engine> {
    opened: Box<dyn Fn(Opened)>,
    workers: usize,
    seed: u64,
    ground: Rc<ClientGround>,
    routes: RefCell<Vec<Option<Rc<LocalRoute<E>>>>>,
    services: RefCell<Vec<Option<Rc<LocalService<E>>>>>,
    servers: RefCell<Vec<Option<Rc<LocalServer<E>>>>>,
    service_meters: RefCell<Vec<Option<NamedMeter>>>,
}

/// Counters of a service, by name.
type NamedMeter = (Slot, Arc<HttpMeter>);

/// What this worker knows of a router.
pub(crate) struct LocalRoute<E: Engine> {
    pub(crate) route: Arc<Route>,
    pub(crate) service: Rc<LocalService<E>>,
    pub(crate) meter: Arc<HttpMeter>,
}

/// What this worker knows of a service.
pub(crate) struct LocalService<E: Engine> {
    pub(crate) service: Arc<Service>,
    pub(crate) meter: Arc<HttpMeter>,
    servers: Box<[Rc<LocalServer<E>>]>,
    order: RefCell<WeightedRoundRobin>,
}

/// What this worker knows of a server.
pub(crate) struct LocalServer<E: Engine> {
    slot: Slot,
    idle: RefCell<VecDeque<Idle<Conn<E>>>>,
    max_idle: usize,
    /// HTTP/2 connections, if any may come about.
    multiplex: Option<Box<Multiplex<E>>>,
    /// Where it is may change while connections to it are kept.
    is_named: bool,
    /// How TLS is spoken to it, if it is; none inside: its settings are faulty.
    tls: Option<Option<ClientTls>>,
    pub(crate) meter: Arc<ServerMeter>,
}

/// What TLS to servers stands on.
pub(crate) struct ClientGround {
    pub(crate) roots: SystemRoots,
    pub(crate) clock: Arc<dyn TimeProvider>,
}

impl ClientGround {
    /// Settings of a transport to what handshakes use. HTTP/1.1 is all that is offered.
    pub(crate) fn build(&self, tls: &ServersTls) -> Result<ClientTls, String> {
        ClientTls::build(tls, &self.roots, &[b"http/1.1"], &self.clock)
            .map_err(|problems| problems.join("; "))
    }
}

struct Idle<S> {
    stream: S,
    until: Time,
}

/// A server chosen for an exchange; counted as in flight until dropped.
pub(crate) struct Chosen<E: Engine> {
    pub(crate) index: usize,
    pub(crate) server: Arc<Server>,
    pub(crate) local: Rc<LocalServer<E>>,
}

impl<E: Engine> Drop for Chosen<E> {
    fn drop(&mut self) {
        self.local.meter.in_flight.sub(1);
    }
}

/// A connection for one exchange.
pub(crate) struct Connection<S> {
    pub(crate) stream: S,
    /// Whether it served an exchange before.
    pub(crate) reused: bool,
}

impl<E: Engine> Connection<Conn<E>> {
    /// Whether a request on which nothing was heard did no work, so that it may be sent again. Of a kept HTTP/1.1
    /// connection that is assumed: the server closed it just then.
    pub(crate) fn is_untouched(&self) -> bool {
        match &self.stream {
            Conn::ServerH2(stream) => stream.is_untouched(),
            _ => self.reused,
        }
    }
}

impl<E: Engine> Upstreams<E> {
    pub(crate) fn new(
        opened: Box<dyn Fn(Opened)>,
        workers: usize,
        seed: u64,
        ground: Rc<ClientGround>,
    ) -> Upstreams<E> {
        Upstreams {
            opened,
            ground,
            workers: workers.max(1),
            seed,
            routes: RefCell::default(),
            services: RefCell::default(),
            servers: RefCell::default(),
            service_meters: RefCell::default(),
        }
    }

    /// This worker's state for a route of the newest table.
    pub(crate) fn local(&self, route: &Arc<Route>) -> Rc<LocalRoute<E>> {
        let mut routes = self.routes.borrow_mut();
        let entry = entry(&mut routes, route.slot);
        if let Some(known) = entry {
            // The stored `Arc` keeps its address from being used again, so equal pointers mean the same route.
            if Arc::ptr_eq(&known.route, route) {
                return known.clone();
            }
        }
        let meter = match entry {
            Some(known) if known.route.slot == route.slot => known.meter.clone(),
            _ => {
                let meter = Arc::new(HttpMeter::default());
                (self.opened)(Opened::Router(route.name.clone(), meter.clone()));
                meter
            }
        };
        let service = self.service(&route.service);
        let local = Rc::new(LocalRoute { route: route.clone(), service, meter });
        *entry = Some(local.clone());
        local
    }

    fn service(&self, service: &Arc<Service>) -> Rc<LocalService<E>> {
        let mut services = self.services.borrow_mut();
        let entry = entry(&mut services, service.slot);
        if let Some(known) = entry
            && Arc::ptr_eq(&known.service, service)
        {
            return known.clone();
        }
        let servers = service.servers.iter().map(|server| self.server(server)).collect();
        let weights: Vec<u32> = service.servers.iter().map(|server| server.weight).collect();
        let order = WeightedRoundRobin::with_start(&weights, self.seed);
        let local = Rc::new(LocalService {
            service: service.clone(),
            meter: self.service_meter(service),
            servers,
            order: RefCell::new(order),
        });
        *entry = Some(local.clone());
        local
    }

    fn service_meter(&self, service: &Service) -> Arc<HttpMeter> {
        let mut meters = self.service_meters.borrow_mut();
        let entry = entry(&mut meters, service.name_slot);
        if let Some((slot, meter)) = entry
            && *slot == service.name_slot
        {
            return meter.clone();
        }
        let meter = Arc::new(HttpMeter::default());
        (self.opened)(Opened::Service(service.name.clone(), meter.clone()));
        *entry = Some((service.name_slot, meter.clone()));
        meter
    }

    fn server(&self, server: &Arc<Server>) -> Rc<LocalServer<E>> {
        let mut servers = self.servers.borrow_mut();
        let entry = entry(&mut servers, server.slot);
        if let Some(known) = entry
            && known.slot == server.slot
        {
            if server.draining {
                known.idle.borrow_mut().clear();
                known.multiplex.iter().for_each(|multiplex| multiplex.retire());
            }
            return known.clone();
        }
        let meter = Arc::new(ServerMeter::default());
        (self.opened)(Opened::Server {
            id: server.id.clone(),
            url: server.url.clone(),
            meter: meter.clone(),
        });
        let max_idle = (server.transport.max_idle_conns_per_host as usize).div_ceil(self.workers);
        let tls = (server.scheme == Scheme::Https).then(|| self.ground.build(&server.transport.tls).ok());
        let local = Rc::new(LocalServer {
            slot: server.slot,
            idle: RefCell::default(),
            max_idle,
            is_named: server.unix.is_none() && server.host.parse::<IpAddr>().is_err(),
            multiplex: Multiplex::new(server.scheme, &server.transport),
            tls,
            meter,
        });
        *entry = Some(local.clone());
        local
    }

    /// Closes connections that were idle for too long or that the server closed. Looks at up to
    /// [`MAX_SWEPT_SERVERS`] servers from `from` on, and says where to go on.
    fn sweep(&self, from: usize, now: Time) -> usize {
        // Collected first: dropping a stream may not happen while the vector is borrowed by a session.
        let servers: Vec<_> =
            self.servers.borrow().iter().skip(from).take(MAX_SWEPT_SERVERS).flatten().cloned().collect();
        for server in servers {
            server.idle.borrow_mut().retain(|idle| idle.until > now && idle.stream.is_quiet());
        }
        let next = from + MAX_SWEPT_SERVERS;
        if next < self.servers.borrow().len() { next } else { 0 }
    }
}

fn entry<T>(entries: &mut Vec<Option<T>>, slot: Slot) -> &mut Option<T> {
    let index = slot.index as usize;
    if index >= entries.len() {
        entries.resize_with(index + 1, || None);
    }
    &mut entries[index]
}

impl<E: Engine> LocalService<E> {
    /// The next server in turn that is up, not draining, has a known address and is not in `tried`.
    pub(crate) fn pick(&self, tried: &[usize]) -> Option<Chosen<E>> {
        let servers = &self.service.servers;
        let usable = |i: usize| {
            let server = &servers[i];
            !server.draining
                && server.live.is_up()
                && (server.unix.is_some() || server.live.address.load().is_some())
                && !tried.contains(&i)
        };
        let index = self.order.borrow_mut().pick(usable)?;
        let local = self.servers[index].clone();
        local.meter.in_flight.add(1);
        Some(Chosen { index, server: servers[index].clone(), local })
    }
}

/// Why no connection came about.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// The host name is not resolved.
    Unresolved,
    /// As the engine says.
    Io(io::Error),
    /// The TLS handshake failed.
    Tls(Failed),
    /// The transport's TLS settings cannot be used for this server.
    TlsSettings,
    /// Another exchange has tried and failed, and this one has waited for it.
    Shared(Rc<ConnectError>),
    /// All streams of all HTTP/2 connections that may be made are in use.
    Busy,
    /// The request asks for an upgrade, and HTTP/2 is all that the server speaks (RFC 9113 section 8.6).
    NoUpgrade,
}

impl<E: Engine> Chosen<E> {
    /// A live idle connection, the one used last, or a stream of one that is shared. `http1`: nothing else will do.
    pub(crate) fn reuse(&self, now: Time, http1: bool) -> Option<Connection<Conn<E>>> {
        let mut idle = self.local.idle.borrow_mut();
        while let Some(candidate) = idle.pop_back() {
            // A server that is named may have moved.
            let there = !self.local.is_named || self.server.live.is_at(candidate.stream.peer_addr());
            if candidate.until > now && there && candidate.stream.is_quiet() {
                return Some(Connection { stream: candidate.stream, reused: true });
            }
        }
        match &self.local.multiplex {
            Some(multiplex) if !http1 => multiplex.open(),
            _ => None,
        }
    }

    /// A fresh connection, or a stream of one that is shared. `http1`: nothing else will do.
    pub(crate) async fn connect(&self, engine: &E, http1: bool) -> Result<Connection<Conn<E>>, ConnectError> {
        let connected = match &self.local.multiplex {
            // In a box of its own: plain exchanges stay small.
            Some(multiplex) if !http1 => Box::pin(multiplex::connect(self, multiplex, engine)).await,
            _ if self.server.scheme == Scheme::H2c => Err(ConnectError::NoUpgrade),
            _ => {
                let dialed = self.dial(engine, false, self.dial_until(engine)).await;
                dialed.map(|(stream, _)| Connection { stream, reused: false })
            }
        };
        match &connected {
            Ok(connection) if connection.reused => {}
            Ok(_) => self.local.meter.connects.add(1),
            Err(_) => self.local.meter.connect_failures.add(1),
        }
        connected
    }

    fn dial_until(&self, engine: &E) -> Time {
        self.server.transport.dial_timeout.map_or(Time::NEVER, |limit| engine.now().after(limit))
    }

    /// A fresh connection, and whether HTTP/2 is spoken on it; that is offered if `http2`.
    async fn dial(&self, engine: &E, http2: bool, until: Time) -> Result<(Conn<E>, bool), ConnectError> {
        let stream = match &self.server.unix {
            Some(path) => engine.connect_unix(Path::new(&**path), until).await,
            None => {
                let to: SocketAddr =
                    **self.server.live.address.load().as_ref().ok_or(ConnectError::Unresolved)?;
                happy::connect(engine, &self.server.live, to, until).await
            }
        };
        let stream = stream.map_err(ConnectError::Io)?;
        let Some(tls) = &self.local.tls else { return Ok((Conn::Plain(stream), http2)) };
        let tls = tls.as_ref().ok_or(ConnectError::TlsSettings)?;
        let name = tls.server_name(&self.server.host).map_err(|_| ConnectError::TlsSettings)?;
        let config = if http2 { tls.offering(&[b"h2", b"http/1.1"]) } else { tls.config().clone() };
        // In a box of its own: few exchanges make a connection.
        let shaken = Box::pin(handshake::connect(stream, config, name, until)).await;
        let (stream, agreed) = shaken.map_err(ConnectError::Tls)?;
        Ok((Conn::Tls(Box::new(stream)), agreed.alpn == b"h2"))
    }

    /// Keeps a connection, on which nothing is outstanding, for a later exchange; not one that has more to say, nor
    /// one to a server that takes no more requests.
    pub(crate) fn keep(&self, stream: Conn<E>, now: Time) {
        if self.server.draining || !stream.is_quiet() {
            return;
        }
        let until = self.server.transport.idle_conn_timeout.map_or(Time::NEVER, |d| now.after(d));
        let mut idle = self.local.idle.borrow_mut();
        if idle.len() < self.local.max_idle {
            idle.push_back(Idle { stream, until });
        }
    }
}

/// Looks over idle connections for as long as the worker lives.
pub(crate) async fn sweep<E: Engine>(worker: Weak<Worker<E>>) {
    let mut from = 0;
    loop {
        let Some(alive) = worker.upgrade() else { return };
        let engine = alive.engine.clone();
        drop(alive);
        engine.sleep_until(engine.now().after(SWEEP_PERIOD)).await;
        let Some(alive) = worker.upgrade() else { return };
        from = alive.upstreams.sweep(from, engine.now());
    }
}
