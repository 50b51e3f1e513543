//! Proxies that follow what is shared, and how far each has come.
//!
//! Only connected ones are known: one that is away is sent everything when it comes back, and nobody waits for it.

use std::collections::BTreeMap;

use crate::settings::{MAX_NACK_REASON, MAX_NACK_REASONS, MAX_PROXIES, MAX_PROXY_TEXT};
use crate::world::OpError;

/// All that follow, by name.
#[derive(Debug, Default)]
pub struct Followers {
    connected: BTreeMap<String, Follower>,
    connections: u64,
}

/// One that follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Follower {
    connection: u64,
    /// The revision that it acknowledged last.
    pub acknowledged: u64,
    /// What it refused of that, and why.
    pub refused: Vec<String>,
}

impl Followers {
    /// A proxy follows from now on. Returns the number of its connection; an older one of the same name is thereby over.
    ///
    /// # Errors
    /// If its name is out of bounds, or there are too many.
    pub fn hello(&mut self, proxy: &str) -> Result<u64, OpError> {
        if proxy.is_empty() || proxy.len() > MAX_PROXY_TEXT || proxy.chars().any(char::is_control) {
            return Err(OpError::Invalid("proxy_id is empty, too long or has control characters".into()));
        }
        if self.connected.len() >= MAX_PROXIES && !self.connected.contains_key(proxy) {
            return Err(OpError::Full(format!("{MAX_PROXIES} proxies follow already")));
        }
        self.connections += 1;
        let follower = Follower { connection: self.connections, ..Follower::default() };
        self.connected.insert(proxy.to_owned(), follower);
        Ok(self.connections)
    }

    /// It has taken over what it was sent, but for what it refused. False: the connection is over.
    pub fn acknowledge(&mut self, proxy: &str, connection: u64, revision: u64, refused: &[String]) -> bool {
        let Some(follower) = self.connected.get_mut(proxy).filter(|one| one.connection == connection) else {
            return false;
        };
        let clean =
            |reason: &String| reason.chars().filter(|c| !c.is_control()).take(MAX_NACK_REASON).collect();
        follower.acknowledged = follower.acknowledged.max(revision);
        follower.refused = refused.iter().take(MAX_NACK_REASONS).map(clean).collect();
        true
    }

    /// Its stream ended.
    pub fn gone(&mut self, proxy: &str, connection: u64) {
        if self.connected.get(proxy).is_some_and(|one| one.connection == connection) {
            self.connected.remove(proxy);
        }
    }

    /// Those that have not come as far as `revision`.
    pub fn behind(&self, revision: u64) -> Vec<String> {
        let behind = self.connected.iter().filter(|(_, one)| one.acknowledged < revision);
        behind.map(|(proxy, _)| proxy.clone()).collect()
    }

    /// Those that refused something of what they acknowledged last.
    pub fn refusing(&self) -> Vec<String> {
        let refusing = self.connected.iter().filter(|(_, one)| !one.refused.is_empty());
        refusing.map(|(proxy, _)| proxy.clone()).collect()
    }

    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Follower)> {
        self.connected.iter().map(|(proxy, one)| (proxy.as_str(), one))
    }
}
