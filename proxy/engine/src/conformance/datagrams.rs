//! Datagrams: whole, from whom they say, and no promise about which arrive and in what order.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;

use super::*;
use crate::buf::Part;
use crate::seam::{Datagram, Datagrams, MAX_DATAGRAM_BYTES, Outgoing, UdpOptions};

/// How long a lost datagram is waited for, in milliseconds of the engine.
const LOST_MILLIS: u64 = 500;
/// Sizes at and around the limits of the receive slots.
const SIZES: [usize; 9] = [0, 1, 63, 1200, 4095, 4096, 4097, 40_000, MAX_DATAGRAM_BYTES];
/// Sockets of [`tells_many_peers_apart`].
const MANY: usize = 40;

fn bind<E: Engine>(engine: &E) -> (E::Datagrams, SocketAddr) {
    let socket = engine.bind_udp(loopback(), &UdpOptions::default()).expect("binds on loopback");
    let addr = socket.local_addr().expect("has an address");
    assert_ne!(addr.port(), 0, "the real port is known");
    (socket, addr)
}

fn to(addr: SocketAddr, bytes: OutBuf) -> Outgoing {
    Outgoing { bytes: Part::Out(bytes), to: Some(addr), from: None }
}

async fn send_all<E: Engine>(engine: &E, socket: &E::Datagrams, batch: &[Outgoing]) {
    let mut sent = 0;
    while sent < batch.len() {
        let n = socket.send(&batch[sent..], patience(engine)).await.expect("sends");
        assert!(n > 0 && n <= batch.len() - sent, "{n} of {}", batch.len() - sent);
        sent += n;
    }
}

/// What comes before a lost datagram counts as lost.
async fn receive<E: Engine>(engine: &E, socket: &E::Datagrams) -> Vec<Datagram> {
    let mut received = Vec::new();
    let until = engine.now().after(Duration::from_millis(LOST_MILLIS));
    match socket.recv(&mut received, until).await {
        Ok(()) => assert!((1..=crate::seam::DATAGRAM_BATCH).contains(&received.len())),
        Err(e) => {
            assert_eq!(e.kind(), io::ErrorKind::TimedOut);
            assert!(received.is_empty() && engine.now() >= until);
        }
    }
    received
}

/// Sends every datagram back to where it came from, for as long as the engine runs.
fn echo<E: Engine>(engine: &E, socket: E::Datagrams) {
    let inner = engine.clone();
    engine.spawn(async move {
        let mut received = Vec::new();
        while socket.recv(&mut received, Time::NEVER).await.is_ok() {
            for Datagram { bytes, peer, local } in received.drain(..) {
                let answer = Outgoing { bytes: Part::In(bytes), to: Some(peer), from: local };
                let _ = socket.send(&[answer], patience(&inner)).await;
            }
        }
    });
}

/// Datagrams of every size are whole and come from whom they say.
pub async fn carries_datagrams_of_every_size<E: Subject>(engine: E, seed: u64) {
    let (server, addr) = bind(&engine);
    echo(&engine, server);
    let (client, _) = bind(&engine);
    for (n, size) in SIZES.into_iter().enumerate() {
        let seed = seed + n as u64;
        let deadline = patience(&engine);
        let answered = Cell::new(false);
        while !answered.get() {
            assert!(engine.now() < deadline, "no answer of {size} bytes");
            send_all(&engine, &client, &[to(addr, stretch(seed, 0, size))]).await;
            for datagram in receive(&engine, &client).await {
                assert_eq!((datagram.peer, datagram.local), (addr, None));
                // A double of an earlier one may come late.
                if datagram.bytes.len() == size {
                    check(seed, 0, &datagram.bytes);
                    answered.set(true);
                }
            }
        }
    }
    all_returned(&engine).await;
}

/// Each of many peers gets its own answers.
pub async fn tells_many_peers_apart<E: Subject>(engine: E, seed: u64) {
    let (server, addr) = bind(&engine);
    echo(&engine, server);
    let done = Rc::new(Cell::new(0));
    for n in 0..MANY as u64 {
        let (inner, done) = (engine.clone(), done.clone());
        engine.spawn(async move {
            let (client, _) = bind(&inner);
            let deadline = patience(&inner);
            let mut rounds = 0;
            while rounds < 5 {
                assert!(inner.now() < deadline, "no answer for {n}");
                send_all(&inner, &client, &[to(addr, stretch(seed ^ n << 20, 0, 100))]).await;
                for datagram in receive(&inner, &client).await {
                    check(seed ^ n << 20, 0, &datagram.bytes);
                    rounds += 1;
                }
            }
            done.set(done.get() + 1);
        });
    }
    let deadline = patience(&engine);
    while done.get() < MANY {
        assert!(engine.now() < deadline, "{} of {MANY} peers were answered", done.get());
        pause(&engine, 5).await;
    }
    all_returned(&engine).await;
}

