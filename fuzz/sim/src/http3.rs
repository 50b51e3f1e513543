//! HTTP/3 on the simulated network: the proxy's endpoint, a backend, and clients over datagrams that are lost, doubled and
//! overtake each other.
//!
//! QUIC, HTTP/3 and TLS are the real ones on both sides. Keys are random: a seed repeats the weather, not the bytes.

/// A client.
pub mod client;

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use pancake_engine::sim::Sim;
use pancake_engine::{Engine, ListenOptions, Listener, OutBuf, Stream, Time, Want};
use pancake_session::meter::WorkerMeter;
use pancake_session::quic::{self, Place, Secrets};
use pancake_session::record::{Record, Sink};
use pancake_session::settings::{EntryPoint, Http3};
use pancake_session::worker::{Parts, Secure, Worker};
use pancake_table::check::check;
use pancake_table::compile::{EntryPointSpec, compile};
use pancake_table::lookup::EntryPointId;
use pancake_table::snapshot::tls::RouterTls;
use pancake_table::snapshot::{LoadBalancer, Router, Server, Service, ServiceKind, Snapshot};

/// Where the proxy listens.
pub const PROXY: ([u8; 4], u16) = ([10, 1, 0, 1], 443);
const BACKEND: ([u8; 4], u16) = ([10, 2, 0, 1], 8000);

/// The running proxy and what it has recorded.
pub struct World {
    /// Its one worker.
    pub worker: Rc<Worker<Sim>>,
    /// Its counters.
    pub meter: Arc<WorkerMeter>,
    /// Access records.
    pub records: Rc<Cell<usize>>,
}

struct Counting(Rc<Cell<usize>>);

impl Sink for Counting {
    fn wants_text(&self) -> bool {
        false
    }

    fn record(&self, _record: &Record<'_>) {
        self.0.set(self.0.get() + 1);
    }
}

/// Starts proxy and backend. `idle`: `idleTimeout` of the entry point.
pub fn start(sim: &Sim, seed: u64, idle: Duration) -> World {
    let here = sim.host(PROXY.0.into());
    backend(&sim.host(BACKEND.0.into()));
    let router = Router {
        name: "all@file".into(),
        rule: "PathPrefix(`/`)".into(),
        service: "app@file".into(),
        tls: Some(RouterTls::default()),
        ..Router::default()
    };
    let servers = vec![Server::new(format!("http://{}", SocketAddr::from(BACKEND)))];
    let kind = ServiceKind::LoadBalancer(LoadBalancer { servers, ..LoadBalancer::default() });
    let services = vec![Service { name: "app@file".into(), kind }];
    let snapshot = Snapshot { version: 1, routers: vec![router], services, ..Snapshot::default() };
    let report = check(&snapshot, &["web".into()]);
    assert!(!report.has_errors(), "{:?}", report.problems());
    let specs = [EntryPointSpec { name: "web".into(), default: true }];
    let table = compile(Arc::new(snapshot), &report, &specs, None);
    let (meter, records) = (Arc::new(WorkerMeter::new(1)), Rc::default());
    let parts = Parts {
        table: Arc::new(ArcSwap::from_pointee(table)),
        meter: Arc::clone(&meter),
        opened: Box::new(|_| {}),
        sink: Box::new(Counting(Rc::clone(&records))),
        secure: Secure::bare(),
        tokens: Arc::default(),
        admission: Arc::default(),
        memory: None,
        workers: 1,
        hostname: "proxy.sim".into(),
    };
    let worker = Worker::new(here.clone(), parts);
    let entry = EntryPoint {
        idle_timeout: Some(idle),
        http3: Some(Http3::default()),
        ..EntryPoint::new(EntryPointId(0), "web", PROXY.into())
    };
    let place = Place { number: 0, workers: 1, secrets: Secrets::fixed(seed) };
    let socket =
        here.bind_udp(PROXY.into(), &quic::socket_options(PROXY.into(), &place)).expect("the port is free");
    here.spawn(quic::serve(Rc::clone(&worker), socket, Rc::new(entry), place));
    World { worker, meter, records }
}

/// Answers `GET /N` with N bytes, and `POST` with as many as it got.
fn backend(sim: &Sim) {
    let listener = sim.listen(BACKEND.into(), &ListenOptions::default()).expect("the port is free");
    let inner = sim.clone();
    sim.spawn(async move {
        while let Ok(stream) = listener.accept().await {
            inner.spawn(async move { while answer(&stream).await.is_some() {} });
        }
    });
}

async fn answer(stream: &impl Stream) -> Option<()> {
    let mut held = Vec::new();
    let end = loop {
        if let Some(end) = held.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        held.extend_from_slice(&more(stream).await?);
    };
    let head = String::from_utf8_lossy(&held[..end]).to_lowercase();
    let number = |text: &str| text.trim().parse::<usize>().ok();
    let length = head.lines().find_map(|line| number(line.strip_prefix("content-length:")?));
    let mut got = held.len() - end;
    while got < length.unwrap_or(0) {
        got += more(stream).await?.len();
    }
    let asked = head.split(' ').nth(1).and_then(|path| number(path.trim_start_matches('/')));
    let size = length.or(asked).unwrap_or(0);
    let mut out = OutBuf::new();
    out.extend_from_slice(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").as_bytes());
    let whole = out.len() + size;
    out.resize(whole, b'x');
    stream.send(out.into(), Time::NEVER).await.ok()
}

async fn more(stream: &impl Stream) -> Option<pancake_engine::Buf> {
    stream.recv(Want::Bulk, Time::NEVER).await.ok().filter(|bytes| !bytes.is_empty())
}
