//! The proxy between clients and backends, from its parts.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use pancake_engine::sim::Sim;
use pancake_engine::{Engine, ListenOptions};
use pancake_session::accept;
use pancake_session::meter::WorkerMeter;
use pancake_session::record::{Record, Sink};
use pancake_session::settings::{EntryPoint, Forwarded};
use pancake_session::worker::{Parts, Secure, Worker};
use pancake_table::check::check;
use pancake_table::compile::{EntryPointSpec, compile};
use pancake_table::compiled::Table;
use pancake_table::lookup::EntryPointId;
use pancake_table::snapshot::{
    LoadBalancer, Router, Server, ServersTransport, Service, ServiceKind, Snapshot,
};

use crate::journal::Recorded;
use crate::run::Setup;
use crate::scenario::Sabotage;

const ENTRY_POINT: &str = "web";
const TRANSPORT: &str = "sim@file";

/// Where a proxy stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before the clients.
    Front,
    /// Behind that one, which speaks HTTP/2 to it; before the backends.
    Relay,
}

/// The running proxy.
pub struct Proxy {
    /// Its one worker.
    pub worker: Rc<Worker<Sim>>,
    /// Its counters.
    pub meter: Arc<WorkerMeter>,
    table: Arc<ArcSwap<Table>>,
    place: Place,
}

/// Keeps nothing.
struct Silent;

impl Sink for Silent {
    fn wants_text(&self) -> bool {
        false
    }

    fn record(&self, _record: &Record<'_>) {}
}

/// Writes the records into the journal.
struct Journaling {
    setup: Rc<Setup>,
}

impl Sink for Journaling {
    fn wants_text(&self) -> bool {
        true
    }

    fn record(&self, record: &Record<'_>) {
        let kept = Recorded {
            status: record.status,
            response_bytes: record.response_bytes,
            retries: record.retries,
            reason: record.failure.map(|failure| failure.reason),
        };
        let mut journal = self.setup.journal.borrow_mut();
        let target = record.text.map_or("", |text| text.target.as_str());
        match self.setup.scenario.sabotage {
            Some(Sabotage::LosesARecord) if journal.records() == 0 && !self.setup.sabotaged.replace(true) => {
            }
            Some(Sabotage::DoublesARecord) => {
                journal.recorded(target, kept.clone());
                journal.recorded(target, kept);
            }
            _ => journal.recorded(target, kept),
        }
    }
}

impl Proxy {
    /// Starts it on its host.
    pub fn start(sim: &Sim, setup: &Rc<Setup>, place: Place) -> Proxy {
        let table = Arc::new(ArcSwap::from_pointee(table(setup, place, 0, None)));
        let meter = Arc::new(WorkerMeter::new(1));
        let parts = Parts {
            table: table.clone(),
            meter: meter.clone(),
            opened: Box::new(|_| {}),
            sink: match place {
                Place::Front => Box::new(Journaling { setup: setup.clone() }),
                Place::Relay => Box::new(Silent),
            },
            secure: Secure::bare(),
            tokens: Arc::default(),
            admission: Arc::default(),
            memory: None,
            workers: 1,
            hostname: "proxy.sim".into(),
        };
        let worker = Worker::new(sim.clone(), parts);
        let address = match place {
            Place::Front => setup.proxy,
            Place::Relay => setup.relay,
        };
        let forwarded = match place {
            Place::Front => Forwarded::default(),
            // What the first one says of the client stays.
            Place::Relay => Forwarded { insecure: true, not_append_for: true, ..Forwarded::default() },
        };
        let entry = EntryPoint {
            forwarded,
            read_timeout: Some(Duration::from_secs(20)),
            idle_timeout: Some(Duration::from_secs(10)),
            ..EntryPoint::new(EntryPointId(0), ENTRY_POINT, address)
        };
        let listener = sim.listen(address, &ListenOptions::default()).expect("the address is free");
        sim.spawn(accept::serve(worker.clone(), listener, Rc::new(entry)));
        Proxy { worker, meter, table, place }
    }

    /// Puts the table of this version in the place of the one that serves.
    pub fn swap(&self, setup: &Setup, version: u64) {
        let next = table(setup, self.place, version, Some(&self.table.load()));
        self.table.store(Arc::new(next));
    }
}

/// The table of a version: every service has all its backends, except that one of them may be missing or draining.
fn table(setup: &Setup, place: Place, version: u64, previous: Option<&Table>) -> Table {
    let mut snapshot = Snapshot { version, ..Snapshot::default() };
    for service in 0..setup.scenario.services {
        let name = format!("s{service}@file");
        snapshot.routers.push(Router {
            name: name.clone(),
            rule: format!("Host(`s{service}.sim`)"),
            service: name.clone(),
            ..Router::default()
        });
        let mut servers: Vec<Server> =
            (0..setup.scenario.backends).map(|n| Server::new(url(setup.backend(service, n)))).collect();
        if place == Place::Front && setup.scenario.relay {
            servers = vec![Server::new(format!("h2c://{}", setup.relay))];
        }
        if servers.len() > 1 {
            let odd = version as usize % servers.len();
            match version % 3 {
                1 => servers[odd].draining = true,
                2 => drop(servers.remove(odd)),
                _ => {}
            }
        }
        let balancer =
            LoadBalancer { servers, servers_transport: Some(TRANSPORT.into()), ..LoadBalancer::default() };
        snapshot.services.push(Service { name, kind: ServiceKind::LoadBalancer(balancer) });
    }
    snapshot.servers_transports.push(ServersTransport {
        name: TRANSPORT.into(),
        max_idle_conns_per_host: 4,
        dial_timeout: Duration::from_secs(3),
        response_header_timeout: Duration::from_secs(30),
        idle_conn_timeout: Duration::from_secs(8),
        ..ServersTransport::default()
    });
    let report = check(&snapshot, &[ENTRY_POINT.into()]);
    assert!(!report.has_errors(), "{:?}", report.problems());
    let entry_points = [EntryPointSpec { name: ENTRY_POINT.into(), default: true }];
    compile(Arc::new(snapshot), &report, &entry_points, previous)
}

fn url(addr: SocketAddr) -> String {
    format!("http://{addr}")
}
