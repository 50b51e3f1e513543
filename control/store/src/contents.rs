//! What is kept, and how it changes.

use std::collections::{BTreeMap, BTreeSet};

use pancake_model::name::{InstanceId, RouterName, ServiceName};
use pancake_model::registration::{Drain, Registration, ServiceEntry};
use pancake_model::router::Router;
use pancake_model::sharing::{LeaseRecord, SharedResolver, TicketKey};

/// Everything that is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Instances registered over the API.
    pub registrations: BTreeMap<InstanceId, Registration>,
    /// The last good entries of the services file.
    pub entries: BTreeMap<ServiceName, ServiceEntry>,
    /// Routers put by name over the API.
    pub routers: BTreeMap<RouterName, Router>,
    /// Drains that were asked for.
    pub drains: BTreeMap<InstanceId, Drain>,
    /// Proxies that were connected not long ago: a drain waits for them after a restart too.
    pub proxies: BTreeSet<String>,
    /// What proxies were sent last.
    pub publication: Option<Publication>,
    /// Certificates that proxies share, by the name of their resolver.
    pub shared: BTreeMap<String, SharedResolver>,
    /// Who may order, by the name of the resolver.
    pub leases: BTreeMap<String, LeaseRecord>,
    /// Keys of session tickets, oldest first.
    pub ticket_keys: Vec<TicketKey>,
}

/// A published snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Its version; every later one is higher.
    pub version: u64,
    /// `pancake.routing.v1.Snapshot`, encoded.
    pub snapshot: Vec<u8>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Adds or replaces the registration of an instance.
    PutRegistration(Box<Registration>),
    /// Forgets it; no error if it is not there.
    DeleteRegistration(InstanceId),
    /// Adds or replaces an entry of the services file.
    PutEntry(Box<ServiceEntry>),
    /// Forgets it; no error if it is not there.
    DeleteEntry(ServiceName),
    /// Adds or replaces a router.
    PutRouter(Box<Router>),
    /// Forgets it; no error if it is not there.
    DeleteRouter(RouterName),
    /// Remembers that an instance drains.
    PutDrain(InstanceId, Drain),
    /// Forgets it; no error if it is not there.
    DeleteDrain(InstanceId),
    /// Remembers a proxy.
    PutProxy(String),
    /// Forgets it; no error if it is not there.
    DeleteProxy(String),
    /// Replaces the last published snapshot.
    Publish(Publication),
    /// Replaces what a resolver has.
    PutShared(String, Box<SharedResolver>),
    /// Replaces the lease of a resolver.
    PutLease(String, LeaseRecord),
    /// Replaces all keys of session tickets.
    PutTicketKeys(Vec<TicketKey>),
}
