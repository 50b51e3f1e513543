//! The registry of counters: who counts what, and their sums over workers.
//!
//! Workers open meters as they first need them and tell the service thread; nothing here is touched by a worker. What
//! a worker has given up (its object is gone or has changed) is added to a sum that stays as long as the table has
//! an object of that name, so that counters do not run backwards.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use pancake_session::meter::{
    Cell, DURATION_BUCKETS, HttpMeter, Method, Opened, Row, ServerMeter, WorkerMeter,
};
use pancake_table::compiled::Table;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::limits::METER_PERIOD;

/// Exchanges of one status and one method.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HttpSum {
    /// Exchanges.
    pub requests: u64,
    /// Seconds that they took in all.
    pub seconds: f64,
    /// Exchanges within each of [`DURATION_BUCKETS`], not accumulated.
    pub buckets: [u64; DURATION_BUCKETS.len()],
    /// Request body bytes.
    pub request_bytes: u64,
    /// Response body bytes.
    pub response_bytes: u64,
}

impl HttpSum {
    fn add(&mut self, row: &Row) {
        self.requests += row.requests.get();
        self.seconds += row.nanoseconds.get() as f64 / 1e9;
        for (sum, bucket) in self.buckets.iter_mut().zip(&row.buckets) {
            *sum += bucket.get();
        }
        self.request_bytes += row.request_bytes.get();
        self.response_bytes += row.response_bytes.get();
    }
}

/// Sums by status (0 = various) and method, in no order.
pub type HttpSums = HashMap<(u16, &'static str), HttpSum>;

/// Use of one server, over all workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerSum {
    /// Exchanges that use it now.
    pub in_flight: u64,
    /// Connections opened.
    pub connects: u64,
    /// Connections that could not be opened.
    pub connect_failures: u64,
}

impl ServerSum {
    fn add(&mut self, meter: &ServerMeter) {
        self.in_flight += meter.in_flight.get();
        self.connects += meter.connects.get();
        self.connect_failures += meter.connect_failures.get();
    }
}

#[derive(Default)]
struct Http {
    live: Vec<Arc<HttpMeter>>,
    retired: HttpSums,
}

impl Http {
    fn sums(&self) -> HttpSums {
        let mut sums = self.retired.clone();
        for meter in &self.live {
            add(&mut sums, meter);
        }
        sums
    }

    /// Moves what no worker holds any more to the sum.
    fn retire(&mut self) {
        let retired = &mut self.retired;
        self.live.retain(|meter| {
            let held = Arc::strong_count(meter) > 1;
            if !held {
                add(retired, meter);
            }
            held
        });
    }
}

fn add(sums: &mut HttpSums, meter: &HttpMeter) {
    for (status, method, row) in meter.rows() {
        sums.entry((status, Method::label(method))).or_default().add(row);
    }
}

#[derive(Default)]
struct Servers {
    live: Vec<Arc<ServerMeter>>,
    retired: ServerSum,
}

impl Servers {
    fn sum(&self) -> ServerSum {
        let mut sum = self.retired;
        for meter in &self.live {
            sum.add(meter);
        }
        sum
    }

    fn retire(&mut self) {
        let retired = &mut self.retired;
        self.live.retain(|meter| {
            // A meter that a worker gave up while an exchange still used the server is held by that exchange.
            let held = Arc::strong_count(meter) > 1;
            if !held {
                retired.add(meter);
            }
            held
        });
    }
}

/// All counters of the process. Shared by the tasks of the service thread; workers never lock it.
pub struct Meters {
    workers: Vec<Arc<WorkerMeter>>,
    opened: Mutex<Registry>,
}

struct Registry {
    receiver: UnboundedReceiver<Opened>,
    routers: HashMap<Arc<str>, Http>,
    services: HashMap<Arc<str>, Http>,
    servers: HashMap<Arc<str>, Servers>,
}

