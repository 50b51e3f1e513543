//! The limits of an edge through the real binary: slow clients, floods, memory. The numbers are those of the attack cases
//! in the manual.

mod rig;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::time::{Duration, Instant};

use rig::{Group, Rig, drip, ended_after, read_all, sip};

const ENGINES: [&str; 2] = ["ring", "epoll"];

fn engine(name: &str) -> String {
    format!("--pancake.engine={name}")
}

#[test]
fn case_22_slow_headers_are_answered_408() {
    for name in ENGINES {
        let timeout = "--entryPoints.web.transport.respondingTimeouts.readTimeout=1s";
        let rig = Rig::start(&[&engine(name), timeout]);
        let began = Instant::now();
        let mut slow = rig.connect();
        slow.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").unwrap();
        // A field at a time, for longer than the proxy may wait.
        drip(&slow, b"X-Drip: 1\r\n");
        let mut silent = rig.connect();
        let said = read_all(&mut slow);
        assert!(said.starts_with("HTTP/1.1 408 "), "{name}: {said}");
        assert!((1..3).contains(&began.elapsed().as_secs()), "{name}: {:?}", began.elapsed());
        assert_eq!(read_all(&mut silent), "", "{name}: who said nothing is told nothing");
        rig.until_metric("pancake_slow_clients_total{with=\"head\"} 2");
        assert_eq!(rig.get("/name"), 200);
    }
}

#[test]
fn case_22_a_slow_body_is_answered_408() {
    for name in ENGINES {
        let timeout = "--entryPoints.web.transport.respondingTimeouts.readTimeout=1s";
        let rig = Rig::start(&[&engine(name), timeout]);
        let mut slow = rig.connect();
        slow.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n").unwrap();
        drip(&slow, b"x");
        let said = read_all(&mut slow);
        assert!(said.starts_with("HTTP/1.1 408 "), "{name}: {said}");
        rig.until_metric("pancake_slow_clients_total{with=\"body\"} 1");
    }
}

