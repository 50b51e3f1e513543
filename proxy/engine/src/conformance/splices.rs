//! Splices: what comes from one stream goes to another, whole and in order, and ends as that stream ends.

use std::cell::Cell;
use std::rc::Rc;

use super::*;
use crate::seam::Idle;
use crate::sim::Rng;

/// Tunnels that are open at the same time in [`splices_many_tunnels_at_once`].
const MANY: usize = 60;
/// More than the buffers on the way hold, those of a pipe included.
const TOO_MUCH_BYTES: usize = 64 * 1024 * 1024;

/// A proxy's two streams, and who is at their other ends.
struct Tunnel<S> {
    client: S,
    front: S,
    back: S,
    server: S,
}

async fn tunnel<E: Engine>(engine: &E) -> Tunnel<E::Stream> {
    let (client, front) = pair(engine).await;
    let (back, server) = pair(engine).await;
    Tunnel { client, front, back, server }
}

/// One direction of a tunnel, to its end.
async fn pass_on<E: Engine>(engine: &E, from: &E::Stream, to: &E::Stream) -> usize {
    let (idle, moved) = (Idle::new(engine.now(), PATIENCE), Cell::new(7));
    let passed = from.splice(to, u64::MAX, &idle, &moved).await.expect("splices to the end");
    assert_eq!(moved.get(), passed + 7);
    to.shutdown().expect("half-closes");
    passed as usize
}

async fn send_and_end<E: Engine>(engine: &E, stream: &E::Stream, seed: u64, total: usize) {
    let mut rng = Rng::new(seed);
    let mut offset = 0;
    while offset < total {
        let size = *rng.pick(&[1, 30, 1500, 9000, 150_000]);
        let len = rng.within(1..=size).min(total - offset);
        send(engine, stream, stretch(seed, offset, len)).await.expect("sends");
        offset += len;
        if rng.happens(1000) {
            pause(engine, 1).await;
        }
    }
    stream.shutdown().expect("half-closes");
}

/// Both directions carry `there` and `back` bytes at once, each to its end.
async fn carry<E: Engine>(engine: &E, t: &Tunnel<E::Stream>, seed: u64, (there, back): (usize, usize)) {
    let sends =
        join(send_and_end(engine, &t.client, seed, there), send_and_end(engine, &t.server, seed + 1, back));
    let passes = join(pass_on(engine, &t.front, &t.back), pass_on(engine, &t.back, &t.front));
    let receives = join(
        check_until_end(engine, &t.server, seed, || Want::Bulk),
        check_until_end(engine, &t.client, seed + 1, || Want::Some),
    );
    let (_, (passed, received)) = join(sends, join(passes, receives)).await;
    assert_eq!((passed, received), ((there, back), (there, back)));
}

/// Whatever the sizes, the bytes are the same, in both directions at once, and each direction ends by itself.
pub async fn splices_bytes_in_any_split<E: Subject>(engine: E, seed: u64) {
    let mut rng = Rng::new(seed);
    for largest in [0, 5000, 3_000_000] {
        let t = tunnel(&engine).await;
        let bytes = (rng.within(0..=largest), rng.within(0..=largest));
        carry(&engine, &t, seed, bytes).await;
        drop(t);
        all_returned(&engine).await;
    }
}

/// A stream that was received from before it is spliced: what the engine holds of it goes first.
pub async fn splices_what_had_come_before_first<E: Subject>(engine: E, seed: u64) {
    for (n, want) in [Want::Some, Want::Bulk].into_iter().enumerate() {
        let t = tunnel(&engine).await;
        send(&engine, &t.client, stretch(seed, 0, 100)).await.expect("sends");
        check_exactly(&engine, &t.front, seed, 0, 100).await;
        // Given up: the receive may stay armed, and takes what comes.
        assert!(poll_once(t.front.recv(want, patience(&engine))).await.is_none());
        for piece in 0..10 {
            send(&engine, &t.client, stretch(seed, 100 + piece * 50, 50)).await.expect("sends");
            pause(&engine, n as u64).await;
        }
        let rest = async {
            send(&engine, &t.client, stretch(seed, 600, 100_000)).await.expect("sends");
            t.client.shutdown().expect("half-closes");
        };
        let receive = async {
            let mut offset = 100;
            loop {
                let bytes = t.server.recv(Want::Some, patience(&engine)).await.expect("receives");
                if bytes.is_empty() {
                    return offset;
                }
                check(seed, offset, &bytes);
                offset += bytes.len();
            }
        };
        let (_, (passed, end)) = join(rest, join(pass_on(&engine, &t.front, &t.back), receive)).await;
        assert_eq!((passed, end), (100_500, 100_600));
        drop(t);
        all_returned(&engine).await;
    }
}

