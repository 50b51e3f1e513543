//! The service thread: what is not hot.
//!
//! Start: [`load_first`] reads configuration before a worker accepts; [`run`] takes over on a thread of its own and
//! ends when the process stops. It never touches a request: workers share with it only the table, counters and rings.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context as _, Result, anyhow};
use arc_swap::ArcSwap;
use pancake_config::traefik::static_config::Settings;
use pancake_session::meter::{Opened, WorkerMeter};
use pancake_table::compile::EntryPointSpec;
use pancake_table::compiled::Table;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::task::spawn_local;

use crate::access_log;
use crate::admin::{self, EngineChoice};
use crate::change::{Handle, Owner, Problem, Provider};
use crate::health;
use crate::host::{self, Host};
use crate::meters::Meters;
use crate::providers::file;
use crate::resolve;
use crate::workers::Life;

/// The configuration that the process starts with.
pub struct First {
    owner: Owner,
    files: Option<file::Seen>,
}

impl First {
    /// The table that workers read.
    pub fn table(&self) -> Arc<ArcSwap<Table>> {
        self.owner.table()
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
pub fn load_first(settings: &Settings) -> First {
    let mut owner = Owner::new(entry_points(settings), settings.servers_transport.clone());
    let files = settings.providers.file.as_ref().map(|provider| file::Seen::look(&provider.source));
    if let Some(seen) = &files {
        match file::read(seen) {
            Ok(update) => owner.submit(Provider::File, update),
            Err(problems) => owner.fail(Provider::File, problems),
        };
    }
    First { owner, files }
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
    let Parts { settings, first, workers, opened, mut life, .. } = parts;
    let view = first.owner.view();
    spawn_local(health::run(first.owner.table(), first.owner.changed()));
    spawn_local(resolve::run(first.owner.table(), first.owner.changed()));
    let meters = Arc::new(Meters::new(workers, opened));
    let (changes, table_thread) = Handle::spawn(first.owner).context("starting the table thread")?;

    if let (Some(provider), Some(seen)) = (settings.providers.file.clone(), first.files)
        && provider.watch
    {
        spawn_local(file::watch(provider, settings.providers.throttle, seen, changes.clone()));
    }
    let mut listening = parts.listening;
    let counts = parts.access_log.as_ref().map(access_log::Writer::counts);
    let log = parts.access_log.map(|writer| spawn_local(writer.run(host, life.clone())));
    if let Some(listener) = parts.admin {
        listening.push((
            pancake_config::traefik::static_config::INTERNAL_ENTRY_POINT.into(),
            listener.local_addr()?,
        ));
        let context = admin::Context {
            settings: settings.clone(),
            view: view.clone(),
            meters: meters.clone(),
            control: None,
            access_log: counts,
            engine: parts.engine,
            listening,
            host,
            life: life.clone(),
            started: SystemTime::now(),
        };
        let listener = tokio::net::TcpListener::from_std(listener)?;
        spawn_local(admin::serve(listener, Arc::new(context)));
    }
    // An error means that whoever tells about life is gone: that is the end too.
    let _ = life.wait_for(|life| *life == Life::Stop).await;
    if let Some(log) = log {
        let _ = log.await;
    }
    drop(changes);
    drop((view, meters, table_thread));
    Ok(())
}
