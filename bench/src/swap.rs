//! Routes swapped under load: a file with 10,000 routers is rewritten over and over, each rewrite is waited for, and
//! every request is counted. The file is a Traefik dynamic file of the proxy, or the services file of the control plane.

/// What the files say.
pub mod texts;

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
use crate::scenario::{Sample, Through};
use crate::stack;

/// Requests per second of the load, over [`CONNECTIONS`]; low enough that the proxy is not busy with the load alone.
const RATE: f64 = 1_000.0;
const CONNECTIONS: usize = 16;
/// From one rewrite to the next, or longer where a rewrite takes longer to serve.
const PERIOD: Duration = Duration::from_millis(500);
/// Longest wait until a rewrite serves.
const APPLY: Duration = Duration::from_secs(30);

/// Whether the peer reads that kind of file.
pub fn supports(peer: Peer, through: Through) -> bool {
    peer == Peer::Pancake || peer == Peer::Traefik && through == Through::File
}

/// Measures p99 without swaps and with swaps, for twice the time of a rate measurement each; void if a request failed.
///
/// # Errors
/// When the peer does not start or a rewrite is not served within 30 s.
pub fn measure(
    settings: &Settings,
    peer: &Installed,
    backend: SocketAddr,
    through: Through,
) -> Result<Sample> {
    let listen = process::free_addr()?;
    let dir = settings.dir.join(format!("swap-{}-{}", peer.peer.name(), listen.port()));
    // In a directory of its own: it is watched.
    let file = dir.join("watched").join("routes.yml");
    fs::create_dir_all(dir.join("watched"))?;
    let text = |version| match through {
        Through::File => texts::dynamic(backend, version),
        Through::Control => texts::services(backend, version),
    };
    fs::write(&file, text(0))?;
    let (config, _control) = match through {
        Through::File => (traefik_static(listen, &file, None), None),
        Through::Control => {
            let (control, endpoint) = start_control(settings, &dir, &file)?;
            (texts::controlled(listen, &endpoint, &dir), Some(control))
        }
    };
    let mut process = start(settings, peer, &dir, &config)?;
    process.wait_listening(listen, START)?;
    process::wait_until("the first file serves", APPLY, || serves(listen, 0))
        .with_context(|| format!("the log ends with {:?}", process.output().lines().last()))?;

    let mut plan = Plan::new(listen, "load.test", "/128", settings.time * 2);
    (plan.rate, plan.connections) = (Some(RATE), CONNECTIONS);
    // Warm-up, so that the first figure does not carry the first connections.
    load::run(&Plan { duration: Duration::from_millis(500), ..plan.clone() }, &AtomicBool::new(false));
    let calm = load::run(&plan, &AtomicBool::new(false));
    let (swapped, applied) = under_swaps(&plan, &file, &[text(1), text(2)])?;
    Ok(judge(peer, &calm, &swapped, &applied))
}

fn start(settings: &Settings, peer: &Installed, dir: &Path, config: &str) -> Result<Process> {
    let fixed = dir.join("static.yml");
    fs::write(&fixed, config)?;
    let mut command = Command::new(&peer.program);
    command.arg(format!("--configFile={}", fixed.display())).current_dir(dir);
    if peer.peer == Peer::Pancake {
        command.arg("--pancake.workers=1");
    } else {
        command.env("GOMAXPROCS", "1");
    }
    Process::start(pinned(settings.proxy_core, &command), &dir.join("log"))
}

/// The control plane shares the core of the load, not that of the proxy; the load goes first there, or its own delays
/// would be taken for the proxy's.
fn start_control(settings: &Settings, dir: &Path, services: &Path) -> Result<(Process, String)> {
    let listen = process::free_addr()?;
    let command = stack::control_command(listen, services, &dir.join("control"))?;
    let mut last = Command::new("nice");
    last.args(["-n", "19"]).arg(command.get_program()).args(command.get_args());
    let mut control = Process::start(pinned(settings.load_core, &last), &dir.join("control.log"))?;
    control.wait_listening(listen, START)?;
    Ok((control, format!("http://{listen}")))
}

/// Rewrites the file as long as the load runs; returns the load's tally and how long each rewrite took to serve.
fn under_swaps(plan: &Plan, file: &Path, texts: &[String; 2]) -> Result<(Tally, Vec<Duration>)> {
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
