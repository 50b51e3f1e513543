//! What the sessions of one worker share: everything here belongs to one thread.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};
use pancake_engine::Engine;
use pancake_table::compiled::Table;
use pancake_tls::{SystemRoots, TlsTable};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};

use crate::acme_tokens::AcmeTokens;
use crate::admission::{Admission, Counted, Refusal};
use crate::http1::Scratch;
use crate::meter::{Opened, Slow, WorkerMeter};
use crate::pressure::{self, Budget, Pressure, Stage};
use crate::record::Sink;
use crate::spares::Spares;
use crate::tcp::Turns;
use crate::upstream::{ClientGround, Upstreams};

/// What a worker is made of.
pub struct Parts {
    /// The serving table; replaced by the service thread.
    pub table: Arc<ArcSwap<Table>>,
    /// What TLS stands on.
    pub secure: Secure,
    /// Answers to http-01 challenges.
    pub tokens: Arc<AcmeTokens>,
    /// Who may come in.
    pub admission: Arc<Admission>,
    /// The memory budget, if there is one.
    pub memory: Option<Budget>,
    /// This worker's counters.
    pub meter: Arc<WorkerMeter>,
    /// Told about each meter opened later.
    pub opened: Box<dyn Fn(Opened)>,
    /// Where access records go.
    pub sink: Box<dyn Sink>,
    /// Workers of this process, which share `maxIdleConnsPerHost`.
    pub workers: usize,
    /// Value of `X-Forwarded-Server`.
    pub hostname: String,
}

/// What TLS stands on, on both sides.
#[derive(Clone)]
pub struct Secure {
    /// Certificates and TLS options; replaced by the service thread, before a table that needs them.
    pub table: Arc<ArcSwap<TlsTable>>,
    /// Whom certificates of servers may be signed by, where nothing else is said.
    pub roots: SystemRoots,
    /// What handshakes take the time from.
    pub clock: Arc<dyn TimeProvider>,
}

impl Secure {
    /// Of the default certificate and no authorities, one per process: for simulations and tests.
    ///
    /// # Panics
    /// If the system has no randomness for keys.
    pub fn bare() -> Secure {
        static TABLE: LazyLock<Arc<ArcSwap<TlsTable>>> = LazyLock::new(|| {
            let table = TlsTable::bare(0, &Secure::clock()).expect("the system has randomness");
            Arc::new(ArcSwap::from_pointee(table))
        });
        Secure { table: TABLE.clone(), roots: SystemRoots::new([]).0, clock: Secure::clock() }
    }

    /// The system's clock.
    fn clock() -> Arc<dyn TimeProvider> {
        Arc::new(DefaultTimeProvider)
    }
}

/// One worker. Sessions hold it by [`Rc`].
pub struct Worker<E: Engine> {
    /// The engine under it.
    pub engine: E,
    pub(crate) meter: Arc<WorkerMeter>,
    pub(crate) sink: Box<dyn Sink>,
    pub(crate) hostname: String,
    pub(crate) upstreams: Upstreams<E>,
    pub(crate) tokens: Arc<AcmeTokens>,
    pub(crate) tcp_turns: Turns,
    pub(crate) udp_turns: Turns,
    pub(crate) udp_sessions: Cell<usize>,
    pub(crate) pressure: Pressure,
    /// What TLS to servers stands on.
    pub(crate) ground: Rc<ClientGround>,
    pub(crate) seed: u64,
    pub(crate) scratch: RefCell<Scratch>,
    pub(crate) exchanges: Spares,
    table: RefCell<Cache<Arc<ArcSwap<Table>>, Arc<Table>>>,
    tls: RefCell<Cache<Arc<ArcSwap<TlsTable>>, Arc<TlsTable>>>,
    sources: Sources,
    draining: Cell<bool>,
    sessions: Cell<usize>,
    admission: Arc<Admission>,
}

/// The newest table and the newest TLS table.
type Sources = (Arc<ArcSwap<Table>>, Arc<ArcSwap<TlsTable>>);

