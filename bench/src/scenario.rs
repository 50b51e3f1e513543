//! The work that is compared, and what one measurement of it is.

use serde::{Deserialize, Serialize};

/// How a scenario loads the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// wrk at full speed; the figure is CPU time of the proxy per request.
    Rate {
        /// Target; also the name of the file that the backend serves.
        path: &'static str,
        /// Connections of the load generator.
        connections: usize,
        /// One connection per request.
        close: bool,
    },
    /// Resident memory after start and one request.
    RssAtStart,
    /// Resident memory per connection that made one request and then idles.
    RssPerIdle,
    /// Latency while 10,000 routers are rewritten over and over, against latency without.
    Swap(Through),
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
    /// At most this many times the lowest figure of the peers.
    TimesBest(f64),
    /// At most this figure.
    AtMost(f64),
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
    path: &'static str,
    connections: usize,
    close: bool,
    goal: Goal,
) -> Scenario {
    Scenario { name, title, unit: "CPU µs/request", work: Work::Rate { path, connections, close }, goal }
}

/// All scenarios, in the order in which they run.
pub const ALL: [Scenario; 8] = [
    rate("h1-keepalive", "H1 keep-alive, 64 connections, 128 B", "/128", 64, false, Goal::TimesHaproxy(0.85)),
    rate("h1-close", "H1, one connection per request, 128 B", "/128", 64, true, Goal::TimesBest(0.85)),
    rate("h1-64k", "H1 keep-alive, 16 connections, 64 KiB", "/64k", 16, false, Goal::TimesBest(1.0)),
    rate("h1-1m", "H1 keep-alive, 16 connections, 1 MiB", "/1m", 16, false, Goal::TimesBest(0.5)),
    Scenario {
        name: "rss-start",
        title: "Resident memory at start",
        unit: "MB",
        work: Work::RssAtStart,
        goal: Goal::AtMost(20.0),
    },
    Scenario {
        name: "rss-idle",
        title: "Resident memory per idle keep-alive connection",
        unit: "KB",
        work: Work::RssPerIdle,
        goal: Goal::AtMost(2.0),
    },
    Scenario {
        name: "swap",
        title: "10,000 routers swapped by a file: p99 during / p99 without",
        unit: "ratio",
        work: Work::Swap(Through::File),
        goal: Goal::AtMost(1.5),
    },
    Scenario {
        name: "swap-control",
        title: "10,000 routers swapped by the control plane: p99 during / p99 without",
        unit: "ratio",
        work: Work::Swap(Through::Control),
        goal: Goal::AtMost(1.5),
    },
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
