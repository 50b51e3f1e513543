//! What the admin API shows of the stream.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::admin::rfc3339;

/// What the admin API shows of the stream. Shared by the tasks of the service thread.
#[derive(Debug)]
pub struct Status {
    endpoint: String,
    failures: AtomicU64,
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    connected_since: Option<SystemTime>,
    last_error: Option<String>,
}

impl Status {
    /// Of a stream that was not tried yet.
    pub fn new(endpoint: String) -> Status {
        Status { endpoint, failures: AtomicU64::new(0), now: Mutex::default() }
    }

    /// Whether the stream is open.
    pub fn is_connected(&self) -> bool {
        self.now().connected_since.is_some()
    }

    /// How often it ended or could not be opened.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// For the API.
    pub fn shown(&self) -> Value {
        let now = self.now();
        json!({
            "endpoint": self.endpoint,
            "connected": now.connected_since.is_some(),
            "connectedSince": now.connected_since.map(rfc3339),
            "failures": self.failures(),
            "lastError": now.last_error,
        })
    }

    pub(super) fn connected(&self) {
        self.now().connected_since = Some(SystemTime::now());
        tracing::info!(endpoint = self.endpoint, "the control plane is connected");
    }

    /// The stream is over. What is the same as last time is not logged again.
    pub(super) fn ended(&self, reason: &str) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let mut now = self.now();
        let was_connected = now.connected_since.take().is_some();
        if was_connected || now.last_error.as_deref() != Some(reason) {
            tracing::warn!(endpoint = self.endpoint, reason, "no control plane: what serves goes on");
        }
        now.last_error = Some(reason.to_owned());
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
