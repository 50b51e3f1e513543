//! Bytes in any split, large and small, in both directions.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use super::*;
use crate::buf::Part;
use crate::sim::Rng;

/// More than a connection's buffers hold on any system with its default settings.
const LARGE_BYTES: usize = 24 * 1024 * 1024;
/// Messages of [`answers_pipelined_messages`] and their size in bytes.
const MESSAGES: usize = 500;
const MESSAGE_BYTES: usize = 24;

/// Sends `total` bytes of the test stream in pieces of random kinds and sizes, then half-closes.
async fn send_in_pieces<E: Engine>(engine: &E, stream: &E::Stream, seed: u64, total: usize) {
    let mut rng = Rng::new(seed);
    let mut offset = 0;
    while offset < total {
        let mut parts = Parts::new();
        for _ in 0..rng.within(1..=crate::buf::MAX_PARTS) {
            let size = *rng.pick(&[1, 7, 100, 1500, 5000, 40_000]);
            let len = rng.within(1..=size).min(total - offset);
            parts.push(Part::Out(stretch(seed, offset, len)));
            offset += len;
        }
        stream.send(parts, patience(engine)).await.expect("sends");
        if rng.happens(500) {
            pause(engine, 1).await;
        }
    }
    stream.shutdown().expect("half-closes");
}

/// Whatever the sizes of sends and receives, the bytes are the same, in both directions at once.
pub async fn carries_bytes_in_any_split<E: Subject>(engine: E, seed: u64) {
    let mut rng = Rng::new(seed);
    let (client, server) = pair(&engine).await;
    let (there, back) = (rng.within(0..=300_000), rng.within(0..=300_000));
    let mut wants = rng.clone();
    let mut want = || *wants.pick(&[Want::Some, Want::Bulk]);
    let sends =
        join(send_in_pieces(&engine, &client, seed, there), send_in_pieces(&engine, &server, seed + 1, back));
    let receives = join(
        check_until_end(&engine, &server, seed, &mut want),
        check_until_end(&engine, &client, seed + 1, || Want::Some),
    );
    let (_, received) = join(sends, receives).await;
    assert_eq!(received, (there, back));
    drop((client, server));
    all_returned(&engine).await;
}

/// Received bytes are sent on as they are, whole or in windows.
pub async fn passes_received_bytes_on<E: Subject>(engine: E, seed: u64) {
    let (client, server) = pair(&engine).await;
    let total = 200_000;
    let echo = async {
        let mut rng = Rng::new(seed);
        loop {
            let want = *rng.pick(&[Want::Some, Want::Bulk]);
            let mut bytes = server.recv(want, patience(&engine)).await.expect("receives");
            if bytes.is_empty() {
                break;
            }
            let mut parts = Parts::new();
            let head = bytes.split_to(rng.within(0..=bytes.len()));
            parts.push(Part::In(head));
            parts.push(Part::In(bytes));
            server.send(parts, patience(&engine)).await.expect("sends");
        }
        server.shutdown().expect("half-closes");
    };
    let client_side = join(
        send_in_pieces(&engine, &client, seed, total),
        check_until_end(&engine, &client, seed, || Want::Some),
    );
    let (_, (_, received)) = join(echo, client_side).await;
    assert_eq!(received, total);
    drop((client, server));
    all_returned(&engine).await;
}

/// A receiver that does not receive stops the sender; nothing is lost when it goes on.
pub async fn holds_a_fast_sender_back<E: Subject>(engine: E, seed: u64) {
    let (client, server) = pair(&engine).await;
    let piece: &'static [u8] = Box::leak(stretch(seed, 0, 64 * 1024).to_vec().into_boxed_slice());
    let accepted = Rc::new(Cell::new(0));
    let sender = async {
        while accepted.get() < LARGE_BYTES {
            send(&engine, &client, piece).await.expect("sends");
            accepted.set(accepted.get() + piece.len());
        }
        client.shutdown().expect("half-closes");
    };
    let receiver = async {
        // Wait until the sender stands still.
        let mut before = usize::MAX;
        while accepted.get() != before {
            before = accepted.get();
            pause(&engine, 250).await;
        }
        assert!(before < LARGE_BYTES, "all {LARGE_BYTES} bytes were accepted though nobody received");
        let mut received = 0;
        loop {
            let bytes = server.recv(Want::Bulk, patience(&engine)).await.expect("receives");
            if bytes.is_empty() {
                return received;
            }
            for (at, byte) in [(0, bytes[0]), (bytes.len() - 1, bytes[bytes.len() - 1])] {
                assert_eq!(byte, piece[(received + at) % piece.len()], "wrong byte at {}", received + at);
            }
            received += bytes.len();
        }
    };
    let (_, received) = join(sender, receiver).await;
    assert_eq!(received, accepted.get());
    drop((client, server));
    all_returned(&engine).await;
}

