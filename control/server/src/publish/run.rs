//! The loop: woken by any change, it publishes what the world means, at most once per coalescing time.

use std::sync::Arc;

use pancake_store::{Publication, Write};
use pancake_table::proto;
use prost::Message;
use tokio::sync::watch;

use super::Published;
use super::build::{Candidate, build};
use super::finish::{Finished, finish};
use super::guard::{Verdict, judge};
use crate::plane::{Plane, stopped};
use crate::settings::MAX_SNAPSHOT;

/// Publishes until `stop` is set. The first publication always has a new version: proxies see the restart.
pub async fn run(plane: Arc<Plane>, mut stop: watch::Receiver<bool>) {
    let mut changes = plane.changes();
    let mut first = true;
    loop {
        let change = *changes.borrow_and_update();
        publish(&plane, std::mem::take(&mut first)).await;
        plane.set_settled(change);
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = stopped(&mut stop) => return,
        }
        tokio::time::sleep(plane.settings().coalesce).await;
    }
}

async fn publish(plane: &Arc<Plane>, force: bool) {
    let (candidate, last, floor) =
        plane.read(|world| (build(world), world.published().clone(), plane.version_floor()));
    let previous = last.table.clone();
    let work = tokio::task::spawn_blocking(move || {
        let finished = finish(candidate.snapshot.clone(), &candidate.entry_points, &previous);
        (candidate, finished)
    });
    let Ok((candidate, finished)) = work.await else {
        plane.update_quietly(|world, at| {
            world.set_alarm("publisher", Some("building a snapshot failed".into()), at)
        });
        return;
    };
    let mut next = proto::Snapshot::from(&*finished.snapshot);
    let force = force || floor > last.version;
    if !force && same(&last.snapshot, &next) {
        settle_unchanged(plane, candidate, finished, &last);
        return;
    }
    let verdict = match finished.alarms.get("snapshot size") {
        Some(why) => Verdict::Hold(why.clone()),
        None => judge(&last, &candidate, &next),
    };
    match verdict {
        // Quietly: what follows from holding is no change that could be published.
        Verdict::Hold(why) => {
            plane.update_quietly(|world, at| {
                set_alarms(world, &candidate, &finished, at);
                world.set_held(Some(why), at);
            });
            plane.hand_out();
        }
        Verdict::Publish { allow_empty } => {
            next.version = last.version.max(floor) + 1;
            next.allow_empty = allow_empty;
            send(plane, candidate, finished, next).await;
        }
    }
}

async fn send(plane: &Arc<Plane>, candidate: Candidate, finished: Finished, next: proto::Snapshot) {
    let bytes = next.encode_to_vec();
    if bytes.len() > MAX_SNAPSHOT {
        let why = format!("the snapshot has {} bytes; proxies accept {MAX_SNAPSHOT}", bytes.len());
        plane.update_quietly(|world, at| world.set_held(Some(why), at));
        plane.hand_out();
        return;
    }
    // A version that is not stored could be used twice after a restart. Traffic matters more: the snapshot goes out all
    // the same, and proxies that come back with a higher version than ours lift ours above it.
    let publication = Publication { version: next.version, snapshot: bytes };
    let stored = plane.store(vec![Write::Publish(publication)]).await;
    let alarm = stored.err().map(|e| format!("the published snapshot could not be stored: {e}"));
    plane.update(|world, at| {
        world.set_alarm("store", alarm, at);
        set_alarms(world, &candidate, &finished, at);
        let published = Arc::new(Published {
            version: next.version,
            at_unix_ms: at.unix_ms,
            snapshot: Arc::new(next),
            table: finished.table,
            entry_points: candidate.entry_points,
            active: candidate.active,
            shown: candidate.shown,
            problems: finished.problems,
        });
        tracing::info!(
            version = published.version,
            routers = published.snapshot.routers.len(),
            services = published.snapshot.services.len(),
            servers = published.servers(),
            "published"
        );
        world.set_published(published, &candidate.purposes, at);
    });
    plane.hand_out();
}

/// The snapshot is what proxies have; what people see beside it may have changed.
fn settle_unchanged(plane: &Arc<Plane>, candidate: Candidate, finished: Finished, last: &Arc<Published>) {
    plane.update_quietly(|world, at| {
        set_alarms(world, &candidate, &finished, at);
        world.set_unchanged(&candidate.shown, &candidate.purposes, at);
        if last.entry_points != candidate.entry_points || last.problems != finished.problems {
            world.refresh_published(Arc::new(Published {
                version: last.version,
                at_unix_ms: last.at_unix_ms,
                snapshot: last.snapshot.clone(),
                table: finished.table,
                entry_points: candidate.entry_points,
                active: candidate.active,
                shown: candidate.shown,
                problems: finished.problems,
            }));
        }
    });
}

fn set_alarms(
    world: &mut crate::world::World,
    candidate: &Candidate,
    finished: &Finished,
    at: crate::world::At,
) {
    let mut services = candidate.alarms.clone();
    services.extend(
        finished
            .alarms
            .iter()
            .filter(|(s, _)| s.starts_with("service "))
            .map(|(s, m)| (s.clone(), m.clone())),
    );
    world.set_alarms("service ", &services, at);
}

/// Whether two snapshots say the same, whatever their numbers.
fn same(last: &proto::Snapshot, next: &proto::Snapshot) -> bool {
    last.routers == next.routers
        && last.services == next.services
        && last.servers_transports == next.servers_transports
}
