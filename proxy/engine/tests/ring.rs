//! What only the ring can get wrong (case 26): dry buffer rings, a full completion queue, cancels that race with
//! completions, descriptors reused while an operation on their predecessor is in flight.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use pancake_engine::ring::{self, Ring, RingListener, RingStream};
use pancake_engine::{Buf, Engine, ListenOptions, Listener, Options, OutBuf, Stream, Time, Want, choose};

const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test on a ring of the given size, if there are rings here.
fn on_ring<F: Future<Output = ()> + 'static>(options: &Options, test: impl FnOnce(Ring) -> F) {
    if let Err(refusal) = choose::probe() {
        eprintln!("skipped: {refusal}");
        return;
    }
    ring::run(options, test).unwrap();
}

fn small(small_slots: usize, bulk_slots: usize, ring_entries: u32) -> Options {
    Options { small_slots, bulk_slots, ring_entries, ..Options::default() }
}

fn listen(engine: &Ring) -> (RingListener, SocketAddr) {
    let listener = engine.listen("127.0.0.1:0".parse().unwrap(), &ListenOptions::default()).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

fn soon(engine: &Ring) -> Time {
    engine.now().after(PATIENCE)
}

/// A thread of blocking peers; what it returns comes out of `ended`.
fn peer<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    thread::spawn(job)
}

