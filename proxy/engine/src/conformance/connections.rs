//! Listening, accepting, connecting.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::sim::Rng;

/// Connections that are open at the same time in [`serves_many_connections`].
pub const MANY: usize = 500;
/// The accept queue of [`gives_up_a_connect_at_its_deadline`], and how many connects overflow it for certain.
const SHORT_BACKLOG: i32 = 1;
const OVERFLOWING_CONNECTS: usize = 12;

/// Both ends of a connection know both addresses.
pub async fn accepts_what_connects<E: Subject>(engine: E, _seed: u64) {
    let (listener, addr) = listen(&engine);
    let (client, server) = join(connect(&engine, addr), accept(&listener)).await;
    assert_eq!(client.peer_addr(), addr);
    assert_eq!(server.local_addr(), addr);
    assert_eq!(client.local_addr(), server.peer_addr());
    assert_ne!(client.local_addr(), addr);
}

/// A connect to an address where nobody listens, or listens no more, is refused.
pub async fn refuses_where_nobody_listens<E: Subject>(engine: E, _seed: u64) {
    let (listener, addr) = listen(&engine);
    let streams = join(connect(&engine, addr), accept(&listener)).await;
    drop(listener);
    // An engine may close the socket a little later.
    let deadline = patience(&engine);
    loop {
        match engine.connect(addr, deadline).await {
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => break,
            Ok(_) if engine.now() < deadline => pause(&engine, 5).await,
            Ok(_) => panic!("still accepted after the listener was dropped"),
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => {}
            Err(e) => panic!("expected a refusal: {e:?}"),
        }
    }
    drop(streams);
}

/// Two listeners share an address with `reuse_port`; without it the second fails.
pub async fn shares_an_address_only_when_asked<E: Subject>(engine: E, _seed: u64) {
    let alone = ListenOptions { reuse_port: false, ..ListenOptions::default() };
    let (first, shared) = listen(&engine);
    let second = engine.listen(shared, &ListenOptions::default()).expect("shares the port");
    assert_eq!(second.local_addr().expect("has an address"), shared);
    let own = engine.listen(loopback(), &alone).expect("listens alone");
    let taken = own.local_addr().expect("has an address");
    let refused = engine.listen(taken, &alone).err().map(|e| e.kind());
    assert_eq!(refused, Some(io::ErrorKind::AddrInUse));
    drop(first);
}

/// Connections that were made before the first accept are accepted in the end.
pub async fn accepts_what_waited<E: Subject>(engine: E, seed: u64) {
    let (listener, addr) = listen(&engine);
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(connect(&engine, addr).await);
    }
    let mut peers = Vec::new();
    for _ in 0..20 {
        let server = accept(&listener).await;
        send(&engine, &server, stretch(seed, 0, 10)).await.expect("sends");
        peers.push(server.peer_addr());
    }
    for client in &clients {
        check_exactly(&engine, client, seed, 0, 10).await;
    }
    peers.sort();
    let mut locals: Vec<_> = clients.iter().map(|client| client.local_addr()).collect();
    locals.sort();
    assert_eq!(peers, locals);
}

/// [`MANY`] connections at once, each with its own bytes.
pub async fn serves_many_connections<E: Subject>(engine: E, seed: u64) {
    let (listener, addr) = listen(&engine);
    let echo = {
        let engine = engine.clone();
        async move {
            for _ in 0..MANY {
                let stream = accept(&listener).await;
                let inner = engine.clone();
                engine.spawn(async move {
                    loop {
                        let bytes = stream.recv(Want::Some, patience(&inner)).await.expect("receives");
                        if bytes.is_empty() {
                            break;
                        }
                        stream.send(bytes.into(), patience(&inner)).await.expect("sends");
                    }
                });
            }
        }
    };
    engine.spawn(echo);
    let done = Rc::new(Cell::new(0));
    // Nobody sends before everybody is connected.
    let connected = Rc::new(Cell::new(0));
    for n in 0..MANY {
        let (engine_, done, connected) = (engine.clone(), done.clone(), connected.clone());
        engine.spawn(async move {
            let mut rng = Rng::new(seed ^ (n as u64) << 20);
            let stream = connect(&engine_, addr).await;
            connected.set(connected.get() + 1);
            while connected.get() < MANY {
                pause(&engine_, 5).await;
            }
            let mut offset = 0;
            for _ in 0..3 {
                let len = rng.within(1..=700);
                send(&engine_, &stream, stretch(n as u64, offset, len)).await.expect("sends");
                check_exactly(&engine_, &stream, n as u64, offset, len).await;
                offset += len;
            }
            done.set(done.get() + 1);
        });
    }
    let deadline = patience(&engine);
    while done.get() < MANY {
        assert!(engine.now() < deadline, "{} of {MANY} connections ended", done.get());
        pause(&engine, 10).await;
    }
    all_returned(&engine).await;
}