impl<E: Engine> Worker<E> {
    /// A worker on `engine`; starts the sweep of idle server connections.
    pub fn new(engine: E, parts: Parts) -> Rc<Worker<E>> {
        let seed = engine.random();
        let ground = Rc::new(ClientGround { roots: parts.secure.roots, clock: parts.secure.clock });
        let worker = Rc::new(Worker {
            meter: parts.meter,
            sink: parts.sink,
            hostname: parts.hostname,
            upstreams: Upstreams::new(parts.opened, parts.workers, seed, ground.clone()),
            tokens: parts.tokens,
            tcp_turns: Turns::default(),
            udp_turns: Turns::default(),
            udp_sessions: Cell::new(0),
            pressure: Pressure::default(),
            ground,
            seed,
            scratch: RefCell::default(),
            exchanges: Spares::default(),
            sources: (parts.table.clone(), parts.secure.table.clone()),
            table: RefCell::new(Cache::new(parts.table)),
            tls: RefCell::new(Cache::new(parts.secure.table)),
            draining: Cell::new(false),
            sessions: Cell::new(0),
            admission: parts.admission,
            engine,
        });
        worker.engine.spawn(crate::upstream::sweep(Rc::downgrade(&worker)));
        if let Some(budget) = parts.memory {
            worker.engine.spawn(pressure::watch(Rc::downgrade(&worker), budget));
        }
        worker
    }

    /// Calls `read` with the newest table. One atomic load when it has not changed.
    pub(crate) fn with_table<R>(&self, read: impl FnOnce(&Table) -> R) -> R {
        read(self.table.borrow_mut().load())
    }

    /// Calls `read` with the newest certificates and TLS options.
    pub(crate) fn with_tls<R>(&self, read: impl FnOnce(&TlsTable) -> R) -> R {
        read(self.tls.borrow_mut().load())
    }

    /// Stops accepting and closes connections as they become idle.
    pub fn drain(&self) {
        self.draining.set(true);
        self.engine.wake_all();
    }

    /// Whether [`Worker::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Client connections open on this worker.
    pub fn sessions(&self) -> usize {
        self.sessions.get()
    }

    /// Ends when no client connection is open any more.
    pub async fn drained(&self) {
        while self.sessions() > 0 {
            self.engine.sleep_until(self.engine.now().after(Duration::from_millis(20))).await;
        }
    }

    /// Counts a client connection, or a UDP session, as open until the guard drops; or says, and counts, why it may not
    /// come in. The limits per address wait for [`SessionGuard::admit`].
    pub(crate) fn session(self: &Rc<Self>, entry_point: usize) -> Result<SessionGuard<E>, Refusal> {
        self.let_in(entry_point, false)
    }

    /// The same of a connection over QUIC.
    pub(crate) fn session_over_quic(self: &Rc<Self>, entry_point: usize) -> Result<SessionGuard<E>, Refusal> {
        self.let_in(entry_point, true)
    }

    fn let_in(self: &Rc<Self>, entry_point: usize, over_quic: bool) -> Result<SessionGuard<E>, Refusal> {
        if self.pressure.is_at_least(Stage::Refuse) {
            return Err(self.refused(Refusal::Memory));
        }
        if let Err(refusal) = self.admission.enter(entry_point) {
            return Err(self.refused(refusal));
        }
        self.sessions.set(self.sessions.get() + 1);
        let guard = SessionGuard {
            worker: self.clone(),
            entry_point: entry_point as u16,
            over_quic,
            counted: Counted::default(),
        };
        guard.cell().add(1);
        Ok(guard)
    }

    /// What was received, or the error; one for lateness is counted.
    pub(crate) fn unless_slow<T>(&self, received: io::Result<T>, slow: Slow) -> io::Result<T> {
        received.inspect_err(|error| {
            if error.kind() == io::ErrorKind::TimedOut {
                self.meter.slow[slow as usize].add(1);
            }
        })
    }

    fn refused(&self, refusal: Refusal) -> Refusal {
        self.meter.refused[refusal as usize].add(1);
        refusal
    }

    /// Where the newest table and the newest TLS table are found.
    pub(crate) fn sources(&self) -> Sources {
        self.sources.clone()
    }
}

/// One open client connection, or UDP session.
pub(crate) struct SessionGuard<E: Engine> {
    pub(crate) worker: Rc<Worker<E>>,
    counted: Counted,
    entry_point: u16,
    over_quic: bool,
}

impl<E: Engine> SessionGuard<E> {
    /// Counts it for its client's address, which is known now.
    pub(crate) fn admit(&mut self, client: IpAddr) -> Result<(), Refusal> {
        let entered = self.worker.admission.enter_address(usize::from(self.entry_point), client);
        self.counted = entered.map_err(|refusal| self.worker.refused(refusal))?;
        Ok(())
    }

    fn cell(&self) -> &crate::meter::Cell {
        let meter = &self.worker.meter;
        let cells = if self.over_quic { &meter.open_over_udp } else { &meter.open };
        &cells[usize::from(self.entry_point)]
    }
}

impl<E: Engine> Drop for SessionGuard<E> {
    fn drop(&mut self) {
        let entry_point = usize::from(self.entry_point);
        self.worker.sessions.set(self.worker.sessions.get() - 1);
        self.cell().sub(1);
        self.worker.admission.leave(entry_point, self.counted);
    }
}
