//! The stream of a control plane: `pancake.routing.v1` over gRPC, the proxy's side.
//!
//! One stream at a time; when it ends it is opened again, after a pause that doubles up to [`CONTROL_BACKOFF_MAX`], with
//! jitter. Each snapshot is taken over or refused before the next one is read, so the control plane sees one answer for
//! each and cannot get ahead. Snapshots are not throttled as files are: who publishes decides how often. What serves
//! never depends on the stream: it goes on while the control plane is away, and from disk after a restart.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::change::{Handle, View};
use crate::limits::{CONTROL_BACKOFF_MAX, CONTROL_BACKOFF_MIN, CONTROL_BACKOFF_RESET};
use crate::meters::Meters;

/// How a message is cut out of the stream.
mod codec;
/// When a server that drains has nothing in flight any more.
mod drains;
/// Bytes to a snapshot.
mod incoming;
/// The last good snapshot on disk.
pub mod saved;
/// What the admin API shows of the stream.
mod status;
/// One stream, from hello to its end.
mod stream;
/// What a message would cost, before it is decoded.
mod weigh;

pub use status::Status;
pub(crate) use stream::{chain, endpoint, told};

/// What the stream needs.
pub struct Parts {
    /// `http://host:port` of the control plane.
    pub endpoint: String,
    /// Name of this proxy in the cluster.
    pub proxy_id: String,
    /// Names of the entry points that routers can use.
    pub entry_points: Vec<String>,
    /// Where snapshots go.
    pub changes: Handle,
    /// What serves.
    pub view: Arc<ArcSwap<View>>,
    /// In-flight counts, for drains.
    pub meters: Arc<Meters>,
    /// Shown by the admin API.
    pub status: Arc<Status>,
    /// Moves with each new table.
    pub changed: watch::Receiver<u64>,
}

/// Follows the control plane until the end of the runtime.
pub async fn run(parts: Parts) {
    let status = parts.status.clone();
    let mut session = stream::Session::new(parts);
    let mut pause = CONTROL_BACKOFF_MIN;
    loop {
        let opened = Instant::now();
        let ended = session.run().await;
        status.ended(&ended);
        if opened.elapsed() >= CONTROL_BACKOFF_RESET {
            pause = CONTROL_BACKOFF_MIN;
        }
        tokio::time::sleep(jittered(pause)).await;
        pause = (pause * 2).min(CONTROL_BACKOFF_MAX);
    }
}

/// Between half of `pause` and all of it, so that many proxies do not come back at the same moment.
pub(crate) fn jittered(pause: Duration) -> Duration {
    // Each state is seeded anew by the system.
    let random = RandomState::new().hash_one(0);
    pause.mul_f64(0.5 + (random as f64 / u64::MAX as f64) / 2.0)
}

#[cfg(test)]
mod tests;
