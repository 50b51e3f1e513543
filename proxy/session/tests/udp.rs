//! UDP sessions on the virtual network.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use pancake_engine::sim::{self, Faults, Sim, SimDatagrams};
use pancake_engine::{Buf, Datagram, Datagrams, Engine, Outgoing, Part, Time, UdpOptions};
use pancake_session::admission::{Admission, Most, Refusal};
use pancake_session::meter::{UdpDrop, WorkerMeter};
use pancake_session::record::{Record, Sink};
use pancake_session::settings::EntryPoint;
use pancake_session::udp;
use pancake_session::worker::{Parts, Secure, Worker};
use pancake_table::check::check;
use pancake_table::compile::{EntryPointSpec, compile};
use pancake_table::compiled::Table;
use pancake_table::lookup::EntryPointId;
use pancake_table::snapshot::Snapshot;
use pancake_table::snapshot::udp::{Udp, UdpRouter, UdpService, UdpServiceKind};

const TIMEOUT: Duration = Duration::from_secs(3);

struct NoRecords;

impl Sink for NoRecords {
    fn wants_text(&self) -> bool {
        false
    }

    fn record(&self, _: &Record<'_>) {}
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// All datagrams to these servers, in turn.
fn table(version: u64, servers: &[&str], previous: Option<&Table>) -> Table {
    let snapshot = Snapshot {
        version,
        udp: Udp {
            routers: vec![UdpRouter { name: "r@f".into(), service: "s@f".into(), ..UdpRouter::default() }],
            services: vec![UdpService {
                name: "s@f".into(),
                kind: UdpServiceKind::LoadBalancer(servers.iter().map(ToString::to_string).collect()),
            }],
        },
        ..Snapshot::default()
    };
    let report = check(&snapshot, &["dns".into()]);
    assert!(!report.has_errors(), "{report:?}");
    let entry_points = [EntryPointSpec { name: "dns".into(), default: true }];
    compile(Arc::new(snapshot), &report, &entry_points, previous)
}

struct Proxy {
    worker: Rc<Worker<Sim>>,
    table: Arc<ArcSwap<Table>>,
    meter: Arc<WorkerMeter>,
    address: SocketAddr,
}

impl Proxy {
    fn start(sim: &Sim, servers: &[&str], most: Most) -> Proxy {
        let host = sim.host(ip("10.1.0.1"));
        let table = Arc::new(ArcSwap::from_pointee(table(1, servers, None)));
        let meter = Arc::new(WorkerMeter::new(1));
        let parts = Parts {
            table: table.clone(),
            secure: Secure::bare(),
            tokens: Arc::default(),
            admission: Arc::new(Admission::new(most, vec![Most::default()])),
            memory: None,
            meter: meter.clone(),
            opened: Box::new(|_| {}),
            sink: Box::new(NoRecords),
            workers: 1,
            hostname: "edge".into(),
        };
        let worker = Worker::new(host.clone(), parts);
        let address = at("10.1.0.1:53");
        let entry = EntryPoint { udp: Some(TIMEOUT), ..EntryPoint::new(EntryPointId(0), "dns", address) };
        let socket = host.bind_udp(address, &udp::options(address)).unwrap();
        host.spawn(udp::serve(worker.clone(), socket, Rc::new(entry)));
        Proxy { worker, table, meter, address }
    }

    fn dropped(&self, why: UdpDrop) -> u64 {
        self.meter.udp.dropped[why as usize].get()
    }
}

/// Answers each datagram with its name and what it got.
fn server(sim: &Sim, address: &str) {
    let address = at(address);
    let host = sim.host(address.ip());
    let socket = host.bind_udp(address, &UdpOptions::default()).unwrap();
    host.spawn(async move {
        let mut received = Vec::new();
        while socket.recv(&mut received, Time::NEVER).await.is_ok() {
            for Datagram { bytes, peer, .. } in received.drain(..) {
                let text = format!("{} {}", address.ip(), String::from_utf8_lossy(&bytes));
                send(&socket, peer, &text).await;
            }
        }
    });
}

fn client(sim: &Sim, address: &str) -> SimDatagrams {
    let address = at(address);
    sim.host(address.ip()).bind_udp(address, &UdpOptions::default()).unwrap()
}

async fn send(socket: &SimDatagrams, to: SocketAddr, text: &str) {
    let bytes = Part::In(Buf::from_vec(text.as_bytes().to_vec()));
    socket.send(&[Outgoing { bytes, to: Some(to), from: None }], Time::NEVER).await.unwrap();
}

/// Asks and returns the answer.
async fn ask(sim: &Sim, socket: &SimDatagrams, proxy: &Proxy, text: &str) -> Option<String> {
    send(socket, proxy.address, text).await;
    hear(sim, socket, proxy).await
}

async fn hear(sim: &Sim, socket: &SimDatagrams, proxy: &Proxy) -> Option<String> {
    let mut received = Vec::new();
    let until = sim.now().after(Duration::from_millis(500));
    socket.recv(&mut received, until).await.ok()?;
    assert_eq!(received[0].peer, proxy.address, "the answer comes from where it was asked");
    Some(String::from_utf8_lossy(&received[0].bytes).into_owned())
}

/// Runs on a quiet network, then checks that nothing is left.
fn play<F: Future<Output = ()> + 'static>(main: impl FnOnce(Sim) -> F) {
    let outcome = sim::run(7, Faults::none(), main);
    outcome.result.expect("it comes to an end");
    assert!(outcome.leaked.is_empty(), "{:?}", outcome.leaked);
}

async fn pass(sim: &Sim, time: Duration) {
    sim.sleep_until(sim.now().after(time)).await;
}

#[test]
fn a_session_keeps_its_server_until_it_is_silent() {
    play(async |sim| {
        server(&sim, "10.2.0.1:5300");
        server(&sim, "10.2.0.2:5300");
        let proxy = Proxy::start(&sim, &["10.2.0.1:5300", "10.2.0.2:5300"], Most::default());
        let (one, two) = (client(&sim, "10.3.0.1:1000"), client(&sim, "10.3.0.1:1001"));
        let first = ask(&sim, &one, &proxy, "a").await.unwrap();
        let second = ask(&sim, &two, &proxy, "b").await.unwrap();
        let servers: BTreeSet<_> = [&first, &second].iter().map(|text| text[..8].to_owned()).collect();
        assert_eq!(servers.len(), 2, "sessions take turns: {first}, {second}");
        for _ in 0..5 {
            // Each datagram pushes the end off.
            pass(&sim, TIMEOUT / 2).await;
            assert_eq!(ask(&sim, &one, &proxy, "a").await.as_ref(), Some(&first));
        }
        assert_eq!(proxy.meter.udp.sessions.get(), 2);
        assert_eq!(proxy.worker.sessions(), 1, "the other was silent for too long");
        pass(&sim, TIMEOUT + Duration::from_millis(600)).await;
        assert_eq!((proxy.worker.sessions(), proxy.meter.open[0].get()), (0, 0));
        let counts = proxy.meter.udp.datagrams.each_ref().map(|cell| cell.get());
        assert_eq!(counts, [7, 7]);
    });
}

#[test]
fn a_fresh_session_goes_on_to_the_next_server_when_one_refuses() {
    play(async |sim| {
        sim.host(ip("10.2.0.1"));
        server(&sim, "10.2.0.2:5300");
        let proxy = Proxy::start(&sim, &["10.2.0.1:5300", "10.2.0.2:5300"], Most::default());
        for n in 0..4 {
            let client = client(&sim, &format!("10.3.0.1:{}", 1000 + n));
            // Asked once only: the first datagram goes to the next server too.
            assert_eq!(ask(&sim, &client, &proxy, "x").await.as_deref(), Some("10.2.0.2 x"));
        }
        assert!(proxy.meter.udp.moved.get() > 0);
    });
}

#[test]
fn a_session_ends_when_every_server_refuses() {
    play(async |sim| {
        sim.host(ip("10.2.0.1"));
        let proxy = Proxy::start(&sim, &["10.2.0.1:5300"], Most::default());
        let client = client(&sim, "10.3.0.1:1000");
        assert_eq!(ask(&sim, &client, &proxy, "x").await, None);
        assert_eq!(proxy.worker.sessions(), 0, "long before its timeout");
        server(&sim, "10.2.0.1:5300");
        assert_eq!(ask(&sim, &client, &proxy, "y").await.as_deref(), Some("10.2.0.1 y"));
    });
}

#[test]
fn a_new_table_serves_new_sessions_and_leaves_the_others_alone() {
    play(async |sim| {
        server(&sim, "10.2.0.1:5300");
        server(&sim, "10.2.0.2:5300");
        let proxy = Proxy::start(&sim, &["10.2.0.1:5300"], Most::default());
        let (one, two) = (client(&sim, "10.3.0.1:1000"), client(&sim, "10.3.0.1:1001"));
        assert_eq!(ask(&sim, &one, &proxy, "a").await.as_deref(), Some("10.2.0.1 a"));
        let next = table(2, &["10.2.0.2:5300"], Some(&proxy.table.load()));
        proxy.table.store(Arc::new(next));
        assert_eq!(ask(&sim, &two, &proxy, "b").await.as_deref(), Some("10.2.0.2 b"));
        assert_eq!(ask(&sim, &one, &proxy, "c").await.as_deref(), Some("10.2.0.1 c"));
    });
}

#[test]
fn a_drain_waits_for_sessions_and_opens_none() {
    play(async |sim| {
        server(&sim, "10.2.0.1:5300");
        let proxy = Proxy::start(&sim, &["10.2.0.1:5300"], Most::default());
        let (one, two) = (client(&sim, "10.3.0.1:1000"), client(&sim, "10.3.0.1:1001"));
        assert!(ask(&sim, &one, &proxy, "a").await.is_some());
        let began = sim.now();
        proxy.worker.drain();
        assert!(ask(&sim, &one, &proxy, "b").await.is_some(), "it is under way");
        assert!(ask(&sim, &two, &proxy, "c").await.is_none(), "it would be new");
        assert_eq!(proxy.dropped(UdpDrop::Session), 1);
        proxy.worker.drained().await;
        assert!((TIMEOUT..TIMEOUT * 2).contains(&sim.now().since(began)));
    });
}

#[test]
fn limits_of_connections_count_sessions() {
    play(async |sim| {
        server(&sim, "10.2.0.1:5300");
        let most = Most { all: Some(3), per_address: Some(2) };
        let proxy = Proxy::start(&sim, &["10.2.0.1:5300"], most);
        let mut answered = Vec::new();
        let mut sockets = Vec::new();
        for address in ["10.3.0.1:1", "10.3.0.1:2", "10.3.0.1:3", "10.3.0.2:1", "10.3.0.3:1"] {
            let socket = client(&sim, address);
            answered.push(ask(&sim, &socket, &proxy, "x").await.is_some());
            sockets.push(socket);
        }
        assert_eq!(answered, [true, true, false, true, false]);
        let refused = |why: Refusal| proxy.meter.refused[why as usize].get();
        assert_eq!((refused(Refusal::Address), refused(Refusal::Process)), (1, 1));
        pass(&sim, TIMEOUT * 2).await;
        assert!(ask(&sim, &sockets[4], &proxy, "x").await.is_some());
    });
}

#[test]
fn every_client_gets_its_own_answers_on_a_bad_network() {
    for seed in 0..20 {
        let faults = Faults { datagram_loss: 50, datagram_double: 50, ..Faults::none() };
        let outcome = sim::run(seed, faults, async |sim| {
            for n in 1..4 {
                server(&sim, &format!("10.2.0.{n}:5300"));
            }
            let servers = ["10.2.0.1:5300", "10.2.0.2:5300", "10.2.0.3:5300"];
            let proxy = Rc::new(Proxy::start(&sim, &servers, Most::default()));
            let done = Rc::new(Cell::new(0));
            let told = Rc::new(RefCell::new(BTreeSet::new()));
            for n in 0..30 {
                let (inner, proxy, done, told) = (sim.clone(), proxy.clone(), done.clone(), told.clone());
                sim.spawn(async move {
                    let socket = client(&inner, &format!("10.3.0.{}:{}", n % 3 + 1, 2000 + n));
                    let mut answers = 0;
                    while answers < 10 {
                        if let Some(answer) = ask(&inner, &socket, &proxy, &format!("client {n}")).await {
                            assert!(answer.ends_with(&format!(" client {n}")), "{n} got {answer}");
                            told.borrow_mut().insert(answer);
                            answers += 1;
                        }
                    }
                    done.set(done.get() + 1);
                });
            }
            while done.get() < 30 {
                pass(&sim, Duration::from_millis(100)).await;
            }
            assert_eq!(told.borrow().len(), 30, "a session has one server");
            pass(&sim, TIMEOUT * 2).await;
            assert_eq!(proxy.worker.sessions(), 0);
        });
        outcome.result.expect("it comes to an end");
        assert!(outcome.leaked.is_empty(), "seed {seed}: {:?}", outcome.leaked);
    }
}
