//! Start and end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use pancake_model::instance::Node;
use pancake_store::{Embedded, Store};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::loops;
use crate::plane::Plane;
use crate::publish::{self, Published};
use crate::serve;
use crate::settings::Settings;
use crate::world::{At, World};

/// A control plane that runs.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// For tests and for the process that hosts it.
    pub plane: Arc<Plane>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// Opens the store, restores what it remembers, reads the services file, and serves. When this returns, the port
/// answers.
pub async fn start(settings: Settings) -> anyhow::Result<Running> {
    let started = Instant::now();
    let data_dir = settings.data_dir.clone();
    let opened = tokio::task::spawn_blocking(move || -> Result<_, pancake_store::Error> {
        let store = Embedded::open(&data_dir)?;
        let contents = store.load()?;
        let incarnation = store.begin_incarnation()?;
        Ok((store, contents, incarnation))
    });
    let (store, contents, incarnation) = opened.await??;
    let listener = listen(settings.listen).await?;
    let address = listener.local_addr()?;

    let published = match &contents.publication {
        Some(publication) => Published::restore(publication).with_context(|| {
            format!("the last published snapshot in {} does not decode", store.path().display())
        })?,
        None => Published::nothing(),
    };
    tracing::info!(
        node = %settings.node,
        incarnation,
        store = %store.path().display(),
        registrations = contents.registrations.len(),
        routers = contents.routers.len(),
        last_version = published.version,
        "store opened"
    );
    let local = Node { id: settings.node.clone(), address: address.to_string(), incarnation };
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = At { mono: started.elapsed(), unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX) };
    let world = World::restore(local, contents, Arc::new(published), at);
    let store: Arc<dyn Store> = Arc::new(store);
    let plane = Plane::new(settings, started, world, store);

    let (stop, stopping) = watch::channel(false);
    let mut tasks = JoinSet::new();
    // The file is read before the first publication, so that proxies never see a start without it.
    if let Some(path) = plane.settings().services.clone() {
        let follower = loops::file::Follower::new(plane.clone(), path).look().await;
        tasks.spawn(follower.run(stopping.clone()));
    } else {
        forget_file(&plane).await?;
    }
    tasks.spawn(loops::health::run(plane.clone(), stopping.clone()));
    tasks.spawn(loops::sweep::run(plane.clone(), stopping.clone()));
    if plane.settings().sharing.is_some() {
        loops::sharing::look(&plane).await;
        tasks.spawn(loops::sharing::run(plane.clone(), stopping.clone()));
    }
    tasks.spawn(publish::run::run(plane.clone(), stopping.clone()));
    tasks.spawn(serve::run(plane.clone(), listener, stopping));
    Ok(Running { address, plane, stop, tasks })
}

impl Running {
    /// Stops: open calls get a grace, what is registered stays in the store.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(e) = ended {
                tracing::error!("a task ended badly: {e}");
            }
        }
    }

    /// Waits until some part ends by itself, which none should.
    pub async fn failed(&mut self) -> String {
        match self.tasks.join_next().await {
            Some(Err(e)) => format!("a task failed: {e}"),
            _ => "a task ended".into(),
        }
    }
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => {
            let who = if serve::is_answered(address).await {
                "another process answers there"
            } else {
                "it is in use"
            };
            bail!("cannot listen on {address}: {who}. Stop it, or choose another address with --listen")
        }
        Err(e) => Err(e).with_context(|| format!("cannot listen on {address}")),
    }
}

/// Without `--services` there is no services file: what one said before is taken away on purpose.
async fn forget_file(plane: &Arc<Plane>) -> anyhow::Result<()> {
    let view =
        || pancake_discovery::sources::static_file::keeper::View { allow_empty: true, ..Default::default() };
    if plane.read(|world| world.file_differs(&view())) {
        tracing::warn!("no services file is given; the services of the one before are taken away");
        plane
            .commit(move |world| Ok(world.plan_file(&view())), move |world, at| world.apply_file(view(), at))
            .await?;
    }
    Ok(())
}
