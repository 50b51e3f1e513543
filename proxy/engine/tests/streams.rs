//! Streams over loopback on the kernel engines.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use pancake_engine::{
    Engine, ListenOptions, Listener, Options, OutBuf, Parts, Stream, Time, Want, epoll, ring,
};

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn bytes(data: &[u8]) -> Parts {
    let mut out = OutBuf::new();
    out.extend_from_slice(data);
    out.into()
}

async fn echo_once<E: Engine>(engine: E, ran: Rc<Cell<bool>>) {
    let listener = engine.listen(loopback(), &ListenOptions::default()).unwrap();
    let addr = listener.local_addr().unwrap();
    engine.spawn(async move {
        let stream = listener.accept().await.unwrap();
        loop {
            let buf = stream.recv(Want::Some, Time::NEVER).await.unwrap();
            if buf.is_empty() {
                break;
            }
            stream.send(buf.into(), Time::NEVER).await.unwrap();
        }
        stream.shutdown().unwrap();
    });
    let until = engine.now().after(Duration::from_secs(10));
    let stream = engine.connect(addr, until).await.unwrap();
    assert_eq!(stream.peer_addr(), addr);
    for round in 0..100u8 {
        stream.send(bytes(&[round; 100]), until).await.unwrap();
        let buf = stream.recv(Want::Some, until).await.unwrap();
        assert_eq!(&*buf, &[round; 100]);
    }
    let at = engine.now().after(Duration::from_millis(30));
    let late = stream.recv(Want::Some, at).await.unwrap_err();
    assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    assert!(engine.now() >= at);
    let big = vec![7u8; 3_000_000];
    let (writer, reader) = (Rc::new(stream), Rc::new(Cell::new(0usize)));
    engine.spawn({
        let writer = writer.clone();
        let big = big.clone();
        async move {
            writer.send(bytes(&big), Time::NEVER).await.unwrap();
            writer.shutdown().unwrap();
        }
    });
    loop {
        let buf = writer.recv(Want::Bulk, until).await.unwrap();
        if buf.is_empty() {
            break;
        }
        assert!(buf.iter().all(|b| *b == 7));
        reader.set(reader.get() + buf.len());
    }
    assert_eq!(reader.get(), big.len());
    ran.set(true);
}

#[test]
fn epoll_echoes_times_out_and_streams() {
    let ran = Rc::new(Cell::new(false));
    epoll::run(&Options::default(), |engine| echo_once(engine, ran.clone())).unwrap();
    assert!(ran.get());
}

#[test]
fn ring_echoes_times_out_and_streams() {
    let ran = Rc::new(Cell::new(false));
    ring::run(&Options::default(), |engine| echo_once(engine, ran.clone())).unwrap();
    assert!(ran.get());
}