/// Many small messages sent without waiting are answered in order.
pub async fn answers_pipelined_messages<E: Subject>(engine: E, seed: u64) {
    let (client, server) = pair(&engine).await;
    let echo = async {
        let mut rest = Vec::new();
        let mut answered = 0;
        while answered < MESSAGES {
            let bytes = server.recv(Want::Some, patience(&engine)).await.expect("receives");
            assert!(!bytes.is_empty(), "ended after {answered} messages");
            rest.extend_from_slice(&bytes);
            drop(bytes);
            let mut whole = 0;
            for message in rest.chunks_exact(MESSAGE_BYTES) {
                let mut answer = OutBuf::new();
                answer.extend_from_slice(message);
                send(&engine, &server, answer).await.expect("sends");
                whole += MESSAGE_BYTES;
                answered += 1;
            }
            rest.drain(..whole);
        }
    };
    let sender = async {
        for n in 0..MESSAGES {
            send(&engine, &client, stretch(seed, n * MESSAGE_BYTES, MESSAGE_BYTES)).await.expect("sends");
        }
    };
    let receiver = check_exactly(&engine, &client, seed, 0, MESSAGES * MESSAGE_BYTES);
    join(echo, join(sender, receiver)).await;
    drop((client, server));
    all_returned(&engine).await;
}

/// Each `recv` may want something else than the one before.
pub async fn mixes_small_and_large_receives<E: Subject>(engine: E, seed: u64) {
    let (client, server) = pair(&engine).await;
    let mut rng = Rng::new(seed);
    let mut offset = 0;
    for _ in 0..30 {
        let large = rng.happens(5000);
        let len = if large { rng.within(60_000..=120_000) } else { rng.within(1..=200) };
        let sender = send(&engine, &client, stretch(seed, offset, len));
        let receiver = async {
            let mut got = 0;
            while got < len {
                let want = if large { Want::Bulk } else { Want::Some };
                let bytes = server.recv(want, patience(&engine)).await.expect("receives");
                assert!(!bytes.is_empty());
                check(seed, offset + got, &bytes);
                got += bytes.len();
            }
            assert_eq!(got, len);
        };
        join(sender, receiver).await.0.expect("sends");
        offset += len;
    }
    drop((client, server));
    all_returned(&engine).await;
}

/// Streams on which nothing arrives hold no buffer, however many wait in `recv`.
pub async fn idle_streams_hold_no_buffer<E: Subject>(engine: E, seed: u64) {
    const IDLE: usize = 50;
    let (listener, addr) = listen(&engine);
    let done = Rc::new(Cell::new(0));
    let mut clients = Vec::new();
    for n in 0..IDLE {
        let (client, server) = join(connect(&engine, addr), accept(&listener)).await;
        // Bytes went over it before; their buffers are back.
        send(&engine, &client, stretch(seed, 0, 100)).await.expect("sends");
        check_exactly(&engine, &server, seed, 0, 100).await;
        clients.push(client);
        let (inner, done) = (engine.clone(), done.clone());
        engine.spawn(async move {
            let want = if n % 2 == 0 { Want::Some } else { Want::Bulk };
            let bytes = server.recv(want, patience(&inner)).await.expect("receives");
            assert_eq!(bytes.len(), 0, "the end");
            done.set(done.get() + 1);
        });
    }
    pause(&engine, 50).await;
    assert_eq!(engine.held_buffers(), 0);
    drop(clients);
    let deadline = patience(&engine);
    while done.get() < IDLE {
        assert!(engine.now() < deadline, "{} of {IDLE} saw the end", done.get());
        pause(&engine, 5).await;
    }
    all_returned(&engine).await;
}

/// Streams whose sends wait, with received bytes in hand, leave slots to those that can go on.
pub async fn waiting_sends_leave_slots_to_others<E: Subject>(engine: E, seed: u64) {
    const STUCK: usize = 10;
    let relayed = Rc::new(Cell::new(0));
    let mut unread = Vec::new();
    for _ in 0..STUCK {
        let (source, from) = pair(&engine).await;
        let (to, sink) = pair(&engine).await;
        unread.push(sink);
        let until = engine.now().after(PATIENCE * 10);
        engine.spawn(async move {
            let piece: &'static [u8] = &[1; 64 * 1024];
            while source.send(piece.into(), until).await.is_ok() {}
        });
        let relayed = relayed.clone();
        engine.spawn(async move {
            while let Ok(bytes) = from.recv(Want::Bulk, until).await {
                relayed.set(relayed.get() + bytes.len());
                if bytes.is_empty() || to.send(bytes.into(), until).await.is_err() {
                    break;
                }
            }
        });
    }
    let mut before = usize::MAX;
    while relayed.get() != before {
        before = relayed.get();
        pause(&engine, 250).await;
    }
    let (client, server) = pair(&engine).await;
    let total = 200_000;
    let received = join(
        send_in_pieces(&engine, &client, seed, total),
        check_until_end(&engine, &server, seed, || Want::Bulk),
    );
    assert_eq!(received.await.1, total);
    drop((client, server, unread));
    all_returned(&engine).await;
}

