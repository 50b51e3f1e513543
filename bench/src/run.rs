//! Runs the scenarios: every peer in turn, round after round, so that a change of the machine's mood meets all alike.
//!
//! The proxy has a core of its own; backend, load generator and this program share the other.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::memory;
use crate::message;
use crate::peers::{self, Front, Job, Peer};
use crate::process::{self, Process};
use crate::rate;
use crate::scenario::{Run, Sample, Scenario, Work};
use crate::swap;
use crate::tls::{self, Certificate};

/// Longest wait for a program to listen.
pub const START: Duration = Duration::from_secs(20);

/// What to run and how long.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Scenarios, by name; empty: all.
    pub only: Vec<String>,
    /// Peers, by name; empty: all that are installed.
    pub peers: Vec<String>,
    /// Rounds.
    pub rounds: usize,
    /// Length of one rate measurement, in whole seconds.
    pub time: Duration,
    /// Idle connections for the memory scenario.
    pub idle: usize,
    /// Idle TLS connections for the memory scenario.
    pub idle_tls: usize,
    /// Core of the proxy.
    pub proxy_core: usize,
    /// Core of backend and load generator.
    pub load_core: usize,
    /// Directory for configurations and logs of the run.
    pub dir: PathBuf,
}

/// What stands for all peers and all scenarios.
#[derive(Debug)]
pub struct Ground {
    /// The backend.
    pub backend: SocketAddr,
    /// What the proxies show to TLS clients.
    pub certificate: Certificate,
}

/// A peer ready to run: where its program is.
#[derive(Debug, Clone)]
pub struct Installed {
    /// Which.
    pub peer: Peer,
    /// Its program.
    pub program: PathBuf,
}

impl Installed {
    /// Starts it on the proxy core in front of the backend; returns it with the address that it serves.
    ///
    /// # Errors
    /// When it does not listen within [`START`], its output is part of the error; when it does not answer as it has to.
    pub fn start(&self, settings: &Settings, front: Front, ground: &Ground) -> Result<(Process, SocketAddr)> {
        let listen = process::free_addr()?;
        let name = self.peer.name();
        let dir = settings.dir.join(format!("{name}-{}", listen.port()));
        fs::create_dir_all(&dir)?;
        let job = Job { front, listen, backend: ground.backend, certificate: &ground.certificate };
        let command = self.peer.command(&self.program, &dir, &job)?;
        let mut process = Process::start(pinned(settings.proxy_core, &command), &dir.join("log"))
            .with_context(|| format!("{name} does not start"))?;
        process.wait_listening(listen, START).with_context(|| format!("{name} does not serve"))?;
        let mut last = None;
        let answered = process::wait_until("it answers 200", START, || match probe(&job) {
            Ok(status) => {
                last = Some(format!("status {status}"));
                status == 200
            }
            Err(error) => {
                last = Some(format!("{error:#}"));
                false
            }
        });
        answered.with_context(|| format!("{name} does not answer: {}", last.unwrap_or_default()))?;
        Ok((process, listen))
    }
}

/// One request through the proxy, as a client that trusts nothing but the certificate of the run; its status.
fn probe(job: &Job) -> Result<u16> {
    if job.front != Front::Https {
        return Ok(crate::load::get(job.listen, "bench.test", "/128")?.head.status());
    }
    let mut connection = tls::connect(job.listen, &job.certificate.client(false)?, START)?;
    connection.get_mut().write_all(format!("GET /128 HTTP/1.1\r\nHost: {}\r\n\r\n", tls::NAME).as_bytes())?;
    let answer = message::read_answer(&mut connection, "GET")?.context("closed without an answer")?;
    Ok(answer.head.status())
}

/// The same command under `taskset`.
pub fn pinned(core: usize, command: &Command) -> Command {
    let mut out = Command::new("taskset");
    out.args(["-c", &core.to_string()]).arg(command.get_program()).args(command.get_args());
    if let Some(dir) = command.get_current_dir() {
        out.current_dir(dir);
    }
    for (key, value) in command.get_envs() {
        if let Some(value) = value {
            out.env(key, value);
        }
    }
    out
}

