//! What the admin API tells about certificates from a CA.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use serde::Serialize;

/// One wanted certificate.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Name of the resolver.
    pub resolver: String,
    /// Main name first.
    pub domains: Vec<String>,
    /// Until when the stored certificate is good; none: there is none yet.
    #[serde(serialize_with = "as_time")]
    pub not_after: Option<SystemTime>,
    /// Why there is none, or why it could not be renewed.
    pub last_error: Option<String>,
    /// Failed orders since the last success.
    pub failed_orders: u32,
    /// When it is ordered or renewed next; none: not before the configuration changes.
    #[serde(serialize_with = "as_time")]
    pub next_try: Option<SystemTime>,
}

/// All wanted certificates; written by the ACME tasks, read by the admin API, both on the service thread.
#[derive(Debug, Default)]
pub struct Status(Mutex<BTreeMap<String, Vec<State>>>);

impl Status {
    /// All states, by resolver.
    pub fn all(&self) -> Vec<State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().flatten().cloned().collect()
    }

    /// Those that something is wrong with.
    pub fn problems(&self) -> Vec<State> {
        self.all().into_iter().filter(|state| state.last_error.is_some()).collect()
    }

    pub(super) fn set(&self, resolver: &str, states: Vec<State>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(resolver.to_owned(), states);
    }
}

fn as_time<S: serde::Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    let text = time.and_then(|time| jiff::Timestamp::try_from(time).ok()).map(|time| time.to_string());
    text.serialize(serializer)
}
