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
            if new.is_empty() && !had.is_empty() {
                return Err(
                    "no router and no service is left; the last good configuration goes on serving".into()
                );
            }
        }
        Provider::Pancake => {
            let diff = diff(had, new);
            if diff.collapses() {
                // Those that are not used at all say nothing.
                let kinds = diff.guarded().into_iter().filter(|(_, changes)| changes.before > 0);
                let counts: Vec<String> =
                    kinds.map(|(kind, c)| format!("{} {kind} instead of {}", c.after, c.before)).collect();
                return Err(format!(
                    "the snapshot collapses: {}; expected allow_empty if that is meant",
                    counts.join(", ")
                ));
            }
        }
    }
    Ok(())
}

/// The objects of a snapshot as problems name them.
pub(super) fn objects(snapshot: &Snapshot) -> HashSet<String> {
    fn named<'a, T>(
        kind: &'static str,
        objects: &'a [T],
        name: fn(&T) -> &str,
    ) -> impl Iterator<Item = String> + 'a {
        objects.iter().map(move |one| format!("{kind} {}", name(one)))
    }
    let Snapshot { version: _, routers, middlewares, services, servers_transports, tls, tcp, udp } = snapshot;
    named("router", routers, |one| &one.name)
        .chain(named("middleware", middlewares, |one| &one.name))
        .chain(named("service", services, |one| &one.name))
        .chain(named("serversTransport", servers_transports, |one| &one.name))
        .chain(named("tls certificate", &tls.certificates, |one| &one.name))
        .chain(named("tls options", &tls.options, |one| &one.name))
        .chain(named("tls store", &tls.stores, |one| &one.name))
        .chain(named("tcp router", &tcp.routers, |one| &one.name))
        .chain(named("tcp service", &tcp.services, |one| &one.name))
        .chain(named("tcp serversTransport", &tcp.servers_transports, |one| &one.name))
        .chain(named("udp router", &udp.routers, |one| &one.name))
        .chain(named("udp service", &udp.services, |one| &one.name))
        .collect()
}
