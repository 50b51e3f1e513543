//! CPU time of a proxy per request under full load: all peers stand, each is measured in turn, round after round.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::handshakes::Handshakes;
use crate::peers::{Front, Peer};
use crate::process::Process;
use crate::run::{Ground, Installed, Settings, keep, skip};
use crate::scenario::{Generator, Run, Sample, Scenario};
use crate::{h2load, wrk};

/// Load before the first measurement: connections to the backend, tickets, caches.
const WARM_UP: Duration = Duration::from_secs(1);

/// What one run of a load generator saw.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// Requests answered.
    pub requests: u64,
    /// Requests per second.
    pub rate: f64,
    /// 99th percentile of the latency in microseconds, where the generator tells.
    pub p99_us: Option<f64>,
    /// Everything that is not as it has to be: no answer, a bad status, a handshake of the wrong kind.
    pub failed: u64,
    /// The first kind of failure, where the generator tells.
    pub why: Option<String>,
}

/// What a load generator that is a program needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// What the proxy speaks.
    pub front: Front,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Target of the requests.
    pub path: &'a str,
    /// Core of the load generator.
    pub core: usize,
    /// Configuration of OpenSSL that says what it may offer.
    pub openssl: &'a Path,
}

impl Target<'_> {
    /// The URL; with TLS by the name that is in the certificate.
    pub fn url(&self) -> String {
        match self.front {
            Front::Https => format!("https://{}:{}{}", crate::tls::NAME, self.listen.port(), self.path),
            Front::Http | Front::Tcp => format!("http://{}{}", self.listen, self.path),
        }
    }
}

/// A peer that runs, with its load.
struct Standing<'a> {
    peer: Peer,
    process: Process,
    target: Target<'a>,
    generator: Generator,
    /// Only for [`Generator::Handshakes`]: it keeps tickets from one run to the next.
    handshakes: Option<Handshakes>,
}

impl<'a> Standing<'a> {
    fn start(
        settings: &Settings,
        installed: &Installed,
        ground: &'a Ground,
        front: Front,
        generator: Generator,
        path: &'a str,
    ) -> Result<Self> {
        let (process, listen) = installed.start(settings, front, ground)?;
        let openssl = ground.certificate.openssl.as_path();
        let target = Target { front, listen, path, core: settings.load_core, openssl };
        let handshakes = match generator {
            Generator::Handshakes { resume } => {
                Some(Handshakes::new(listen, path, &ground.certificate, resume)?)
            }
            Generator::Wrk { .. } | Generator::H2load { .. } => None,
        };
        let standing = Self { peer: installed.peer, process, target, generator, handshakes };
        standing.load(WARM_UP)?;
        Ok(standing)
    }

    fn load(&self, time: Duration) -> Result<Outcome> {
        match (self.generator, &self.handshakes) {
            (Generator::Wrk { connections, close }, _) => wrk::run(&self.target, connections, close, time),
            (Generator::H2load { connections, streams }, _) => {
                h2load::run(&self.target, connections, streams, time)
            }
            (Generator::Handshakes { .. }, Some(handshakes)) => Ok(handshakes.run(time)),
            (Generator::Handshakes { .. }, None) => anyhow::bail!("no clients for handshakes"),
        }
    }

    fn measure(&self, time: Duration) -> Sample {
        let before = self.process.cpu();
        let outcome = self.load(time);
        let spent = self.process.cpu().saturating_sub(before);
        let (outcome, void) = match outcome {
            Ok(outcome) => {
                let void = void(&outcome);
                (outcome, void)
            }
            Err(error) => (Outcome::default(), Some(format!("{error:#}"))),
        };
        let p99 = outcome.p99_us.map_or(String::new(), |p99| format!(", p99 {p99:.0} µs"));
        Sample {
            scenario: String::new(),
            peer: self.peer.name().to_owned(),
            round: 0,
            value: spent.as_secs_f64() * 1e6 / outcome.requests.max(1) as f64,
            rate: Some(outcome.rate),
            p99_us: outcome.p99_us,
            void,
            note: format!("{:.0} requests/s{p99}", outcome.rate),
        }
    }
}

fn void(outcome: &Outcome) -> Option<String> {
    match (outcome.failed, outcome.requests) {
        (1.., _) => {
            let why = outcome.why.as_ref().map_or(String::new(), |why| format!(" ({why})"));
            Some(format!("{} requests failed{why}", outcome.failed))
        }
        (0, 0) => Some("nothing was answered".to_owned()),
        (0, _) => None,
    }
}

/// Measures every peer that can do the job; one that cannot start or stand the warm-up is named as skipped.
pub fn measure(
    settings: &Settings,
    scenario: &Scenario,
    (front, generator, path): (Front, Generator, &str),
    installed: &[Installed],
    ground: &Ground,
    result: &mut Run,
) {
    let mut standing = Vec::new();
    for peer in installed.iter().filter(|peer| peer.peer.supports(front)) {
        match Standing::start(settings, peer, ground, front, generator, path) {
            Ok(up) => standing.push(up),
            Err(error) => skip(result, format!("{} in {}: {error:#}", peer.peer.name(), scenario.name)),
        }
    }
    for round in 0..settings.rounds {
        for up in &standing {
            let mut sample = up.measure(settings.time);
            sample.round = round;
            scenario.name.clone_into(&mut sample.scenario);
            keep(result, sample, scenario.unit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_makes_a_measurement_void_and_so_does_no_answer() {
        let good = Outcome { requests: 10, ..Outcome::default() };
        assert_eq!(void(&good), None);
        let one = Outcome { failed: 1, why: Some("status 503".into()), ..good };
        assert_eq!(void(&one).unwrap(), "1 requests failed (status 503)");
        assert_eq!(void(&Outcome::default()).unwrap(), "nothing was answered");
    }
}
