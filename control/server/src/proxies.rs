//! Who is connected, what each serves, which drains are confirmed.
//!
//! Pure: time is an argument. A drain is complete when every proxy that is connected, or went away less than the
//! grace ago, has said that nothing is in flight to the instance, in answer to a snapshot that shows it draining.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pancake_model::name::InstanceId;
use pancake_table::proto;

use crate::settings::{
    FORGET_PROXY, MAX_NACK_REASON, MAX_NACK_REASONS, MAX_PROXIES, MAX_PROXY_ENTRY_POINTS, MAX_PROXY_TEXT,
};

/// What is known of a proxy.
#[derive(Clone, Debug, Default)]
pub struct Proxy {
    /// Address of its connection.
    pub address: String,
    /// For people.
    pub program_version: String,
    /// Names of its entry points.
    pub entry_points: Vec<String>,
    /// The number of its connection; none: it is away.
    pub connection: Option<u64>,
    /// Since when it is connected, or away.
    pub since: Duration,
    /// The same, for people.
    pub since_unix_ms: u64,
    /// Sent last over this connection; 0: nothing yet.
    pub sent: u64,
    /// Acknowledged last, or as it said in its Hello.
    pub serving: u64,
    /// Refused last, and why; none if a later one was acknowledged.
    pub nacked: Option<(u64, Vec<String>)>,
}

/// What is known of all proxies and drains.
#[derive(Debug, Default)]
pub struct Proxies {
    known: BTreeMap<String, Proxy>,
    connections: u64,
    drains: BTreeMap<InstanceId, Confirmations>,
}

#[derive(Debug, Default)]
struct Confirmations {
    /// The first published version that shows the drain; none: not published yet.
    version: Option<u64>,
    confirmed: BTreeSet<String>,
}

/// Why a proxy is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// Its Hello is out of bounds.
    #[error("hello: {0}")]
    Invalid(String),
    /// [`MAX_PROXIES`] reached.
    #[error("{MAX_PROXIES} proxies are known already")]
    Full,
}

/// One line of a drain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmation {
    /// The proxy.
    pub proxy: String,
    /// Nothing is in flight there.
    pub confirmed: bool,
    /// It serves a snapshot that shows the drain.
    pub acknowledged: bool,
    /// Or else it is away, and waited for.
    pub connected: bool,
}

/// Where a drain stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainView {
    /// Nobody is waited for.
    pub complete: bool,
    /// Who is asked.
    pub proxies: Vec<Confirmation>,
    /// In words.
    pub message: String,
}

impl Proxies {
    /// Remembers proxies of before a restart as away since `now`.
    pub fn restore(&mut self, ids: impl IntoIterator<Item = String>, now: Duration, unix_ms: u64) {
        for id in ids {
            let away = Proxy { since: now, since_unix_ms: unix_ms, ..Proxy::default() };
            self.known.entry(id).or_insert(away);
        }
    }

    /// A proxy connected. Returns the number of its connection and whether it is new; an older connection of the same
    /// proxy is thereby over.
    pub fn hello(
        &mut self,
        hello: &proto::Hello,
        address: String,
        now: Duration,
        unix_ms: u64,
    ) -> Result<(u64, bool), HelloError> {
        let text = |what: &str, text: &str| {
            let bad = text.len() > MAX_PROXY_TEXT || text.chars().any(char::is_control);
            if bad {
                Err(HelloError::Invalid(format!("{what} is too long or has control characters")))
            } else {
                Ok(())
            }
        };
        if hello.proxy_id.is_empty() {
            return Err(HelloError::Invalid("proxy_id is empty".into()));
        }
        text("proxy_id", &hello.proxy_id)?;
        text("program_version", &hello.program_version)?;
        if hello.entry_points.len() > MAX_PROXY_ENTRY_POINTS {
            return Err(HelloError::Invalid(format!("more than {MAX_PROXY_ENTRY_POINTS} entry points")));
        }
        hello.entry_points.iter().try_for_each(|e| text("an entry point", e))?;
        let new = !self.known.contains_key(&hello.proxy_id);
        if new && self.known.len() >= MAX_PROXIES {
            return Err(HelloError::Full);
        }
        self.connections += 1;
        let proxy = Proxy {
            address,
            program_version: hello.program_version.clone(),
            entry_points: hello.entry_points.clone(),
            connection: Some(self.connections),
            since: now,
            since_unix_ms: unix_ms,
            sent: 0,
            serving: hello.serving_version,
            nacked: None,
        };
        self.known.insert(hello.proxy_id.clone(), proxy);
        Ok((self.connections, new))
    }

    /// Whether this connection is still the proxy's.
    pub fn is_current(&self, id: &str, connection: u64) -> bool {
        self.known.get(id).is_some_and(|p| p.connection == Some(connection))
    }

    fn current(&mut self, id: &str, connection: u64) -> Option<&mut Proxy> {
        self.known.get_mut(id).filter(|p| p.connection == Some(connection))
    }

    /// A connection ended. False if it was no longer the proxy's.
    pub fn gone(&mut self, id: &str, connection: u64, now: Duration, unix_ms: u64) -> bool {
        let Some(proxy) = self.current(id, connection) else { return false };
        proxy.connection = None;
        proxy.since = now;
        proxy.since_unix_ms = unix_ms;
        true
    }

