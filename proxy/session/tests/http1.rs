//! HTTP/1.1 through a real worker, on both kernel engines.

mod rig;

use std::io::{Read, Write};
use std::time::Duration;

use rig::*;

/// Makes a test of each function, once per engine.
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
    forwards_and_adds_what_traefik_adds
    keeps_connections_alive_on_both_sides
    serves_pipelined_requests_in_order
    removes_hop_by_hop_fields_and_spoofed_forwarding
    streams_a_large_answer
    streams_a_large_request
    passes_chunks_and_trailers_both_ways
    answers_head_204_and_304_without_a_body
    passes_100_continue_on
    answers_503_502_and_504_with_a_reason
    tries_another_server_when_one_refuses
    retries_on_a_fresh_connection_when_a_kept_one_was_closed
    does_not_repeat_a_post_on_a_stale_connection
    resets_when_the_server_dies_in_the_middle
    notices_that_the_client_left
    turns_an_unframed_answer_into_chunks
    closes_after_an_http_10_request
    tunnels_only_after_101
    drains_without_cutting_a_request
    refuses_smuggling_and_closes
    swaps_the_table_under_keep_alive
    drops_a_server_connection_with_bytes_after_the_answer
    answers_a_late_head_with_408
    an_early_answer_ends_the_connection
    host_header_of_the_server_when_not_passed
}

fn forwards_and_adds_what_traefik_adds(on: On) {
    let rig = Rig::start(on, to(&[echo_backend()]), |_| ());
    let mut client = rig.connect();
    client.write_all(b"GET /a/../b?q=1 HTTP/1.1\r\nHost: x.example:81\r\nAccept: */*\r\n\r\n").unwrap();
    let (head, body) = read_message(&mut client);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(header(&head, "date").is_some());
    let seen = String::from_utf8(body).unwrap();
    assert!(seen.starts_with("GET /b?q=1 HTTP/1.1\r\nHost: x.example:81\r\nAccept: */*\r\n"), "{seen}");
    let fields = [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "x.example:81"),
        ("x-forwarded-port", "81"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-server", "edge-1"),
        ("x-real-ip", "127.0.0.1"),
    ];
    for (name, value) in fields {
        assert_eq!(header(&seen, name), Some(value), "{name} in {seen}");
    }
    let record = rig.record();
    assert_eq!((record.status, record.router.as_deref()), (200, Some("all@file")));
    assert_eq!(record.failure, None);
}

fn keeps_connections_alive_on_both_sides(on: On) {
    let server = backend(|mut stream, number| {
        while read_head(&mut stream).is_some() {
            let body = format!("connection {number}");
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        }
    });
    let rig = Rig::start(on, to(&[server]), |_| ());
    let mut client = rig.connect();
    for _ in 0..20 {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let (_, body) = read_message(&mut client);
        assert_eq!(body, b"connection 0");
    }
    assert_eq!(rig.meter.accepted.get(), 1);
}