/// However datagrams are batched and joined on their way, they arrive as they were sent.
pub async fn sends_batches_of_any_sizes<E: Subject>(engine: E, seed: u64) {
    let (server, addr) = bind(&engine);
    let (client, from) = bind(&engine);
    // Runs of equal sizes, with shorter and empty ones between.
    let mut sizes: Vec<usize> =
        [vec![300; 20], vec![120, 0, 0, 500, 500, 501], vec![64; 30], vec![7]].concat();
    sizes.extend([1300, 1300, 1300, 2, 9000, 9000, 100]);
    let mut missing: BTreeMap<usize, usize> = sizes.into_iter().enumerate().collect();
    missing.retain(|_, size| *size != 0);
    let deadline = patience(&engine);
    while !missing.is_empty() {
        assert!(engine.now() < deadline, "{} never arrived", missing.len());
        let batch: Vec<Outgoing> = missing
            .iter()
            .map(|(n, size)| {
                let mut bytes = stretch(seed + *n as u64, 0, (*size).max(1));
                bytes[0] = *n as u8;
                to(addr, bytes)
            })
            .collect();
        send_all(&engine, &client, &batch).await;
        loop {
            let received = receive(&engine, &server).await;
            if received.is_empty() {
                break;
            }
            for Datagram { bytes, peer, .. } in received {
                assert_eq!(peer, from);
                let n = usize::from(bytes[0]);
                if let Some(size) = missing.remove(&n) {
                    assert_eq!(bytes.len(), size, "datagram {n}");
                    let rest = stretch(seed + n as u64, 0, size);
                    assert_eq!(&bytes[1..], &rest[1..], "datagram {n}");
                }
            }
        }
    }
    drop((server, client));
    all_returned(&engine).await;
}

/// A connected socket hears its peer only, and sends there by itself.
pub async fn hears_only_the_peer_it_is_connected_to<E: Subject>(engine: E, seed: u64) {
    let (session, addr) = bind(&engine);
    let (peer, peer_addr) = bind(&engine);
    let (stranger, _) = bind(&engine);
    session.connect(peer_addr).expect("connects");
    let deadline = patience(&engine);
    let mut heard = 0;
    while heard < 3 {
        assert!(engine.now() < deadline, "heard nothing");
        send_all(&engine, &stranger, &[to(addr, stretch(seed + 1, 0, 10))]).await;
        send_all(&engine, &peer, &[to(addr, stretch(seed, 0, 10))]).await;
        for datagram in receive(&engine, &session).await {
            assert_eq!(datagram.peer, peer_addr);
            check(seed, 0, &datagram.bytes);
            heard += 1;
        }
    }
    let mut answered = false;
    while !answered {
        assert!(engine.now() < deadline, "no answer");
        let answer = Outgoing { bytes: Part::Out(stretch(seed, 5, 20)), to: None, from: None };
        send_all(&engine, &session, &[answer]).await;
        for datagram in receive(&engine, &peer).await {
            assert_eq!(datagram.peer, addr);
            check(seed, 5, &datagram.bytes);
            answered = true;
        }
    }
    let (unconnected, _) = bind(&engine);
    let nowhere = Outgoing { bytes: Part::Static(b"x"), to: None, from: None };
    assert!(unconnected.send(&[nowhere], patience(&engine)).await.is_err(), "it knows no destination");
    all_returned(&engine).await;
}

/// A socket on every address says which one a datagram came to, and answers from there.
pub async fn answers_from_the_address_that_was_asked<E: Subject>(engine: E, seed: u64) {
    let options = UdpOptions { tell_local: true, ..UdpOptions::default() };
    for any in ["0.0.0.0:0", "[::]:0"] {
        // A host of `sim` has one address.
        if E::NAME == "sim" && any != "0.0.0.0:0" {
            continue;
        }
        let asked: IpAddr = IpAddr::from([127, 0, 0, if E::NAME == "sim" { 1 } else { 2 }]);
        let Ok(server) = engine.bind_udp(any.parse().expect("an address"), &options) else {
            // A host without IPv6.
            continue;
        };
        let port = server.local_addr().expect("has an address").port();
        let (client, _) = bind(&engine);
        client.connect(SocketAddr::new(asked, port)).expect("connects");
        let deadline = patience(&engine);
        let mut answered = false;
        while !answered {
            assert!(engine.now() < deadline, "no answer from {asked}");
            let ask = Outgoing { bytes: Part::Out(stretch(seed, 0, 30)), to: None, from: None };
            send_all(&engine, &client, &[ask]).await;
            let mut answers = Vec::new();
            for Datagram { bytes, peer, local } in receive(&engine, &server).await {
                assert_eq!((local, peer), (Some(asked), client.local_addr().expect("has an address")));
                answers.push(Outgoing { bytes: Part::In(bytes), to: Some(peer), from: local });
            }
            // Several, so that they are joined on their way.
            if let Some(to) = answers.first().map(|first| first.to) {
                for _ in 0..3 {
                    answers.push(Outgoing { bytes: Part::Out(stretch(seed, 0, 30)), to, from: Some(asked) });
                }
            }
            send_all(&engine, &server, &answers).await;
            for datagram in receive(&engine, &client).await {
                check(seed, 0, &datagram.bytes);
                answered = true;
            }
        }
    }
    all_returned(&engine).await;
}

