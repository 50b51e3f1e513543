//! One run from its seed to its report.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use pancake_engine::sim::{self, Faults, Rng, Sim};
use pancake_engine::{Engine, ListenOptions, Listener, OutBuf, Stream, Time, Want};

use crate::journal::Journal;
use crate::plan::FIRST_HOG_ID;
use crate::proxy::{Place, Proxy};
use crate::scenario::{Sabotage, Scenario};
use crate::{backend, client, hog};

/// How long a drain may take once every client has left.
const DRAIN_PATIENCE: Duration = Duration::from_secs(120);

/// What hogs get done before the others come.
const HOGS_FIRST: Duration = Duration::from_millis(500);

/// What the actors of a run share.
pub struct Setup {
    /// The scenario.
    pub scenario: Scenario,
    /// What they see.
    pub journal: RefCell<Journal>,
    /// Where the proxy listens.
    pub proxy: SocketAddr,
    /// Where the one behind it listens, if there is one.
    pub relay: SocketAddr,
    /// Whether the clients are done, so that hogs leave too.
    pub over: Cell<bool>,
    /// Whether a sabotage that happens once has happened.
    pub sabotaged: Cell<bool>,
}

impl Setup {
    /// Notes a violation.
    pub fn violation(&self, what: String) {
        self.journal.borrow_mut().violation(what);
    }

    /// The address of the client that asks exchange `id`.
    pub fn client_ip(&self, id: u32) -> IpAddr {
        if let Some(hog) = id.checked_sub(FIRST_HOG_ID) {
            return IpAddr::from([10, 4, 0, 1 + (hog / 2) as u8]);
        }
        let client = id as usize / self.scenario.exchanges;
        IpAddr::from([10, 3, 0, 1 + client as u8])
    }