/// A splice takes its limit from the source and not a byte more, however many are there.
pub async fn stops_at_its_limit_and_goes_on<E: Subject>(engine: E, seed: u64) {
    let t = tunnel(&engine).await;
    let total = 120_000;
    let (idle, moved) = (Idle::new(engine.now(), PATIENCE), Cell::new(0));
    let passes = async {
        let mut rng = Rng::new(seed);
        let mut offset = 0;
        while offset < total {
            let len = rng.within(0..=20_000).min(total - offset);
            if rng.happens(5000) {
                let passed = t.front.splice(&t.back, len as u64, &idle, &moved).await.expect("splices");
                assert_eq!(passed, len as u64);
                offset += len;
            } else {
                let want = *rng.pick(&[Want::Some, Want::Bulk]);
                let bytes = t.front.recv(want, patience(&engine)).await.expect("receives");
                check(seed, offset, &bytes);
                offset += bytes.len();
                send(&engine, &t.back, bytes).await.expect("sends");
            }
        }
        let passed = t.front.splice(&t.back, 1, &idle, &moved).await.expect("sees the end");
        assert_eq!(passed, 0);
        t.back.shutdown().expect("half-closes");
    };
    let receive = check_until_end(&engine, &t.server, seed, || Want::Some);
    let sends = join(send_and_end(&engine, &t.client, seed, total), passes);
    let (_, received) = join(sends, receive).await;
    assert_eq!(received, total);
    drop(t);
    all_returned(&engine).await;
}

/// A reset of the source, and a sink that went away, are errors of the splice; what was moved before is counted.
pub async fn reports_how_a_splice_broke<E: Subject>(engine: E, seed: u64) {
    let t = tunnel(&engine).await;
    let (idle, moved) = (Idle::new(engine.now(), PATIENCE), Cell::new(0));
    let breaks = async {
        send(&engine, &t.client, stretch(seed, 0, 50)).await.expect("sends");
        check_exactly(&engine, &t.server, seed, 0, 50).await;
        t.client.reset_on_drop();
        drop(t.client);
    };
    let ended = join(t.front.splice(&t.back, u64::MAX, &idle, &moved), breaks).await.0;
    assert_eq!(ended.map_err(|e| e.kind()), Err(io::ErrorKind::ConnectionReset));
    assert_eq!(moved.get(), 50);

    let t = tunnel(&engine).await;
    drop(t.server);
    let sends = async {
        let deadline = patience(&engine);
        while send(&engine, &t.client, stretch(seed, 0, 100)).await.is_ok() {
            assert!(engine.now() < deadline, "sends still succeed");
            pause(&engine, 1).await;
        }
    };
    let ends = async {
        let ended = t.front.splice(&t.back, u64::MAX, &idle, &moved).await.map_err(|e| e.kind());
        assert!(
            matches!(ended, Err(io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)),
            "{ended:?}"
        );
        t.front.reset_on_drop();
        drop(t.front);
    };
    join(sends, ends).await;
    drop(t.back);
    all_returned(&engine).await;
}

/// Two directions that share an [`Idle`] end when nothing has moved in either; one that is fixed ends at its time.
pub async fn ends_a_splice_when_both_directions_stand_still<E: Subject>(engine: E, seed: u64) {
    let t = tunnel(&engine).await;
    let idle = Idle::new(engine.now(), Duration::from_millis(800));
    let (up, down) = (Cell::new(0), Cell::new(0));
    let last = Cell::new(engine.now());
    let trickle = async {
        for n in 0..6 {
            pause(&engine, 200).await;
            send(&engine, &t.client, stretch(seed, n, 1)).await.expect("sends");
            check_exactly(&engine, &t.server, seed, n, 1).await;
            last.set(engine.now());
        }
    };
    let passes = join(
        async {
            let ended = t.front.splice(&t.back, u64::MAX, &idle, &up).await;
            (ended, engine.now())
        },
        async {
            let ended = t.back.splice(&t.front, u64::MAX, &idle, &down).await;
            (ended, engine.now())
        },
    );
    let (passes, ()) = join(passes, trickle).await;
    for (ended, at) in [passes.0, passes.1] {
        assert_eq!(ended.map_err(|e| e.kind()), Err(io::ErrorKind::TimedOut));
        assert!(at >= last.get(), "ended though the other direction moved");
    }
    assert_eq!((up.get(), down.get()), (6, 0));
    let t = tunnel(&engine).await;
    let until = engine.now().after(Duration::from_millis(30));
    let ended = t.front.splice(&t.back, u64::MAX, &Idle::fixed(until), &up).await;
    assert_eq!(ended.map_err(|e| e.kind()), Err(io::ErrorKind::TimedOut));
    assert!(engine.now() >= until, "ended before its deadline");
}

