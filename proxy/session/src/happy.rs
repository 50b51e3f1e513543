//! Connecting to a server that has several addresses (RFC 8305, "happy eyeballs"): the next one is tried when one fails, or
//! has not answered for a while; whichever answers first is used, and tried first from then on.
//!
//! What this module does not do: resolve names or order addresses. A server with one address does not come here.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use pancake_engine::{Engine, Time};
use pancake_table::compiled::ServerLive;

use crate::limits::NEXT_ADDRESS_AFTER;

/// Connects to `first` or, where the server has other addresses, to one of them.
pub(crate) async fn connect<E: Engine>(
    engine: &E,
    live: &ServerLive,
    first: SocketAddr,
    until: Time,
) -> io::Result<E::Stream> {
    let all = live.addresses.load_full().filter(|all| all.len() > 1);
    match all {
        None => engine.connect(first, until).await,
        // In a box of its own: few connections are made, and fewer to such servers.
        Some(all) => Box::pin(race(engine, live, first, all, until)).await,
    }
}

/// One attempt, and where it goes.
type Attempt<'a, S> = (SocketAddr, Pin<Box<dyn Future<Output = io::Result<S>> + 'a>>);

async fn race<E: Engine>(
    engine: &E,
    live: &ServerLive,
    first: SocketAddr,
    all: Arc<Vec<SocketAddr>>,
    until: Time,
) -> io::Result<E::Stream> {
    let mut left = all.iter().copied().filter(|address| *address != first);
    let attempt = |to| -> Attempt<'_, E::Stream> { (to, Box::pin(engine.connect(to, until))) };
    let mut attempts = vec![attempt(first)];
    let mut next_at = engine.sleep_until(engine.now().after(NEXT_ADDRESS_AFTER));
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    let (address, stream) = poll_fn(|cx| {
        loop {
            let mut failed = false;
            let mut n = 0;
            while let Some((to, connecting)) = attempts.get_mut(n) {
                match connecting.as_mut().poll(cx) {
                    Poll::Ready(Ok(stream)) => return Poll::Ready(Ok((*to, stream))),
                    Poll::Ready(Err(error)) => {
                        failure = error;
                        failed = true;
                        drop(attempts.remove(n));
                    }
                    Poll::Pending => n += 1,
                }
            }
            if !failed && Pin::new(&mut next_at).poll(cx).is_pending() {
                return Poll::Pending;
            }
            next_at = engine.sleep_until(engine.now().after(NEXT_ADDRESS_AFTER));
            match left.next() {
                Some(to) => attempts.push(attempt(to)),
                None if attempts.is_empty() => {
                    let failure = std::mem::replace(&mut failure, io::ErrorKind::NotFound.into());
                    return Poll::Ready(Err(failure));
                }
                // Only those under way can still answer.
                None => next_at = engine.sleep_until(Time::NEVER),
            }
        }
    })
    .await?;
    if address != first {
        live.prefer(first, address);
    }
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pancake_engine::sim::{self, Faults, Sim};
    use pancake_engine::{ListenOptions, Stream};

    use super::*;

    const ADDRESSES: [&str; 3] = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"];

    fn live() -> (ServerLive, SocketAddr) {
        let live = ServerLive::new(None);
        live.resolved(ADDRESSES.map(|text| text.parse().unwrap()).to_vec());
        let first = live.address.load().as_deref().copied();
        (live, first.unwrap())
    }

    fn listen(sim: &Sim, place: usize) {
        let address: SocketAddr = ADDRESSES[place].parse().unwrap();
        let listener = sim.host(address.ip()).listen(address, &ListenOptions::default()).unwrap();
        // It lives as long as the run.
        std::mem::forget(listener);
    }

    fn preferred(live: &ServerLive) -> String {
        live.address.load().as_ref().unwrap().to_string()
    }

    #[test]
    fn an_address_that_refuses_is_passed_over_at_once_and_not_tried_first_again() {
        let outcome = sim::run(1, Faults::none(), async |sim| {
            for address in ADDRESSES {
                sim.host(address.parse::<SocketAddr>().unwrap().ip());
            }
            listen(&sim, 2);
            let (live, first) = live();
            let began = sim.now();
            let stream = connect(&sim, &live, first, Time::NEVER).await.expect("the third answers");
            assert_eq!(stream.peer_addr().to_string(), ADDRESSES[2]);
            assert!(sim.now().since(began) < NEXT_ADDRESS_AFTER);
            assert_eq!(preferred(&live), ADDRESSES[2]);
        });
        outcome.result.expect("it comes to an end");
    }

    #[test]
    fn an_address_that_is_silent_is_not_waited_for() {
        let outcome = sim::run(2, Faults { blackhole: u32::MAX, ..Faults::none() }, async |sim| {
            listen(&sim, 0);
            listen(&sim, 1);
            let (live, first) = live();
            let began = sim.now();
            let inner = sim.clone();
            sim.spawn(async move {
                inner.sleep_until(inner.now().after(Duration::from_millis(50))).await;
                inner.set_faults(Faults::none());
            });
            let stream = connect(&sim, &live, first, Time::NEVER).await.expect("the second answers");
            assert_eq!(stream.peer_addr().to_string(), ADDRESSES[1]);
            let took = sim.now().since(began);
            assert!((NEXT_ADDRESS_AFTER..NEXT_ADDRESS_AFTER * 2).contains(&took), "{took:?}");
            assert_eq!(preferred(&live), ADDRESSES[1]);
        });
        outcome.result.expect("it comes to an end");
    }

    #[test]
    fn no_address_that_answers_is_the_last_ones_error_in_time() {
        let outcome = sim::run(3, Faults::none(), async |sim| {
            for address in ADDRESSES {
                sim.host(address.parse::<SocketAddr>().unwrap().ip());
            }
            let (live, first) = live();
            let refused = connect(&sim, &live, first, Time::NEVER).await.map(drop).map_err(|e| e.kind());
            assert_eq!(refused, Err(io::ErrorKind::ConnectionRefused));
            sim.set_faults(Faults { blackhole: u32::MAX, ..Faults::none() });
            let until = sim.now().after(Duration::from_secs(2));
            let late = connect(&sim, &live, first, until).await.map(drop).map_err(|e| e.kind());
            assert_eq!(late, Err(io::ErrorKind::TimedOut));
            assert_eq!(preferred(&live), ADDRESSES[0]);
        });
        outcome.result.expect("it comes to an end");
    }

    #[test]
    fn an_address_that_is_gone_is_known_to_be() {
        let (live, first) = live();
        assert!(live.is_at(first));
        let second = ADDRESSES[1].parse().unwrap();
        live.resolved(vec![second]);
        assert!(!live.is_at(first) && live.is_at(second));
        live.prefer(first, ADDRESSES[2].parse().unwrap());
        assert_eq!(preferred(&live), ADDRESSES[1], "what was found meanwhile counts");
        assert!(ServerLive::new(Some(first)).is_at(second), "a literal address is not asked");
    }
}
