//! What is asked and answered in one exchange: a function of seed and number, so that client, backend and checks
//! agree without talking.

use std::time::Duration;

use pancake_engine::sim::Rng;

use crate::scenario::{Hog, Scenario};

/// From here on, numbers belong to hogs, two each.
pub const FIRST_HOG_ID: u32 = 1 << 20;

/// A message body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// None, and no field about it.
    Empty,
    /// `Content-Length`.
    Length(usize),
    /// Chunks, with a trailer field or without.
    Chunked {
        /// Bytes.
        bytes: usize,
        /// Whether `X-Sim-Sum` follows.
        trailer: bool,
    },
    /// Ended by the end of the connection (responses only).
    UntilClose(usize),
}

impl Body {
    /// Its bytes.
    pub fn len(self) -> usize {
        match self {
            Body::Empty => 0,
            Body::Length(n) | Body::UntilClose(n) | Body::Chunked { bytes: n, .. } => n,
        }
    }

    /// Whether it has none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// How a client gives up on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abort {
    /// In the request (after this share of it, in 100), or in the answer (after as many bytes).
    pub point: AbortPoint,
    /// By a reset instead of a close.
    pub hard: bool,
}

/// Where a client gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortPoint {
    /// After this share of the request, in percent.
    Request(usize),
    /// After this many bytes of the answer at least.
    Answer(usize),
}

/// What the client sends.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Method.
    pub method: &'static str,
    /// HTTP/1.0 without keep-alive.
    pub http10: bool,
    /// Body.
    pub body: Body,
    /// `Expect: 100-continue`.
    pub expect: bool,
    /// `Connection: close`.
    pub close: bool,
    /// Whether and how it gives up.
    pub abort: Option<Abort>,
}

/// How a backend misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mischief {
    /// Closes after this share of its answer, in percent (a reset where the body ends by the close).
    Cuts {
        /// Share in percent.
        percent: usize,
        /// By a reset.
        hard: bool,
    },
    /// Says nothing for a long time, then closes.
    Mute,
    /// Says something that is not HTTP, or has two lengths.
    Garbage(usize),
    /// Answers whole without reading the request's body, then closes.
    Early,
    /// Sends an answer that nobody asked for behind its own.
    Stray,
    /// Closes without an answer once it has read the request.
    Closes,
}

/// What the backend sends.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status.
    pub status: u16,
    /// Body; its field lines are sent for HEAD too.
    pub body: Body,
    /// 103 responses before it.
    pub interim: usize,
    /// `Connection: close`.
    pub close: bool,
    /// Closes after the answer without having said so.
    pub stale: bool,
    /// Waits before it answers.
    pub delay: Duration,
    /// How it misbehaves.
    pub mischief: Option<Mischief>,
}

/// One exchange.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its number, in the path and in `X-Sim-Id`.
    pub id: u32,
    /// The service that it is for.
    pub service: usize,
    /// What the client sends.
    pub ask: Ask,
    /// What the backend sends.
    pub reply: Reply,
}

impl Plan {
    /// The exchange of this number.
    pub fn of(scenario: &Scenario, id: u32) -> Plan {
        if let Some((hog, _)) = scenario.hogs.filter(|_| id >= FIRST_HOG_ID) {
            return Plan::of_hog(hog, id);
        }
        let mut rng = Rng::new(scenario.seed ^ (u64::from(id) << 32) ^ 0x9141);
        let ask = Ask::of(scenario, &mut rng);
        let reply = Reply::of(scenario, ask.method, &mut rng);
        Plan { id, service: rng.within(0..=scenario.services - 1), ask, reply }
    }

    fn of_hog(hog: Hog, id: u32) -> Plan {
        let body = if hog == Hog::SlowBody { Body::Length(1000) } else { Body::Empty };
        let method = if hog == Hog::SlowBody { "POST" } else { "GET" };
        let reply_body = if hog == Hog::SlowRead { Body::Length(1_000_000) } else { Body::Length(10) };
        let delay = if hog == Hog::Pipelined { Duration::from_secs(3600) } else { Duration::ZERO };
        let ask = Ask { method, http10: false, body, expect: false, close: false, abort: None };
        let reply = Reply {
            status: 200,
            body: reply_body,
            interim: 0,
            close: false,
            stale: false,
            delay,
            mischief: None,
        };
        Plan { id, service: 0, ask, reply }
    }

