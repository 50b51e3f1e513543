//! The world behind a lock, with a store, events and a wake-up for those who follow it.
//!
//! Rules: the lock is never held across an await; what must last is stored before it is applied; store and world
//! change in the same order; a caller that goes away does not undo half of a change.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use pancake_model::event::Event;
use pancake_store::{Store, Write};
use tokio::sync::{broadcast, watch};

use crate::publish::Published;
use crate::settings::{EVENT_BUFFER, SETTLE_TIMEOUT, Settings};
use crate::sharing::Sharing;
use crate::world::{At, OpError, World};

/// An event with its number.
#[derive(Clone, Debug)]
pub struct Numbered {
    /// Grows by one.
    pub sequence: u64,
    /// For people.
    pub at_unix_ms: u64,
    /// What happened.
    pub event: Event,
}

/// Waits until the process is to stop.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that whoever could say so is gone, which is the same.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// The world and those who follow it.
pub struct Plane {
    settings: Settings,
    started: Instant,
    world: Mutex<World>,
    store: Arc<dyn Store>,
    commits: tokio::sync::Mutex<()>,
    changes: watch::Sender<u64>,
    settled: watch::Sender<u64>,
    events: broadcast::Sender<Arc<Numbered>>,
    event_numbers: AtomicU64,
    snapshots: watch::Sender<Arc<Published>>,
    sharing: watch::Sender<()>,
    version_floor: AtomicU64,
}

impl Plane {
    /// Puts the parts together; `started` is the zero of the world's time.
    pub fn new(settings: Settings, started: Instant, world: World, store: Arc<dyn Store>) -> Arc<Plane> {
        // What was published before a restart is handed out once it is clear that nothing newer takes its place.
        let snapshots = watch::Sender::new(Arc::new(Published::nothing()));
        Arc::new(Plane {
            settings,
            started,
            world: Mutex::new(world),
            store,
            commits: tokio::sync::Mutex::new(()),
            changes: watch::Sender::new(0),
            settled: watch::Sender::new(0),
            events: broadcast::Sender::new(EVENT_BUFFER),
            event_numbers: AtomicU64::new(0),
            snapshots,
            sharing: watch::Sender::new(()),
            version_floor: AtomicU64::new(0),
        })
    }

    /// Settings of the process.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Now.
    pub fn now(&self) -> At {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        At { mono: self.started.elapsed(), unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX) }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the world.
    pub fn read<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.world())
    }

    /// Changes what need not last, and wakes those who follow.
    pub fn update<T>(&self, change: impl FnOnce(&mut World, At) -> T) -> T {
        let result = self.update_quietly(change);
        self.wake();
        result
    }

    /// Wakes those who follow.
    pub fn wake(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    /// As [`Plane::update`], for what no snapshot depends on.
    pub fn update_quietly<T>(&self, change: impl FnOnce(&mut World, At) -> T) -> T {
        let at = self.now();
        let mut world = self.world();
        let result = change(&mut world, at);
        // Numbered under the lock: the order of events is the order of changes.
        for event in world.take_events() {
            let sequence = self.event_numbers.fetch_add(1, Ordering::Relaxed) + 1;
            // Nobody listening is no error.
            let _ = self.events.send(Arc::new(Numbered { sequence, at_unix_ms: at.unix_ms, event }));
        }
        result
    }

    /// Stores what `plan` says, then applies it. Runs to its end even if the caller goes away.
    pub async fn commit<T: Send + 'static>(
        self: &Arc<Self>,
        plan: impl FnOnce(&World) -> Result<Vec<Write>, OpError> + Send + 'static,
        apply: impl FnOnce(&mut World, At) -> T + Send + 'static,
    ) -> Result<T, OpError> {
        let plane = self.clone();
        let work = tokio::spawn(async move {
            let _order = plane.commits.lock().await;
            let writes = plane.read(plan)?;
            plane.store(writes).await?;
            Ok(plane.update(apply))
        });
        work.await.unwrap_or_else(|e| Err(OpError::Precondition(format!("the change failed: {e}"))))
    }

    /// Stores something that the world does not depend on.
    pub async fn store(&self, writes: Vec<Write>) -> Result<(), pancake_store::Error> {
        if writes.is_empty() {
            return Ok(());
        }
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || store.commit(&writes)).await {
            Ok(result) => result,
            Err(e) => Err(pancake_store::Error::Io { path: "store".into(), reason: e.to_string() }),
        }
    }

    /// Changes what is shared and need not last, and wakes those who follow it. No snapshot depends on it.
    pub fn share<T>(&self, change: impl FnOnce(&mut Sharing, At) -> T) -> T {
        let result = self.update_quietly(|world, at| change(&mut world.sharing, at));
        self.sharing.send_replace(());
        result
    }

    /// As [`Plane::commit`], for what is shared. `plan` says what to store and what to tell `apply`.
    pub async fn commit_sharing<P: Send + 'static, T: Send + 'static>(
        self: &Arc<Self>,
        plan: impl FnOnce(&Sharing, At) -> Result<(Vec<Write>, P), OpError> + Send + 'static,
        apply: impl FnOnce(&mut Sharing, P, At) -> T + Send + 'static,
    ) -> Result<T, OpError> {
        let plane = self.clone();
        let work = tokio::spawn(async move {
            let _order = plane.commits.lock().await;
            let at = plane.now();
            let (writes, planned) = plane.read(|world| plan(&world.sharing, at))?;
            plane.store(writes).await?;
            Ok(plane.share(|sharing, at| apply(sharing, planned, at)))
        });
        work.await.unwrap_or_else(|e| Err(OpError::Precondition(format!("the change failed: {e}"))))
    }

    /// Changes with each change of what is shared, and of who follows it.
    pub fn sharing(&self) -> watch::Receiver<()> {
        self.sharing.subscribe()
    }

    /// Changes with each update.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// All changes up to this number are published, or held back.
    pub fn set_settled(&self, change: u64) {
        self.settled.send_replace(change);
    }

    /// Waits until what changed so far is published or held back, so that who asks after a change sees it; at most
    /// [`SETTLE_TIMEOUT`].
    pub async fn settled(&self) {
        let until = *self.changes.borrow();
        let mut settled = self.settled.subscribe();
        let wait = settled.wait_for(|settled| *settled >= until);
        // An answer that is a little old is better than none.
        let _ = tokio::time::timeout(SETTLE_TIMEOUT, wait).await;
    }

    /// Events from now on.
    pub fn events(&self) -> broadcast::Receiver<Arc<Numbered>> {
        self.events.subscribe()
    }

    /// Snapshots as they are published, the last one first; version 0 until the first decision after the start.
    pub fn snapshots(&self) -> watch::Receiver<Arc<Published>> {
        self.snapshots.subscribe()
    }

    /// Gives the published snapshot to the streams.
    pub fn hand_out(&self) {
        let published = self.read(|world| world.published().clone());
        self.snapshots.send_if_modified(|now| {
            let newer = published.version > now.version;
            if newer {
                *now = published;
            }
            newer
        });
    }

    /// The next publication must have a higher version than this.
    pub fn version_floor(&self) -> u64 {
        self.version_floor.load(Ordering::Relaxed)
    }

    /// A proxy serves a version that this control plane has not published: its store was lost or is an old copy.
    pub fn raise_version_floor(&self, version: u64) {
        self.version_floor.fetch_max(version, Ordering::Relaxed);
        self.wake();
    }
}
