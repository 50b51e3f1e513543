//! No engine leaks a descriptor. One test, alone in its process: it counts all of the process's.

use std::io::ErrorKind;
use std::time::Duration;

use pancake_engine::{Engine, ListenOptions, Listener, Options, Stream, Time, Want, choose, epoll, ring};

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Connections in every state, dropped by their owner or with the engine.
async fn churn<E: Engine>(engine: E) {
    let listen = |backlog| {
        let options = ListenOptions { backlog, ..ListenOptions::default() };
        engine.listen("127.0.0.1:0".parse().unwrap(), &options).unwrap()
    };
    let soon = engine.now().after(Duration::from_secs(20));
    let listener = listen(64);
    let addr = listener.local_addr().unwrap();
    for round in 0..50 {
        let stream = engine.connect(addr, soon).await.unwrap();
        let peer = listener.accept().await.unwrap();
        stream.send((&b"hello"[..]).into(), soon).await.unwrap();
        assert_eq!(&*peer.recv(Want::Some, soon).await.unwrap(), b"hello");
        if round % 2 == 0 {
            peer.reset_on_drop();
        }
        if round % 3 == 0 {
            // Left to the end of the engine.
            engine.spawn(async move {
                drop(stream.recv(Want::Some, Time::NEVER).await);
                std::future::pending::<()>().await;
                drop(peer);
            });
        }
    }
    // Connected but never accepted, refused, given up.
    let (unheard, deaf) = (listen(64), listen(0));
    for to in [unheard.local_addr().unwrap(), deaf.local_addr().unwrap()] {
        for _ in 0..5 {
            let at = engine.now().after(Duration::from_millis(20));
            if let Err(e) = engine.connect(to, at).await {
                assert_eq!(e.kind(), ErrorKind::TimedOut);
            }
        }
    }
    drop(unheard.accept().await);
    let closed = deaf.local_addr().unwrap();
    drop(deaf);
    engine.sleep_until(engine.now().after(Duration::from_millis(20))).await;
    assert_eq!(
        engine.connect(closed, soon).await.err().map(|e| e.kind()),
        Some(ErrorKind::ConnectionRefused)
    );
}

#[test]
fn no_engine_leaks_a_descriptor() {
    let options = Options::default();
    let before = open_descriptors();
    for _ in 0..3 {
        epoll::run(&options, churn).unwrap();
        assert_eq!(open_descriptors(), before, "epoll");
        if choose::probe().is_ok() {
            ring::run(&options, churn).unwrap();
            assert_eq!(open_descriptors(), before, "ring");
        }
    }
}
