//! Connections to servers, and who gets the next request. State of one worker.
//!
//! Vectors indexed by the table's slots hold what this worker knows of a router, service or server, so that a table
//! swap costs nothing here: an entry is brought up to date when a request next needs it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use pancake_balance::pick::WeightedRoundRobin;
use pancake_engine::{Engine, Stream, Time};
use pancake_table::compiled::{Route, Server, Service, Slot};

use crate::limits::{MAX_SWEPT_SERVERS, SWEEP_PERIOD};
use crate::meter::{HttpMeter, Opened, ServerMeter};
use crate::worker::Worker;

/// All of a worker's state about routers, services and servers.
pub(crate) struct Upstreams<E: Engine> {
    opened: Box<dyn Fn(Opened)>,
    workers: usize,
    seed: u64,
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
    idle: RefCell<VecDeque<Idle<E::Stream>>>,
    max_idle: usize,
    pub(crate) meter: Arc<ServerMeter>,
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

impl<E: Engine> Upstreams<E> {
    pub(crate) fn new(opened: Box<dyn Fn(Opened)>, workers: usize, seed: u64) -> Upstreams<E> {
        Upstreams {
            opened,
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
        let local = Rc::new(LocalServer { slot: server.slot, idle: RefCell::default(), max_idle, meter });
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
                && server.live.address.load().is_some()
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
}

impl<E: Engine> Chosen<E> {
    /// A live idle connection, the one used last.
    pub(crate) fn reuse(&self, now: Time) -> Option<Connection<E::Stream>> {
        let mut idle = self.local.idle.borrow_mut();
        while let Some(candidate) = idle.pop_back() {
            if candidate.until > now && candidate.stream.is_quiet() {
                return Some(Connection { stream: candidate.stream, reused: true });
            }
        }
        None
    }

    /// A fresh connection.
    pub(crate) async fn connect(&self, engine: &E) -> Result<Connection<E::Stream>, ConnectError> {
        let to: SocketAddr = **self.server.live.address.load().as_ref().ok_or(ConnectError::Unresolved)?;
        let until = self.server.transport.dial_timeout.map_or(Time::NEVER, |d| engine.now().after(d));
        match engine.connect(to, until).await {
            Ok(stream) => {
                self.local.meter.connects.add(1);
                Ok(Connection { stream, reused: false })
            }
            Err(error) => {
                self.local.meter.connect_failures.add(1);
                Err(ConnectError::Io(error))
            }
        }
    }

    /// Keeps a connection, on which nothing is outstanding, for a later exchange; not one that has more to say, nor
    /// one to a server that takes no more requests.
    pub(crate) fn keep(&self, stream: E::Stream, now: Time) {
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
