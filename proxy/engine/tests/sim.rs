//! What only the engine `sim` has: seeds, faults, hosts, and the report of how a run ended.

use std::future::{pending, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use pancake_engine::sim::{Faults, Sim, SimStream, Stuck, run};
use pancake_engine::{Engine, ListenOptions, Listener, OutBuf, Stream, Time, Want};

fn ip(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn message(bytes: &[u8]) -> OutBuf {
    let mut out = OutBuf::new();
    out.extend_from_slice(bytes);
    out
}

/// A connection between two hosts: the end on 10.0.0.1 and the end on 10.0.0.2.
async fn pair(sim: &Sim) -> (SimStream, SimStream) {
    let server = sim.host(ip(2));
    let listener = server.listen(SocketAddr::new(ip(2), 80), &ListenOptions::default()).expect("listens");
    let client = sim.host(ip(1)).connect(SocketAddr::new(ip(2), 80), Time::NEVER).await.expect("connects");
    (client, listener.accept().await.expect("accepts"))
}

/// Twenty clients and an echo in the worst weather; returns how many got an answer.
async fn storm(sim: Sim) -> usize {
    let listener = sim.listen(SocketAddr::new(ip(2), 80), &ListenOptions::default()).expect("listens");
    let server = sim.clone();
    sim.spawn(async move {
        loop {
            let Ok(stream) = listener.accept().await else { continue };
            let until = server.now().after(Duration::from_secs(60));
            server.spawn(async move {
                while let Ok(bytes) = stream.recv(Want::Some, until).await {
                    if bytes.is_empty() || stream.send(bytes.into(), until).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    let mut answered = 0;
    for n in 0..20 {
        let until = sim.now().after(Duration::from_secs(10));
        let Ok(stream) = sim.host(ip(3)).connect(SocketAddr::new(ip(2), 80), until).await else { continue };
        if stream.send(message(&[n; 100]).into(), until).await.is_err() {
            continue;
        }
        if matches!(stream.recv(Want::Some, until).await, Ok(bytes) if !bytes.is_empty()) {
            answered += 1;
        }
    }
    answered
}

#[test]
fn equal_seeds_give_equal_runs_and_others_differ() {
    let runs = |seed| {
        let outcome = run(seed, Faults::hostile(), storm);
        (outcome.fingerprint, outcome.elapsed, outcome.unwrap())
    };
    let first: Vec<_> = (0..20).map(runs).collect();
    let second: Vec<_> = (0..20).map(runs).collect();
    assert_eq!(first, second);
    let distinct: std::collections::BTreeSet<u64> = first.iter().map(|run| run.0).collect();
    assert_eq!(distinct.len(), 20);
}

#[test]
fn faults_happen_and_not_always() {
    let answered: usize = (0..50).map(|seed| run(seed, Faults::hostile(), storm).unwrap()).sum();
    assert!((500..990).contains(&answered), "{answered} of 1000");
    let calm: usize = (0..10).map(|seed| run(seed, Faults::none(), storm).unwrap()).sum();
    assert_eq!(calm, 200);
}

#[test]
fn each_fault_of_a_connect_shows_as_what_it_is() {
    let with = |faults: Faults| {
        run(1, faults, |sim| async move {
            let _listener = sim.listen(SocketAddr::new(ip(2), 80), &ListenOptions::default());
            let start = sim.now();
            let result = sim.connect(SocketAddr::new(ip(2), 80), Time::NEVER).await;
            (result.err().map(|e| e.kind()), sim.now().since(start).as_secs())
        })
        .unwrap()
    };
    let refused = with(Faults { refuse: 10_000, ..Faults::none() });
    assert_eq!(refused, (Some(io::ErrorKind::ConnectionRefused), 0));
    let lost = with(Faults { blackhole: 10_000, ..Faults::none() });
    assert_eq!(lost, (Some(io::ErrorKind::TimedOut), 127), "as long as Linux tries");
    assert_eq!(with(Faults::none()).0, None);
}

#[test]
fn a_failed_accept_keeps_the_connection() {
    let faults = Faults { accept_error: 5000, ..Faults::none() };
    let failures: usize = (0..20)
        .map(|seed| {
            run(seed, faults.clone(), |sim| async move {
                let listener = sim.listen(SocketAddr::new(ip(2), 80), &ListenOptions::default())?;
                let _client = sim.connect(SocketAddr::new(ip(2), 80), Time::NEVER).await?;
                let mut failures = 0;
                while let Err(e) = listener.accept().await {
                    assert_eq!(e.raw_os_error(), Some(libc::EMFILE));
                    failures += 1;
                }
                io::Result::Ok(failures)
            })
            .unwrap()
            .expect("listens and connects")
        })
        .sum();
    assert!(failures > 0);
}

#[test]
fn reports_a_deadlock_at_once_and_a_hang_at_the_limit() {
    let deadlock = run(1, Faults::none(), |_| pending::<()>());
    assert_eq!(deadlock.result, Err(Stuck::Deadlock));
    let faults = Faults { limit: Duration::from_secs(60), ..Faults::none() };
    let hang = run(1, faults, |sim| async move {
        loop {
            sim.sleep_until(sim.now().after(Duration::from_secs(1))).await;
        }
    });
    let _: &Result<(), Stuck> = &hang.result;
    assert_eq!(hang.result, Err(Stuck::TimeLimit));
    let chase = run(1, Faults::none(), |_| {
        poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        })
    });
    assert_eq!(chase.result, Err(Stuck::Livelock));
}

#[test]
fn hours_pass_in_no_time() {
    let outcome = run(1, Faults { limit: Duration::MAX, ..Faults::none() }, |sim| async move {
        let before = sim.unix_time();
        sim.sleep_until(sim.now().after(Duration::from_secs(24 * 3600))).await;
        (sim.unix_time() - before).as_secs()
    });
    assert_eq!(outcome.elapsed.as_secs(), 24 * 3600);
    assert_eq!(outcome.unwrap(), 24 * 3600);
}

#[test]
fn reports_slots_and_streams_that_leak() {
    let outcome = run(1, Faults::none(), |sim| async move {
        let (client, server) = pair(&sim).await;
        client.send(message(b"kept").into(), Time::NEVER).await.expect("sends");
        std::mem::forget(server.recv(Want::Some, Time::NEVER).await.expect("receives"));
        std::mem::forget(client);
    });
    assert_eq!(outcome.leaked, [(ip(2), 1)]);
    assert_eq!(outcome.leaked_streams, 1);
}

#[test]
fn hosts_have_addresses_and_slots_of_their_own() {
    run(1, Faults::none(), |sim| async move {
        let any = SocketAddr::from(([0, 0, 0, 0], 80));
        let listener = sim.host(ip(2)).listen(any, &ListenOptions::default()).expect("listens");
        let elsewhere = sim.connect(SocketAddr::new(ip(9), 80), Time::NEVER).await;
        assert_eq!(elsewhere.err().map(|e| e.kind()), Some(io::ErrorKind::ConnectionRefused));
        let client =
            sim.host(ip(1)).connect(SocketAddr::new(ip(2), 80), Time::NEVER).await.expect("connects");
        let server = listener.accept().await.expect("accepts");
        assert_eq!(server.peer_addr().ip(), ip(1));
        client.send(message(b"x").into(), Time::NEVER).await.expect("sends");
        let bytes = server.recv(Want::Some, Time::NEVER).await.expect("receives");
        assert_eq!([1, 2].map(|last| sim.host(ip(last)).held_buffers()), [0, 1]);
        drop(bytes);
        assert_eq!(sim.host(ip(2)).held_buffers(), 0);
    })
    .unwrap();
}

#[test]
fn a_receive_waits_for_a_slot_that_comes_back() {
    run(1, Faults { slots: 2, split: 0, ..Faults::none() }, |sim| async move {
        let (client, server) = pair(&sim).await;
        client.send(message(&[1; 12_000]).into(), Time::NEVER).await.expect("sends");
        let first = server.recv(Want::Some, Time::NEVER).await.expect("receives");
        let second = server.recv(Want::Some, Time::NEVER).await.expect("receives");
        let until = sim.now().after(Duration::from_secs(1));
        let none_left = server.recv(Want::Some, until).await.map(|bytes| bytes.len());
        assert_eq!(none_left.map_err(|e| e.kind()), Err(io::ErrorKind::TimedOut));
        let back = sim.clone();
        sim.spawn(async move {
            back.sleep_until(back.now().after(Duration::from_secs(1))).await;
            drop(first);
        });
        let third = server.recv(Want::Some, Time::NEVER).await.expect("receives");
        assert_eq!(second.len() + third.len(), 12_000 - 4096);
    })
    .unwrap();
}

#[test]
fn closing_with_unread_bytes_resets_and_a_reset_is_told_once() {
    run(1, Faults::none(), |sim| async move {
        let (client, server) = pair(&sim).await;
        client.send(message(b"never read").into(), Time::NEVER).await.expect("sends");
        sim.sleep_until(sim.now().after(Duration::from_secs(1))).await;
        drop(server);
        let first = client.recv(Want::Some, Time::NEVER).await.map(|bytes| bytes.len());
        assert_eq!(first.map_err(|e| e.kind()), Err(io::ErrorKind::ConnectionReset));
        let second = client.recv(Want::Some, Time::NEVER).await.map(|bytes| bytes.len());
        assert_eq!(second.map_err(|e| e.kind()), Ok(0), "as Linux");
        let sent = client.send(message(b"x").into(), Time::NEVER).await;
        assert_eq!(sent.map_err(|e| e.kind()), Err(io::ErrorKind::BrokenPipe));
    })
    .unwrap();
}

#[test]
#[should_panic(expected = "a second recv on a stream")]
fn refuses_two_receives_at_a_time() {
    let _ = run(1, Faults::none(), |sim| async move {
        let (client, _server) = pair(&sim).await;
        let mut first = pin!(client.recv(Want::Some, Time::NEVER));
        poll_fn(|cx| {
            assert!(first.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        let _ = client.recv(Want::Some, Time::NEVER).await;
    });
}

#[test]
#[should_panic(expected = "after one given up")]
fn refuses_a_send_after_one_that_was_given_up() {
    let _ = run(1, Faults::none(), |sim| async move {
        let (client, _server) = pair(&sim).await;
        let until = sim.now().after(Duration::from_secs(1));
        let timed_out = client.send(message(&[0; 1_000_000]).into(), until).await;
        assert_eq!(timed_out.map_err(|e| e.kind()), Err(io::ErrorKind::TimedOut));
        let _ = client.send(message(b"x").into(), Time::NEVER).await;
    });
}
