//! What is known, and every change to it.
//!
//! Pure: time is an argument, nothing here blocks. A change that must outlive the process comes in two halves: a
//! `plan_…` that refuses or says what to store, and an `apply` half that runs once that is stored (`crate::plane`
//! joins them). What it does not do: build snapshots, or talk to anybody.

/// Drains: asked for, confirmed, taken back.
mod drains;
/// The services file: what it says replaces what it said.
mod file;
/// Instances: registered, renewed, checked, gone.
mod instances;
/// Routers: which of those with one name is used.
mod routers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use pancake_discovery::catalog::{Catalog, Change};
use pancake_discovery::health::schedule::Report;
use pancake_discovery::sources::static_file::form::Problem;
use pancake_model::event::Event;
use pancake_model::instance::Node;
use pancake_model::name::{InstanceId, RouterName, ServiceName};
use pancake_model::registration::{Drain, Registration, ServiceEntry};
use pancake_model::router::Router;
use pancake_store::Contents;

use crate::proxies::Proxies;
use crate::publish::Published;
use crate::settings::MAX_ALARMS;
use crate::sharing::Sharing;

pub use routers::Effective;

/// A moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct At {
    /// Since the start of the process: everything is decided by this.
    pub mono: Duration,
    /// For people.
    pub unix_ms: u64,
}

/// Why a request is refused. All are the caller's fault except the last two.
#[derive(Debug, thiserror::Error)]
pub enum OpError {
    /// No such object.
    #[error("{0}")]
    NotFound(String),
    /// Out of bounds, or does not parse; every problem, one per line.
    #[error("{0}")]
    Invalid(String),
    /// Right in itself, but not now or not here.
    #[error("{0}")]
    Precondition(String),
    /// A limit is reached.
    #[error("{0}")]
    Full(String),
    /// The change could not be stored, and was not made.
    #[error("not stored, nothing was changed: {0}")]
    Store(#[from] pancake_store::Error),
}

/// Something that needs a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// In words.
    pub message: String,
    /// Since when, for people.
    pub since_unix_ms: u64,
}

/// The last check of an instance.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What it found.
    pub report: Report,
    /// When it ended, for people.
    pub at_unix_ms: u64,
}

/// What is known.
pub struct World {
    /// Instances by node.
    pub catalog: Catalog,
    /// Proxies and the confirmations of drains.
    pub proxies: Proxies,
    /// Certificates and what belongs to them.
    pub sharing: Sharing,
    registrations: BTreeMap<InstanceId, Registration>,
    entries: BTreeMap<ServiceName, ServiceEntry>,
    file_problems: Vec<Problem>,
    routers: BTreeMap<RouterName, Router>,
    drains: BTreeMap<InstanceId, Drain>,
    deadlines: BTreeMap<InstanceId, Duration>,
    checks: BTreeMap<InstanceId, Checked>,
    alarms: BTreeMap<String, Alarm>,
    /// Instances and routers that were taken away on purpose since the last publication.
    purposes: Purposes,
    published: Arc<Published>,
    held: Option<String>,
    released: bool,
    outbox: Vec<Event>,
}

/// What was taken away on purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purposes {
    /// Instances.
    pub instances: BTreeSet<InstanceId>,
    /// Routers.
    pub routers: BTreeSet<RouterName>,
}

impl World {
    /// What the store remembers. Instances that the last published snapshot showed as active count as alive until
    /// their first check says otherwise: a restart takes nothing out of rotation.
    pub fn restore(local: Node, mut contents: Contents, published: Arc<Published>, at: At) -> World {
        let mut world = World {
            catalog: Catalog::new(local),
            proxies: Proxies::default(),
            sharing: Sharing::restore(&mut contents, at.mono),
            registrations: BTreeMap::new(),
            entries: BTreeMap::new(),
            file_problems: Vec::new(),
            routers: contents.routers,
            drains: contents.drains,
            deadlines: BTreeMap::new(),
            checks: BTreeMap::new(),
            alarms: BTreeMap::new(),
            purposes: Purposes::default(),
            published,
            held: None,
            released: false,
            outbox: Vec::new(),
        };
        world.proxies.restore(contents.proxies, at.mono, at.unix_ms);
        for registration in contents.registrations.into_values() {
            world.restore_instance(registration.instance.clone(), at);
            world.registrations.insert(registration.instance.id.clone(), registration);
        }
        for entry in contents.entries.into_values() {
            for instance in entry.instances.clone() {
                world.restore_instance(instance, at);
            }
            world.entries.insert(entry.service.clone(), entry);
        }
        // A proxy that served the drain before the restart may confirm it before it is sent anything new.
        world.proxies.set_drains(world.drains.keys());
        world.proxies.published(world.published.version, &world.published.shown);
        world.outbox.clear();
        world
    }

