//! From settings to a serving process, and down again.
//!
//! Up: engine, first table, listeners of worker 0, the other workers on the same addresses, the service thread. Down
//! (`SIGTERM` or `SIGINT`): accept for `requestAcceptGraceTimeout`, drain for up to `graceTimeOut`, stop. A second
//! signal stops at once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use pancake_config::args::{Run, standard_files};
use pancake_config::network::IpNetwork;
use pancake_config::problem::{Problem, Span};
use pancake_config::traefik::static_config::{
    self, ConnectionLimits, Engine, INTERNAL_ENTRY_POINT, Settings,
};
use pancake_config::tree::{File, Format};
use pancake_engine::choose;
use pancake_session::admission::{Admission, Most};
use pancake_session::meter::WorkerMeter;
use pancake_session::quic;
use pancake_session::record::Sink;
use pancake_session::settings::{Encoded, EntryPoint, Forwarded, Http3, Underscores};
use pancake_session::worker;
use pancake_table::lookup::EntryPointId;
use pancake_tls::SystemRoots;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::access_log::{self, NoLog};
use crate::admin::EngineChoice;
use crate::service;
use crate::workers::{self, EngineKind, Life, Memory, Plan, Running};

/// Reads the static configuration.
///
/// # Errors
/// Every problem with it.
pub fn settings(run: &Run, env: &[(String, String)]) -> Result<Settings, Vec<Problem>> {
    let found = match &run.config_file {
        Some(path) => Some(path.clone()),
        None => standard_files(env).into_iter().find(|path| path.exists()),
    };
    let Some(path) = found else { return static_config::read(None, &run.overlay) };
    let name = path.display().to_string();
    let text = std::fs::read_to_string(&path).map_err(|error| vec![unreadable(&path, &error.to_string())])?;
    let Some(format) = Format::of(&name) else {
        return Err(vec![unreadable(&path, "the name must end in .yml, .yaml or .toml")]);
    };
    static_config::read(Some(File { name: &name, text: &text, format }), &run.overlay)
}

fn unreadable(path: &Path, why: &str) -> Problem {
    let name: PathBuf = path.into();
    Problem::new(Span::whole(name.display().to_string()), format!("cannot be read: {why}"))
}

/// Reads all configuration and prints every problem. True if there is none.
///
/// # Errors
/// If the system has no randomness for keys.
pub fn check(settings: Settings) -> Result<bool> {
    let settings = Arc::new(settings);
    for note in &settings.notes {
        eprintln!("{note}");
    }
    let mut problems = not_built(&settings);
    problems.extend(service::load_first(&settings)?.problems().iter().map(ToString::to_string));
    for problem in &problems {
        eprintln!("{problem}");
    }
    match problems.len() {
        0 => println!("configuration is valid"),
        1 => eprintln!("pancake-proxy: 1 problem"),
        n => eprintln!("pancake-proxy: {n} problems"),
    }
    Ok(problems.is_empty())
}

/// Everything that the static configuration asks for and that is not built, or that the environment lacks.
fn not_built(settings: &Settings) -> Vec<String> {
    service::certificates::problems(settings)
}

/// Serves until told to stop. Always `Ok(true)` after an orderly end.
///
/// # Errors
/// Why it could not start, or what ended it.
pub fn serve(settings: Settings) -> Result<bool> {
    crate::telemetry::start(&settings.log)?;
    let settings = Arc::new(settings);
    let missing = not_built(&settings);
    if !missing.is_empty() {
        bail!("{}", missing.join("\n"));
    }
    raise_descriptor_limit();
    let (engine, choice) = choose_engine(settings.pancake.engine)?;
    let first = service::load_first(&settings)?;
    let admin = service::listen_admin(&settings)?;
    let count = worker_count(&settings);
    let (life, lives) = watch::channel(Life::Serve);
    let (opened, opens) = mpsc::unbounded_channel();
    let (writer, sinks) = match &settings.access_log {
        Some(log) => {
            let (writer, sinks) = access_log::open(log, count).context("the access log")?;
            (Some(writer), sinks.into_iter().map(|sink| Some(Box::new(sink) as _)).collect())
        }
        None => (None, (0..count).map(|_| None).collect::<Vec<_>>()),
    };
    let meters: Vec<_> =
        (0..count).map(|_| Arc::new(WorkerMeter::new(settings.entry_points.len()))).collect();
    let shared = workers::Shared {
        table: first.table(),
        secure: worker::Secure {
            table: first.secure().table(),
            roots: system_roots(),
            clock: first.secure().clock(),
        },
        tokens: first.tokens(),
        admission: Arc::new(admission(&settings)),
        quic: quic::Secrets::random().context("the system has no randomness for keys of QUIC")?,
    };
    let plan = Workers { engine, shared, opened, lives: lives.clone(), meters: &meters, sinks };
    let (running, listening) = plan.start(&settings)?;
    for (name, address) in &listening {
        tracing::info!(entry_point = name, %address, workers = count, engine = engine.name(), "listening");
    }
    let parts = service::Parts {
        settings: settings.clone(),
        first,
        admin,
        workers: meters,
        opened: opens,
        access_log: writer,
        engine: choice,
        listening,
        life: lives,
    };
    let service = std::thread::Builder::new().name("service".into()).spawn(move || service::run(parts))?;
    let grace = Grace::of(&settings);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(live(life, running, grace));
    match service.join() {
        Ok(served) => served.and(ended).map(|()| true),
        Err(_) => bail!("the service thread panicked"),
    }
}

