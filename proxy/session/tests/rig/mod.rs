//! A worker on a real engine between real sockets: the client and the backends are plain blocking threads.

// Each test program uses its part of this.
#![allow(dead_code)]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use pancake_engine::{Engine, ListenOptions, Listener, Options, epoll, ring};
use pancake_session::meter::WorkerMeter;
use pancake_session::pressure::Budget;
use pancake_session::record::{Record, Sink};
use pancake_session::settings::EntryPoint;
use pancake_session::{Worker, accept, worker};
use pancake_table::check::check;
use pancake_table::compile::{EntryPointSpec, compile};
use pancake_table::compiled::Table;
use pancake_table::lookup::EntryPointId;
use pancake_table::snapshot::{LoadBalancer, Router, Server, Service, ServiceKind, Snapshot};

/// How long any single step of a test may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// An access record, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub status: u16,
    pub router: Option<String>,
    pub server: Option<String>,
    pub failure: Option<&'static str>,
    pub retries: u32,
    pub request_bytes: u64,
    pub response_bytes: u64,
}

struct Channel(mpsc::Sender<Seen>);

impl Sink for Channel {
    fn wants_text(&self) -> bool {
        true
    }

    fn record(&self, record: &Record<'_>) {
        let _ = self.0.send(Seen {
            status: record.status,
            router: record.router.map(Into::into),
            server: record.server.map(Into::into),
            failure: record.failure.map(|failure| failure.reason),
            retries: record.retries,
            request_bytes: record.request_bytes,
            response_bytes: record.response_bytes,
        });
    }
}

#[derive(Clone, Copy, Debug)]
pub enum On {
    Ring,
    Epoll,
}

/// A running proxy worker.
pub struct Rig {
    pub address: SocketAddr,
    pub table: Arc<ArcSwap<Table>>,
    pub meter: Arc<WorkerMeter>,
    /// Of a memory budget of 100.
    pub used: Arc<AtomicU64>,
    records: mpsc::Receiver<Seen>,
    drain: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

pub fn specs() -> Vec<EntryPointSpec> {
    vec![EntryPointSpec { name: "web".into(), default: true }]
}

/// The table of a snapshot, next to the one that serves.
pub fn table(snapshot: Snapshot, previous: Option<&Table>) -> Table {
    let report = check(&snapshot, &["web".into()]);
    assert!(!report.has_errors(), "{report:?}");
    compile(Arc::new(snapshot), &report, &specs(), previous)
}

/// One service `app` with these servers, for every path.
pub fn to(servers: &[SocketAddr]) -> Snapshot {
    Snapshot {
        version: 1,
        routers: vec![Router {
            name: "all@file".into(),
            rule: "PathPrefix(`/`)".into(),
            service: "app@file".into(),
            ..Router::default()
        }],
        services: vec![Service {
            name: "app@file".into(),
            kind: ServiceKind::LoadBalancer(LoadBalancer {
                servers: servers.iter().map(|a| Server::new(format!("http://{a}"))).collect(),
                ..LoadBalancer::default()
            }),
        }],
        ..Snapshot::default()
    }
}

impl Rig {
    pub fn start(on: On, snapshot: Snapshot, settings: impl FnOnce(&mut EntryPoint)) -> Rig {
        let table = Arc::new(ArcSwap::from_pointee(table(snapshot, None)));
        let meter = Arc::new(WorkerMeter::new(1));
        let mut entry = EntryPoint::new(EntryPointId(0), "web", "127.0.0.1:0".parse().unwrap());
        settings(&mut entry);
        let (drain, drained) = tokio::sync::oneshot::channel();
        let (ready, address) = mpsc::channel();
        let (send_records, records) = mpsc::channel();
        let used = Arc::new(AtomicU64::new(0));
        let shared = (table.clone(), meter.clone(), used.clone());
        let thread = std::thread::spawn(move || {
            let options = Options::default();
            let (table, meter, used) = shared;
            let job = Job { table, meter, used, entry, records: send_records, ready, drained };
            match on {
                On::Ring => ring::run(&options, |engine| work(engine, job)).unwrap(),
                On::Epoll => epoll::run(&options, |engine| work(engine, job)).unwrap(),
            }
        });
        let address = address.recv_timeout(PATIENCE).expect("the worker listens");
        Rig { address, table, meter, used, records, drain: Some(drain), thread: Some(thread) }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Sends `request` on a connection of its own, half-closes nothing, reads to the end.
    pub fn ask_and_read_all(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(request).unwrap();
        read_all(&mut stream)
    }

    /// The next access record.
    pub fn record(&self) -> Seen {
        self.records.recv_timeout(PATIENCE).expect("an access record")
    }

    /// Starts the drain without waiting for its end.
    pub fn begin_drain(&mut self) {
        if let Some(drain) = self.drain.take() {
            let _ = drain.send(());
        }
    }

    /// Waits until the worker has ended.
    pub fn join(mut self) -> Vec<Seen> {
        self.begin_drain();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        self.records.try_iter().collect()
    }
}

struct Job {
    table: Arc<ArcSwap<Table>>,
    meter: Arc<WorkerMeter>,
    used: Arc<AtomicU64>,
    entry: EntryPoint,
    records: mpsc::Sender<Seen>,
    ready: mpsc::Sender<SocketAddr>,
    drained: tokio::sync::oneshot::Receiver<()>,
}

async fn work<E: Engine>(engine: E, job: Job) {
    let listener = engine.listen(job.entry.address, &ListenOptions::default()).unwrap();
    let address = listener.local_addr().unwrap();
    let worker = Worker::new(
        engine.clone(),
        worker::Parts {
            table: job.table,
            meter: job.meter,
            opened: Box::new(|_| ()),
            sink: Box::new(Channel(job.records)),
            secure: worker::Secure::bare(),
            tokens: Arc::default(),
            admission: Arc::default(),
            memory: Some(Budget { bytes: 100, used: Box::new(move || job.used.load(Ordering::Relaxed)) }),
            workers: 1,
            hostname: "edge-1".into(),
        },
    );
    engine.spawn(accept::serve(worker.clone(), listener, Rc::new(job.entry)));
    job.ready.send(address).unwrap();
    let _ = job.drained.await;
    worker.drain();
    worker.drained().await;
}

/// A backend: `serve` gets each connection with its number, on a thread of its own.
pub fn backend(serve: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let Ok(stream) = stream else { return };
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream, number));
        }
    });
    address
}

/// A backend that answers every request, bodies of a stated length included, with its head as the body.
pub fn echo_backend() -> SocketAddr {
    backend(|mut stream, _| {
        while let Some(head) = read_head(&mut stream) {
            let length = header(&head, "content-length").map_or(0, |n| n.parse().unwrap());
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len());
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

/// Reads a message head, the empty line included; `None` at the end of the stream.
pub fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8(head).unwrap())
}

/// The value of a field in a head.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (n, value) = line.split_once(':')?;
        n.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Reads a message with `Content-Length`: head and body.
pub fn read_message(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let head = read_head(stream).expect("a message");
    let length = header(&head, "content-length").map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (head, body)
}

pub fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether the peer has closed: the next read is the end (or a reset).
pub fn is_closed(stream: &mut TcpStream) -> bool {
    let _ = stream.shutdown(Shutdown::Write);
    read_all(stream).is_empty()
}
