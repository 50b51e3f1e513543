//! The service thread: what is not hot.
//!
//! Start: [`load_first`] reads configuration before a worker accepts; [`run`] takes over on a thread of its own and
//! ends when the process stops. It never touches a request: workers share with it only the table, counters and rings.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context as _, Result, anyhow};
use arc_swap::ArcSwap;
use pancake_config::traefik::static_config::{INTERNAL_ENTRY_POINT, Settings};
use pancake_session::acme_tokens::AcmeTokens;
use pancake_session::meter::{DURATION_BUCKETS, Opened, WorkerMeter};
use pancake_table::compile::EntryPointSpec;
use pancake_table::compiled::Table;
use pancake_tls::Tickets;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::task::spawn_local;

use crate::access_log;
use crate::admin::{self, EngineChoice};
use crate::change::{Handle, Owner, Problem, Provider, Secure, Update, View, now_unix};
use crate::edge_log;
use crate::health;
use crate::host::{self, Host};
use crate::limits::TICKET_LOOK_PERIOD;
use crate::meters::Meters;
use crate::providers::control::{self, saved};
use crate::providers::file;
use crate::resolve;
use crate::sharing;
use crate::workers::Life;

/// Certificates that routers want from a CA.
pub mod certificates;

/// The configuration that the process starts with.
pub struct First {
    owner: Owner,
    files: Option<(file::Seen, BTreeSet<PathBuf>)>,
    tokens: Arc<AcmeTokens>,
}

impl First {
    /// The table that workers read.
    pub fn table(&self) -> Arc<ArcSwap<Table>> {
        self.owner.table()
    }

    /// Certificates and TLS options.
    pub fn secure(&self) -> &Secure {
        self.owner.secure()
    }

    /// Where workers look answers to http-01 challenges up.
    pub fn tokens(&self) -> Arc<AcmeTokens> {
        self.tokens.clone()
    }

    /// Everything that is wrong with the configuration.
    pub fn problems(&self) -> Vec<Problem> {
        self.owner.view().load().problems().cloned().collect()
    }
}

/// The entry points as tables number them: by their place in `settings`.
pub fn entry_points(settings: &Settings) -> Vec<EntryPointSpec> {
    let defaults = settings.default_entry_points();
    let spec =
        |name: &String| EntryPointSpec { name: name.clone(), default: defaults.contains(&name.as_str()) };
    settings.entry_points.iter().map(|entry_point| spec(&entry_point.name)).collect()
}

/// Reads what is there of all providers, so that the first request is served by it. Problems do not stop the start:
/// they are logged and shown as later ones are.
///
/// # Errors
/// If the system has no randomness for keys.
pub fn load_first(settings: &Arc<Settings>) -> Result<First> {
    let owner = Owner::new(entry_points(settings), settings.servers_transport.clone(), Secure::new()?);
    let mut owner = owner.with_settings(settings);
    let mut files = None;
    if let Some(provider) = &settings.providers.file {
        let seen = file::Seen::look(&provider.source, &BTreeSet::new());
        let mut named = BTreeSet::new();
        match file::read(&seen) {
            Ok(update) => {
                named.clone_from(&update.files);
                owner.submit(Provider::File, update)
            }
            Err(problems) => owner.fail(Provider::File, problems),
        };
        files = Some((file::Seen::look(&provider.source, &named), named));
    }
    if let (Some(_), Some(state_dir)) = (&settings.providers.pancake, &settings.pancake.state_dir) {
        match saved::load(state_dir) {
            Ok(None) => {}
            Ok(Some(snapshot)) => {
                owner.submit(Provider::Pancake, Update::from_control(snapshot, false));
            }
            Err(error) => {
                owner.fail(
                    Provider::Pancake,
                    vec![Problem::of_provider(Provider::Pancake, error.to_string())],
                );
            }
        }
    }
    Ok(First { owner, files, tokens: Arc::default() })
}

/// Listens for the admin entry point, if the configuration asks for one.
///
/// # Errors
/// If its address cannot be listened on, or if the configuration asks for what is not built.
pub fn listen_admin(settings: &Settings) -> Result<Option<TcpListener>> {
    let Some(addresses) = admin::address(settings).map_err(|reason| anyhow!(reason))? else {
        return Ok(None);
    };
    let listener =
        TcpListener::bind(&*addresses).with_context(|| format!("entry point traefik: {addresses:?}"))?;
    listener.set_nonblocking(true)?;
    Ok(Some(listener))
}

/// What the service thread is given.
pub struct Parts {
    /// The static configuration.
    pub settings: Arc<Settings>,
    /// The configuration that serves.
    pub first: First,
    /// From [`listen_admin`].
    pub admin: Option<TcpListener>,
    /// The counters of each worker.
    pub workers: Vec<Arc<WorkerMeter>>,
    /// What workers open later.
    pub opened: UnboundedReceiver<Opened>,
    /// From [`access_log::open`].
    pub access_log: Option<access_log::Writer>,
    /// The engine of the workers.
    pub engine: EngineChoice,
    /// Where the entry points of the workers listen.
    pub listening: Vec<(String, SocketAddr)>,
    /// Where the process is in its life. [`Life::Stop`] ends the service thread.
    pub life: watch::Receiver<Life>,
}