/// The limits on connections.
fn admission(settings: &Settings) -> Admission {
    let most = |limits: &ConnectionLimits| Most { all: limits.max, per_address: limits.max_per_address };
    let entry_points = settings.entry_points.iter().map(|entry| most(&entry.limits)).collect();
    Admission::new(most(&settings.pancake.limits.connections), entry_points)
}

/// The authorities that the system trusts. None found is told when a server's certificate cannot be verified.
fn system_roots() -> SystemRoots {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "some authorities of the system cannot be read");
    }
    SystemRoots::new(found.certs).0
}

/// Takes as many descriptors as this process may have, as Go programs do: the usual 1024 are few for a proxy.
fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit on descriptors could not be raised");
    }
}

/// Picks the engine; says once why, if it is not io_uring.
fn choose_engine(asked: Engine) -> Result<(EngineKind, EngineChoice)> {
    let (kind, why) = match (asked, choose::probe()) {
        (Engine::Epoll, _) => (EngineKind::Epoll, "pancake.engine=epoll".to_string()),
        (Engine::Ring, Ok(())) => (EngineKind::Ring, "pancake.engine=ring".to_string()),
        (Engine::Ring, Err(refusal)) => bail!("pancake.engine=ring: {refusal}"),
        (Engine::Auto, Ok(())) => (EngineKind::Ring, "io_uring is available".to_string()),
        (Engine::Auto, Err(refusal)) => {
            // Whatever the log level is: an operator must be able to see why this host is different.
            eprintln!("pancake-proxy: running on epoll: {refusal}");
            (EngineKind::Epoll, refusal.to_string())
        }
    };
    Ok((kind, EngineChoice { name: kind.name(), why }))
}

fn worker_count(settings: &Settings) -> usize {
    let cpus = workers::cpus().len().max(1);
    settings.pancake.workers.map_or(cpus, |asked| asked.max(1) as usize)
}

/// Entry points by name, with the addresses that they got.
type Listening = Vec<(String, SocketAddr)>;

type WorkerSink = Box<dyn Sink + Send>;

/// What all workers are made from.
struct Workers<'a> {
    engine: EngineKind,
    shared: workers::Shared,
    opened: mpsc::UnboundedSender<pancake_session::meter::Opened>,
    lives: watch::Receiver<Life>,
    meters: &'a [Arc<WorkerMeter>],
    sinks: Vec<Option<WorkerSink>>,
}

impl Workers<'_> {
    /// Starts them all; says where each entry point listens. Port 0 is chosen by the kernel for the first worker, and
    /// the others take the same.
    fn start(self, settings: &Settings) -> Result<(Vec<Running>, Listening)> {
        let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let cpus = workers::cpus();
        let count = self.meters.len();
        let mut entries = served_entry_points(settings)?;
        let mut running = Vec::new();
        for (number, (meter, sink)) in self.meters.iter().zip(self.sinks).enumerate() {
            let worker = workers::start(Plan {
                number,
                count,
                engine: self.engine,
                // More workers than CPUs would fight over pinned ones.
                cpu: (count <= cpus.len()).then(|| cpus[number]),
                entry_points: entries.clone(),
                shared: self.shared.clone(),
                meter: meter.clone(),
                opened: self.opened.clone(),
                sink: Box::new(move || sink.map_or(Box::new(NoLog) as Box<dyn Sink>, |sink| sink as _)),
                hostname: hostname.clone(),
                memory: settings.pancake.limits.memory_budget.map(|budget| Memory { budget, slots: 0 }),
                life: self.lives.clone(),
            })?;
            for (entry, address) in entries.iter_mut().zip(&worker.addresses) {
                entry.address = *address;
            }
            running.push(worker);
        }
        let listening = entries.iter().map(|entry| (entry.name.to_string(), entry.address)).collect();
        Ok((running, listening))
    }
}