/// A splice into a stream whose peer does not receive stops taking bytes, and ends at its deadline.
pub async fn times_out_a_splice_whose_sink_is_full<E: Subject>(engine: E, _seed: u64) {
    let t = tunnel(&engine).await;
    let (idle, moved) = (Idle::new(engine.now(), Duration::from_millis(600)), Cell::new(0));
    let done = Cell::new(false);
    let piece: &'static [u8] = &[1; 256 * 1024];
    let sends = async {
        let mut sent = 0;
        while !done.get() {
            assert!(sent < TOO_MUCH_BYTES, "{sent} bytes were accepted though nobody received");
            let until = engine.now().after(Duration::from_millis(400));
            match t.client.send(piece.into(), until).await {
                Ok(()) => sent += piece.len(),
                Err(e) => {
                    assert_eq!(e.kind(), io::ErrorKind::TimedOut);
                    break;
                }
            }
        }
    };
    let passes = async {
        let ended = t.front.splice(&t.back, u64::MAX, &idle, &moved).await;
        assert_eq!(ended.map_err(|e| e.kind()), Err(io::ErrorKind::TimedOut));
        done.set(true);
    };
    join(sends, passes).await;
    assert!(moved.get() > 0);
    drop(t);
    all_returned(&engine).await;
}

/// A splice that is given up has delivered a prefix; its pipe is not used again with bytes in it.
pub async fn a_dropped_splice_delivers_a_prefix<E: Subject>(engine: E, seed: u64) {
    let mut rng = Rng::new(seed);
    for round in 0..8 {
        let t = tunnel(&engine).await;
        let idle = Idle::new(engine.now(), PATIENCE);
        let moved = Cell::new(0);
        let total = 4_000_000;
        let until = engine.now().after(Duration::from_micros(rng.within(0..=4000) as u64));
        let dropped = Cell::new(false);
        let sends = async {
            let mut offset = 0;
            while offset < total && !dropped.get() {
                let until = engine.now().after(Duration::from_millis(50));
                if t.client.send(stretch(seed, offset, 50_000).into(), until).await.is_err() {
                    break;
                }
                offset += 50_000;
            }
        };
        let passes = async {
            let splice = t.front.splice(&t.back, u64::MAX, &idle, &moved);
            assert!(give_up_at(&engine, until, splice).await.is_none(), "it is not at its end");
            dropped.set(true);
        };
        join(sends, passes).await;
        drop((t.front, t.back, t.client));
        let received = check_until_end(&engine, &t.server, seed, || Want::Bulk).await;
        assert_eq!(received as u64, moved.get(), "round {round}");
    }
    all_returned(&engine).await;
    let t = tunnel(&engine).await;
    carry(&engine, &t, seed + 5, (300_000, 200_000)).await;
    drop(t);
    all_returned(&engine).await;
}

/// [`MANY`] tunnels at once, each with its own bytes both ways.
pub async fn splices_many_tunnels_at_once<E: Subject>(engine: E, seed: u64) {
    let done = Rc::new(Cell::new(0));
    for n in 0..MANY {
        let t = tunnel(&engine).await;
        let (inner, done) = (engine.clone(), done.clone());
        engine.spawn(async move {
            let mut rng = Rng::new(seed ^ (n as u64) << 20);
            let bytes = (rng.within(0..=200_000), rng.within(0..=50_000));
            carry(&inner, &t, 2 * n as u64, bytes).await;
            done.set(done.get() + 1);
        });
    }
    let deadline = patience(&engine);
    while done.get() < MANY {
        assert!(engine.now() < deadline, "{} of {MANY} tunnels ended", done.get());
        pause(&engine, 10).await;
    }
    all_returned(&engine).await;
}