/// A receive ends at its deadline; given up, it has taken nothing.
pub async fn a_dropped_receive_takes_nothing<E: Subject>(engine: E, seed: u64) {
    let (server, addr) = bind(&engine);
    let (client, _) = bind(&engine);
    let deadline = patience(&engine);
    for round in 0..3 {
        let mut received = Vec::new();
        assert!(poll_once(server.recv(&mut received, deadline)).await.is_none());
        let until = engine.now().after(Duration::from_millis(20));
        let late = server.recv(&mut received, until).await.map_err(|e| e.kind());
        assert_eq!(late, Err(io::ErrorKind::TimedOut));
        assert!(engine.now() >= until && received.is_empty());
        let mut seen = BTreeSet::new();
        while seen.len() < 3 {
            assert!(engine.now() < deadline, "nothing arrived");
            let batch: Vec<_> = (0..3).map(|n| to(addr, stretch(seed + round, n * 10, 10))).collect();
            send_all(&engine, &client, &batch).await;
            let soon = engine.now().after(Duration::from_micros(200));
            let given_up = give_up_at(&engine, soon, server.recv(&mut received, deadline)).await;
            assert_eq!(given_up.is_none(), received.is_empty(), "taken though it was given up");
            received.extend(receive(&engine, &server).await);
            seen.extend(received.drain(..).map(|datagram| datagram.bytes.to_vec()));
        }
        // Doubles and what was sent again.
        while !receive(&engine, &server).await.is_empty() {}
    }
    drop((server, client));
    all_returned(&engine).await;
}

/// A datagram that is too long is refused; the socket goes on, and what went before it in the batch has gone.
pub async fn refuses_a_datagram_that_is_too_long<E: Subject>(engine: E, seed: u64) {
    let (server, addr) = bind(&engine);
    let (client, _) = bind(&engine);
    let batch = || [to(addr, stretch(seed, 0, 10)), to(addr, stretch(seed, 0, MAX_DATAGRAM_BYTES + 1))];
    let deadline = patience(&engine);
    let mut arrived = false;
    while !arrived {
        assert!(engine.now() < deadline, "nothing arrived");
        assert_eq!(client.send(&batch(), deadline).await.ok(), Some(1));
        let refused = client.send(&batch()[1..], deadline).await;
        assert_eq!(refused.err().and_then(|e| e.raw_os_error()), Some(libc::EMSGSIZE));
        assert_eq!(client.send(&[], deadline).await.ok(), Some(0));
        for datagram in receive(&engine, &server).await {
            check(seed, 0, &datagram.bytes);
            assert_eq!(datagram.bytes.len(), 10);
            arrived = true;
        }
    }
    drop((server, client));
    all_returned(&engine).await;
}

/// Who is connected to a place where nobody listens is told so, once per refusal, by a receive or the next send; the socket
/// goes on.
pub async fn tells_a_connected_socket_that_nobody_listens<E: Subject>(engine: E, seed: u64) {
    let (gone, nowhere) = bind(&engine);
    drop(gone);
    let (client, _) = bind(&engine);
    client.connect(nowhere).expect("connects");
    let deadline = patience(&engine);
    let ask = || Outgoing { bytes: Part::Out(stretch(seed, 0, 10)), to: None, from: None };
    for by_send in [false, true] {
        loop {
            assert!(engine.now() < deadline, "never told, by a send: {by_send}");
            let sent = client.send(&[ask()], deadline).await.map_err(|e| e.kind());
            if by_send && sent == Err(io::ErrorKind::ConnectionRefused) {
                break;
            }
            if by_send {
                // The answer takes its time.
                pause(&engine, 5).await;
                continue;
            }
            let until = engine.now().after(Duration::from_millis(LOST_MILLIS));
            let received = client.recv(&mut Vec::new(), until).await.map_err(|e| e.kind());
            if received == Err(io::ErrorKind::ConnectionRefused) {
                break;
            }
            assert_eq!(received, Err(io::ErrorKind::TimedOut));
        }
    }
    // Somebody listens there from now on.
    let server = engine.bind_udp(nowhere, &UdpOptions::default()).expect("the port is free again");
    loop {
        assert!(engine.now() < deadline, "never heard");
        let _ = client.send(&[ask()], deadline).await;
        if receive(&engine, &server).await.iter().any(|datagram| datagram.bytes.len() == 10) {
            break;
        }
    }
    drop((server, client));
    all_returned(&engine).await;
}

/// Two sockets share an address with `reuse_port`; without it the second fails.
pub async fn shares_a_udp_address_only_when_asked<E: Subject>(engine: E, _seed: u64) {
    let alone = UdpOptions { reuse_port: false, ..UdpOptions::default() };
    let (first, shared) = bind(&engine);
    let second = engine.bind_udp(shared, &UdpOptions::default()).expect("shares the port");
    assert_eq!(second.local_addr().expect("has an address"), shared);
    let own = engine.bind_udp(loopback(), &alone).expect("binds alone");
    let taken = own.local_addr().expect("has an address");
    assert_eq!(engine.bind_udp(taken, &alone).err().map(|e| e.kind()), Some(io::ErrorKind::AddrInUse));
    drop(first);
}