    /// Events since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.outbox)
    }

    /// What proxies are sent now.
    pub fn published(&self) -> &Arc<Published> {
        &self.published
    }

    /// Why a newer snapshot is held back; none: it is not.
    pub fn held(&self) -> Option<&str> {
        self.held.as_deref()
    }

    /// Alarms by subject.
    pub fn alarms(&self) -> &BTreeMap<String, Alarm> {
        &self.alarms
    }

    /// What is wrong with the services file.
    pub fn file_problems(&self) -> &[Problem] {
        &self.file_problems
    }

    /// Services of the services file that are in force.
    pub fn entries(&self) -> &BTreeMap<ServiceName, ServiceEntry> {
        &self.entries
    }

    /// What was taken away on purpose since the last publication.
    pub fn purposes(&self) -> &Purposes {
        &self.purposes
    }

    /// Whether a person said to publish what the guard held back.
    pub fn is_released(&self) -> bool {
        self.released
    }

    /// Raises the alarm on a subject, or ends it.
    pub fn set_alarm(&mut self, subject: &str, message: Option<String>, at: At) {
        match message {
            Some(message) => {
                if self.alarms.get(subject).is_some_and(|a| a.message == message) {
                    return;
                }
                let since = self.alarms.get(subject).map_or(at.unix_ms, |a| a.since_unix_ms);
                if self.alarms.len() >= MAX_ALARMS && !self.alarms.contains_key(subject) {
                    return;
                }
                tracing::warn!(subject, "{message}");
                let alarm = Alarm { message: message.clone(), since_unix_ms: since };
                self.alarms.insert(subject.to_owned(), alarm);
                self.outbox.push(Event::Alarm { subject: subject.to_owned(), message, cleared: false });
            }
            None => {
                if let Some(alarm) = self.alarms.remove(subject) {
                    tracing::info!(subject, "over: {}", alarm.message);
                    let subject = subject.to_owned();
                    self.outbox.push(Event::Alarm { subject, message: alarm.message, cleared: true });
                }
            }
        }
    }

    /// Exactly these alarms exist among those whose subject starts with `prefix`.
    pub fn set_alarms(&mut self, prefix: &str, now: &BTreeMap<String, String>, at: At) {
        let of_prefix = self.alarms.keys().filter(|s| s.starts_with(prefix) && !now.contains_key(*s));
        for over in of_prefix.cloned().collect::<Vec<_>>() {
            self.set_alarm(&over, None, at);
        }
        for (subject, message) in now {
            self.set_alarm(subject, Some(message.clone()), at);
        }
    }

    /// The guard lets nothing newer through, for this reason; none: it does.
    pub fn set_held(&mut self, why: Option<String>, at: At) {
        let what_to_do = |why: &String| {
            format!("{why}. The last good snapshot stays published. If this is meant: `pancake release`")
        };
        self.set_alarm("snapshot", why.as_ref().map(what_to_do), at);
        self.held = why;
    }

    /// A person says that what is held back is meant. False: nothing is held.
    pub fn release(&mut self) -> bool {
        self.released = self.held.is_some();
        self.released
    }

    /// A snapshot was published. `purposes` are those that it was built with.
    pub fn set_published(&mut self, published: Arc<Published>, purposes: &Purposes, at: At) {
        self.proxies.published(published.version, &published.shown);
        self.outbox.push(Event::Published {
            version: published.version,
            routers: count(published.snapshot.routers.len()),
            services: count(published.snapshot.services.len()),
            servers: count(published.servers()),
        });
        self.published = published;
        self.over(purposes, at);
    }

    /// What was built is what is published already; drains that it takes in are published with it.
    pub fn set_unchanged(&mut self, shown: &BTreeSet<InstanceId>, purposes: &Purposes, at: At) {
        let version = self.published.version;
        self.proxies.published(version, shown);
        self.over(purposes, at);
    }

    /// Nothing is held back, and these purposes are served.
    fn over(&mut self, purposes: &Purposes, at: At) {
        self.purposes.instances.retain(|id| !purposes.instances.contains(id));
        self.purposes.routers.retain(|name| !purposes.routers.contains(name));
        self.released = false;
        self.set_held(None, at);
    }

    /// The published snapshot as it is, with other words about it.
    pub fn refresh_published(&mut self, published: Arc<Published>) {
        self.published = published;
    }

    fn note(&mut self, change: Option<Change>) {
        if let Some(Change { record, previous }) = change {
            self.outbox.push(Event::Instance { record: Box::new(record), previous });
        }
    }

    /// A proxy changed.
    pub fn note_proxy(&mut self, id: &str) {
        self.outbox.push(Event::Proxy { id: id.to_owned() });
    }
}

/// For messages that carry 32 bits.
pub fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
