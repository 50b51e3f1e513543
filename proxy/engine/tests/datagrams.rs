//! What UDP sockets of the kernel engines promise to the tasks beside them.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use pancake_engine::seam::{DATAGRAM_BATCH, Datagrams, Outgoing, RECV_RUN, UdpOptions};
use pancake_engine::{Engine, Options, Part, epoll, ring};

/// More than may be received in a row, and less than a socket's buffer holds.
const FLOOD: usize = (RECV_RUN as usize + 2) * DATAGRAM_BATCH;

async fn flood<E: Engine>(engine: E, done: Rc<Cell<bool>>) {
    let until = engine.now().after(Duration::from_secs(10));
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let bind = || engine.bind_udp(loopback, &UdpOptions::default()).expect("binds on loopback");
    let (server, client) = (bind(), bind());
    let to = server.local_addr().expect("has an address");
    let batch: Vec<Outgoing> =
        (0..FLOOD).map(|_| Outgoing { bytes: Part::Static(b"x"), to: Some(to), from: None }).collect();
    let mut sent = 0;
    while sent < FLOOD {
        sent += client.send(&batch[sent..], until).await.expect("sends");
    }
    let had_a_turn = Rc::new(Cell::new(false));
    let other = had_a_turn.clone();
    engine.spawn(async move { other.set(true) });
    let mut received = Vec::new();
    while received.len() < FLOOD {
        server.recv(&mut received, until).await.expect("all are there");
    }
    assert!(had_a_turn.get(), "{FLOOD} datagrams were received in one go");
    done.set(true);
}

#[test]
fn a_flooded_socket_lets_other_tasks_run_on_epoll() {
    let done = Rc::new(Cell::new(false));
    epoll::run(&Options::default(), |engine| flood(engine, done.clone())).expect("epoll works everywhere");
    assert!(done.get());
}

#[test]
fn a_flooded_socket_lets_other_tasks_run_on_the_ring() {
    if pancake_engine::choose::probe().is_err() {
        return;
    }
    let done = Rc::new(Cell::new(false));
    ring::run(&Options::default(), |engine| flood(engine, done.clone()))
        .expect("the probe said that it works");
    assert!(done.get());
}