fn serves_pipelined_requests_in_order(on: On) {
    let rig = Rig::start(on, to(&[echo_backend()]), |_| ());
    let mut client = rig.connect();
    let mut bytes = Vec::new();
    for n in 0..50 {
        bytes.extend_from_slice(format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    }
    client.write_all(&bytes).unwrap();
    for n in 0..50 {
        let (_, body) = read_message(&mut client);
        assert!(body.starts_with(format!("GET /{n} ").as_bytes()), "{n}");
    }
}

fn removes_hop_by_hop_fields_and_spoofed_forwarding(on: On) {
    let rig = Rig::start(on, to(&[echo_backend()]), |_| ());
    let mut client = rig.connect();
    client
        .write_all(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Secret, X-Real-Ip\r\nX-Secret: 1\r\n\
              Keep-Alive: timeout=5\r\nProxy-Authorization: Basic eA==\r\nTE: gzip, trailers\r\n\
              X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX_Forwarded_For: 6.6.6.6\r\n\
              X-Real-Ip: 1.2.3.4\r\nX-Other: kept\r\n\r\n",
        )
        .unwrap();
    let (_, body) = read_message(&mut client);
    let seen = String::from_utf8(body).unwrap();
    for gone in ["x-secret", "keep-alive", "proxy-authorization", "connection", "x_forwarded_for"] {
        assert_eq!(header(&seen, gone), None, "{gone} in {seen}");
    }
    assert_eq!(header(&seen, "te"), Some("trailers"));
    assert_eq!(header(&seen, "x-other"), Some("kept"));
    assert_eq!(header(&seen, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(header(&seen, "x-forwarded-proto"), Some("http"));
    assert_eq!(header(&seen, "x-real-ip"), Some("127.0.0.1"));
}

const LARGE: usize = 8 * 1024 * 1024 + 13;

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
}

fn streams_a_large_answer(on: On) {
    let server = backend(|mut stream, _| {
        while read_head(&mut stream).is_some() {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n").unwrap();
            stream.write_all(&pattern(LARGE)).unwrap();
        }
    });
    let rig = Rig::start(on, to(&[server]), |_| ());
    let mut client = rig.connect();
    for _ in 0..2 {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let (_, body) = read_message(&mut client);
        assert!(body == pattern(LARGE));
        assert_eq!(rig.record().response_bytes, LARGE as u64);
    }
}

fn streams_a_large_request(on: On) {
    let server = backend(|mut stream, _| {
        while let Some(head) = read_head(&mut stream) {
            let mut body = vec![0; header(&head, "content-length").unwrap().parse().unwrap()];
            stream.read_exact(&mut body).unwrap();
            let verdict = if body == pattern(body.len()) { "same" } else { "else" };
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{verdict}").unwrap();
        }
    });
    let rig = Rig::start(on, to(&[server]), |_| ());
    let mut client = rig.connect();
    for len in [1, 4096, 100_000, LARGE] {
        write!(client, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n").unwrap();
        client.write_all(&pattern(len)).unwrap();
        let (_, body) = read_message(&mut client);
        assert_eq!(body, b"same", "{len}");
        assert_eq!(rig.record().request_bytes, len as u64);
    }
}

/// Reads chunks up to and including the last; data and trailer lines.
fn read_chunks(stream: &mut std::net::TcpStream) -> (Vec<u8>, String) {
    let mut data = Vec::new();
    let line = |stream: &mut std::net::TcpStream| {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    };
    loop {
        let size = usize::from_str_radix(line(stream).trim_end(), 16).unwrap();
        if size == 0 {
            break;
        }
        let at = data.len();
        data.resize(at + size, 0);
        stream.read_exact(&mut data[at..]).unwrap();
        assert_eq!(line(stream), "\r\n");
    }
    let mut trailers = String::new();
    loop {
        let next = line(stream);
        if next == "\r\n" {
            return (data, trailers);
        }
        trailers += &next;
    }
}

fn passes_chunks_and_trailers_both_ways(on: On) {
    let server = backend(|mut stream, _| {
        while let Some(head) = read_head(&mut stream) {
            assert_eq!(header(&head, "transfer-encoding"), Some("chunked"));
            let (data, trailers) = read_chunks(&mut stream);
            write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
                .unwrap();
            for piece in data.chunks(7000) {
                write!(stream, "{:x};ignored=1\r\n", piece.len()).unwrap();
                stream.write_all(piece).unwrap();
                stream.write_all(b"\r\n").unwrap();
            }
            write!(stream, "0\r\n{trailers}\r\n").unwrap();
        }
    });
    let rig = Rig::start(on, to(&[server]), |_| ());
    let mut client = rig.connect();
    for len in [5, 100_000] {
        let data = pattern(len);
        write!(client, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        for piece in data.chunks(3000) {
            write!(client, "{:X}\r\n", piece.len()).unwrap();
            client.write_all(piece).unwrap();
            client.write_all(b"\r\n").unwrap();
        }
        client.write_all(b"0\r\nX-Sum: 7\r\nContent-Length: 9\r\n\r\n").unwrap();
        let head = read_head(&mut client).unwrap();
        assert_eq!(header(&head, "transfer-encoding"), Some("chunked"), "{head}");
        let (back, trailers) = read_chunks(&mut client);
        assert!(back == data);
        assert_eq!(trailers, "X-Sum: 7\r\n");
    }
}

fn answers_head_204_and_304_without_a_body(on: On) {
    let server = backend(|mut stream, _| {
        while let Some(head) = read_head(&mut stream) {
            let answer = match head.split(' ').nth(1).unwrap() {
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            };
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let rig = Rig::start(on, to(&[server]), |_| ());
    let mut client = rig.connect();
    let asked = [("HEAD /", "200 OK", Some("5")), ("GET /204", "204 No Content", None)];
    for (line, status, length) in asked.into_iter().chain([("GET /304", "304 Not Modified", Some("5"))]) {
        write!(client, "{line} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let head = read_head(&mut client).unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{head}");
        assert_eq!(header(&head, "content-length"), length, "{line}");
    }
}

fn passes_100_continue_on(on: On) {
    let server = backend(|mut stream, _| {
        while let Some(head) = read_head(&mut stream) {
            assert_eq!(header(&head, "expect"), Some("100-continue"));
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
            let mut body = [0; 4];
            stream.read_exact(&mut body).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n").unwrap();
            stream.write_all(&body).unwrap();
        }
    });
    let rig = Rig::start(on, to(&[server]), |_| ());
    let mut client = rig.connect();
    for _ in 0..2 {
        client
            .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
            .unwrap();
        assert_eq!(read_head(&mut client).unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
        client.write_all(b"body").unwrap();
        assert_eq!(read_message(&mut client).1, b"body");
    }
}

/// An address where nothing listens.
fn nowhere() -> std::net::SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn answers_503_502_and_504_with_a_reason(on: On) {
    let rig = Rig::start(on, to(&[]), |_| ());
    let answer = rig.ask_and_read_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    assert_eq!(rig.record().failure, Some("no-server-available"));

    let rig = Rig::start(on, to(&[nowhere()]), |_| ());
    let answer = rig.ask_and_read_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer}");
    assert_eq!(rig.record().failure, Some("connect-refused"));

    let silent = backend(|mut stream, _| while read_head(&mut stream).is_some() {});
    let mut snapshot = to(&[silent]);
    snapshot.servers_transports.push(pancake_table::snapshot::ServersTransport {
        name: "quick@file".into(),
        response_header_timeout: Duration::from_millis(50),
        ..Default::default()
    });
    let pancake_table::snapshot::ServiceKind::LoadBalancer(balancer) = &mut snapshot.services[0].kind;
    balancer.servers_transport = Some("quick@file".into());
    let rig = Rig::start(on, snapshot, |_| ());
    let answer = rig.ask_and_read_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"), "{answer}");
    assert_eq!(rig.record().failure, Some("response-header-timeout"));
}

fn tries_another_server_when_one_refuses(on: On) {
    let rig = Rig::start(on, to(&[nowhere(), echo_backend(), nowhere()]), |_| ());
    let mut client = rig.connect();
    for _ in 0..12 {
        client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").unwrap();
        let (head, _) = read_message(&mut client);
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    }
}

fn retries_on_a_fresh_connection_when_a_kept_one_was_closed(on: On) {
    // Each connection serves one request and then closes without having said so.
    let server = backend(|mut stream, _| {
        if read_head(&mut stream).is_some() {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        }
        // The next request arrives and is dropped on the floor.
        let _ = read_head(&mut stream);
    });
    let rig = Rig::start(on, to(&[server]), |_| ());
    let mut client = rig.connect();
    for n in 0..5 {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(read_message(&mut client).1, b"ok");
        assert_eq!(rig.record().retries, u32::from(n > 0), "request {n}");
    }
}

fn does_not_repeat_a_post_on_a_stale_connection(on: On) {
    let server = backend(|mut stream, _| {
        if read_head(&mut stream).is_some() {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        }
        let _ = read_head(&mut stream);
    });
    let rig = Rig::start(on, to(&[server]), |_| ());
    let mut client = rig.connect();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(read_message(&mut client).1, b"ok");
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let (head, _) = read_message(&mut client);
    assert!(head.starts_with("HTTP/1.1 502"), "{head}");
    rig.record();
    assert_eq!(rig.record().failure, Some("server-closed"));
}

fn resets_when_the_server_dies_in_the_middle(on: On) {
    let server = backend(|mut stream, _| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").unwrap();
    });
    let rig = Rig::start(on, to(&[server]), |_| ());
    let mut client = rig.connect();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    let end = client.read_to_end(&mut bytes);
    assert!(end.is_err() || !bytes.is_empty(), "the client must notice");
    assert!(!String::from_utf8_lossy(&bytes).contains("502"));
    let record = rig.record();
    assert_eq!((record.status, record.failure), (200, Some("response-truncated")));
}

fn notices_that_the_client_left(on: On) {
    let (tell, told) = std::sync::mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let server = backend(move |mut stream, _| {
        read_head(&mut stream);
        let tell = tell.lock().unwrap().clone();
        tell.send("asked").unwrap();
        // The proxy gives the connection up when its client leaves.
        assert!(read_head(&mut stream).is_none());
        tell.send("closed").unwrap();
    });
    let rig = Rig::start(on, to(&[server]), |_| ());
    let mut client = rig.connect();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "asked");
    drop(client);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "closed");
    let record = rig.record();
    assert_eq!((record.status, record.failure), (499, Some("client-gone")));
}

fn turns_an_unframed_answer_into_chunks(on: On) {
    let server = backend(|mut stream, _| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nuntil the end").unwrap();
    });
    let rig = Rig::start(on, to(&[server]), |_| ());
    let mut client = rig.connect();
    for _ in 0..2 {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let head = read_head(&mut client).unwrap();
        assert_eq!(header(&head, "transfer-encoding"), Some("chunked"), "{head}");
        assert_eq!(read_chunks(&mut client).0, b"until the end");
    }
    let answer = rig.ask_and_read_all(b"GET / HTTP/1.0\r\n\r\n");
    assert!(answer.ends_with("\r\n\r\nuntil the end"), "{answer}");
    assert_eq!(header(&answer, "transfer-encoding"), None);
}

fn closes_after_an_http_10_request(on: On) {
    let rig = Rig::start(on, to(&[echo_backend()]), |_| ());
    let answer = rig.ask_and_read_all(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert_eq!(header(&answer, "connection"), Some("close"), "{answer}");
    let mut client = rig.connect();
    for _ in 0..2 {
        client.write_all(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n").unwrap();
        let (head, _) = read_message(&mut client);
        assert_eq!(header(&head, "connection"), Some("keep-alive"), "{head}");
    }
}

fn tunnels_only_after_101(on: On) {
    let server = backend(|mut stream, _| {
        while let Some(head) = read_head(&mut stream) {
            assert_eq!(header(&head, "upgrade"), Some("echo"));
            if head.starts_with("GET /no ") {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno").unwrap();
                continue;
            }
            let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhi";
            stream.write_all(answer.as_bytes()).unwrap();
            let mut bytes = [0; 64];
            while let Ok(n @ 1..) = stream.read(&mut bytes) {
                stream.write_all(&bytes[..n]).unwrap();
            }
            return;
        }
    });
    let rig = Rig::start(on, to(&[server]), |_| ());
    let mut client = rig.connect();
    let upgrade = "HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    // Refused: the connection goes on speaking HTTP, and a pipelined request stays a request.
    write!(client, "GET /no {upgrade}GET /yes {upgrade}").unwrap();
    assert_eq!(read_message(&mut client).1, b"no");
    let head = read_head(&mut client).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    assert_eq!(header(&head, "upgrade"), Some("echo"));
    client.write_all(b" there").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut client), "hi there");
}

fn drains_without_cutting_a_request(on: On) {
    let (tell, told) = std::sync::mpsc::channel();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let both = std::sync::Mutex::new((tell, Some(wait)));
    let server = backend(move |mut stream, _| {
        read_head(&mut stream);
        let (tell, wait) = {
            let mut both = both.lock().unwrap();
            (both.0.clone(), both.1.take().unwrap())
        };
        tell.send(()).unwrap();
        wait.recv().unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate").unwrap();
    });
    let mut rig = Rig::start(on, to(&[server]), |_| ());
    let mut idle = rig.connect();
    let mut busy = rig.connect();
    busy.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    told.recv_timeout(PATIENCE).unwrap();
    rig.begin_drain();
    assert!(is_closed(&mut idle), "an idle connection is closed at once");
    go.send(()).unwrap();
    let (head, body) = read_message(&mut busy);
    assert_eq!((header(&head, "connection"), &body[..]), (Some("close"), &b"late"[..]));
    assert_eq!(read_all(&mut busy), "");
    assert_eq!(rig.join().len(), 1);
}

fn refuses_smuggling_and_closes(on: On) {
    let rig = Rig::start(on, to(&[echo_backend()]), |_| ());
    let requests: [&[u8]; 4] = [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    for request in requests {
        let answer = rig.ask_and_read_all(request);
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        assert!(rig.record().failure.is_some());
    }
    // A malformed chunk in the middle of a body.
    let answer = rig.ask_and_read_all(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0x1\r\na\r\n0\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
}

fn swaps_the_table_under_keep_alive(on: On) {
    let first = backend(|mut stream, _| {
        while read_head(&mut stream).is_some() {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1").unwrap();
        }
    });
    let second = backend(|mut stream, _| {
        while read_head(&mut stream).is_some() {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2").unwrap();
        }
    });
    let rig = Rig::start(on, to(&[first]), |_| ());
    let mut client = rig.connect();
    let mut ask = || {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        read_message(&mut client).1
    };
    for _ in 0..3 {
        for (servers, body) in [(first, b"1"), (second, b"2")] {
            let next = table(to(&[servers]), Some(&rig.table.load()));
            rig.table.store(std::sync::Arc::new(next));
            assert_eq!(ask(), body);
            assert_eq!(ask(), body);
        }
    }
}

fn drops_a_server_connection_with_bytes_after_the_answer(on: On) {
    let server = backend(|mut stream, number| {
        while read_head(&mut stream).is_some() {
            // Case 9: a body after a 204 would be taken for the next answer.
            let answer =
                format!("HTTP/1.1 204 No Content\r\nX-Number: {number}\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    let rig = Rig::start(on, to(&[server]), |_| ());
    let mut client = rig.connect();
    for number in 0..3 {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let head = read_head(&mut client).unwrap();
        assert!(head.starts_with("HTTP/1.1 204"), "{head}");
        assert_eq!(header(&head, "x-number"), Some(number.to_string().as_str()));
    }
}

fn answers_a_late_head_with_408(on: On) {
    let rig = Rig::start(on, to(&[echo_backend()]), |entry| {
        entry.read_timeout = Some(Duration::from_millis(60));
    });
    let answer = rig.ask_and_read_all(b"GET / HTTP/1.1\r\nHost: a");
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    assert_eq!(rig.record().failure, Some("request-timeout"));
    // Without a byte there is nothing to answer.
    assert_eq!(rig.ask_and_read_all(b""), "");
    let answer = rig.ask_and_read_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nfour");
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
}

fn an_early_answer_ends_the_connection(on: On) {
    let server = backend(|mut stream, _| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n").unwrap();
        let _ = read_head(&mut stream);
    });
    let rig = Rig::start(on, to(&[server]), |_| ());
    let mut client = rig.connect();
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegin").unwrap();
    let answer = read_all(&mut client);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
}

fn host_header_of_the_server_when_not_passed(on: On) {
    let server = echo_backend();
    let mut snapshot = to(&[nowhere(), server]);
    let pancake_table::snapshot::ServiceKind::LoadBalancer(balancer) = &mut snapshot.services[0].kind;
    balancer.pass_host_header = false;
    for server in &mut balancer.servers {
        server.url += "/base/";
        server.preserve_path = true;
    }
    let rig = Rig::start(on, snapshot, |_| ());
    let mut client = rig.connect();
    for _ in 0..4 {
        client.write_all(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let seen = String::from_utf8(read_message(&mut client).1).unwrap();
        assert!(seen.starts_with("GET /base/x HTTP/1.1\r\n"), "{seen}");
        assert_eq!(header(&seen, "host"), Some(server.to_string().as_str()));
        assert_eq!(header(&seen, "x-forwarded-host"), Some("a"));
    }
}
