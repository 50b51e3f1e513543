//! Routes swapped under load: a Traefik dynamic file with 10,000 routers is rewritten over and over, each rewrite is
//! waited for, and every request is counted.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::load::{self, Plan, Tally};
use crate::peers::{Peer, traefik_static};
use crate::process::{self, Process};
use crate::run::{Installed, START, Settings, pinned};
use crate::scenario::Sample;

/// Routers in the file.
pub const ROUTERS: usize = 10_000;
/// Requests per second of the load, over [`CONNECTIONS`]; low enough that the proxy is not busy with the load alone.
const RATE: f64 = 1_000.0;
const CONNECTIONS: usize = 16;
/// From one rewrite to the next, or longer where a rewrite takes longer to serve.
const PERIOD: Duration = Duration::from_millis(500);
/// Longest wait until a rewrite serves.
const APPLY: Duration = Duration::from_secs(30);

/// Whether the peer reads Traefik's dynamic file.
pub fn supports(peer: Peer) -> bool {
    matches!(peer, Peer::Pancake | Peer::Traefik)
}

/// Measures p99 without swaps and with swaps, for twice the time of a rate measurement each; void if a request failed.
///
/// # Errors
/// When the peer does not start or a rewrite is not served within 30 s.
pub fn measure(settings: &Settings, peer: &Installed, backend: SocketAddr) -> Result<Sample> {
    let listen = process::free_addr()?;
    let dir = settings.dir.join(format!("swap-{}-{}", peer.peer.name(), listen.port()));
    fs::create_dir_all(&dir)?;
    let file = dir.join("dynamic.yml");
    fs::write(&file, dynamic(backend, 0))?;
    let mut process = start(settings, peer, &dir, &file, listen)?;
    process.wait_listening(listen, START)?;
    process::wait_until("the first file serves", APPLY, || serves(listen, 0))?;

    let mut plan = Plan::new(listen, "load.test", "/128", settings.time * 2);
    (plan.rate, plan.connections) = (Some(RATE), CONNECTIONS);
    // Warm-up, so that the first figure does not carry the first connections.
    load::run(&Plan { duration: Duration::from_millis(500), ..plan.clone() }, &AtomicBool::new(false));
    let calm = load::run(&plan, &AtomicBool::new(false));
    let (swapped, applied) = under_swaps(&plan, &file, backend)?;
    Ok(judge(peer, &calm, &swapped, &applied))
}

fn start(
    settings: &Settings,
    peer: &Installed,
    dir: &Path,
    file: &Path,
    listen: SocketAddr,
) -> Result<Process> {
    let text = traefik_static(listen, file, None);
    // Beside the watched directory, not in it.
    let fixed = settings.dir.join(format!("swap-{}-{}.yml", peer.peer.name(), listen.port()));
    fs::write(&fixed, text)?;
    let mut command = Command::new(&peer.program);
    command.arg(format!("--configFile={}", fixed.display())).current_dir(dir);
    if peer.peer == Peer::Pancake {
        command.arg("--pancake.workers=1");
    } else {
        command.env("GOMAXPROCS", "1");
    }
    Process::start(pinned(settings.proxy_core, &command), &dir.join("log"))
}

/// Rewrites the file as long as the load runs; returns the load's tally and how long each rewrite took to serve.
fn under_swaps(plan: &Plan, file: &Path, backend: SocketAddr) -> Result<(Tally, Vec<Duration>)> {
    let texts = [dynamic(backend, 1), dynamic(backend, 2)];
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let load = scope.spawn(|| {
            let tally = load::run(plan, &done);
            done.store(true, Ordering::Relaxed);
            tally
        });
        let mut applied = Vec::new();
        let mut rewrite = || -> Result<()> {
            while !done.load(Ordering::Relaxed) {
                let version = applied.len() % 2 + 1;
                let at = Instant::now();
                replace(file, &texts[version - 1])?;
                process::wait_until("the rewritten file serves", APPLY, || serves(plan.addr, version))?;
                applied.push(at.elapsed());
                thread::sleep(PERIOD.saturating_sub(at.elapsed()));
            }
            Ok(())
        };
        let rewritten = rewrite();
        done.store(true, Ordering::Relaxed);
        let tally = load.join().unwrap_or_default();
        rewritten.map(|()| (tally, applied))
    })
}

fn judge(peer: &Installed, calm: &Tally, swapped: &Tally, applied: &[Duration]) -> Sample {
    let (before, during) = (calm.quantile_us(0.99), swapped.quantile_us(0.99));
    let mut times = applied.to_vec();
    times.sort_unstable();
    let middle = times.get(times.len() / 2).copied().unwrap_or_default();
    let failed = calm.failed() + swapped.failed();
    let note = format!(
        "p99 {before} -> {during} µs, {} swaps, median {} ms until served, {failed} of {} requests failed",
        applied.len(),
        middle.as_millis(),
        calm.ok + swapped.ok + failed,
    );
    Sample {
        scenario: String::new(),
        peer: peer.peer.name().to_owned(),
        round: 0,
        value: f64::from(during) / f64::from(before.max(1)),
        rate: Some(RATE),
        p99_us: Some(f64::from(during)),
        void: (failed > 0)
            .then(|| format!("{failed} requests failed: {:?} {:?}", calm.failures, swapped.failures)),
        note,
    }
}

/// Version `version` serves when its own router answers.
fn serves(listen: SocketAddr, version: usize) -> bool {
    let path = format!("/version/{version}");
    // The backend answers 404 itself, so a field that only the proxy's own 404 lacks tells them apart.
    load::get(listen, "marker.test", &path)
        .is_ok_and(|answer| answer.head.get("server").is_some_and(|name| name.contains("nginx")))
}

/// Whole or not at all: written beside the watched name, then renamed over it.
fn replace(file: &Path, text: &str) -> Result<()> {
    let mut beside = PathBuf::from(file);
    beside.set_extension("new");
    fs::write(&beside, text).with_context(|| format!("cannot write {}", beside.display()))?;
    fs::rename(&beside, file).with_context(|| format!("cannot replace {}", file.display()))
}

/// The file: [`ROUTERS`] routers on distinct hosts, one for the load, and one that only this version has.
fn dynamic(backend: SocketAddr, version: usize) -> String {
    let mut text = String::from("http:\n  routers:\n");
    for i in 0..ROUTERS {
        // Every version moves each router to another service, so that nothing stays the same by accident.
        let service = (i + version) % 10;
        let _ =
            write!(text, "    r{i}:\n      rule: \"Host(`h{i}.example.test`)\"\n      service: s{service}\n");
    }
    let _ = write!(
        text,
        "    load:\n      rule: \"Host(`load.test`)\"\n      service: load\n    marker:\n      \
         rule: \"Host(`marker.test`) && Path(`/version/{version}`)\"\n      service: load\n  services:\n"
    );
    for service in (0..10).map(|i| format!("s{i}")).chain(["load".to_owned()]) {
        let _ = write!(
            text,
            "    {service}:\n      loadBalancer:\n        servers:\n          - url: \"http://{backend}\"\n"
        );
    }
    text
}