/// Runs everything that `settings` ask for. What cannot run is named in the result, not hidden.
///
/// # Errors
/// When nothing can run at all: no backend, no load generator, an unknown name.
pub fn run(settings: &Settings, date: &str) -> Result<Run> {
    let scenarios = choose(&crate::scenario::ALL, |s| s.name, &settings.only, "scenario")?;
    let wanted = choose(&peers::ALL, |p| p.name(), &settings.peers, "peer")?;
    fs::create_dir_all(&settings.dir)?;
    let mut result = Run {
        date: date.to_owned(),
        machine: machine(),
        seconds: settings.time.as_secs(),
        peers: Vec::new(),
        skipped: Vec::new(),
        samples: Vec::new(),
    };
    let mut installed = Vec::new();
    for peer in wanted {
        match peer.find() {
            Some(program) => {
                result.peers.push((peer.name().to_owned(), peer.version(&program)));
                installed.push(Installed { peer, program });
            }
            None => skip(&mut result, format!("{}: its program is not installed", peer.name())),
        }
    }
    let addr = process::free_addr()?;
    let dir = settings.dir.join("backend");
    fs::create_dir_all(&dir)?;
    let config = dir.join("nginx.conf");
    fs::write(&config, peers::nginx_backend(&dir, addr)?)?;
    let nginx = Peer::Nginx.find().context("nginx is not installed: it is the backend of all scenarios")?;
    let mut command = Command::new(nginx);
    command.arg("-c").arg(config).arg("-p").arg(&dir).args(["-e", "stderr"]);
    let mut backend = Process::start(pinned(settings.load_core, &command), &dir.join("log"))?;
    backend.wait_listening(addr, START)?;
    let ground = Ground { backend: addr, certificate: Certificate::make(&settings.dir)? };
    for scenario in scenarios {
        eprintln!("== {} ({})", scenario.title, scenario.unit);
        match scenario.work {
            Work::Rate { front, generator, path } => {
                let load = (front, generator, path);
                rate::measure(settings, &scenario, load, &installed, &ground, &mut result);
            }
            _ => one_by_one(settings, scenario, &installed, &ground, &mut result),
        }
    }
    Ok(result)
}

fn choose<T: Copy>(
    all: &[T],
    name: impl Fn(&T) -> &'static str,
    wanted: &[String],
    kind: &str,
) -> Result<Vec<T>> {
    for want in wanted {
        if !all.iter().any(|item| name(item) == want) {
            let names: Vec<_> = all.iter().map(&name).collect();
            bail!("no {kind} {want:?}; there are: {}", names.join(", "));
        }
    }
    Ok(all
        .iter()
        .filter(|item| wanted.is_empty() || wanted.iter().any(|w| w == name(item)))
        .copied()
        .collect())
}

/// Names what does not run.
pub fn skip(result: &mut Run, reason: String) {
    eprintln!("SKIPPED {reason}");
    result.skipped.push(reason);
}

/// Each measurement starts its peer anew.
fn one_by_one(
    settings: &Settings,
    scenario: Scenario,
    installed: &[Installed],
    ground: &Ground,
    result: &mut Run,
) {
    // 10,000 handshakes for one figure that hardly varies.
    let most = if scenario.work == Work::RssPerIdle(Front::Https) { 2 } else { 3 };
    let rounds = settings.rounds.min(most);
    for round in 0..rounds {
        for peer in installed {
            let measured = match scenario.work {
                Work::RssAtStart => memory::at_start(settings, peer, ground),
                Work::RssPerIdle(front) => memory::per_idle(settings, peer, front, ground),
                Work::Swap(through) if !swap::supports(peer.peer, through) => continue,
                Work::Swap(through) => swap::measure(settings, peer, ground.backend, through),
                Work::Rate { .. } => continue,
            };
            match measured {
                Ok(mut sample) => {
                    sample.round = round;
                    sample.scenario = scenario.name.to_owned();
                    keep(result, sample, scenario.unit);
                }
                Err(error) => skip(result, format!("{} in {}: {error:#}", peer.peer.name(), scenario.name)),
            }
        }
    }
}

/// Shows a measurement and keeps it.
pub fn keep(result: &mut Run, sample: Sample, unit: &str) {
    let void = sample.void.as_ref().map_or(String::new(), |why| format!("  VOID: {why}"));
    eprintln!("  {:<8} {:>9.2} {unit}   {}{void}", sample.peer, sample.value, sample.note);
    result.samples.push(sample);
}

fn machine() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    format!("Linux {}, {}, {cores} cores", kernel.trim(), model.trim_start_matches([' ', '\t', ':']))
}

/// Whether `core` exists on this machine.
pub fn has_core(core: usize) -> bool {
    Path::new(&format!("/sys/devices/system/cpu/cpu{core}")).exists()
}
