//! What goes wrong in a simulated network, how often, and how scarce things are.

use std::time::Duration;

/// The weather of one run. Chances are in 10,000.
#[derive(Clone, Debug)]
pub struct Faults {
    /// One-way delay of a delivery, chosen evenly between the two.
    pub latency: (Duration, Duration),
    /// Of a delivery, read or write: cut at a random point, often to a few bytes.
    pub split: u32,
    /// Of a delivery or a connect: late by up to [`Faults::stall_time`].
    pub stall: u32,
    /// How late a stalled delivery or connect is at most.
    pub stall_time: Duration,
    /// Of a delivery: the connection breaks, both sides see a reset.
    pub reset: u32,
    /// Of a connect: refused although someone listens.
    pub refuse: u32,
    /// Of a connect: no answer at all.
    pub blackhole: u32,
    /// Of an accept: fails with `EMFILE`; the connection stays in the queue.
    pub accept_error: u32,
    /// Of a datagram: lost.
    pub datagram_loss: u32,
    /// Of a datagram: arrives twice.
    pub datagram_double: u32,
    /// Bytes that a socket's buffers hold in each direction, chosen per connection between the two.
    pub socket_bytes: (usize, usize),
    /// Receive slots of each host, of either size.
    pub slots: usize,
    /// The virtual time after which a run counts as hung.
    pub limit: Duration,
}

impl Faults {
    /// A quiet network: small delays, now and then a cut, nothing breaks.
    pub fn none() -> Faults {
        Faults {
            latency: (Duration::from_micros(20), Duration::from_micros(500)),
            split: 500,
            stall: 0,
            stall_time: Duration::ZERO,
            reset: 0,
            refuse: 0,
            blackhole: 0,
            accept_error: 0,
            datagram_loss: 0,
            datagram_double: 0,
            socket_bytes: (16 * 1024, 128 * 1024),
            slots: 64,
            limit: Duration::from_secs(3600),
        }
    }

    /// A network that is slow, cuts everything and loses datagrams, but that a correct program does not notice.
    pub fn rough() -> Faults {
        Faults {
            latency: (Duration::from_micros(1), Duration::from_millis(20)),
            split: 4000,
            stall: 50,
            stall_time: Duration::from_millis(400),
            accept_error: 500,
            datagram_loss: 500,
            datagram_double: 300,
            socket_bytes: (512, 32 * 1024),
            slots: 8,
            ..Faults::none()
        }
    }

    /// A rough network that also breaks connections and loses connects.
    pub fn hostile() -> Faults {
        Faults {
            reset: 30,
            refuse: 300,
            blackhole: 100,
            stall: 100,
            stall_time: Duration::from_secs(5),
            ..Faults::rough()
        }
    }
}