#[test]
fn case_22_a_client_that_does_not_read_is_reset() {
    for name in ENGINES {
        let rig = Rig::start(&[&engine(name), "--pancake.limits.writeStallTimeout=1s"]);
        let mut slow = rig.connect();
        slow.write_all(b"GET /bytes/60000000 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        // So few bytes at a time that the window does not open again.
        sip(&slow, 1);
        rig.until_metric("pancake_slow_clients_total{with=\"answer\"} 1");
        rig.until_metric("traefik_open_connections{entrypoint=\"web\",protocol=\"TCP\"} 0");
        // Who takes its time but takes something goes on.
        let mut steady = rig.connect();
        steady.write_all(b"GET /bytes/3000000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let got = sip(&steady, 100_000).join().unwrap();
        assert!(got > 3_000_000, "{name}: {got}");
    }
}

/// No spin, who is connected is served, and all is well when the flood is over.
#[test]
fn case_23_an_idle_flood_to_the_descriptor_limit() {
    for name in ENGINES {
        let rig = Rig::start_after("ulimit -n 120", &[&engine(name)]);
        let mut kept = rig.connect();
        rig.ask(&mut kept, "/name");
        let flood: Vec<_> = (0..300).map(|_| rig.connect()).collect();
        let before = rig.proxy.process.cpu();
        let asked = rig.ask_for(&mut kept, "/name", Duration::from_secs(2));
        let cpu = rig.proxy.process.cpu() - before;
        assert!(cpu < Duration::from_millis(700), "{name}: {cpu:?} of CPU in 2 s, {asked} requests");
        drop(flood);
        rig.until("a fresh connection is served", || rig.serves());
        let failures = rig.metric("pancake_accept_failures_total");
        // Two listeners back off for 50 ms each.
        assert!((1.0..300.0).contains(&failures), "{name}: {failures}");
        rig.ask(&mut kept, "/name");
    }
}

/// As Go programs do: the soft limit is for programs that use `select`.
#[test]
fn the_process_takes_as_many_descriptors_as_it_may() {
    let rig = Rig::start_after("ulimit -Hn 600; ulimit -Sn 100", &[]);
    let held: Vec<_> = (0..200).map(|_| rig.connect()).collect();
    assert_eq!(rig.get("/name"), 200);
    assert_eq!(rig.metric("pancake_accept_failures_total"), 0.0);
    drop(held);
}

#[test]
fn case_23_connections_over_a_limit_are_reset_at_once() {
    for name in ENGINES {
        let limit = "--entryPoints.web.pancake.maxConnections=5";
        let rig = Rig::start(&[&engine(name), limit, "--pancake.workers=2", "--accessLog=false"]);
        let mut held = Vec::new();
        // Whoever looked whether the proxy listens may still count.
        rig.until("five connections", || {
            let mut one = rig.connect();
            let asked = one.write_all(b"GET /name HTTP/1.1\r\nHost: x\r\n\r\n");
            if asked.is_ok() && one.read(&mut [0; 1024]).is_ok_and(|n| n > 0) {
                held.push(one);
            }
            held.len() == 5
        });
        for _ in 0..3 {
            let mut one = rig.connect();
            let _ = one.write_all(b"GET /name HTTP/1.1\r\nHost: x\r\n\r\n");
            assert!(ended_after(&mut one) < Duration::from_secs(2), "{name}");
        }
        let refused = "pancake_refused_total{reason=\"max-connections-entry-point\"}";
        assert!(rig.metric(refused) >= 3.0);
        // It comes every 5 s.
        let logs = name == ENGINES[0];
        rig.until("a line in the log", || {
            !logs || rig.proxy.process.output().contains("connections were refused")
        });
        held.pop();
        rig.until("room for another", || rig.serves());
    }
}

/// The address is the one of the PROXY header, where it is trusted.
#[test]
fn connections_are_counted_by_the_address_that_a_proxy_header_names() {
    let arguments = [
        "--entryPoints.web.proxyProtocol.trustedIPs=127.0.0.1",
        "--pancake.limits.maxConnectionsPerAddress=2",
        "--pancake.workers=2",
    ];
    let rig = Rig::start(&arguments);
    let from = |address: &str| {
        let mut stream = rig.connect();
        let request =
            format!("PROXY TCP4 {address} 127.0.0.1 1000 80\r\nGET /name HTTP/1.1\r\nHost: x\r\n\r\n");
        let _ = stream.write_all(request.as_bytes());
        let mut first = [0; 12];
        let served = stream.read_exact(&mut first).is_ok() && first.ends_with(b"200");
        served.then_some(stream)
    };
    let held: Vec<_> = (0..2).map(|_| from("192.0.2.1").expect("there is room")).collect();
    assert!(from("192.0.2.1").is_none(), "a third one");
    assert!(from("192.0.2.2").is_some(), "another client");
    drop(held);
    rig.until("room again", || from("192.0.2.1").is_some());
    assert!(rig.metric("pancake_refused_total{reason=\"max-connections-per-address\"}") >= 1.0);
}

#[test]
fn case_24_half_open_handshakes_end_in_time_and_others_are_served() {
    for name in ENGINES {
        let rig = Rig::start(&[&engine(name), "--pancake.limits.tlsHandshakeTimeout=1s"]);
        let began = Instant::now();
        let mut open: Vec<_> = (0..200).map(|_| rig.connect()).collect();
        for (n, stream) in open.iter_mut().enumerate() {
            // The start of a ClientHello: of the record, or of the message in it.
            let bytes: &[u8] = &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
            stream.write_all(&bytes[..if n % 2 == 0 { 3 } else { 11 }]).unwrap();
        }
        assert_eq!(rig.get("/name"), 200);
        for stream in &mut open {
            ended_after(stream);
        }
        assert!((1..5).contains(&began.elapsed().as_secs()), "{name}: {:?}", began.elapsed());
        rig.until_metric("pancake_slow_clients_total{with=\"handshake\"} 200");
        rig.until_metric("traefik_open_connections{entrypoint=\"web\",protocol=\"TCP\"} 0");
    }
}

/// A server that takes connections and reads nothing.
fn stuck_server() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

const BUDGET: &str = "--pancake.limits.memoryBudget=64MiB";
/// What the process may have in all: its budget and what it takes to be there at all, as a debug build.
const CEILING: u64 = 160 << 20;

#[test]
fn case_25_large_bodies_that_nobody_takes_stay_within_memory() {
    for name in ENGINES {
        let group = Group::new(CEILING);
        let (_listener, url) = stuck_server();
        let rig = Rig::start_in(group.as_ref(), &url, &[&engine(name), BUDGET]);
        let mut senders = Vec::new();
        for _ in 0..300 {
            let mut stream = rig.connect();
            stream.set_nonblocking(true).unwrap();
            let _ = stream.write(b"POST /stuck HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n");
            senders.push(stream);
        }
        let chunk = vec![b'x'; 1 << 16];
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(2) {
            for stream in &mut senders {
                let _ = stream.write(&chunk);
            }
            assert_eq!(rig.get("/name"), 200, "{name}: others are served");
        }
        let rss = rig.proxy.process.rss_bytes();
        assert!(rss < CEILING, "{name}: {rss}");
        println!("{name}: 300 bodies that nobody takes: {} MiB resident", rss >> 20);
        if let Some(group) = &group {
            assert_eq!(group.kills(), 0, "{name}");
        }
    }
}

#[test]
fn case_25_heads_that_fill_memory_are_shed_and_it_recovers() {
    for name in ENGINES {
        let group = Group::new(CEILING / 2);
        let (_listener, url) = stuck_server();
        let rig = Rig::start_in(
            group.as_ref(),
            &url,
            &[&engine(name), "--accessLog.format=json", "--pancake.limits.memoryBudget=16MiB"],
        );
        // 900 KB each of a head that never ends: 36 MB in all.
        let line = format!("X-Fill: {}\r\n", "y".repeat(8_990));
        let mut senders = Vec::new();
        let mut refused = 0;
        for _ in 0..40 {
            let mut stream = rig.connect();
            stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
            let mut sent = stream.write_all(b"GET /name HTTP/1.1\r\nHost: x\r\n");
            for _ in 0..100 {
                sent = sent.and_then(|()| stream.write_all(line.as_bytes()));
            }
            refused += usize::from(sent.is_err());
            senders.push(stream);
        }
        rig.until("requests are shed", || rig.metric("pancake_shed_requests_total") >= 1.0);
        let rss = rig.proxy.process.rss_bytes();
        println!("{name}: heads of 36 MB: {} MiB resident, {refused} senders cut off", rss >> 20);
        assert!(rss < CEILING / 2, "{name}: {rss}");
        // In the JSON form of the access log.
        rig.until("the reason in the access log", || rig.proxy.process.output().contains("memory-short"));
        if let Some(group) = &group {
            assert_eq!(group.kills(), 0, "{name}");
        }
        for stream in &senders {
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(senders);
        rig.until("it has recovered", || rig.serves());
        rig.until_metric("pancake_memory_stage 0");
    }
}
