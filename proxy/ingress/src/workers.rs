//! Worker threads: one pinned thread and one engine each, listeners by `SO_REUSEPORT`, sharing only the table.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};
use arc_swap::ArcSwap;
use pancake_engine::{Datagrams, Engine, ListenOptions, Listener, epoll, heap, ring};
use pancake_session::acme_tokens::AcmeTokens;
use pancake_session::admission::Admission;
use pancake_session::meter::{Opened, WorkerMeter};
use pancake_session::pressure::Budget;
use pancake_session::record::Sink;
use pancake_session::settings::EntryPoint;
use pancake_session::{Worker, accept, quic, udp, worker};
use pancake_table::compiled::Table;
use tokio::sync::watch;

use crate::limits::MIN_RECEIVE_SLOTS;

/// Which engine the workers run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// io_uring.
    Ring,
    /// epoll.
    Epoll,
}

impl EngineKind {
    /// Its name in configuration, logs and the API.
    pub fn name(self) -> &'static str {
        match self {
            EngineKind::Ring => ring::Ring::NAME,
            EngineKind::Epoll => epoll::Epoll::NAME,
        }
    }
}

/// Where the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Accepting and serving.
    Serve,
    /// Closing connections as they become idle; nothing new is accepted.
    Drain,
    /// Whatever is left is dropped.
    Stop,
}

/// What one worker thread is given.
pub struct Plan {
    /// Its number, from 0.
    pub number: usize,
    /// Workers in all.
    pub count: usize,
    /// The engine it runs on.
    pub engine: EngineKind,
    /// The CPU that it is pinned to, if any.
    pub cpu: Option<usize>,
    /// What it listens on.
    pub entry_points: Vec<EntryPoint>,
    /// What all workers read.
    pub shared: Shared,
    /// Its counters.
    pub meter: Arc<WorkerMeter>,
    /// Told about meters opened later.
    pub opened: tokio::sync::mpsc::UnboundedSender<Opened>,
    /// Makes its access-log sink, on its thread.
    pub sink: Box<dyn FnOnce() -> Box<dyn Sink> + Send>,
    /// Value of `X-Forwarded-Server`.
    pub hostname: String,
    /// The memory budget of the process, if there is one.
    pub memory: Option<Memory>,
    /// What it is to do.
    pub life: watch::Receiver<Life>,
}

/// The memory budget of the process.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Bytes in all.
    pub budget: u64,
    /// Bytes of it that are the receive slots of all workers; set when they are made.
    pub slots: u64,
}

/// What all workers read, and the service thread writes.
#[derive(Clone)]
pub struct Shared {
    /// The serving table.
    pub table: Arc<ArcSwap<Table>>,
    /// What TLS stands on.
    pub secure: worker::Secure,
    /// Answers to http-01 challenges.
    pub tokens: Arc<AcmeTokens>,
    /// Who may come in.
    pub admission: Arc<Admission>,
    /// What keys of QUIC are derived from.
    pub quic: quic::Secrets,
}

/// A running worker.
pub struct Running {
    /// Where it listens, in the order of its entry points.
    pub addresses: Vec<SocketAddr>,
    thread: JoinHandle<Result<()>>,
}

impl Running {
    /// Waits for its end.
    ///
    /// # Errors
    /// What ended it before it was told to stop.
    pub fn join(self) -> Result<()> {
        self.thread.join().map_err(|_| anyhow!("a worker thread panicked"))?
    }
}

/// Starts a worker and waits until it listens.
///
/// # Errors
/// If an address cannot be listened on or the engine cannot start.
pub fn start(plan: Plan) -> Result<Running> {
    let (ready, started) = mpsc::channel();
    let number = plan.number;
    let thread = std::thread::Builder::new()
        .name(format!("worker-{number}"))
        .spawn(move || run(plan, ready))
        .context("starting a worker thread")?;
    match started.recv() {
        Ok(Ok(addresses)) => Ok(Running { addresses, thread }),
        Ok(Err(error)) => Err(error),
        // The engine failed before the worker could say anything.
        Err(_) => match thread.join() {
            Ok(Err(error)) => Err(error),
            _ => Err(anyhow!("worker {number} ended at once")),
        },
    }
}

/// Takes receive slots of either size for an eighth of the share at most, and returns the bytes of both. Slots are never
/// given back to the system: all of them count, whether they are in use or not.
fn within(share: u64, options: &mut pancake_engine::Options) -> u64 {
    let mut taken = 0;
    let parts = [
        (&mut options.small_slots, options.small_slot_bytes),
        (&mut options.bulk_slots, options.bulk_slot_bytes),
    ];
    for (slots, bytes) in parts {
        let fit = usize::try_from(share / 8).unwrap_or(usize::MAX) / bytes;
        *slots = fit.clamp(MIN_RECEIVE_SLOTS, *slots);
        taken += (*slots * bytes) as u64;
    }
    taken
}

