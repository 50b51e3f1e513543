//! The work that is compared, and what one measurement of it is.

use serde::{Deserialize, Serialize};

use crate::peers::Front;

/// How a scenario loads the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Load at full speed; the figure is CPU time of the proxy per request.
    Rate {
        /// What the proxy speaks.
        front: Front,
        /// Who asks, and how.
        generator: Generator,
        /// Target; also the name of the file that the backend serves.
        path: &'static str,
    },
    /// Resident memory after start and one request.
    RssAtStart,
    /// Resident memory per connection that made one request and then idles.
    RssPerIdle(Front),
    /// Latency while 10,000 routers are rewritten over and over, against latency without.
    Swap(Through),
}

/// Who loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generator {
    /// wrk: HTTP/1.1, with and without TLS.
    Wrk {
        /// Connections.
        connections: usize,
        /// One connection per request.
        close: bool,
    },
    /// h2load: HTTP/2 over TLS.
    H2load {
        /// Connections.
        connections: usize,
        /// Streams at a time on each.
        streams: usize,
    },
    /// Clients of this program, one connection and one handshake per request.
    Handshakes {
        /// Every handshake resumes an earlier session by its ticket; else every one is full.
        resume: bool,
    },
}

/// How a change reaches the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Through {
    /// A Traefik dynamic file that the proxy watches.
    File,
    /// The services file of `pancake-control`, which publishes to the proxy.
    Control,
}

/// Against what a goal is set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// At most this many times HAProxy's figure.
    TimesHaproxy(f64),
    /// At most this many times nginx's figure.
    TimesNginx(f64),
    /// At most this many times the lowest figure of the peers.
    TimesBest(f64),
    /// At most this figure.
    AtMost(f64),
    /// None: it is shown beside the others'.
    Shown,
}

/// One kind of work with its name and its unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scenario {
    /// Name for `--only` and the results.
    pub name: &'static str,
    /// In words.
    pub title: &'static str,
    /// Unit of its figure; smaller is better in all.
    pub unit: &'static str,
    /// What is done.
    pub work: Work,
    /// What Pancake must reach.
    pub goal: Goal,
}

const fn rate(
    name: &'static str,
    title: &'static str,
    (front, path): (Front, &'static str),
    generator: Generator,
    goal: Goal,
) -> Scenario {
    Scenario { name, title, unit: "CPU µs/request", work: Work::Rate { front, generator, path }, goal }
}

const fn keep_alive(connections: usize) -> Generator {
    Generator::Wrk { connections, close: false }
}

const fn other(
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    work: Work,
    goal: Goal,
) -> Scenario {
    Scenario { name, title, unit, work, goal }
}

const HTTP_128: (Front, &str) = (Front::Http, "/128");
const HTTPS_128: (Front, &str) = (Front::Https, "/128");

/// All scenarios, in the order in which they run.
pub const ALL: [Scenario; 16] = [
    rate(
        "h1-keepalive",
        "H1 keep-alive, 64 connections, 128 B",
        HTTP_128,
        keep_alive(64),
        Goal::TimesHaproxy(0.85),
    ),
    rate(
        "h1-close",
        "H1, one connection per request, 128 B",
        HTTP_128,
        Generator::Wrk { connections: 64, close: true },
        Goal::TimesBest(0.85),
    ),
    rate(
        "h1-64k",
        "H1 keep-alive, 16 connections, 64 KiB",
        (Front::Http, "/64k"),
        keep_alive(16),
        Goal::TimesBest(1.0),
    ),
    rate(
        "h1-1m",
        "H1 keep-alive, 16 connections, 1 MiB",
        (Front::Http, "/1m"),
        keep_alive(16),
        Goal::TimesBest(0.5),
    ),
    rate(
        "tls-keepalive",
        "TLS 1.3, H1 keep-alive, 64 connections, 128 B",
        HTTPS_128,
        keep_alive(64),
        Goal::TimesBest(1.0),
    ),
    rate(
        "tls-handshake",
        "TLS 1.3, one full handshake per request, 128 B",
        HTTPS_128,
        Generator::Handshakes { resume: false },
        Goal::TimesHaproxy(0.6),
    ),
    rate(
        "tls-resume",
        "TLS 1.3, one resumed handshake per request, 128 B",
        HTTPS_128,
        Generator::Handshakes { resume: true },
        Goal::TimesNginx(1.0),
    ),
    rate(
        "tls-1m",
        "TLS 1.3, H1 keep-alive, 16 connections, 1 MiB",
        (Front::Https, "/1m"),
        keep_alive(16),
        Goal::TimesBest(1.0),
    ),
    rate(
        "h2-tls",
        "H2 over TLS, 8 connections of 32 streams, 128 B",
        HTTPS_128,
        Generator::H2load { connections: 8, streams: 32 },
        Goal::TimesBest(1.5),
    ),
    rate(
        "l4-128",
        "TCP, 64 connections, 128 B",
        (Front::Tcp, "/128"),
        keep_alive(64),
        Goal::TimesHaproxy(1.0),
    ),
    rate("l4-1m", "TCP, 16 connections, 1 MiB", (Front::Tcp, "/1m"), keep_alive(16), Goal::TimesHaproxy(1.0)),
    other("rss-start", "Resident memory at start", "MB", Work::RssAtStart, Goal::AtMost(20.0)),
    other(
        "rss-idle",
        "Resident memory per idle keep-alive connection",
        "KB",
        Work::RssPerIdle(Front::Http),
        Goal::AtMost(2.0),
    ),
    other(
        "rss-idle-tls",
        "Resident memory per idle TLS connection",
        "KB",
        Work::RssPerIdle(Front::Https),
        Goal::Shown,
    ),
    other(
        "swap",
        "10,000 routers swapped by a file: p99 during / p99 without",
        "ratio",
        Work::Swap(Through::File),
        Goal::AtMost(1.5),
    ),
    other(
        "swap-control",
        "10,000 routers swapped by the control plane: p99 during / p99 without",
        "ratio",
        Work::Swap(Through::Control),
        Goal::AtMost(1.5),
    ),
];

/// One measurement of one peer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sample {
    /// Name of the scenario.
    pub scenario: String,
    /// Name of the peer.
    pub peer: String,
    /// Which round of the interleaved runs, from 0.
    pub round: usize,
    /// The figure, in the scenario's unit.
    pub value: f64,
    /// Requests per second, where the scenario has them.
    pub rate: Option<f64>,
    /// 99th percentile of the latency in microseconds, where the scenario has it.
    pub p99_us: Option<f64>,
    /// Why this measurement does not count; `None`: it does.
    pub void: Option<String>,
    /// More about it, for people.
    pub note: String,
}

/// A whole run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// UTC date, `2026-01-31`.
    pub date: String,
    /// Kernel, processor and number of cores.
    pub machine: String,
    /// Length of one rate measurement in seconds.
    pub seconds: u64,
    /// Peers that ran, with their versions.
    pub peers: Vec<(String, String)>,
    /// Peers and scenarios that did not run, with the reason.
    pub skipped: Vec<String>,
    /// All measurements in the order in which they were made.
    pub samples: Vec<Sample>,
}
