//! The world as snapshots.
//!
//! `build` says what the world means, `finish` checks it and leaves out what proxies would refuse, `guard` decides
//! whether it may go out, `run` numbers it, stores it and hands it to the streams.

/// World to candidate.
pub mod build;
/// Candidate to something that every proxy accepts.
pub mod finish;
/// What accident looks like.
pub mod guard;
/// The loop.
pub mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pancake_model::name::{InstanceId, RouterName};
use pancake_store::Publication;
use pancake_table::compiled::Table;
use pancake_table::proto;
use pancake_table::snapshot::{ServiceKind, Snapshot};
use prost::Message;

/// The provider part of published names.
pub const PROVIDER: &str = "pancake";

/// What proxies are sent.
pub struct Published {
    /// Grows with each publication, across restarts.
    pub version: u64,
    /// When, for people; 0 if it was before a restart.
    pub at_unix_ms: u64,
    /// What is sent.
    pub snapshot: Arc<proto::Snapshot>,
    /// The same, for explanations and for the next check.
    pub table: Arc<Table>,
    /// Entry points that the table was compiled for.
    pub entry_points: Vec<String>,
    /// Instances that take new requests.
    pub active: BTreeSet<InstanceId>,
    /// Instances that are draining as of this snapshot.
    pub shown: BTreeSet<InstanceId>,
    /// Routers that are left out, with the reasons.
    pub problems: BTreeMap<RouterName, Vec<String>>,
}

impl Published {
    /// Nothing was ever published.
    pub fn nothing() -> Published {
        Published {
            version: 0,
            at_unix_ms: 0,
            snapshot: Arc::default(),
            table: Arc::new(Table::empty(&[])),
            entry_points: Vec::new(),
            active: BTreeSet::new(),
            shown: BTreeSet::new(),
            problems: BTreeMap::new(),
        }
    }

    /// What was published before a restart.
    pub fn restore(publication: &Publication) -> Result<Published, prost::DecodeError> {
        let snapshot = proto::Snapshot::decode(publication.snapshot.as_slice())?;
        let ids = |draining: bool| {
            let servers = servers(&snapshot).filter(move |s| s.draining == draining);
            servers.filter_map(|s| InstanceId::new(s.id.as_str()).ok()).collect()
        };
        let (active, shown) = (ids(false), ids(true));
        Ok(Published {
            version: publication.version,
            snapshot: Arc::new(snapshot),
            active,
            shown,
            ..Published::nothing()
        })
    }

    /// Servers in it, draining ones included.
    pub fn servers(&self) -> usize {
        servers(&self.snapshot).count()
    }

    /// What a proxy with these entry points is sent: without routers for entry points that it does not have, since it
    /// would refuse the snapshot for them. A proxy that names none gets all.
    pub fn for_proxy(&self, entry_points: &[String]) -> proto::Snapshot {
        let mut snapshot = proto::Snapshot::clone(&self.snapshot);
        if !entry_points.is_empty() {
            let has = |names: &[String]| names.is_empty() || names.iter().any(|e| entry_points.contains(e));
            let before = snapshot.routers.len();
            snapshot.routers.retain(|router| has(&router.entry_points));
            if let Some(tcp) = &mut snapshot.tcp {
                tcp.routers.retain(|router| has(&router.entry_points));
            }
            if let Some(udp) = &mut snapshot.udp {
                udp.routers.retain(|router| has(&router.entry_points));
            }
            // It is empty for this proxy because of what the proxy is, not by accident.
            snapshot.allow_empty |= before > 0 && snapshot.routers.is_empty();
        }
        snapshot
    }
}

fn servers(snapshot: &proto::Snapshot) -> impl Iterator<Item = &proto::Server> {
    snapshot.services.iter().flat_map(|s| match &s.kind {
        Some(proto::service::Kind::LoadBalancer(balancer)) => balancer.servers.as_slice(),
        None => &[],
    })
}

/// Servers of a service that take new requests.
pub fn active_servers(snapshot: &Snapshot, service: &str) -> usize {
    let found = snapshot.services.iter().find(|s| s.name == service);
    found.map_or(0, |s| match &s.kind {
        ServiceKind::LoadBalancer(b) => b.servers.iter().filter(|s| !s.draining && s.weight > 0).count(),
    })
}

/// `web@pancake`.
pub fn qualified(name: &str) -> String {
    format!("{name}@{PROVIDER}")
}