type Ready = mpsc::Sender<Result<Vec<SocketAddr>>>;

fn run(mut plan: Plan, ready: Ready) -> Result<()> {
    if let Some(cpu) = plan.cpu {
        pin(cpu);
    }
    let mut options = pancake_engine::Options::default();
    if let Some(memory) = &mut plan.memory {
        let workers = plan.count as u64;
        memory.slots = workers * within(memory.budget / workers, &mut options);
    }
    let result = match plan.engine {
        EngineKind::Ring => ring::run(&options, |engine| work(engine, plan, ready)),
        EngineKind::Epoll => epoll::run(&options, |engine| work(engine, plan, ready)),
    };
    result.context("the event loop of a worker failed")
}

async fn work<E: Engine>(engine: E, plan: Plan, ready: Ready) {
    let Plan { number, entry_points, shared, memory, meter, opened, sink, hostname, mut life, count, .. } =
        plan;
    let place = place(number, count, shared.quic);
    let parts = worker::Parts {
        table: shared.table,
        secure: shared.secure,
        tokens: shared.tokens,
        admission: shared.admission,
        memory: memory.map(|memory| {
            let used = Box::new(move || heap::in_use().saturating_sub(memory.slots));
            Budget { bytes: memory.budget.saturating_sub(memory.slots), used }
        }),
        meter,
        opened: Box::new(move |meter| {
            // The service thread ends after the workers; if it is gone nobody reads counters.
            let _ = opened.send(meter);
        }),
        sink: sink(),
        workers: count,
        hostname,
    };
    let worker = Worker::new(engine.clone(), parts);
    let mut addresses = Vec::new();
    for mut entry in entry_points {
        if let Err(error) = open(&worker, &mut entry, &place) {
            let _ = ready.send(Err(error));
            return;
        }
        addresses.push(entry.address);
    }
    if ready.send(Ok(addresses)).is_err() {
        return;
    }
    loop {
        let now = *life.borrow_and_update();
        match now {
            Life::Serve => {}
            Life::Drain => {
                worker.drain();
                break;
            }
            Life::Stop => return,
        }
        if life.changed().await.is_err() {
            return;
        }
    }
    finish(&worker, &mut life).await;
}

/// Ends when the last connection has, or when told to stop.
async fn finish<E: Engine>(worker: &Worker<E>, life: &mut watch::Receiver<Life>) {
    tokio::select! {
        () = worker.drained() => {}
        _ = life.wait_for(|life| *life == Life::Stop) => {}
    }
}

/// Opens an entry point, and says in it which address that got.
fn open<E: Engine>(worker: &Rc<Worker<E>>, entry: &mut EntryPoint, place: &quic::Place) -> Result<()> {
    let engine = &worker.engine;
    let what = format!("entry point {}: listening on {}", entry.name, entry.address);
    if entry.udp.is_some() {
        let (socket, address) = bind(engine, entry).context(what)?;
        entry.address = address;
        engine.spawn(udp::serve(worker.clone(), socket, Rc::new(entry.clone())));
        return Ok(());
    }
    let (listener, address) = listen(engine, entry).context(what)?;
    entry.address = address;
    entry.advertise();
    let entry = Rc::new(entry.clone());
    if entry.http3.is_some() {
        let socket = engine.bind_udp(address, &quic::socket_options(address, place));
        let what = || format!("entry point {}: http3: the UDP port of {address}", entry.name);
        let socket = socket.with_context(what)?;
        engine.spawn(quic::serve(worker.clone(), socket, entry.clone(), place.clone()));
    }
    engine.spawn(accept::serve(worker.clone(), listener, entry));
    Ok(())
}

fn listen<E: Engine>(engine: &E, entry: &EntryPoint) -> io::Result<(E::Listener, SocketAddr)> {
    let listener = engine.listen(entry.address, &ListenOptions::default())?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Where this worker stands among those that share UDP ports. The first byte of an id tells 255 of them apart; to those
/// beyond no QUIC is steered.
fn place(number: usize, count: usize, secrets: quic::Secrets) -> quic::Place {
    let workers = u8::try_from(count).unwrap_or(u8::MAX).max(1);
    quic::Place { number: (number % usize::from(workers)) as u8, workers, secrets }
}

fn bind<E: Engine>(engine: &E, entry: &EntryPoint) -> io::Result<(E::Datagrams, SocketAddr)> {
    let socket = engine.bind_udp(entry.address, &udp::options(entry.address))?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

/// The CPUs that this process may run on.
pub fn cpus() -> Vec<usize> {
    match rustix::thread::sched_getaffinity(None) {
        Ok(set) => (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect(),
        Err(_) => Vec::new(),
    }
}

/// Pins this thread. A refusal (a changed cpuset) costs speed only.
fn pin(cpu: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
        tracing::warn!(cpu, %error, "a worker could not be pinned");
    }
}