/// The entry points that workers listen on: all but the admin one, numbered by their place in the settings.
fn served_entry_points(settings: &Settings) -> Result<Vec<EntryPoint>> {
    let all = settings.entry_points.iter().enumerate();
    all.filter(|(_, entry)| entry.name != INTERNAL_ENTRY_POINT)
        .map(|(place, entry)| {
            let id = EntryPointId(u16::try_from(place).context("more than 65,536 entry points")?);
            let address =
                entry.listen.addresses().into_iter().find(can_bind).with_context(|| {
                    format!("entry point {}: its address cannot be listened on", entry.name)
                })?;
            Ok(entry_point(id, address, entry, &settings.pancake.limits))
        })
        .collect()
}

/// Whether the machine has this kind of address (IPv6 may be switched off). Whether the port is free is found out later.
fn can_bind(address: &SocketAddr) -> bool {
    !address.ip().is_unspecified() || std::net::UdpSocket::bind(SocketAddr::new(address.ip(), 0)).is_ok()
}

fn entry_point(
    id: EntryPointId,
    address: SocketAddr,
    from: &static_config::EntryPoint,
    limits: &static_config::Limits,
) -> EntryPoint {
    let encoded = &from.encoded_characters;
    let trusting = |insecure: bool, trusted: &[IpNetwork]| Forwarded {
        insecure,
        trusted: trusted.iter().map(|n| (n.address(), n.prefix_len())).collect(),
        not_append_for: false,
    };
    EntryPoint {
        proxy_protocol: from
            .proxy_protocol
            .as_ref()
            .map(|proxy_protocol| trusting(proxy_protocol.insecure, &proxy_protocol.trusted_ips)),
        tls_handshake_timeout: limits.tls_handshake_timeout,
        write_stall_timeout: limits.write_stall_timeout,
        acme_bypass: from.allow_acme_bypass,
        h2_max_streams: from.http2.max_concurrent_streams,
        udp: (from.protocol == static_config::Protocol::Udp).then_some(from.udp_timeout),
        http3: from
            .http3
            .map(|http3| Http3 { advertised_port: http3.advertised_port, zero_rtt: from.zero_rtt }),
        read_timeout: from.read_timeout,
        write_timeout: from.write_timeout,
        idle_timeout: from.idle_timeout,
        max_head_bytes: from.max_header_bytes,
        sanitize_path: from.sanitize_path,
        keep_alive_max_requests: from.keep_alive_max_requests.unwrap_or(0),
        keep_alive_max_time: from.keep_alive_max_time,
        forwarded: Forwarded {
            not_append_for: from.forwarded_headers.not_append_x_forwarded_for,
            ..trusting(from.forwarded_headers.insecure, &from.forwarded_headers.trusted_ips)
        },
        encoded: Encoded {
            slash: encoded.slash,
            back_slash: encoded.back_slash,
            semicolon: encoded.semicolon,
            percent: encoded.percent,
            question_mark: encoded.question_mark,
            hash: encoded.hash,
        },
        underscores: match from.underscore_headers {
            static_config::UnderscoreHeaders::Keep => Underscores::Keep,
            static_config::UnderscoreHeaders::Delete => Underscores::Delete,
            static_config::UnderscoreHeaders::Reject => Underscores::Reject,
        },
        ..EntryPoint::new(id, &from.name, address)
    }
}

/// How long the way down may take.
struct Grace {
    accept: Duration,
    exchanges: Duration,
}

impl Grace {
    /// The longest of all entry points.
    fn of(settings: &Settings) -> Grace {
        let longest = |of: fn(&static_config::EntryPoint) -> Duration| {
            settings.entry_points.iter().map(of).max().unwrap_or_default()
        };
        Grace {
            accept: longest(|entry| entry.request_accept_grace_timeout),
            exchanges: longest(|entry| entry.grace_timeout),
        }
    }
}

/// Waits for the signal to stop, or for a worker that failed; then goes down in order.
async fn live(life: watch::Sender<Life>, running: Vec<Running>, grace: Grace) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut ended = std::pin::pin!(all_ended(running));
    tokio::select! {
        result = &mut ended => {
            life.send_replace(Life::Stop);
            return result;
        }
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    let down = async {
        tokio::time::sleep(grace.accept).await;
        life.send_replace(Life::Drain);
        tokio::time::sleep(grace.exchanges).await;
    };
    let early = tokio::select! {
        result = &mut ended => Some(result),
        () = down => None,
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
    };
    life.send_replace(Life::Stop);
    match early {
        Some(result) => result,
        None => ended.await,
    }
}

/// Ends when every worker has, or when one has failed.
async fn all_ended(running: Vec<Running>) -> Result<()> {
    let mut joins = tokio::task::JoinSet::new();
    for worker in running {
        joins.spawn_blocking(move || worker.join());
    }
    while let Some(joined) = joins.join_next().await {
        joined.context("waiting for a worker")??;
    }
    Ok(())
}
