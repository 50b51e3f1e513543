//! Active health checks: one task per checked server, as many requests at a time as [`MAX_CONCURRENT_CHECKS`] allows.
//!
//! A verdict belongs to the server of a service ([`ServerLive`]), which the next table takes over if the server is the
//! same: its task then goes on undisturbed. A new server counts as up until its first check, which is made at once.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use pancake_table::compiled::{Server, ServerLive, Service, Table};
use pancake_table::snapshot::HealthCheck;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, spawn_local};

use crate::limits::{MAX_CONCURRENT_CHECKS, MIN_CHECK_INTERVAL};

/// One request and its verdict.
mod probe;

/// A check under way. Dropping it ends it.
struct Running {
    check: HealthCheck,
    live: Arc<ServerLive>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Everything that a check needs.
struct Target {
    service: Arc<str>,
    server: Arc<Server>,
    check: HealthCheck,
    places: Rc<Semaphore>,
}

/// Checks the servers of every table that serves, until the end of the runtime. `changed` moves with each table.
pub async fn run(table: Arc<ArcSwap<Table>>, mut changed: watch::Receiver<u64>) {
    let places = Rc::new(Semaphore::new(MAX_CONCURRENT_CHECKS));
    let mut running: HashMap<usize, Running> = HashMap::new();
    loop {
        changed.borrow_and_update();
        running = follow(running, &table.load_full(), &places);
        if changed.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Ends the checks of servers that are gone, starts those of new ones. A server's live state is what tells it apart.
fn follow(
    mut before: HashMap<usize, Running>,
    table: &Table,
    places: &Rc<Semaphore>,
) -> HashMap<usize, Running> {
    let mut after = HashMap::new();
    for (service, server, check) in checked(table) {
        let key = Arc::as_ptr(&server.live) as usize;
        let known = before.remove(&key).filter(|known| known.check == *check);
        let running = known.unwrap_or_else(|| {
            let target = Target {
                service: service.name.clone(),
                server: server.clone(),
                check: check.clone(),
                places: places.clone(),
            };
            Running {
                check: check.clone(),
                live: server.live.clone(),
                task: spawn_local(watch_server(target)),
            }
        });
        after.insert(Arc::as_ptr(&running.live) as usize, running);
    }
    after
}

fn checked(table: &Table) -> impl Iterator<Item = (&Arc<Service>, &Arc<Server>, &HealthCheck)> {
    table.services.iter().flat_map(|service| {
        let check = service.health_check.iter();
        check.flat_map(move |check| service.servers.iter().map(move |server| (service, server, check)))
    })
}

async fn watch_server(target: Target) {
    let live = &target.server.live;
    loop {
        let verdict = {
            // Never closed.
            let _place = target.places.acquire().await;
            probe::probe(&target.server, &target.check).await
        };
        let up = verdict.is_ok();
        let was = live.set_up(up);
        match verdict {
            Err(reason) if was => {
                tracing::warn!(service = %target.service, url = %target.server.url, %reason, "server is down");
            }
            Ok(()) if !was => {
                tracing::info!(service = %target.service, url = %target.server.url, "server is up")
            }
            _ => {}
        }
        tokio::time::sleep(pause(&target.check, up)).await;
    }
}

fn pause(check: &HealthCheck, up: bool) -> Duration {
    let asked = if up { check.interval } else { check.unhealthy_interval };
    asked.max(MIN_CHECK_INTERVAL)
}

#[cfg(test)]
mod tests;
