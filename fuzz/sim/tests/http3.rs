//! HTTP/3 on the simulated network.
//!
//! `PANCAKE_SIM_SEED=n` replays the weather of one seed.

use std::net::SocketAddr;
use std::time::Duration;

use pancake_engine::Engine;
use pancake_engine::sim::{self, Faults, Sim};
use pancake_session::limits::{H3_GIVEN_UP, QUIC_HALF_OPEN_UNTIL_RETRY};
use pancake_sim::http3::client::Client;
use pancake_sim::http3::{PROXY, start};
use quinn_proto::{ConnectionError, VarInt};

const IDLE: Duration = Duration::from_secs(30);

fn seeds(count: u64) -> std::ops::Range<u64> {
    match std::env::var("PANCAKE_SIM_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..count,
    }
}

fn client(sim: &Sim, n: u8) -> Client {
    Client::new(&sim.host([10, 3, 0, n].into()), SocketAddr::from(PROXY))
}

/// Waits, with deadlines of its own, until `holds`.
async fn until(sim: &Sim, what: &str, holds: impl Fn() -> bool) {
    for _ in 0..6000 {
        if holds() {
            return;
        }
        sim.sleep_until(sim.now().after(Duration::from_millis(100))).await;
    }
    panic!("never: {what}");
}

#[test]
fn requests_get_through_any_weather() {
    for seed in seeds(20) {
        let weather = if seed % 4 == 0 { Faults::none() } else { Faults::rough() };
        sim::run(seed, weather, |sim| async move {
            let world = start(&sim, seed, IDLE);
            let mut client = client(&sim, 1);
            assert!(client.greet().await, "seed {seed}: {:?}", client.lost);
            assert_eq!(client.ask("/7", None).await, Ok((200, 7)), "seed {seed}");
            client.rebind();
            for (path, body, size) in
                [("/300000", None, 300_000), ("/", Some(200_000), 200_000), ("/0", None, 0)]
            {
                assert_eq!(client.ask(path, body).await, Ok((200, size)), "seed {seed}: {path}");
            }
            client.close().await;
            until(&sim, "all records", || world.records.get() == 4).await;
            until(&sim, "the connection is closed", || world.worker.sessions() == 0).await;
            assert_eq!(world.meter.quic_handshakes.get(), 1);
            // A validation of the new path that is lost takes the change back, and it is made again.
            let changes = world.meter.quic_migrations.get();
            assert!(changes <= 5, "seed {seed}: {changes} changes of address");
        })
        .unwrap();
    }
}

#[test]
fn a_drain_says_goodbye_after_the_last_answer() {
    for seed in seeds(8) {
        sim::run(seed, Faults::rough(), |sim| async move {
            let world = start(&sim, seed, IDLE);
            let mut client = client(&sim, 1);
            assert!(client.greet().await, "seed {seed}");
            let drained = world.worker.clone();
            let at = sim.now().after(Duration::from_millis(seed * 7));
            let timer = sim.clone();
            sim.spawn(async move {
                timer.sleep_until(at).await;
                drained.drain();
            });
            let answer = client.ask("/200000", None).await;
            let rejected = answer.as_ref().is_err_and(|how| how == "reset 267");
            let gone = answer.is_err() && client.lost.is_some();
            assert!(answer == Ok((200, 200_000)) || rejected || gone, "seed {seed}: {answer:?}");
            assert!(
                client.until(Duration::from_secs(60), |client| client.lost.is_some()).await,
                "seed {seed}"
            );
            world.worker.drained().await;
        })
        .unwrap();
    }
}

#[test]
fn a_connection_without_requests_is_closed_and_one_that_is_not_made_is_forgotten() {
    sim::run(1, Faults::none(), |sim| async move {
        let world = start(&sim, 1, IDLE);
        let mut idle = client(&sim, 1);
        assert!(idle.greet().await);
        let begun = sim.now();
        assert!(
            idle.until(Duration::from_secs(120), |client| {
                // It lives as far as QUIC can tell.
                client.quic.ping();
                client.lost.is_some()
            })
            .await
        );
        assert!(sim.now().since(begun) >= IDLE && sim.now().since(begun) < IDLE + Duration::from_secs(5));
        let Some(ConnectionError::ApplicationClosed(close)) = &idle.lost else { panic!("{:?}", idle.lost) };
        assert_eq!(close.error_code, VarInt::from_u32(0x100), "H3_NO_ERROR");

        let mut half = client(&sim, 2);
        half.turn(sim.now()).await;
        until(&sim, "it is met", || world.worker.sessions() == 1).await;
        until(&sim, "it is forgotten", || world.worker.sessions() == 0).await;
        assert_eq!(world.meter.quic_failures.get(), 1);
    })
    .unwrap();
}

#[test]
fn case_21_clients_beyond_the_limit_must_show_their_address_and_then_get_in() {
    sim::run(1, Faults::none(), |sim| async move {
        let world = start(&sim, 1, IDLE);
        let mut flood = Vec::new();
        for n in 0..QUIC_HALF_OPEN_UNTIL_RETRY + 20 {
            let mut one = client(&sim, 1 + (n % 200) as u8);
            one.turn(sim.now()).await;
            flood.push(one);
        }
        // A hello with a post-quantum key comes in two datagrams, and each is asked.
        until(&sim, "the rest is asked to", || world.meter.quic_retries.get() >= 20).await;
        let asked = world.meter.quic_retries.get();
        assert_eq!(world.worker.sessions(), QUIC_HALF_OPEN_UNTIL_RETRY);
        let mut honest = client(&sim, 250);
        assert!(honest.greet().await, "{:?}", honest.lost);
        assert_eq!(honest.ask("/5", None).await, Ok((200, 5)));
        assert!(world.meter.quic_retries.get() > asked, "it was asked too");
        assert_eq!(world.meter.quic_handshakes.get(), 1);
    })
    .unwrap();
}

#[test]
fn case_14_requests_given_up_again_and_again_end_the_connection() {
    sim::run(1, Faults::none(), |sim| async move {
        let world = start(&sim, 1, IDLE);
        let mut client = client(&sim, 1);
        assert!(client.greet().await);
        let mut given_up = 0;
        while client.lost.is_none() && given_up < 2 * H3_GIVEN_UP {
            let Some(id) = client.open().await else { break };
            // A head, and at once no interest in it.
            client.write(id, b"\x01\x0a\x00\x00\xd1\xd7\x50\x01a\xc1\xc1\xc1").await;
            let _ = client.quic.send_stream(id).reset(VarInt::from_u32(0x10c));
            given_up += 1;
        }
        client.until(Duration::from_secs(10), |client| client.lost.is_some()).await;
        let Some(ConnectionError::ApplicationClosed(close)) = &client.lost else {
            panic!("{:?}", client.lost)
        };
        assert_eq!(close.error_code, VarInt::from_u32(0x107), "H3_EXCESSIVE_LOAD");
        until(&sim, "the connection is gone", || world.worker.sessions() == 0).await;
    })
    .unwrap();
}
