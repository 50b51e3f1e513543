//! What may not be taken over: a provider that suddenly has nothing.
//!
//! An empty file is more likely a write under way than a wish, and Traefik skips it; so does Pancake, for as long as
//! the process runs. A file with little left is what somebody wrote. A control plane can lose its sources without
//! anybody writing anything: what collapses there needs the mark `allow_empty`.

use std::collections::HashSet;

use pancake_table::diff::diff;
use pancake_table::snapshot::Snapshot;

use super::{Provider, Update};

/// # Errors
/// Why `update` may not replace what the provider had.
pub(super) fn check(provider: Provider, had: &Snapshot, update: &Update) -> Result<(), String> {
    if update.allow_empty {
        return Ok(());
    }
    let new = &update.snapshot;
    match provider {
        Provider::File => {
            if is_empty(new) && !is_empty(had) {
                return Err(
                    "no router and no service is left; the last good configuration goes on serving".into()
                );
            }
        }
        Provider::Pancake => {
            let diff = diff(had, new);
            if diff.collapses() {
                let kinds =
                    [("routers", &diff.routers), ("services", &diff.services), ("servers", &diff.servers)];
                let counts = kinds.map(|(kind, c)| format!("{} {kind} instead of {}", c.after, c.before));
                return Err(format!(
                    "the snapshot collapses: {}; expected allow_empty if that is meant",
                    counts.join(", ")
                ));
            }
        }
    }
    Ok(())
}

fn is_empty(snapshot: &Snapshot) -> bool {
    snapshot.routers.is_empty() && snapshot.services.is_empty()
}

/// The objects of a snapshot as problems name them.
pub(super) fn objects(snapshot: &Snapshot) -> HashSet<String> {
    let routers = snapshot.routers.iter().map(|router| format!("router {}", router.name));
    let services = snapshot.services.iter().map(|service| format!("service {}", service.name));
    let transports = snapshot.servers_transports.iter().map(|one| format!("serversTransport {}", one.name));
    routers.chain(services).chain(transports).collect()
}