/// An accept that is given up takes no connection with it.
pub async fn a_dropped_accept_loses_no_connection<E: Subject>(engine: E, seed: u64) {
    let mut rng = Rng::new(seed);
    let (listener, addr) = listen(&engine);
    for round in 0..20 {
        let early = poll_once(listener.accept()).await.and_then(Result::ok);
        assert!(early.is_none(), "nobody connects yet");
        let client = connect(&engine, addr).await;
        let server = if rng.happens(5000) {
            let until = engine.now().after(Duration::from_micros(rng.within(0..=300) as u64));
            give_up_at(&engine, until, listener.accept()).await.and_then(Result::ok)
        } else {
            None
        };
        let server = match server {
            Some(server) => server,
            None => accept(&listener).await,
        };
        send(&engine, &client, stretch(round, 0, 5)).await.expect("sends");
        check_exactly(&engine, &server, round, 0, 5).await;
    }
}

/// A connect that is given up leaves nothing behind: the peer sees the end, others connect as before.
pub async fn a_dropped_connect_leaves_nothing<E: Subject>(engine: E, seed: u64) {
    let mut rng = Rng::new(seed);
    let (listener, addr) = listen(&engine);
    for _ in 0..20 {
        let until = engine.now().after(Duration::from_micros(rng.within(0..=2000) as u64));
        match rng.within(0..=2) {
            0 => drop(engine.connect(addr, patience(&engine))),
            1 => drop(poll_once(engine.connect(addr, patience(&engine))).await),
            _ => drop(give_up_at(&engine, until, engine.connect(addr, patience(&engine))).await),
        }
    }
    let client = connect(&engine, addr).await;
    send(&engine, &client, stretch(seed, 0, 5)).await.expect("sends");
    loop {
        let server = accept(&listener).await;
        if server.peer_addr() == client.local_addr() {
            check_exactly(&engine, &server, seed, 0, 5).await;
            break;
        }
        // One of those given up: it ends, one way or the other, and never hangs.
        match server.recv(Want::Some, patience(&engine)).await {
            Ok(bytes) => assert!(bytes.is_empty(), "bytes from a connection that was given up"),
            Err(e) => assert_ne!(e.kind(), io::ErrorKind::TimedOut, "it never ended"),
        }
    }
}

/// A connect that gets no answer (the accept queue is full, so the kernel drops it) ends at its deadline.
pub async fn gives_up_a_connect_at_its_deadline<E: Subject>(engine: E, _seed: u64) {
    let options = ListenOptions { backlog: SHORT_BACKLOG, ..ListenOptions::default() };
    let listener = engine.listen(loopback(), &options).expect("listens");
    let addr = listener.local_addr().expect("has an address");
    let mut connected = Vec::new();
    for _ in 0..OVERFLOWING_CONNECTS {
        let until = engine.now().after(Duration::from_millis(300));
        match engine.connect(addr, until).await {
            Ok(stream) => connected.push(stream),
            Err(e) => {
                assert_eq!(e.kind(), io::ErrorKind::TimedOut);
                assert!(engine.now() >= until, "ended before its deadline");
                return;
            }
        }
    }
    panic!("{} connects fit into a queue of {SHORT_BACKLOG}", connected.len());
}