    /// The address of a backend.
    pub fn backend(&self, service: usize, n: usize) -> SocketAddr {
        SocketAddr::from(([10, 2, service as u8, 1 + n as u8], 8000))
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Report {
    /// The seed that repeats it.
    pub seed: u64,
    /// What must not be; empty for a good run.
    pub violations: Vec<String>,
    /// Exchanges with a whole answer from a backend.
    pub whole: usize,
    /// Other exchanges.
    pub others: usize,
    /// Exchanges by the reason that the proxy recorded for their failure, and `retried`.
    pub reasons: BTreeMap<&'static str, usize>,
    /// Answers that nobody asked for and that took the place of another's.
    pub strays: usize,
    /// A digest of all events: equal for equal seeds.
    pub fingerprint: u64,
    /// Virtual time.
    pub elapsed: Duration,
}

/// Runs the scenario of a seed.
pub fn run(seed: u64) -> Report {
    run_scenario(Scenario::of(seed))
}

/// Runs a scenario.
pub fn run_scenario(scenario: Scenario) -> Report {
    let seed = scenario.seed;
    let setup = Rc::new(Setup {
        journal: RefCell::default(),
        proxy: SocketAddr::from(([10, 1, 0, 1], 80)),
        relay: SocketAddr::from(([10, 5, 0, 1], 80)),
        over: Cell::new(false),
        sabotaged: Cell::new(false),
        scenario,
    });
    let outcome = sim::run(seed, setup.scenario.faults.clone(), {
        let setup = setup.clone();
        |sim| direct(sim, setup)
    });
    let mut journal = setup.journal.borrow_mut();
    match outcome.result {
        Ok(()) => journal.audit(&setup.scenario),
        Err(stuck) => journal.violation(format!("the run hangs: {stuck:?}")),
    }
    if !outcome.leaked.is_empty() {
        journal.violation(format!("receive buffers were never returned: {:?}", outcome.leaked));
    }
    if outcome.leaked_streams > 0 {
        journal.violation(format!("{} streams were never closed", outcome.leaked_streams));
    }
    let (whole, others) = journal.tally();
    Report {
        seed,
        violations: std::mem::take(&mut journal.violations),
        whole,
        others,
        reasons: std::mem::take(&mut journal.reasons),
        strays: journal.strays.len(),
        fingerprint: outcome.fingerprint,
        elapsed: outcome.elapsed,
    }
}

/// The play: backends, proxy, clients; then the drain.
async fn direct(sim: Sim, setup: Rc<Setup>) {
    let scenario = &setup.scenario;
    let mut rng = Rng::new(scenario.seed ^ 0xac70);
    for service in 0..scenario.services {
        for n in 0..scenario.backends {
            let who = backend::Who { service, addr: setup.backend(service, n) };
            let host = sim.host(who.addr.ip());
            sim.spawn(backend::run(host, setup.clone(), who, Rng::new(rng.bits())));
        }
    }
    let host = sim.host(setup.proxy.ip());
    let proxy = Rc::new(Proxy::start(&host, &setup, Place::Front));
    let relay = scenario.relay.then(|| {
        let host = sim.host(setup.relay.ip());
        Rc::new(Proxy::start(&host, &setup, Place::Relay))
    });
    if let Some(every) = scenario.swap_every {
        let swapped = relay.as_ref().unwrap_or(&proxy).clone();
        sim.spawn(swap_for_ever(sim.clone(), setup.clone(), swapped, every));
    }
    if let Some(at) = scenario.drain_at {
        let (sim_, proxy) = (sim.clone(), proxy.clone());
        sim.spawn(async move {
            sim_.sleep_until(Time(0).after(at)).await;
            proxy.worker.drain();
        });
    }
    if scenario.sabotage == Some(Sabotage::KeepsABuffer) {
        keep_a_buffer(&host).await;
    }
    if let Some((hog, count)) = scenario.hogs {
        for n in 0..count as u32 {
            let id = FIRST_HOG_ID + 2 * n;
            sim.spawn(hog::run(sim.host(setup.client_ip(id)), setup.clone(), hog, id));
        }
        sim.sleep_until(sim.now().after(HOGS_FIRST)).await;
    }
    let clients = Rc::new(Cell::new(scenario.clients));
    for n in 0..scenario.clients as u32 {
        let each = scenario.exchanges as u32;
        let host = sim.host(setup.client_ip(n * each));
        let play = client::run(host, setup.clone(), n * each..(n + 1) * each, Rng::new(rng.bits()));
        let clients = clients.clone();
        sim.spawn(async move {
            play.await;
            clients.set(clients.get() - 1);
        });
    }
    while clients.get() > 0 {
        sim.sleep_until(sim.now().after(Duration::from_millis(100))).await;
    }
    setup.over.set(true);
    wind_down(&sim, &host, &setup, &proxy).await;
}

/// Drains the proxy and looks whether anything is left behind.
async fn wind_down(sim: &Sim, host: &Sim, setup: &Setup, proxy: &Proxy) {
    sim.set_faults(Faults::none());
    proxy.worker.drain();
    let drained = until(sim, sim.now().after(DRAIN_PATIENCE), proxy.worker.drained()).await;
    if drained.is_none() {
        setup.violation(format!("{} sessions are open long after the drain", proxy.worker.sessions()));
    }
    let (held, in_flight) = (host.held_buffers(), proxy.meter.in_flight.get());
    if held > 0 {
        setup.violation(format!("the drained proxy holds {held} receive buffers"));
    }
    if in_flight > 0 {
        setup.violation(format!("{in_flight} exchanges in flight after the drain"));
    }
    let counted: u64 = proxy.meter.entry_points[0].rows().map(|(.., row)| row.requests.get()).sum();
    let records = setup.journal.borrow().records() as u64;
    if counted != records {
        setup.violation(format!("{counted} exchanges counted, {records} recorded"));
    }
}

async fn swap_for_ever(sim: Sim, setup: Rc<Setup>, proxy: Rc<Proxy>, every: Duration) {
    for version in 1.. {
        sim.sleep_until(sim.now().after(every)).await;
        proxy.swap(&setup, version);
    }
}

/// Receives a few bytes on this host and never gives the buffer back.
async fn keep_a_buffer(host: &Sim) {
    let addr = SocketAddr::from(([10, 1, 0, 1], 9));
    let listener = host.listen(addr, &ListenOptions::default()).expect("the address is free");
    let Ok(stream) = host.connect(addr, Time::NEVER).await else { return };
    let Ok(peer) = listener.accept().await else { return };
    let mut bytes = OutBuf::new();
    bytes.extend_from_slice(b"kept");
    if peer.send(bytes.into(), Time::NEVER).await.is_ok() {
        std::mem::forget(stream.recv(Want::Some, Time::NEVER).await);
    }
}

/// The result of `call`, unless `at` passes before; it is dropped then.
pub async fn until<T>(sim: &Sim, at: Time, call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    let mut sleep = sim.sleep_until(at);
    poll_fn(|cx| match call.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => pin!(&mut sleep).poll(cx).map(|()| None),
    })
    .await
}
