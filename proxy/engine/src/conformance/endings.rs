//! Half-close, close, reset, calls that are given up, deadlines.

use std::io;
use std::time::Duration;

use super::*;
use crate::sim::Rng;

/// More than a connection's buffers hold.
const TOO_MUCH_BYTES: usize = 64 * 1024 * 1024;

/// After a half-close the other direction goes on until it ends too.
pub async fn half_closes<E: Subject>(engine: E, seed: u64) {
    let (client, server) = pair(&engine).await;
    let ask = async {
        send(&engine, &client, stretch(seed, 0, 30_000)).await.expect("sends");
        client.shutdown().expect("half-closes");
    };
    let (_, received) = join(ask, check_until_end(&engine, &server, seed, || Want::Some)).await;
    assert_eq!(received, 30_000);
    let again = server.recv(Want::Some, patience(&engine)).await.expect("the end stays");
    assert!(again.is_empty());
    let answer = async {
        send(&engine, &server, stretch(seed + 1, 0, 300_000)).await.expect("sends after the peer's end");
        server.shutdown().expect("half-closes");
    };
    let (_, received) = join(answer, check_until_end(&engine, &client, seed + 1, || Want::Bulk)).await;
    assert_eq!(received, 300_000);
    let refused = send(&engine, &client, stretch(seed, 0, 1)).await;
    assert!(refused.is_err(), "a send after the half-close fails");
    drop((client, server));
    all_returned(&engine).await;
}

/// What a finished send accepted arrives although the stream was dropped at once.
pub async fn delivers_what_was_sent_before_the_drop<E: Subject>(engine: E, seed: u64) {
    let (client, server) = pair(&engine).await;
    let sender = async {
        send(&engine, &client, stretch(seed, 0, 500_000)).await.expect("sends");
        drop(client);
    };
    let (_, received) = join(sender, check_until_end(&engine, &server, seed, || Want::Some)).await;
    assert_eq!(received, 500_000);
    drop(server);
    all_returned(&engine).await;
}

/// `reset_on_drop` makes the peer see a reset, in a waiting `recv` and in a later one.
pub async fn resets_on_drop<E: Subject>(engine: E, _seed: u64) {
    for waiting in [true, false] {
        let (client, server) = pair(&engine).await;
        server.reset_on_drop();
        let receive = client.recv(Want::Some, patience(&engine));
        let result = if waiting {
            join(receive, async {
                pause(&engine, 5).await;
                drop(server);
            })
            .await
            .0
        } else {
            drop(server);
            pause(&engine, 20).await;
            receive.await
        };
        let kind = result.map(|bytes| bytes.len()).map_err(|e| e.kind());
        assert_eq!(kind, Err(io::ErrorKind::ConnectionReset), "waiting: {waiting}");
    }
}

/// Sends to a peer that is gone fail in the end; they neither hang nor go on for ever.
pub async fn fails_sends_to_a_closed_peer<E: Subject>(engine: E, seed: u64) {
    let (client, server) = pair(&engine).await;
    drop(server);
    let deadline = patience(&engine);
    loop {
        assert!(engine.now() < deadline, "sends still succeed");
        match send(&engine, &client, stretch(seed, 0, 1000)).await {
            Ok(()) => pause(&engine, 1).await,
            Err(e) => {
                let expected = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
                assert!(expected.contains(&e.kind()), "{e:?}");
                break;
            }
        }
    }
}

/// A `recv` that is given up loses no bytes.
pub async fn a_dropped_recv_loses_no_bytes<E: Subject>(engine: E, seed: u64) {
    let total = 60_000;
    let (client, server) = pair(&engine).await;
    let sender = async {
        let mut rng = Rng::new(seed);
        let mut offset = 0;
        while offset < total {
            let len = rng.within(1..=900).min(total - offset);
            send(&engine, &client, stretch(seed, offset, len)).await.expect("sends");
            offset += len;
            if rng.happens(2000) {
                pause(&engine, 1).await;
            }
        }
        client.shutdown().expect("half-closes");
    };
    let receiver = async {
        let mut rng = Rng::new(seed + 1);
        let mut offset = 0;
        let deadline = patience(&engine);
        loop {
            assert!(engine.now() < deadline, "stuck at {offset}");
            let want = *rng.pick(&[Want::Some, Want::Bulk]);
            let receive = server.recv(want, patience(&engine));
            let received = match rng.within(0..=3) {
                0 => Some(receive.await),
                1 | 2 => poll_once(receive).await,
                _ => {
                    let until = engine.now().after(Duration::from_micros(rng.within(1..=2000) as u64));
                    give_up_at(&engine, until, receive).await
                }
            };
            let Some(received) = received else { continue };
            let bytes = received.expect("receives");
            if bytes.is_empty() {
                return offset;
            }
            check(seed, offset, &bytes);
            offset += bytes.len();
        }
    };
    let (_, received) = join(sender, receiver).await;
    assert_eq!(received, total);
    drop((client, server));
    all_returned(&engine).await;
}

/// A `send` that is given up has delivered a prefix, and the peer sees an end when the stream drops.
pub async fn a_dropped_send_delivers_a_prefix<E: Subject>(engine: E, seed: u64) {
    for round in 0..4 {
        let (client, server) = pair(&engine).await;
        let mut bytes = OutBuf::new();
        bytes.resize(TOO_MUCH_BYTES / 8, 7);
        let until = engine.now().after(Duration::from_millis(seed % 7 * round));
        let sent = give_up_at(&engine, until, client.send(bytes.into(), Time::NEVER)).await;
        assert!(sent.is_none_or(|r| r.is_ok()), "it was given up, it did not fail");
        drop(client);
        let mut received = 0;
        loop {
            match server.recv(Want::Bulk, patience(&engine)).await {
                Ok(bytes) if bytes.is_empty() => break,
                Ok(bytes) => {
                    assert!(bytes.iter().all(|byte| *byte == 7), "garbage after {received} bytes");
                    received += bytes.len();
                }
                Err(e) => {
                    assert_eq!(e.kind(), io::ErrorKind::ConnectionReset);
                    break;
                }
            }
        }
        assert!(received <= TOO_MUCH_BYTES / 8);
        drop(server);
        all_returned(&engine).await;
    }
}