/// The byte at `offset` of connection `number`.
fn byte_at(number: u32, offset: usize) -> u8 {
    let mixed = (offset as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(number) << 29;
    (mixed >> 33) as u8
}

fn stretch(number: u32, len: usize) -> Vec<u8> {
    (0..len).map(|offset| byte_at(number, offset)).collect()
}

fn check(number: u32, offset: usize, bytes: &[u8]) {
    for (i, byte) in bytes.iter().enumerate() {
        assert_eq!(*byte, byte_at(number, offset + i), "connection {number}, byte {}", offset + i);
    }
}

/// Lets the event loop turn until the condition holds.
async fn until(engine: &Ring, what: &str, condition: impl Fn() -> bool) {
    let deadline = soon(engine);
    while !condition() {
        assert!(engine.now() < deadline, "never: {what}");
        engine.sleep_until(engine.now().after(Duration::from_millis(5))).await;
    }
}

async fn nothing_held(engine: &Ring) {
    until(engine, "all buffers returned", || engine.slots_held() == (0, 0)).await;
}

/// Polls once and gives the call up.
async fn give_up<T>(call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    poll_fn(|cx| match call.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn sent(bytes: &[u8]) -> OutBuf {
    let mut out = OutBuf::new();
    out.extend_from_slice(bytes);
    out
}

/// Reads the connection's number, then checks its bytes until the end or `limit`. Returns how many there were.
async fn numbered(engine: &Ring, stream: &RingStream, want: impl Fn() -> Want, limit: usize) -> usize {
    let mut head = Vec::new();
    let (mut number, mut offset) = (None, 0);
    while offset < limit {
        let mut buf = stream.recv(want(), soon(engine)).await.unwrap();
        if buf.is_empty() {
            break;
        }
        if number.is_none() {
            let missing = (4 - head.len()).min(buf.len());
            head.extend_from_slice(&buf.split_to(missing));
            number = head.as_slice().try_into().ok().map(u32::from_le_bytes);
        }
        if let Some(number) = number {
            check(number, offset, &buf);
            offset += buf.len();
        }
    }
    offset
}

#[test]
fn a_dry_buffer_ring_starves_nobody_for_longer_than_its_slots_are_held() {
    const CONNECTIONS: usize = 12;
    on_ring(&small(4, 1, 64), |engine| async move {
        let (listener, addr) = listen(&engine);
        let peers = peer(move || {
            let all: Vec<TcpStream> = (0..CONNECTIONS)
                .map(|_| {
                    let mut stream = TcpStream::connect(addr).unwrap();
                    stream.write_all(b"ping").unwrap();
                    stream
                })
                .collect();
            for mut stream in all {
                let mut answer = [0; 4];
                stream.read_exact(&mut answer).unwrap();
                assert_eq!(&answer, b"ping");
            }
        });
        let mut streams = Vec::new();
        for _ in 0..CONNECTIONS {
            streams.push(Rc::new(listener.accept().await.unwrap()));
        }
        let got: Rc<RefCell<Vec<(usize, Buf)>>> = Rc::default();
        let waiting = Rc::new(Cell::new(0));
        for (i, stream) in streams.iter().cloned().enumerate() {
            let (engine, got, waiting) = (engine.clone(), got.clone(), waiting.clone());
            engine.clone().spawn(async move {
                let buf = stream.recv(Want::Some, soon(&engine)).await.unwrap();
                got.borrow_mut().push((i, buf));
                waiting.set(waiting.get() + 1);
            });
        }
        // All four slots are held, the rest starve; then each slot that comes back serves one more.
        until(&engine, "every slot is used", || got.borrow().len() == 4).await;
        let late = streams[0].recv(Want::Some, engine.now().after(Duration::from_millis(30))).await;
        assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(got.borrow().len(), 4, "no slot came from nowhere");
        let mut answered = 0;
        while answered < CONNECTIONS {
            until(&engine, "a starving stream is served", || !got.borrow().is_empty()).await;
            let (i, buf) = got.borrow_mut().remove(0);
            streams[i].send(buf.into(), soon(&engine)).await.unwrap();
            answered += 1;
        }
        nothing_held(&engine).await;
        drop(streams);
        until(&engine, "peers end", || peers.is_finished()).await;
        peers.join().unwrap();
    });
}

#[test]
fn a_stream_that_dies_while_it_starves_leaves_its_turn_to_the_next() {
    on_ring(&small(1, 1, 64), |engine| async move {
        let (listener, addr) = listen(&engine);
        let mut clients: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(addr).unwrap()).collect();
        let mut streams = Vec::new();
        for client in &mut clients {
            client.write_all(b"x").unwrap();
            streams.push(listener.accept().await.unwrap());
        }
        let held = streams[0].recv(Want::Some, soon(&engine)).await.unwrap();
        let briefly = || engine.now().after(Duration::from_millis(20));
        for stream in &streams[1..] {
            assert_eq!(stream.recv(Want::Some, briefly()).await.unwrap_err().kind(), ErrorKind::TimedOut);
        }
        let third = streams.pop().unwrap();
        streams.truncate(1);
        drop(held);
        assert_eq!(&*third.recv(Want::Some, soon(&engine)).await.unwrap(), b"x");
        nothing_held(&engine).await;
    });
}

#[test]
fn a_completion_queue_that_overflows_loses_nothing() {
    const CONNECTIONS: u32 = 300;
    const BYTES: usize = 30_000;
    // Sixteen completion queue entries for hundreds of operations.
    on_ring(&small(256, 4, 4), |engine| async move {
        let (listener, addr) = listen(&engine);
        let peers = peer(move || {
            let mut all: Vec<TcpStream> =
                (0..CONNECTIONS).map(|_| TcpStream::connect(addr).unwrap()).collect();
            for (number, stream) in (0..).zip(&mut all) {
                stream.write_all(&u32::to_le_bytes(number)).unwrap();
            }
            for (number, stream) in (0..).zip(&mut all) {
                stream.write_all(&stretch(number, BYTES)).unwrap();
            }
        });
        let total = Rc::new(Cell::new(0));
        for _ in 0..CONNECTIONS {
            let stream = listener.accept().await.unwrap();
            let (engine, total) = (engine.clone(), total.clone());
            engine.clone().spawn(async move {
                let bytes = numbered(&engine, &stream, || Want::Some, usize::MAX).await;
                total.set(total.get() + bytes);
            });
        }
        until(&engine, "every byte", || total.get() == BYTES * CONNECTIONS as usize).await;
        peers.join().unwrap();
        nothing_held(&engine).await;
    });
}

#[test]
fn switching_between_small_and_bulk_receives_keeps_every_byte_in_order() {
    const BYTES: usize = 400_000;
    on_ring(&small(64, 4, 64), |engine| async move {
        let (listener, addr) = listen(&engine);
        let peers = peer(move || {
            let all: Vec<_> = (0..8u32)
                .map(|number| {
                    thread::spawn(move || {
                        let mut stream = TcpStream::connect(addr).unwrap();
                        stream.set_nodelay(true).unwrap();
                        stream.write_all(&number.to_le_bytes()).unwrap();
                        for piece in stretch(number, BYTES).chunks(1 + 997 * (1 + number as usize)) {
                            stream.write_all(piece).unwrap();
                        }
                    })
                })
                .collect();
            all.into_iter().for_each(|t| t.join().unwrap());
        });
        let total = Rc::new(Cell::new(0));
        for _ in 0..8 {
            let stream = listener.accept().await.unwrap();
            let (engine, total) = (engine.clone(), total.clone());
            engine.clone().spawn(async move {
                let want = || if engine.random() % 3 == 0 { Want::Bulk } else { Want::Some };
                let bytes = numbered(&engine, &stream, want, usize::MAX).await;
                total.set(total.get() + bytes);
            });
        }
        until(&engine, "every byte", || total.get() == BYTES * 8).await;
        peers.join().unwrap();
        nothing_held(&engine).await;
    });
}

#[test]
fn receives_given_up_at_any_moment_lose_no_bytes() {
    const BYTES: usize = 200_000;
    on_ring(&small(64, 4, 64), |engine| async move {
        let (listener, addr) = listen(&engine);
        let peers = peer(move || {
            let mut stream = TcpStream::connect(addr).unwrap();
            for piece in stretch(9, BYTES).chunks(777) {
                stream.write_all(piece).unwrap();
            }
        });
        let stream = listener.accept().await.unwrap();
        let mut offset = 0;
        loop {
            let want = if engine.random() % 2 == 0 { Want::Bulk } else { Want::Some };
            let buf = match give_up(stream.recv(want, Time::NEVER)).await {
                Some(result) => result.unwrap(),
                None if engine.random() % 4 == 0 => stream.recv(want, soon(&engine)).await.unwrap(),
                None => continue,
            };
            if buf.is_empty() {
                break;
            }
            check(9, offset, &buf);
            offset += buf.len();
        }
        assert_eq!(offset, BYTES);
        peers.join().unwrap();
        nothing_held(&engine).await;
    });
}

#[test]
fn a_descriptor_reused_at_once_gets_nothing_of_its_predecessor() {
    const ROUNDS: u32 = 1_500;
    on_ring(&small(64, 4, 64), |engine| async move {
        let (listener, addr) = listen(&engine);
        let peers = peer(move || {
            for number in 0..ROUNDS {
                let mut stream = TcpStream::connect(addr).unwrap();
                // A reset may come in the middle: the other side drops at any moment.
                let bytes = [&number.to_le_bytes()[..], &stretch(number, 20_000)].concat();
                let _ = bytes.chunks(4_000).try_for_each(|piece| stream.write_all(piece));
            }
        });
        for _ in 0..ROUNDS {
            let stream = listener.accept().await.unwrap();
            // Dropped with a receive armed, or one being cancelled, or bytes queued, or nothing at all.
            let want = || if engine.random() % 2 == 0 { Want::Bulk } else { Want::Some };
            match engine.random() % 4 {
                0 => {}
                1 => drop(give_up(stream.recv(want(), Time::NEVER)).await),
                2 => {
                    numbered(&engine, &stream, want, 1).await;
                    drop(give_up(stream.recv(want(), Time::NEVER)).await);
                }
                _ => {
                    numbered(&engine, &stream, want, engine.random() as usize % 10_000).await;
                    drop(give_up(stream.recv(Want::Some, Time::NEVER)).await);
                    drop(give_up(stream.recv(Want::Bulk, Time::NEVER)).await);
                }
            }
        }
        peers.join().unwrap();
        nothing_held(&engine).await;
    });
}

#[test]
fn sends_given_up_in_flight_keep_their_bytes_until_the_kernel_lets_go() {
    on_ring(&small(64, 4, 64), |engine| async move {
        let (listener, addr) = listen(&engine);
        for number in 0..8u32 {
            let stream = engine.connect(addr, soon(&engine)).await.unwrap();
            let peer = listener.accept().await.unwrap();
            let full = engine.now().after(Duration::from_millis(20));
            let bytes = sent(&stretch(number, 8 << 20));
            // Too much for the socket: an operation is in flight when the call is given up.
            let late = match number % 2 {
                0 => stream.send(bytes.into(), full).await,
                _ => give_up(stream.send(bytes.into(), Time::NEVER))
                    .await
                    .unwrap_or(Err(ErrorKind::TimedOut.into())),
            };
            assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
            drop(stream);
            let mut offset = 0;
            loop {
                match peer.recv(Want::Bulk, soon(&engine)).await {
                    Ok(buf) if buf.is_empty() => break,
                    Ok(buf) => {
                        check(number, offset, &buf);
                        offset += buf.len();
                    }
                    Err(e) => panic!("{e}"),
                }
            }
            assert!(offset < 8 << 20, "a prefix arrives");
        }
        nothing_held(&engine).await;
    });
}

#[test]
fn received_bytes_of_a_stream_that_does_not_ask_are_bounded() {
    on_ring(&small(1024, 4, 64), |engine| async move {
        let (listener, addr) = listen(&engine);
        let mut client = TcpStream::connect(addr).unwrap();
        let stream = listener.accept().await.unwrap();
        assert!(give_up(stream.recv(Want::Some, Time::NEVER)).await.is_none(), "armed");
        client.set_nonblocking(true).unwrap();
        let piece = stretch(1, 64 * 1024);
        let mut written = 0;
        // Writes until both sockets and the engine are full, and stay so.
        let mut refused = 0;
        while refused < 10 {
            match client.write(&piece) {
                Ok(n) => (written, refused) = (written + n, 0),
                Err(e) if e.kind() == ErrorKind::WouldBlock => refused += 1,
                Err(e) => panic!("{e}"),
            }
            engine.sleep_until(engine.now().after(Duration::from_millis(5))).await;
        }
        let (held, _) = engine.slots_held();
        assert!((1..=128).contains(&held), "{held} slots held for one stream");
        client.set_nonblocking(false).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut received = 0;
        loop {
            let buf = stream.recv(Want::Some, soon(&engine)).await.unwrap();
            if buf.is_empty() {
                break;
            }
            received += buf.len();
        }
        assert_eq!(received, written);
        nothing_held(&engine).await;
    });
}

#[test]
fn an_engine_that_ends_with_everything_in_flight_ends_at_once() {
    for _ in 0..20 {
        let began = std::time::Instant::now();
        on_ring(&small(64, 4, 64), |engine| async move {
            let (listener, addr) = listen(&engine);
            let mut kept = Vec::new();
            for _ in 0..10 {
                let stream = engine.connect(addr, soon(&engine)).await.unwrap();
                let peer = listener.accept().await.unwrap();
                drop(give_up(peer.recv(Want::Some, Time::NEVER)).await);
                drop(give_up(stream.recv(Want::Bulk, Time::NEVER)).await);
                let sending = Rc::new(stream);
                let full = sending.clone();
                engine.spawn(async move {
                    let bytes = sent(&[0; 8 << 20]);
                    let _: io::Result<()> = full.send(bytes.into(), Time::NEVER).await;
                });
                kept.push((sending, peer));
            }
            // In flight as well: connects that nobody answers, as the accept queue is full.
            let (_deaf, full) = {
                let options = ListenOptions { backlog: 0, ..ListenOptions::default() };
                let deaf = engine.listen("127.0.0.1:0".parse().unwrap(), &options).unwrap();
                let addr = deaf.local_addr().unwrap();
                (deaf, addr)
            };
            for _ in 0..4 {
                let connecting = engine.clone();
                engine.spawn(async move {
                    let stream = connecting.connect(full, Time::NEVER).await;
                    std::future::pending::<()>().await;
                    drop(stream);
                });
            }
            engine.sleep_until(engine.now().after(Duration::from_millis(20))).await;
            let all = Rc::new(kept);
            engine.spawn(async move {
                let _all = all;
                std::future::pending::<()>().await;
            });
        });
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
}