    /// Whether the request may reach backends twice: it has no body and does no harm the second time.
    pub fn may_be_sent_twice(&self) -> bool {
        let body_free = matches!(self.ask.body, Body::Empty | Body::Length(0));
        body_free && !matches!(self.ask.method, "POST" | "PATCH")
    }

    /// Whether the answer, as the client gets it, has a body.
    pub fn reply_has_body(&self) -> bool {
        self.ask.method != "HEAD" && !matches!(self.reply.status, 204 | 304)
    }
}

fn size(scenario: &Scenario, rng: &mut Rng) -> usize {
    let most = match rng.within(0..=9) {
        0 => 0,
        1..=5 => 300,
        6..=8 => 9_000,
        _ => scenario.max_body,
    };
    rng.within(0..=most.min(scenario.max_body))
}

impl Ask {
    fn of(scenario: &Scenario, rng: &mut Rng) -> Ask {
        let method = *rng.pick(&["GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"]);
        let http10 = rng.happens(700);
        let body = match method {
            "POST" | "PUT" | "PATCH" => {
                let bytes = size(scenario, rng);
                let chunked = !http10 && rng.happens(4000);
                if chunked {
                    Body::Chunked { bytes, trailer: rng.happens(3000) }
                } else {
                    Body::Length(bytes)
                }
            }
            _ => Body::Empty,
        };
        let point = if rng.happens(5000) {
            AbortPoint::Request(rng.within(0..=99))
        } else {
            AbortPoint::Answer(*rng.pick(&[0, 1, 50, 1000, 20_000]))
        };
        let hard = rng.happens(5000);
        Ask {
            method,
            http10,
            body,
            expect: !http10 && !body.is_empty() && rng.happens(2000),
            close: rng.happens(1000),
            abort: rng.happens(scenario.aborts).then_some(Abort { point, hard }),
        }
    }
}

impl Reply {
    fn of(scenario: &Scenario, method: &str, rng: &mut Rng) -> Reply {
        let status = *rng.pick(&[200, 200, 200, 200, 201, 204, 304, 404, 500]);
        let bytes = size(scenario, rng);
        let body = match rng.within(0..=9) {
            _ if matches!(status, 204 | 304) => Body::Empty,
            0..=4 => Body::Length(bytes),
            5..=8 => Body::Chunked { bytes, trailer: rng.happens(3000) },
            _ => Body::UntilClose(bytes),
        };
        let mischief = match rng.within(0..=7) {
            0..=2 => Mischief::Cuts { percent: rng.within(0..=99), hard: rng.happens(5000) },
            3 => Mischief::Mute,
            4 => Mischief::Garbage(rng.within(0..=GARBAGE.len() - 1 - usize::from(method == "HEAD"))),
            5 => Mischief::Early,
            6 => Mischief::Stray,
            _ => Mischief::Closes,
        };
        let slow = if rng.happens(1500) { rng.within(0..=1500) } else { 0 };
        Reply {
            status,
            body,
            interim: if rng.happens(500) { rng.within(1..=2) } else { 0 },
            close: rng.happens(800),
            stale: rng.happens(scenario.stale),
            delay: Duration::from_millis(slow as u64),
            mischief: rng.happens(scenario.mischief).then_some(mischief),
        }
    }
}

/// Answers that no proxy may pass on as they are.
pub const GARBAGE: [&[u8]; 6] = [
    b"220 smtp.sim ESMTP\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
    b"HTTP/1.1 99999 OK\r\n\r\n",
    b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\r\n\r\n",
    // The head of this one is good: only an answer that has a body shows that it is not.
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
];

/// Which message of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The client's.
    Ask,
    /// The backend's.
    Reply,
}

/// The body of a message: no two are alike, and a shift or a gap shows.
pub fn body_of(id: u32, whose: Whose, len: usize) -> Vec<u8> {
    let start = u64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (whose as u64) << 17;
    (0..len as u64).map(|at| ((start ^ at.wrapping_mul(0xd1b5_4a32_d192_ed03)) >> 29) as u8).collect()
}

/// The value of the trailer field of a body.
pub fn sum_of(bytes: &[u8]) -> String {
    let sum = bytes.iter().fold(0u32, |sum, &byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    format!("{sum:08x}")
}