/// A task that is dropped while it receives closes its stream.
pub async fn a_stream_dropped_in_recv_closes<E: Subject>(engine: E, _seed: u64) {
    for want in [Want::Some, Want::Bulk] {
        let (client, server) = pair(&engine).await;
        let patience_ = patience(&engine);
        let session = async move { server.recv(want, patience_).await.map(|bytes| bytes.len()) };
        let until = engine.now().after(Duration::from_millis(5));
        assert!(give_up_at(&engine, until, session).await.is_none());
        let end = client.recv(Want::Some, patience(&engine)).await.expect("an orderly end");
        assert!(end.is_empty());
    }
}

/// A `recv` ends at its deadline, not before, and the next one receives as usual.
pub async fn times_out_a_recv_and_goes_on<E: Subject>(engine: E, seed: u64) {
    let (client, server) = pair(&engine).await;
    let mut offset = 0;
    for round in 0..6 {
        let want = if round % 2 == 0 { Want::Some } else { Want::Bulk };
        let until = engine.now().after(Duration::from_millis(20));
        let kind = server.recv(want, until).await.map(|bytes| bytes.len()).map_err(|e| e.kind());
        assert_eq!(kind, Err(io::ErrorKind::TimedOut));
        assert!(engine.now() >= until, "ended before its deadline");
        send(&engine, &client, stretch(seed, offset, 300)).await.expect("sends");
        check_exactly(&engine, &server, seed, offset, 300).await;
        offset += 300;
    }
    drop((client, server));
    all_returned(&engine).await;
}

/// A `send` that the peer does not drain ends at its deadline.
pub async fn times_out_a_send<E: Subject>(engine: E, _seed: u64) {
    let (client, server) = pair(&engine).await;
    let piece: &'static [u8] = &[1; 256 * 1024];
    let mut sent = 0;
    loop {
        assert!(sent < TOO_MUCH_BYTES, "{sent} bytes were accepted though nobody received");
        let until = engine.now().after(Duration::from_millis(150));
        match client.send(piece.into(), until).await {
            Ok(()) => sent += piece.len(),
            Err(e) => {
                assert_eq!(e.kind(), io::ErrorKind::TimedOut);
                assert!(engine.now() >= until, "ended before its deadline");
                break;
            }
        }
    }
    drop((client, server));
    all_returned(&engine).await;
}

/// A stream is quiet until bytes, the peer's end or a reset have come; asking loses none of these.
pub async fn tells_whether_it_is_quiet<E: Subject>(engine: E, seed: u64) {
    for event in ["bytes", "end", "reset"] {
        let (client, server) = pair(&engine).await;
        // Also after it was used, which is when one asks.
        send(&engine, &client, stretch(seed, 0, 10)).await.expect("sends");
        check_exactly(&engine, &server, seed, 0, 10).await;
        pause(&engine, 5).await;
        assert!(server.is_quiet(), "nothing came");
        match event {
            "bytes" => send(&engine, &client, stretch(seed, 10, 10)).await.expect("sends"),
            "end" => client.shutdown().expect("half-closes"),
            _ => client.reset_on_drop(),
        }
        let kept = (event != "reset").then_some(client);
        let deadline = patience(&engine);
        while server.is_quiet() {
            assert!(engine.now() < deadline, "{event} came and it is still quiet");
            pause(&engine, 2).await;
        }
        match event {
            "bytes" => check_exactly(&engine, &server, seed, 10, 10).await,
            "end" => assert!(server.recv(Want::Some, patience(&engine)).await.expect("the end").is_empty()),
            _ => {}
        }
        drop(kept);
    }
    all_returned(&engine).await;
}

/// A last word that was tried right before the drop arrives, and then the end.
pub async fn delivers_a_last_word_tried_before_the_drop<E: Subject>(engine: E, seed: u64) {
    let (client, server) = pair(&engine).await;
    send(&engine, &client, stretch(seed, 0, 5000)).await.expect("sends");
    let last = stretch(seed, 5000, 31);
    assert_eq!(client.try_send(&last[..1]).ok(), Some(1));
    let mut tried = 1;
    while tried < last.len() {
        tried += client.try_send(&last[tried..]).expect("the socket is not full");
    }
    drop(client);
    assert_eq!(check_until_end(&engine, &server, seed, || Want::Some).await, 5031);
    drop(server);
    all_returned(&engine).await;
}

/// Keepalive is set, changed and switched off on a stream in use.
pub async fn keeps_working_whatever_its_keepalive<E: Subject>(engine: E, seed: u64) {
    let (client, server) = pair(&engine).await;
    let settings = [Some(Duration::from_secs(60)), None, Some(Duration::from_millis(1)), None];
    for (n, after) in settings.into_iter().enumerate() {
        client.set_keepalive(after).expect("sets it");
        server.set_keepalive(after).expect("sets it");
        send(&engine, &client, stretch(seed, n * 10, 10)).await.expect("sends");
        check_exactly(&engine, &server, seed, n * 10, 10).await;
    }
}
