//! What a worker does when memory runs short, and with clients that do not read.

mod rig;

use std::io::{Read, Write};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pancake_session::admission::Refusal;
use pancake_session::meter::Slow;
use rig::*;

const BOTH: [On; 2] = [On::Ring, On::Epoll];

/// Waits until `holds`.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::yield_now();
    }
}

fn use_percent(rig: &Rig, percent: u64, stage: u64) {
    rig.used.store(percent, Ordering::Relaxed);
    until("a stage", || rig.meter.memory_stage.get() == stage);
}

#[test]
fn case_25_requests_are_answered_503_and_then_connections_refused() {
    for on in BOTH {
        let rig = Rig::start(on, to(&[echo_backend()]), |_| ());
        let mut kept = rig.connect();
        let ask = |stream: &mut std::net::TcpStream| {
            write!(stream, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            read_message(stream).0
        };
        assert!(ask(&mut kept).starts_with("HTTP/1.1 200 "));
        assert_eq!(rig.record().failure, None);
        use_percent(&rig, 86, 2);
        let answer = ask(&mut kept);
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Connection: close"), "{answer}");
        let record = rig.record();
        assert_eq!((record.status, record.failure), (503, Some("memory-short")));
        // A head that is not whole yet is not waited for.
        let mut half = rig.connect();
        half.write_all(b"GET / HTTP/1.1\r\nX-Fill: ").unwrap();
        assert!(read_all(&mut half).starts_with("HTTP/1.1 503 "), "{on:?}");
        use_percent(&rig, 97, 3);
        let mut refused = rig.connect();
        assert!(refused.read(&mut [0]).is_err(), "{on:?}: a reset");
        assert_eq!(rig.meter.refused[Refusal::Memory as usize].get(), 1);
        use_percent(&rig, 5, 0);
        assert!(ask(&mut rig.connect()).starts_with("HTTP/1.1 200 "));
        assert_eq!(rig.meter.shed_requests.get(), 2);
    }
}

#[test]
fn case_25_bodies_wait_but_come_to_their_end() {
    for on in BOTH {
        let rig = Rig::start(on, to(&[echo_backend()]), |_| ());
        use_percent(&rig, 75, 1);
        let mut stream = rig.connect();
        stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n").unwrap();
        until("a body that waits", || rig.meter.paused_reads.get() > 0);
        let began = Instant::now();
        stream.write_all(b"0123456789").unwrap();
        assert!(read_message(&mut stream).0.starts_with("HTTP/1.1 200 "));
        assert!(began.elapsed() > Duration::from_millis(200), "{on:?}: {:?}", began.elapsed());
    }
}

#[test]
fn case_22_an_answer_that_is_not_taken_is_given_up() {
    for on in BOTH {
        let server = backend(|mut stream, _| {
            read_head(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
            while stream.write_all(&[b'x'; 65_536]).is_ok() {}
        });
        let rig = Rig::start(on, to(&[server]), |entry| {
            entry.write_stall_timeout = Some(Duration::from_millis(300));
        });
        let mut stream = rig.connect();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let record = rig.record();
        assert_eq!(record.failure, Some("client-write-timeout"), "{on:?}");
        assert_eq!(rig.meter.slow[Slow::Answer as usize].get(), 1);
    }
}
