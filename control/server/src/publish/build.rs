//! World to candidate.
//!
//! Pure and deterministic: the same world makes the same snapshot, in the order of names. Only instances that are
//! alive or draining are named, with one exception: a service whose instances all fail at once keeps those that
//! were active, since a broken check or network is more likely then than the loss of all, and refusing everybody
//! helps nobody.

use std::collections::{BTreeMap, BTreeSet};

use pancake_model::instance::Record;
use pancake_model::name::{InstanceId, ServiceName};
use pancake_model::state::State;
use pancake_table::snapshot::{LoadBalancer, Router, Server, Service, ServiceKind, Snapshot};

use super::qualified;
use crate::world::{Purposes, World};

/// The entry point that is assumed while no proxy has said which it has.
pub const DEFAULT_ENTRY_POINT: &str = "web";

/// What the world means.
#[derive(Clone, Debug, Default)]
pub struct Candidate {
    /// Without a version.
    pub snapshot: Snapshot,
    /// All that routers and proxies name.
    pub entry_points: Vec<String>,
    /// Instances that take new requests.
    pub active: BTreeSet<InstanceId>,
    /// Instances whose drain is taken in.
    pub shown: BTreeSet<InstanceId>,
    /// Alarms by subject: services that keep failing instances.
    pub alarms: BTreeMap<String, String>,
    /// What was taken away on purpose.
    pub purposes: Purposes,
    /// A person said to publish whatever this is.
    pub released: bool,
}

/// What the world means now.
pub fn build(world: &World) -> Candidate {
    let mut candidate = Candidate {
        purposes: world.purposes().clone(),
        released: world.is_released(),
        ..Candidate::default()
    };
    let mut services: BTreeMap<&ServiceName, Vec<&Record>> = BTreeMap::new();
    for record in world.catalog.records().filter(|r| r.state != State::Tombstone) {
        if record.state == State::Draining {
            candidate.shown.insert(record.instance.id.clone());
        }
        if record.instance.mode.is_http() {
            services.entry(&record.instance.service).or_default().push(record);
        }
    }
    let routers = world.routers();
    let mut entry_points: BTreeSet<&str> = world.proxies.entry_points();
    if entry_points.is_empty() {
        entry_points.insert(DEFAULT_ENTRY_POINT);
    }
    for used in routers.iter().filter(|r| r.shadowed_by.is_none()) {
        let router = used.router;
        // A service without instances is published empty: its requests are answered 503 rather than 404.
        services.entry(&router.service).or_default();
        entry_points.extend(router.entry_points.iter().map(String::as_str));
        candidate.snapshot.routers.push(Router {
            name: qualified(router.name.as_str()),
            entry_points: router.entry_points.clone(),
            rule: router.rule.clone(),
            priority: router.priority,
            middlewares: router.middlewares.iter().map(|m| qualify_reference(m)).collect(),
            service: qualified(router.service.as_str()),
            tls: None,
        });
    }
    candidate.entry_points = entry_points.into_iter().map(str::to_owned).collect();
    for (name, records) in services {
        let servers = servers(name, &records, world, &mut candidate);
        let kind = ServiceKind::LoadBalancer(LoadBalancer { servers, ..LoadBalancer::default() });
        candidate.snapshot.services.push(Service { name: qualified(name.as_str()), kind });
    }
    candidate
}

fn servers(name: &ServiceName, records: &[&Record], world: &World, candidate: &mut Candidate) -> Vec<Server> {
    let alive = records.iter().any(|r| r.state == State::Alive);
    let was_active = &world.published().active;
    let mut failing = Vec::new();
    let mut servers = Vec::with_capacity(records.len());
    for record in records {
        let id = &record.instance.id;
        let takes = match record.state {
            State::Alive => true,
            State::Unhealthy | State::Unknown if !alive && was_active.contains(id) => {
                failing.push(*record);
                true
            }
            State::Draining => false,
            _ => continue,
        };
        if takes {
            candidate.active.insert(id.clone());
        }
        servers.push(Server {
            url: record.instance.url(),
            weight: record.instance.weight,
            preserve_path: false,
            draining: !takes,
            id: id.to_string(),
        });
    }
    if let Some(first) = failing.first() {
        let message = format!(
            "no instance of {name} is alive; the {} that last were stay in rotation. {} is {}: {}",
            failing.len(),
            first.instance.id,
            first.state,
            first.reason
        );
        candidate.alarms.insert(format!("service {name}"), message);
    }
    servers
}

/// `auth` means `auth@pancake`; a name with a provider stays.
fn qualify_reference(name: &str) -> String {
    if name.contains('@') { name.to_owned() } else { qualified(name) }
}
