//! Names of servers to addresses.
//!
//! Before a table serves, names that it brings are looked up ([`before_serving`], on the table thread, for a bounded
//! time); while it serves, all names are looked up again every [`RESOLVE_PERIOD`]. A name that stops resolving keeps its
//! address. Of several addresses the one in use is kept while it is among them, else the first is taken; connections are
//! made to whichever answers (`pancake_session::happy`).

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use pancake_table::compiled::{ServerLive, Table};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::limits::RESOLVE_TIMEOUT;
use crate::limits::{
    MAX_CONCURRENT_RESOLVES, RESOLVE_BEFORE_SERVING_TIME, RESOLVE_PERIOD, RESOLVE_RETRY_PERIOD,
};

/// Host and port to the servers there.
type Names = HashMap<(Arc<str>, u16), Vec<Arc<ServerLive>>>;

/// The names in `table`: all, or those without an address.
fn names(table: &Table, only_new: bool) -> Names {
    let mut names = Names::new();
    for (host, port, live) in table.named_servers() {
        if !only_new || live.address.load().is_none() {
            names.entry((host.clone(), port)).or_default().push(live.clone());
        }
    }
    names
}

/// Blocks for as long as the system's resolver takes.
fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<_> = (host, port).to_socket_addrs()?.collect();
    if found.is_empty() { Err(io::Error::other("the name has no address")) } else { Ok(found) }
}

fn take_over(lives: &[Arc<ServerLive>], found: &[SocketAddr]) {
    let ordered = alternate(found);
    for live in lives {
        live.resolved(ordered.clone());
    }
}

/// The order in which addresses are tried: the system's (RFC 6724), with the families taking turns (RFC 8305 section 4).
fn alternate(found: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut ordered = Vec::with_capacity(found.len());
    let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (one, other): (Vec<_>, Vec<_>) = found.iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    loop {
        let pair = (one.next(), other.next());
        if pair == (None, None) {
            return ordered;
        }
        for address in [pair.0, pair.1].into_iter().flatten() {
            if !ordered.contains(&address) {
                ordered.push(address);
            }
        }
    }
}

/// Looks up the names that have no address yet and waits for that for at most [`RESOLVE_BEFORE_SERVING_TIME`]; what
/// takes longer is found later. Blocks the thread.
pub fn before_serving(table: &Table) {
    let names = names(table, true);
    if names.is_empty() {
        return;
    }
    let threads = names.len().min(MAX_CONCURRENT_RESOLVES);
    let work = Arc::new(Mutex::new(names.into_iter().collect::<Vec<_>>()));
    let (done, finished) = mpsc::channel::<()>();
    for _ in 0..threads {
        let (work, done) = (work.clone(), done.clone());
        let spawned = std::thread::Builder::new().name("resolve".into()).spawn(move || {
            let next = || work.lock().unwrap_or_else(PoisonError::into_inner).pop();
            while let Some(((host, port), lives)) = next() {
                match look_up(&host, port) {
                    Ok(found) => take_over(&lives, &found),
                    Err(error) => tracing::warn!(%host, %error, "the name of a server is not resolved"),
                }
            }
            drop(done);
        });
        if spawned.is_err() {
            break;
        }
    }
    drop(done);
    // Nothing is ever sent: the channel ends when the last thread does.
    let deadline = Instant::now() + RESOLVE_BEFORE_SERVING_TIME;
    let left = || deadline.saturating_duration_since(Instant::now());
    while finished.recv_timeout(left()).is_ok() {}
}

/// Looks names up again and again, until the end of the runtime.
pub async fn run(table: Arc<ArcSwap<Table>>, mut changed: watch::Receiver<u64>) {
    let mut last_round = Instant::now();
    let places = Arc::new(Semaphore::new(MAX_CONCURRENT_RESOLVES));
    loop {
        let pause = pause(&table.load(), last_round);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            changed = changed.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return std::future::pending().await,
            }
        }
        let all = last_round.elapsed() >= RESOLVE_PERIOD;
        if all {
            last_round = Instant::now();
        }
        round(names(&table.load_full(), !all), &places).await;
    }
}

/// Shorter while there are names without an address.
fn pause(table: &Table, last_round: Instant) -> Duration {
    let next_round = RESOLVE_PERIOD.saturating_sub(last_round.elapsed());
    if names(table, true).is_empty() { next_round } else { next_round.min(RESOLVE_RETRY_PERIOD) }
}

async fn round(names: Names, places: &Arc<Semaphore>) {
    let mut lookups = JoinSet::new();
    for ((host, port), lives) in names {
        let places = places.clone();
        lookups.spawn(async move {
            let Ok(place) = places.acquire_owned().await else { return };
            let of = host.clone();
            let found = tokio::task::spawn_blocking(move || {
                // A look-up that is given up still has its thread, and so its place.
                let _place = place;
                look_up(&of, port)
            });
            match tokio::time::timeout(RESOLVE_TIMEOUT, found).await {
                Ok(Ok(Ok(found))) => take_over(&lives, &found),
                Ok(Ok(Err(error))) => tracing::debug!(%host, %error, "the name of a server is not resolved"),
                Ok(Err(_)) | Err(_) => {
                    tracing::debug!(%host, "looking up the name of a server takes too long")
                }
            }
        });
    }
    while lookups.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(address: Option<&str>) -> Arc<ServerLive> {
        Arc::new(ServerLive::new(address.map(|address| address.parse().unwrap())))
    }

    fn address(live: &ServerLive) -> String {
        live.address.load().as_ref().unwrap().to_string()
    }

    #[test]
    fn an_address_in_use_is_kept_while_it_is_there() {
        let (old, new) = (live(Some("10.0.0.2:80")), live(None));
        let found = ["10.0.0.1:80", "10.0.0.2:80"].map(|address| address.parse().unwrap());
        take_over(&[old.clone(), new.clone()], &found);
        assert_eq!((address(&old), address(&new)), ("10.0.0.2:80".into(), "10.0.0.1:80".into()));
        take_over(std::slice::from_ref(&old), &found[..1]);
        assert_eq!(address(&old), "10.0.0.1:80");
    }

    #[test]
    fn families_take_turns() {
        let found =
            ["[2001:db8::1]:1", "[2001:db8::2]:1", "10.0.0.1:1", "[2001:db8::1]:1", "[2001:db8::3]:1"];
        let ordered = alternate(&found.map(|address| address.parse().unwrap()));
        let ordered: Vec<_> = ordered.iter().map(ToString::to_string).collect();
        assert_eq!(ordered, ["[2001:db8::1]:1", "10.0.0.1:1", "[2001:db8::2]:1", "[2001:db8::3]:1"]);
    }

    #[test]
    fn names_are_found_before_a_table_serves() {
        use crate::change::tests::{owner, snapshot};
        use crate::change::{Outcome, Provider, Update};
        use pancake_table::snapshot::ServiceKind;

        let mut owner = owner();
        let mut with_name = snapshot(Provider::Pancake, 1);
        let ServiceKind::LoadBalancer(balancer) = &mut with_name.services[0].kind;
        balancer.servers[0].url = "http://localhost:7".into();
        let outcome = owner.submit(Provider::Pancake, Update::from_control(with_name, false));
        assert_eq!(outcome, Outcome::Applied);
        let table = owner.table().load_full();
        assert!(address(&table.services[0].servers[0].live).ends_with(":7"));
    }
}
