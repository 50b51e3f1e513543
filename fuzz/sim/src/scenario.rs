//! Everything that one seed decides about a run as a whole.

use std::time::Duration;

use pancake_engine::sim::{Faults, Rng};

/// A way to break the simulation on purpose, to see that its checks are alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// A backend gives the body of another exchange.
    SwapsBodies,
    /// The proxy's sink loses a record.
    LosesARecord,
    /// The proxy's sink keeps a record twice.
    DoublesARecord,
    /// A receive buffer of the proxy's host never comes back.
    KeepsABuffer,
    /// A backend answers 200 with a body that is cut but well framed.
    ShortensABody,
    /// A client waits for an answer to a request that it never sent.
    NeverAsks,
}

/// A client that means no good: it keeps what the proxy has for as long as it is allowed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hog {
    /// Sends the start of a head and nothing more.
    PartialHead,
    /// Sends a second request behind one that takes an hour.
    Pipelined,
    /// Asks for a large body and never reads it.
    SlowRead,
    /// Sends the start of a body and nothing more.
    SlowBody,
}

/// How a run is set up.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The seed that it came from.
    pub seed: u64,
    /// The network.
    pub faults: Faults,
    /// Whether the network may break connections and lose connects.
    pub breaks: bool,
    /// Services, each with backends of its own.
    pub services: usize,
    /// Backends per service.
    pub backends: usize,
    /// Clients, each of which asks [`Scenario::exchanges`] times.
    pub clients: usize,
    /// Exchanges per client.
    pub exchanges: usize,
    /// Of an exchange, in 10,000: the backend misbehaves.
    pub mischief: u32,
    /// Of an exchange, in 10,000: the client gives up on purpose.
    pub aborts: u32,
    /// Of an exchange, in 10,000: the backend closes the connection after its answer without having said so.
    pub stale: u32,
    /// Largest body in bytes.
    pub max_body: usize,
    /// Whether backends stop listening for a while now and then.
    pub flaky: bool,
    /// The routing table is replaced this often, by one with other servers.
    pub swap_every: Option<Duration>,
    /// The proxy is told to drain at this time, in the middle of everything.
    pub drain_at: Option<Duration>,
    /// Clients of this kind, this many, besides the others.
    pub hogs: Option<(Hog, usize)>,
    /// Between the proxy and the backends stands another one, spoken to in HTTP/2.
    pub relay: bool,
    /// What is broken on purpose.
    pub sabotage: Option<Sabotage>,
}

impl Scenario {
    /// The scenario of a seed. One in three is honest: nothing may fail in it.
    pub fn of(seed: u64) -> Scenario {
        let mut rng = Rng::new(seed ^ 0x5ce0_a210);
        let honest = seed.is_multiple_of(3);
        let breaks = !honest && rng.happens(6000);
        let faults = match (breaks, rng.happens(3000)) {
            (true, _) => Faults::hostile(),
            (false, true) => Faults::none(),
            (false, false) => Faults::rough(),
        };
        let chance = |rng: &mut Rng, most: usize| if honest { 0 } else { rng.within(0..=most) as u32 };
        let swaps = rng.happens(4000);
        let millis = |rng: &mut Rng, low, high| Duration::from_millis(rng.within(low..=high) as u64);
        let clients = rng.within(1..=8);
        let slots = rng.within(4..=40);
        Scenario {
            seed,
            faults: Faults { slots, limit: Duration::from_secs(24 * 3600), ..faults },
            breaks,
            services: rng.within(1..=3),
            backends: rng.within(1..=3),
            clients,
            exchanges: rng.within(1..=12),
            mischief: chance(&mut rng, 3000),
            aborts: chance(&mut rng, 2000),
            stale: if rng.happens(5000) { rng.within(0..=4000) as u32 } else { 0 },
            max_body: *rng.pick(&[0, 200, 5_000, 40_000, 200_000]),
            flaky: !honest && rng.happens(3000),
            swap_every: swaps.then(|| millis(&mut rng, 5, 500)),
            drain_at: (!honest && rng.happens(2000)).then(|| millis(&mut rng, 0, 3000)),
            hogs: None,
            relay: rng.happens(3000),
            sabotage: None,
        }
    }

    /// A quiet world with hogs in it and fewer slots than hogs: the others must not notice.
    pub fn with_hogs(seed: u64, hog: Hog) -> Scenario {
        let faults = Faults { slots: 8, limit: Duration::from_secs(24 * 3600), ..Faults::none() };
        Scenario {
            faults,
            breaks: false,
            clients: 3,
            exchanges: 6,
            mischief: 0,
            aborts: 0,
            stale: 0,
            max_body: 400_000,
            flaky: false,
            swap_every: None,
            drain_at: None,
            hogs: Some((hog, 20)),
            relay: false,
            ..Scenario::of(seed)
        }
    }

    /// Whether every exchange must succeed: nothing breaks, nobody misbehaves.
    pub fn is_honest(&self) -> bool {
        let quiet = !self.breaks && !self.flaky && self.drain_at.is_none();
        quiet && self.mischief == 0 && self.aborts == 0
    }
}