impl Meters {
    /// Of these workers, and of what they open.
    ///
    /// The channel has no limit of its own: a worker sends once per object and table slot.
    pub fn new(workers: Vec<Arc<WorkerMeter>>, receiver: UnboundedReceiver<Opened>) -> Meters {
        let [routers, services] = [(); 2].map(|()| HashMap::new());
        Meters {
            workers,
            opened: Mutex::new(Registry { receiver, routers, services, servers: HashMap::new() }),
        }
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// The sum of a cell over the workers.
    pub fn sum(&self, cell: impl Fn(&WorkerMeter) -> &Cell) -> u64 {
        self.workers.iter().map(|worker| cell(worker).get()).fold(0, u64::wrapping_add)
    }

    /// The largest value of a cell among the workers.
    pub fn max(&self, cell: impl Fn(&WorkerMeter) -> &Cell) -> u64 {
        self.workers.iter().map(|worker| cell(worker).get()).max().unwrap_or(0)
    }

    /// Client connections open on the entry point with this number.
    pub fn open_connections(&self, entry_point: usize) -> u64 {
        self.workers.iter().filter_map(|worker| worker.open.get(entry_point)).map(Cell::get).sum()
    }

    /// QUIC connections open on the entry point with this number.
    pub fn open_quic_connections(&self, entry_point: usize) -> u64 {
        let cells = self.workers.iter().filter_map(|worker| worker.open_over_udp.get(entry_point));
        cells.map(Cell::get).sum()
    }

    /// Exchanges on the entry point with this number.
    pub fn entry_point(&self, entry_point: usize) -> HttpSums {
        let mut sums = HttpSums::new();
        for meter in self.workers.iter().filter_map(|worker| worker.entry_points.get(entry_point)) {
            add(&mut sums, meter);
        }
        sums
    }

    /// Exchanges by router.
    pub fn routers(&self) -> Vec<(Arc<str>, HttpSums)> {
        self.lock().routers.iter().map(|(name, http)| (name.clone(), http.sums())).collect()
    }

    /// Exchanges by service.
    pub fn services(&self) -> Vec<(Arc<str>, HttpSums)> {
        self.lock().services.iter().map(|(name, http)| (name.clone(), http.sums())).collect()
    }

    /// Use of each server, by the identity under which its drain is confirmed.
    pub fn servers(&self) -> Vec<(Arc<str>, ServerSum)> {
        self.lock().servers.iter().map(|(id, servers)| (id.clone(), servers.sum())).collect()
    }

    /// Exchanges that use this server now.
    pub fn in_flight(&self, id: &str) -> u64 {
        self.lock().servers.get(id).map_or(0, |servers| servers.sum().in_flight)
    }

    /// Forgets objects that are not in `table` and that no worker counts for any more.
    pub fn retire(&self, table: &Table) {
        use std::collections::HashSet;
        let registry = &mut *self.lock();
        let routers: HashSet<&str> = table.routes.iter().map(|route| &*route.name).collect();
        let services: HashSet<&str> = table.services.iter().map(|service| &*service.name).collect();
        let servers: HashSet<&str> =
            table.services.iter().flat_map(|service| &service.servers).map(|server| &*server.id).collect();
        registry.routers.retain(|name, http| {
            http.retire();
            routers.contains(&**name) || !http.live.is_empty()
        });
        registry.services.retain(|name, http| {
            http.retire();
            services.contains(&**name) || !http.live.is_empty()
        });
        registry.servers.retain(|id, meters| {
            meters.retire();
            servers.contains(&**id) || !meters.live.is_empty()
        });
    }

    /// Keeps the registry small, until the end of the runtime.
    pub async fn tidy(self: Arc<Meters>, table: Arc<ArcSwap<Table>>) {
        loop {
            tokio::time::sleep(METER_PERIOD).await;
            self.retire(&table.load_full());
        }
    }

    /// The registry, with everything in it that workers have opened so far.
    fn lock(&self) -> MutexGuard<'_, Registry> {
        let mut registry = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        while let Ok(opened) = registry.receiver.try_recv() {
            match opened {
                Opened::Router(name, meter) => registry.routers.entry(name).or_default().live.push(meter),
                Opened::Service(name, meter) => registry.services.entry(name).or_default().live.push(meter),
                Opened::Server { id, meter, .. } => registry.servers.entry(id).or_default().live.push(meter),
            }
        }
        registry
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use pancake_session::meter::{HttpMeter, Method, Opened, Sample, ServerMeter, WorkerMeter};
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::change::tests::empty_table;

    fn exchange(meter: &HttpMeter) {
        let duration = Duration::from_millis(500);
        meter.add(&Sample {
            status: 200,
            method: Method::Get,
            duration,
            request_bytes: 1,
            response_bytes: 2,
        });
    }

    #[test]
    fn sums_over_workers_and_keeps_what_a_worker_gave_up() {
        let (sender, receiver) = unbounded_channel();
        let meters = Meters::new(vec![Arc::new(WorkerMeter::new(1))], receiver);
        let (one, two) = (Arc::new(HttpMeter::default()), Arc::new(HttpMeter::default()));
        for meter in [&one, &two] {
            exchange(meter);
            sender.send(Opened::Service("s@file".into(), meter.clone())).unwrap();
        }
        let requests = || meters.services()[0].1[&(200, "GET")].requests;
        assert_eq!(requests(), 2);
        drop(two);
        meters.retire(&empty_table());
        assert_eq!(requests(), 2);
        drop(one);
        meters.retire(&empty_table());
        assert!(meters.services().is_empty());
    }

    #[test]
    fn a_server_that_nobody_used_has_nothing_in_flight() {
        let (sender, receiver) = unbounded_channel();
        let meters = Meters::new(vec![], receiver);
        assert_eq!(meters.in_flight("http://a"), 0);
        let meter = Arc::new(ServerMeter::default());
        meter.in_flight.add(2);
        sender.send(Opened::Server { id: "http://a".into(), url: "http://a".into(), meter }).unwrap();
        assert_eq!(meters.in_flight("http://a"), 2);
    }
}