/// Bytes that arrive on streams on which nobody receives leave slots to others.
pub async fn unread_bytes_leave_slots_to_others<E: Subject>(engine: E, seed: u64) {
    const UNREAD: usize = 40;
    let mut unread = Vec::new();
    for _ in 0..UNREAD {
        let (client, server) = pair(&engine).await;
        send(&engine, &client, stretch(seed, 0, 10)).await.expect("sends");
        check_exactly(&engine, &server, seed, 0, 10).await;
        unread.push((client, server));
    }
    for (client, _) in &unread {
        for n in 0..4 {
            send(&engine, client, stretch(seed, 10 + 10 * n, 10)).await.expect("sends");
            pause(&engine, 1).await;
        }
    }
    let (client, server) = pair(&engine).await;
    let total = 50_000;
    let received = join(
        send_in_pieces(&engine, &client, seed, total),
        check_until_end(&engine, &server, seed, || Want::Some),
    );
    assert_eq!(received.await.1, total);
    for (_, server) in &unread {
        check_exactly(&engine, server, seed, 10, 40).await;
    }
    drop((client, server, unread));
    all_returned(&engine).await;
}

/// What is tried takes what fits, in order with what was sent before, and says when nothing fits.
pub async fn takes_what_fits_at_once<E: Subject>(engine: E, seed: u64) {
    let (client, server) = pair(&engine).await;
    send(&engine, &client, stretch(seed, 0, 1000)).await.expect("sends");
    let mut offset = 1000;
    assert_eq!(client.try_send(&[]).ok(), Some(0));
    loop {
        assert!(offset < LARGE_BYTES, "{offset} bytes were accepted though nobody received");
        match client.try_send(&stretch(seed, offset, 100_000)) {
            Ok(n) => offset += n,
            Err(e) => {
                assert_eq!(e.kind(), io::ErrorKind::WouldBlock);
                break;
            }
        }
    }
    check_exactly(&engine, &server, seed, 0, offset).await;
    let deadline = patience(&engine);
    while let Err(e) = client.try_send(&stretch(seed, offset, 1)) {
        assert_eq!(e.kind(), io::ErrorKind::WouldBlock);
        assert!(engine.now() < deadline, "still full though all was received");
        pause(&engine, 2).await;
    }
    check_exactly(&engine, &server, seed, offset, 1).await;
    client.shutdown().expect("half-closes");
    let refused = client.try_send(b"x").map_err(|e| e.kind());
    assert_eq!(refused, Err(io::ErrorKind::BrokenPipe));
    drop((client, server));
    all_returned(&engine).await;
}

/// Received bytes are changed where they lie, window by window, and sent on.
pub async fn decrypts_in_place<E: Subject>(engine: E, seed: u64) {
    const KEY: u8 = 0x5a;
    let (client, server) = pair(&engine).await;
    let total = 150_000;
    let sender = async {
        for offset in (0..total).step_by(10_000) {
            let mut bytes = stretch(seed, offset, 10_000);
            bytes.iter_mut().for_each(|byte| *byte ^= KEY);
            send(&engine, &client, bytes).await.expect("sends");
        }
        client.shutdown().expect("half-closes");
    };
    let echo = async {
        let mut rng = Rng::new(seed);
        loop {
            let want = *rng.pick(&[Want::Some, Want::Bulk]);
            let mut rest = server.recv(want, patience(&engine)).await.expect("receives");
            if rest.is_empty() {
                break;
            }
            // Both windows are changed after the cut, the second one first.
            let mut head = rest.split_to(rng.within(0..=rest.len()));
            rest.iter_mut().for_each(|byte| *byte ^= KEY);
            head.iter_mut().for_each(|byte| *byte ^= KEY);
            let mut parts = Parts::from(head);
            parts.push(Part::In(rest));
            server.send(parts, patience(&engine)).await.expect("sends");
        }
        server.shutdown().expect("half-closes");
    };
    let received = check_until_end(&engine, &client, seed, || Want::Some);
    assert_eq!(join(join(sender, echo), received).await.1, total);
    drop((client, server));
    all_returned(&engine).await;
}
