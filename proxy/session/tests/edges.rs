//! What once went wrong, or nearly: each test is one bug that must not come back.

mod rig;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rig::*;

macro_rules! on_engines {
    ($($name:ident)*) => {
        mod on_ring {
            $(#[test] fn $name() { super::$name(super::On::Ring) })*
        }
        mod on_epoll {
            $(#[test] fn $name() { super::$name(super::On::Epoll) })*
        }
    };
}

on_engines! {
    a_client_that_pipelines_without_pause_does_not_starve_others
    a_download_does_not_starve_others
    bytes_sent_after_an_answer_never_answer_another_request
    a_server_that_reads_slowly_does_not_hang_an_upload_for_ever
    a_client_that_leaves_after_its_body_is_noticed
    a_client_that_leaves_in_the_middle_is_recorded_with_its_bytes
    the_response_header_timeout_starts_after_the_request
    an_early_answer_says_that_the_connection_closes
    no_content_length_with_204
    an_upgrade_to_h2c_is_not_passed_on
    a_switch_to_another_protocol_than_asked_is_refused
    a_bad_first_chunk_is_a_502
    a_trusted_proxy_in_front_that_speaks_tls_means_port_443
    a_long_answer_on_a_connection_that_closes_arrives_whole
    no_byte_of_a_long_head_is_looked_at_for_every_receive
}

fn get(stream: &mut TcpStream, path: &str) {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
}

/// The longest that `count` requests in a row took, one connection each.
fn worst_wait(rig: &Rig, count: usize) -> Duration {
    let ask = |_| {
        let start = Instant::now();
        let mut stream = rig.connect();
        get(&mut stream, "/small");
        read_message(&mut stream);
        start.elapsed()
    };
    (0..count).map(ask).max().unwrap()
}

fn a_client_that_pipelines_without_pause_does_not_starve_others(on: On) {
    let rig = Rig::start(on, to(&[echo_backend()]), |_| ());
    let mut flood = rig.connect();
    let mut drain = flood.try_clone().unwrap();
    std::thread::spawn(move || {
        let mut bytes = [0; 65536];
        while matches!(drain.read(&mut bytes), Ok(1..)) {}
    });
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flooding = std::thread::spawn({
        let stop = stop.clone();
        move || {
            // Answered by the proxy itself, at once.
            let bytes = "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n".repeat(200);
            while !stop.load(std::sync::atomic::Ordering::Relaxed)
                && flood.write_all(bytes.as_bytes()).is_ok()
            {}
        }
    });
    let worst = worst_wait(&rig, 20);
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    flooding.join().unwrap();
    assert!(worst < Duration::from_secs(1), "{worst:?}");
}

fn a_download_does_not_starve_others(on: On) {
    let server = backend(|mut stream, _| {
        while let Some(head) = read_head(&mut stream) {
            if head.starts_with("GET /large ") {
                let _ = write!(stream, "HTTP/1.1 200 OK\r\n\r\n");
                let block = [0; 65536];
                while stream.write_all(&block).is_ok() {}
                return;
            }
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        }
    });
    let rig = Rig::start(on, to(&[server]), |_| ());
    let mut download = rig.connect();
    get(&mut download, "/large");
    let mut bytes = [0; 65536];
    download.read_exact(&mut bytes).unwrap();
    let mut drain = download.try_clone().unwrap();
    let reading = std::thread::spawn(move || while matches!(drain.read(&mut bytes), Ok(1..)) {});
    let worst = worst_wait(&rig, 20);
    download.shutdown(std::net::Shutdown::Both).unwrap();
    reading.join().unwrap();
    assert!(worst < Duration::from_secs(1), "{worst:?}");
}

fn bytes_sent_after_an_answer_never_answer_another_request(on: On) {
    const BODY: usize = 200_000;
    let (sent, poisoned) = mpsc::channel();
    let sent = Mutex::new(sent);
    let server = backend(move |mut stream, number| {
        while read_head(&mut stream).is_some() {
            if number > 0 {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood");
                continue;
            }
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n").unwrap();
            stream.write_all(&vec![b'x'; BODY]).unwrap();
            // Later, on the kept connection, as if it were the answer to the next request.
            std::thread::park_timeout(Duration::from_millis(60));
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
            sent.lock().unwrap().send(()).unwrap();
        }
    });
    let rig = Rig::start(on, to(&[server]), |_| ());
    let mut first = rig.connect();
    get(&mut first, "/");
    assert_eq!(read_message(&mut first).1.len(), BODY);
    poisoned.recv_timeout(PATIENCE).unwrap();
    let mut second = rig.connect();
    get(&mut second, "/");
    assert_eq!(read_message(&mut second).1, b"good");
}

fn a_server_that_reads_slowly_does_not_hang_an_upload_for_ever(on: On) {
    let server = backend(|stream, _| {
        // Never reads: holds the connection until the proxy gives up.
        let _ = stream.set_read_timeout(None);
        std::thread::park_timeout(PATIENCE);
        drop(stream);
    });
    let rig = Rig::start(on, to(&[server]), |entry| entry.read_timeout = Some(Duration::from_millis(300)));
    let mut client = rig.connect();
    client.write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n").unwrap();
    let mut writer = client.try_clone().unwrap();
    std::thread::spawn(move || while writer.write_all(&[0; 65536]).is_ok() {});
    let mut head = [0; 12];
    client.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 504");
    assert_eq!(rig.record().failure, Some("request-send-timeout"));
}

fn a_client_that_leaves_after_its_body_is_noticed(on: On) {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let server = backend(move |mut stream, _| {
        read_head(&mut stream);
        stream.read_exact(&mut [0; 4]).unwrap();
        tell.lock().unwrap().send("asked").unwrap();
        assert!(read_head(&mut stream).is_none());
        tell.lock().unwrap().send("closed").unwrap();
    });
    let rig = Rig::start(on, to(&[server]), |_| ());
    let mut client = rig.connect();
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody").unwrap();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "asked");
    drop(client);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "closed");
    let record = rig.record();
    assert_eq!((record.status, record.failure, record.request_bytes), (499, Some("client-gone"), 4));
}

fn a_client_that_leaves_in_the_middle_is_recorded_with_its_bytes(on: On) {
    let server = backend(|mut stream, _| {
        read_head(&mut stream);
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
        while stream.write_all(&[0; 65536]).is_ok() {}
    });
    let rig = Rig::start(on, to(&[server]), |_| ());
    let mut client = rig.connect();
    get(&mut client, "/");
    let mut bytes = vec![0; 1_000_000];
    client.read_exact(&mut bytes).unwrap();
    drop(client);
    let record = rig.record();
    assert_eq!(record.status, 200);
    assert!(record.failure.is_some());
    assert!(record.response_bytes >= 900_000, "{record:?}");
}

fn the_response_header_timeout_starts_after_the_request(on: On) {
    let server = backend(|mut stream, _| {
        read_head(&mut stream);
        stream.read_exact(&mut [0; 6]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    });
    let mut snapshot = to(&[server]);
    snapshot.servers_transports.push(pancake_table::snapshot::ServersTransport {
        name: "quick@file".into(),
        response_header_timeout: Duration::from_millis(150),
        ..Default::default()
    });
    let pancake_table::snapshot::ServiceKind::LoadBalancer(balancer) = &mut snapshot.services[0].kind;
    balancer.servers_transport = Some("quick@file".into());
    let rig = Rig::start(on, snapshot, |_| ());
    let mut client = rig.connect();
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n").unwrap();
    for byte in b"abcdef" {
        std::thread::park_timeout(Duration::from_millis(60));
        client.write_all(&[*byte]).unwrap();
    }
    assert_eq!(read_message(&mut client).1, b"ok");
}

fn an_early_answer_says_that_the_connection_closes(on: On) {
    let server = backend(|mut stream, _| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n").unwrap();
        let _ = read_head(&mut stream);
    });
    let rig = Rig::start(on, to(&[server]), |_| ());
    let mut client = rig.connect();
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegin").unwrap();
    let head = read_head(&mut client).unwrap();
    assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
    assert_eq!(header(&head, "connection"), Some("close"), "{head}");
    assert_eq!(rig.record().request_bytes, 5);
}

/// A backend that gives every request the same bytes for an answer.
fn canned(answer: &'static [u8]) -> std::net::SocketAddr {
    backend(move |mut stream, _| {
        while read_head(&mut stream).is_some() {
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    })
}

fn no_content_length_with_204(on: On) {
    let rig = Rig::start(on, to(&[canned(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n")]), |_| ());
    let mut client = rig.connect();
    for _ in 0..2 {
        get(&mut client, "/");
        let head = read_head(&mut client).unwrap();
        assert_eq!(header(&head, "content-length"), None, "{head}");
    }
}

fn an_upgrade_to_h2c_is_not_passed_on(on: On) {
    let rig = Rig::start(on, to(&[echo_backend()]), |_| ());
    let mut client = rig.connect();
    client
        .write_all(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
              HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n",
        )
        .unwrap();
    let seen = String::from_utf8(read_message(&mut client).1).unwrap();
    for gone in ["upgrade", "connection", "http2-settings"] {
        assert_eq!(header(&seen, gone), None, "{seen}");
    }
}

fn a_switch_to_another_protocol_than_asked_is_refused(on: On) {
    let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n";
    let rig = Rig::start(on, to(&[canned(answer)]), |_| ());
    let mut client = rig.connect();
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        .unwrap();
    let (head, _) = read_message(&mut client);
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    assert_eq!(rig.record().failure, Some("unexpected-upgrade"));
}

fn a_bad_first_chunk_is_a_502(on: On) {
    let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
    let rig = Rig::start(on, to(&[canned(answer)]), |_| ());
    let mut client = rig.connect();
    get(&mut client, "/");
    let (head, _) = read_message(&mut client);
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    assert_eq!(rig.record().status, 502);
}

fn a_trusted_proxy_in_front_that_speaks_tls_means_port_443(on: On) {
    let rig = Rig::start(on, to(&[echo_backend()]), |entry| entry.forwarded.insecure = true);
    let mut client = rig.connect();
    client
        .write_all(
            b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 1.2.3.4\r\n\
              X-Forwarded-Server: other\r\n\r\n",
        )
        .unwrap();
    let seen = String::from_utf8(read_message(&mut client).1).unwrap();
    assert_eq!(header(&seen, "x-forwarded-port"), Some("443"), "{seen}");
    assert_eq!(header(&seen, "x-forwarded-proto"), Some("https"));
    assert_eq!(header(&seen, "x-forwarded-for"), Some("1.2.3.4, 127.0.0.1"));
    assert_eq!(header(&seen, "x-forwarded-server"), Some("edge-1"));
}

fn a_long_answer_on_a_connection_that_closes_arrives_whole(on: On) {
    const BODY: usize = 2_000_000;
    let server = backend(|mut stream, _| {
        while read_head(&mut stream).is_some() {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n");
            let _ = stream.write_all(&vec![b'x'; BODY]);
        }
    });
    let rig = Rig::start(on, to(&[server]), |entry| entry.keep_alive_max_requests = 1);
    let mut client = rig.connect();
    for _ in 0..5 {
        get(&mut client, "/");
    }
    assert_eq!(read_message(&mut client).1.len(), BODY);
}

/// Each receive looked through all that had come since the head was parsed last: minutes for a head of some megabytes.
fn no_byte_of_a_long_head_is_looked_at_for_every_receive(on: On) {
    let rig = Rig::start(on, to(&[]), |entry| entry.max_head_bytes = 8 << 20);
    let mut stream = rig.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").unwrap();
    let field = format!("X-Long: {}\r\n", "y".repeat(60_000));
    for _ in 0..100 {
        stream.write_all(field.as_bytes()).unwrap();
    }
    stream.write_all(b"no field\r\n\r\n").unwrap();
    assert!(read_all(&mut stream).starts_with("HTTP/1.1 400 "));
}