/// Does everything that is not hot, on this thread, until [`Life::Stop`].
///
/// # Errors
/// If the thread cannot start its work.
pub fn run(parts: Parts) -> Result<()> {
    host::run(|host| serve(parts, host)).context("starting the service thread")?
}

async fn serve(parts: Parts, host: Host) -> Result<()> {
    let Parts { settings, first: First { owner, files, tokens }, mut life, .. } = parts;
    let (tickets, challenges) = (owner.secure().tickets(), owner.secure().challenges());
    let (table, view, changed) = (owner.table(), owner.view(), owner.changed());
    let meters = Arc::new(Meters::new(parts.workers, parts.opened));
    if settings.prometheus.as_ref().is_some_and(|prometheus| prometheus.buckets != DURATION_BUCKETS) {
        tracing::warn!(used = ?DURATION_BUCKETS, "metrics.prometheus.buckets has no effect yet");
    }
    let (changes, _) = Handle::spawn(owner).context("starting the table thread")?;
    let counts = parts.access_log.as_ref().map(access_log::Writer::counts);
    // Its handler stays, so that a signal meant to rotate a log ends no process that has none.
    let _ = signal(SignalKind::user_defined1())?;
    let log = parts.access_log.map(|writer| spawn_local(writer.run(host, life.clone())));
    spawn_local(health::run(table.clone(), changed.clone()));
    spawn_local(resolve::run(table.clone(), changed.clone()));
    spawn_local(meters.clone().tidy(table.clone()));
    spawn_local(edge_log::run(meters.clone()));
    let host_name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let proxy_id = saved::proxy_id(settings.pancake.state_dir.as_deref(), &host_name);
    let sharing = sharing::start(&settings, &proxy_id, tickets.clone()).map_err(|reason| anyhow!(reason))?;
    spawn_local(rotate(tickets));
    let acme = certificates::start(certificates::Parts {
        settings: settings.clone(),
        table,
        changed: changed.clone(),
        changes: changes.clone(),
        tokens,
        challenges,
        sharing,
    });
    if let (Some(provider), Some(seen)) = (settings.providers.file.clone(), files)
        && provider.watch
    {
        spawn_local(file::watch(provider, settings.providers.throttle, seen, changes.clone()));
    }
    let control = follow_control_plane(&settings, proxy_id, changes, &view, &meters, changed);
    if let Some(listener) = parts.admin {
        let mut listening = parts.listening;
        listening.push((INTERNAL_ENTRY_POINT.into(), listener.local_addr()?));
        let context = admin::Context {
            settings,
            view,
            meters,
            control,
            acme,
            access_log: counts,
            engine: parts.engine,
            listening,
            host,
            life: life.clone(),
            started: SystemTime::now(),
        };
        spawn_local(admin::serve(tokio::net::TcpListener::from_std(listener)?, Arc::new(context)));
    }
    // An error means that whoever tells about life is gone: that is the end too.
    let _ = life.wait_for(|life| *life == Life::Stop).await;
    if let Some(log) = log {
        log.await.context("the access log")?;
    }
    Ok(())
}

/// New keys for session tickets, as time goes.
async fn rotate(tickets: Arc<Tickets>) {
    let mut ticker = tokio::time::interval(TICKET_LOOK_PERIOD);
    loop {
        ticker.tick().await;
        if let Err(error) = tickets.rotate(now_unix()) {
            tracing::error!(%error, "the keys of session tickets could not be changed");
        }
    }
}

/// Starts what `providers.pancake` asks for.
fn follow_control_plane(
    settings: &Settings,
    proxy_id: String,
    changes: Handle,
    view: &Arc<ArcSwap<View>>,
    meters: &Arc<Meters>,
    changed: watch::Receiver<u64>,
) -> Option<Arc<control::Status>> {
    let endpoint = settings.providers.pancake.as_ref()?.endpoint.clone();
    let state_dir = settings.pancake.state_dir.clone();
    let names = settings.entry_points.iter().map(|entry_point| entry_point.name.clone());
    let status = Arc::new(control::Status::new(endpoint.clone()));
    spawn_local(control::run(control::Parts {
        endpoint,
        proxy_id,
        entry_points: names.filter(|name| name != INTERNAL_ENTRY_POINT).collect(),
        changes,
        view: view.clone(),
        meters: meters.clone(),
        status: status.clone(),
        changed: changed.clone(),
    }));
    if let Some(state_dir) = state_dir {
        spawn_local(saved::keep(state_dir, view.clone(), changed));
    }
    Some(status)
}