    /// A snapshot was sent.
    pub fn sent(&mut self, id: &str, connection: u64, version: u64) {
        if let Some(proxy) = self.current(id, connection) {
            proxy.sent = version;
        }
    }

    /// A snapshot serves.
    pub fn ack(&mut self, id: &str, connection: u64, version: u64) {
        if let Some(proxy) = self.current(id, connection) {
            proxy.serving = version;
            if proxy.nacked.as_ref().is_some_and(|(nacked, _)| *nacked <= version) {
                proxy.nacked = None;
            }
        }
    }

    /// A snapshot was refused. Returns the reasons as they are kept.
    pub fn nack(&mut self, id: &str, connection: u64, nack: &proto::Nack) -> Vec<String> {
        let reason = |p: &proto::Problem| {
            let field = if p.field.is_empty() { String::new() } else { format!(": {}", p.field) };
            let text = format!("{}{field}: {}", p.object, p.message);
            text.chars().filter(|c| !c.is_control()).take(MAX_NACK_REASON).collect()
        };
        let mut reasons: Vec<String> = nack.problems.iter().take(MAX_NACK_REASONS).map(reason).collect();
        if nack.problems.len() > MAX_NACK_REASONS {
            reasons.push(format!("and {} more", nack.problems.len() - MAX_NACK_REASONS));
        }
        if reasons.is_empty() {
            reasons.push("no reason given".into());
        }
        if let Some(proxy) = self.current(id, connection) {
            proxy.nacked = Some((nack.version, reasons.clone()));
        }
        reasons
    }

    /// Drains under way are exactly these. One that is new starts without confirmations.
    pub fn set_drains<'a>(&mut self, ids: impl IntoIterator<Item = &'a InstanceId>) {
        let mut old = std::mem::take(&mut self.drains);
        self.drains = ids.into_iter().map(|id| (id.clone(), old.remove(id).unwrap_or_default())).collect();
    }

    /// `version` is published and shows the drains of `ids`.
    pub fn published(&mut self, version: u64, ids: &BTreeSet<InstanceId>) {
        for (id, drain) in &mut self.drains {
            if ids.contains(id) {
                drain.version.get_or_insert(version);
            }
        }
    }

    /// A proxy says that nothing is in flight to an instance. True if a drain waited for it. What it says before it
    /// has the drain is about something older and does not count.
    pub fn drained(&mut self, id: &str, connection: u64, instance: &str) -> bool {
        let Some(has) = self.current(id, connection).map(|p| p.sent.max(p.serving)) else { return false };
        match self.drains.get_mut(instance) {
            Some(drain) if drain.version.is_some_and(|v| v <= has) => drain.confirmed.insert(id.to_owned()),
            _ => false,
        }
    }

    /// Where the drain of an instance stands; none if there is no such drain.
    pub fn drain(&self, instance: &str, grace: Duration, now: Duration) -> Option<DrainView> {
        let drain = self.drains.get(instance)?;
        let waited_for = |p: &Proxy| p.connection.is_some() || now.saturating_sub(p.since) < grace;
        let proxies: Vec<Confirmation> = self
            .known
            .iter()
            .filter(|(id, p)| waited_for(p) || drain.confirmed.contains(*id))
            .map(|(id, p)| Confirmation {
                proxy: id.clone(),
                confirmed: drain.confirmed.contains(id),
                acknowledged: drain.version.is_some_and(|v| v <= p.serving),
                connected: p.connection.is_some(),
            })
            .collect();
        let waiting: Vec<&Confirmation> = proxies.iter().filter(|c| !c.confirmed).collect();
        let message = match (drain.version, waiting.first()) {
            (None, _) => "not published yet".to_owned(),
            (Some(_), None) if proxies.is_empty() => {
                "no proxy is connected, so no request is in flight".to_owned()
            }
            (Some(_), None) => format!("confirmed by {}", plural(proxies.len(), "proxy", "proxies")),
            (Some(_), Some(first)) => {
                let why = match (first.connected, first.acknowledged) {
                    (false, _) => "is away",
                    (true, false) => "has not taken the snapshot yet",
                    (true, true) => "has requests in flight",
                };
                let of = plural(waiting.len(), "proxy", "proxies");
                format!("waiting for {of}: {} {why}", first.proxy)
            }
        };
        Some(DrainView { complete: drain.version.is_some() && waiting.is_empty(), proxies, message })
    }

    /// Forgets those that are away for [`FORGET_PROXY`]; returns their names.
    pub fn forget(&mut self, now: Duration) -> Vec<String> {
        let over = |p: &Proxy| p.connection.is_none() && now.saturating_sub(p.since) >= FORGET_PROXY;
        let ids: Vec<String> = self.known.iter().filter(|(_, p)| over(p)).map(|(id, _)| id.clone()).collect();
        for id in &ids {
            self.known.remove(id);
        }
        ids
    }

    /// All that are known, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Proxy)> {
        self.known.iter().map(|(id, p)| (id.as_str(), p))
    }

    /// One of them.
    pub fn get(&self, id: &str) -> Option<&Proxy> {
        self.known.get(id)
    }

    /// The entry points of all connected ones, each once, in order.
    pub fn entry_points(&self) -> BTreeSet<&str> {
        let connected = self.known.values().filter(|p| p.connection.is_some());
        connected.flat_map(|p| p.entry_points.iter().map(String::as_str)).collect()
    }
}

fn plural(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

#[cfg(test)]
mod tests;
