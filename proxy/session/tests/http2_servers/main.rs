//! Servers that speak HTTP/2: what they get, what clients get of their answers, and what becomes of a request when a
//! connection is full, goes away or breaks.

mod harness;
#[path = "../rig/mod.rs"]
mod rig;

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use harness::{H2Backend, answer, read_body, send_all, soon, until, until_still};
use http::{HeaderMap, Response};
use pancake_table::snapshot::{ServersTransport, Snapshot};
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
    a_request_is_the_same_in_http2
    exchanges_share_a_connection
    more_connections_are_made_when_the_server_allows_no_more_streams
    exchanges_wait_for_a_stream_when_no_connection_may_be_added
    bodies_and_trailers_go_both_ways
    an_answer_may_come_before_the_request_has_ended
    interim_answers_are_passed_on
    an_answer_without_body_stays_without
    a_client_that_reads_slowly_stops_the_server
    a_client_that_leaves_ends_the_stream_at_the_server
    clients_that_give_up_do_not_end_the_connection_of_others
    a_refused_stream_is_repeated_if_the_request_may_be
    a_connection_that_goes_away_takes_no_more_requests
    a_connection_that_breaks_fails_its_exchanges
    a_kept_connection_that_was_closed_does_not_fail_a_request_that_may_be_repeated
    an_idle_connection_is_closed
    a_silent_server_is_asked_and_given_up
    an_upgrade_does_not_go_to_a_server_that_knows_none
    a_server_that_does_not_speak_http2_is_a_502
}

/// One service of servers that speak HTTP/2, and its transport.
fn to_h2(address: std::net::SocketAddr, transport: impl FnOnce(&mut ServersTransport)) -> Snapshot {
    let mut snapshot = to(&[address]);
    let pancake_table::snapshot::ServiceKind::LoadBalancer(balancer) = &mut snapshot.services[0].kind;
    balancer.servers[0].url = format!("h2c://{address}");
    balancer.servers_transport = Some("h2@file".into());
    let mut one = ServersTransport { name: "h2@file".into(), ..ServersTransport::default() };
    transport(&mut one);
    snapshot.servers_transports.push(one);
    snapshot
}

fn rig_to(on: On, backend: &H2Backend) -> Rig {
    Rig::start(on, to_h2(backend.address, |_| ()), |_| ())
}

const GET: &[u8] = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const POST: &[u8] = b"POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc";

fn a_request_is_the_same_in_http2(on: On) {
    let backend = H2Backend::start(
        |_| (),
        |request, respond| async move {
            let (parts, _) = request.into_parts();
            let mut said = format!("{} {} {:?}\n", parts.method, parts.uri, parts.version);
            for (name, value) in &parts.headers {
                said += &format!("{name}: {}\n", value.to_str().unwrap());
            }
            answer(respond, &said);
        },
    );
    let rig = rig_to(on, &backend);
    let said = rig.ask_and_read_all(
        b"GET /a%2Fb?q=1 HTTP/1.1\r\nHost: shop.test:81\r\nX-One: 1\r\nTE: trailers, gzip\r\nX-Hop: 2\r\n\
          Connection: close, TE, X-Hop\r\n\r\n",
    );
    for line in [
        "GET http://shop.test:81/a%2Fb?q=1 HTTP/2.0",
        "x-one: 1",
        "te: trailers",
        "x-forwarded-for: 127.0.0.1",
    ] {
        assert!(said.contains(&format!("{line}\n")), "{line}: {said}");
    }
    for hop in ["\nconnection:", "\nx-hop:", "\nhost:", "\ntransfer-encoding:"] {
        assert!(!said.to_lowercase().split("\r\n\r\n").nth(1).unwrap().contains(hop), "{hop}: {said}");
    }
    let record = rig.record();
    assert_eq!((record.status, record.server), (200, Some(format!("h2c://{}", backend.address))));
}

fn exchanges_share_a_connection(on: On) {
    // Each is answered when all have come.
    let (seen, all) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Notify::new()));
    let backend = H2Backend::start(
        |_| (),
        move |_, respond| {
            let (seen, all) = (seen.clone(), all.clone());
            async move {
                let notified = all.notified();
                if seen.fetch_add(1, Ordering::SeqCst) == 19 {
                    all.notify_waiters();
                } else {
                    notified.await;
                }
                answer(respond, "together");
            }
        },
    );
    let rig = rig_to(on, &backend);
    let mut clients: Vec<_> = (0..20).map(|_| rig.connect()).collect();
    for client in &mut clients {
        client.write_all(GET).unwrap();
    }
    for client in &mut clients {
        assert!(read_all(client).contains("together"));
    }
    assert_eq!(backend.connections(), 1);
}

fn more_connections_are_made_when_the_server_allows_no_more_streams(on: On) {
    let (seen, all) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Notify::new()));
    let settings = |builder: &mut h2::server::Builder| {
        builder.max_concurrent_streams(2);
    };
    let backend = H2Backend::start(settings, move |_, respond| {
        let (seen, all) = (seen.clone(), all.clone());
        async move {
            // The first tells the proxy, by its answer, what the server allows.
            let notified = all.notified();
            match seen.fetch_add(1, Ordering::SeqCst) {
                0 => {}
                6 => all.notify_waiters(),
                _ => notified.await,
            }
            answer(respond, "together");
        }
    });
    let rig = rig_to(on, &backend);
    assert!(rig.ask_and_read_all(GET).contains("together"));
    let mut clients: Vec<_> = (0..6).map(|_| rig.connect()).collect();
    for client in &mut clients {
        client.write_all(GET).unwrap();
    }
    for client in &mut clients {
        let said = read_all(client);
        assert!(said.contains("together"), "{said}");
    }
    assert!((3..=6).contains(&backend.connections()), "{}", backend.connections());
}

fn exchanges_wait_for_a_stream_when_no_connection_may_be_added(on: On) {
    // One stream per connection, 32 connections: of 40 requests 8 wait until others are answered.
    let (seen, enough) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Semaphore::new(0)));
    let (count, gate) = (seen.clone(), enough.clone());
    let settings = |builder: &mut h2::server::Builder| {
        builder.max_concurrent_streams(1);
    };
    let backend = H2Backend::start(settings, move |_, respond| {
        let (count, gate) = (count.clone(), gate.clone());
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            let _permit = gate.acquire().await;
            answer(respond, "at last");
        }
    });
    let snapshot = to_h2(backend.address, |transport| transport.dial_timeout = Duration::from_millis(1500));
    let rig = Rig::start(on, snapshot, |_| ());
    let mut clients = Vec::new();
    for n in 1..=32 {
        let mut client = rig.connect();
        client.write_all(GET).unwrap();
        clients.push(client);
        // One after the other, so that each finds out what the server allows.
        until("it has come", || seen.load(Ordering::SeqCst) == n);
    }
    let late = rig.ask_and_read_all(GET);
    assert!(late.starts_with("HTTP/1.1 503"), "{late}");
    assert_eq!(rig.record().failure, Some("server-streams-exhausted"));
    for _ in 0..8 {
        let mut client = rig.connect();
        client.write_all(GET).unwrap();
        clients.push(client);
    }
    enough.add_permits(1);
    for client in &mut clients {
        let said = read_all(client);
        assert!(said.contains("at last"), "{said}");
    }
    assert_eq!(backend.connections(), 32);
}

fn bodies_and_trailers_go_both_ways(on: On) {
    let backend = H2Backend::start(
        |_| (),
        |request, mut respond| async move {
            let (body, trailers) = read_body(request.into_body()).await;
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            assert!(send_all(&mut stream, body.into(), &AtomicUsize::new(0)).await);
            let mut back = HeaderMap::new();
            back.insert("x-sum", trailers.unwrap()["x-sum"].clone());
            stream.send_trailers(back).unwrap();
        },
    );
    let rig = rig_to(on, &backend);
    let body = "0123456789abcdef".repeat(100_000);
    let mut client = rig.connect();
    let mut writer = client.try_clone().unwrap();
    let sent = body.clone();
    let writing = std::thread::spawn(move || {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n";
        write!(writer, "{head}{:x}\r\n{sent}\r\n0\r\nx-sum: 17\r\n\r\n", sent.len()).unwrap();
    });
    let said = read_all(&mut client);
    writing.join().unwrap();
    let (head, answer) = said.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("\r\nTransfer-Encoding: chunked"), "{head}");
    assert!(answer.ends_with("\r\n0\r\nx-sum: 17\r\n\r\n"));
    let data: String = {
        let (mut rest, mut data) = (answer, String::new());
        loop {
            let (size, more) = rest.split_once("\r\n").unwrap();
            match usize::from_str_radix(size, 16).unwrap() {
                0 => break data,
                size => {
                    data += &more[..size];
                    rest = &more[size + 2..];
                }
            }
        }
    };
    assert!(data == body, "{} bytes of {}", data.len(), body.len());
    assert_eq!(rig.record().response_bytes, body.len() as u64);
}

fn an_answer_may_come_before_the_request_has_ended(on: On) {
    let backend = H2Backend::start(
        |_| (),
        |request, mut respond| async move {
            let mut body = request.into_body();
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            // Every piece goes back at once; "end" ends the answer while the request goes on.
            while let Some(Ok(data)) = body.data().await {
                let _ = body.flow_control().release_capacity(data.len());
                let ends = &data[..] == b"end";
                stream.send_data(data, ends).unwrap();
                if ends {
                    return;
                }
            }
        },
    );
    let rig = rig_to(on, &backend);
    let mut client = rig.connect();
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    assert!(read_head(&mut client).unwrap().starts_with("HTTP/1.1 200"));
    for piece in ["one", "two", "end"] {
        write!(client, "3\r\n{piece}\r\n").unwrap();
        // Chunk sizes have leading zeros.
        let mut back = [0; 15];
        client.read_exact(&mut back).unwrap();
        assert_eq!(&back[10..13], piece.as_bytes());
    }
    assert!(read_all(&mut client).starts_with("0\r\n\r\n"));
    assert_eq!(rig.record().status, 200);
}

fn interim_answers_are_passed_on(on: On) {
    let backend = H2Backend::start(
        |_| (),
        |_, mut respond| async move {
            let early = Response::builder().status(103).header("link", "</a.css>").body(()).unwrap();
            respond.send_informational(early).unwrap();
            answer(respond, "late");
        },
    );
    let said = rig_to(on, &backend).ask_and_read_all(GET);
    assert!(
        said.starts_with("HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\n"),
        "{said}"
    );
    assert!(said.contains("late"));
}

fn an_answer_without_body_stays_without(on: On) {
    let backend = H2Backend::start(
        |_| (),
        |request, mut respond| async move {
            let status: u16 = request.uri().path()[1..].parse().unwrap();
            let mut answer = Response::builder().status(status);
            if request.method() == "HEAD" || status == 304 {
                answer = answer.header("content-length", "7");
            }
            respond.send_response(answer.body(()).unwrap(), true).unwrap();
        },
    );
    let rig = rig_to(on, &backend);
    let mut client = rig.connect();
    for (method, status, length) in
        [("HEAD", 200, Some("7")), ("GET", 204, None), ("GET", 304, Some("7")), ("GET", 200, Some("0"))]
    {
        write!(client, "{method} /{status} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let head = read_head(&mut client).unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert_eq!(header(&head, "content-length"), length, "{head}");
        assert_eq!(rig.record().failure, None);
    }
}

fn a_client_that_reads_slowly_stops_the_server(on: On) {
    const WHOLE: usize = 64 << 20;
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let backend = H2Backend::start(
        |_| (),
        move |request, mut respond| {
            let count = count.clone();
            async move {
                if request.uri().path() == "/small" {
                    return answer(respond, "small");
                }
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                let body = Bytes::from(vec![b'x'; WHOLE]);
                if send_all(&mut stream, body, &count).await {
                    let _ = stream.send_data(Bytes::new(), true);
                }
            }
        },
    );
    let rig = rig_to(on, &backend);
    let mut client = rig.connect();
    client.write_all(GET).unwrap();
    // Sockets of loopback hold some megabytes; then nothing moves.
    let before = until_still(|| sent.load(Ordering::SeqCst));
    assert!(before < WHOLE / 2, "{before} bytes were taken for a client that reads none");
    // The others on the connection are not held up by it.
    let said = rig.ask_and_read_all(b"GET /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(said.contains("small"), "{said}");
    assert_eq!(backend.connections(), 1);
    assert!(read_all(&mut client).len() > WHOLE);
}

fn a_client_that_leaves_ends_the_stream_at_the_server(on: On) {
    let (tell, told) = mpsc::channel();
    let backend = H2Backend::start(
        |_| (),
        move |request, mut respond| {
            let tell = tell.clone();
            async move {
                tell.send("came".to_string()).unwrap();
                let reason = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
                drop(request);
                tell.send(format!("{:?}", reason.unwrap())).unwrap();
            }
        },
    );
    let rig = rig_to(on, &backend);
    let mut client = rig.connect();
    client.write_all(GET).unwrap();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "came");
    drop(client);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "CANCEL");
    assert_eq!(rig.record().status, 499);
}

fn clients_that_give_up_do_not_end_the_connection_of_others(on: On) {
    let begun = Arc::new(AtomicUsize::new(0));
    let count = begun.clone();
    let backend = H2Backend::start(
        |builder| {
            builder.max_concurrent_streams(1000);
        },
        move |request, mut respond| {
            let count = count.clone();
            async move {
                if request.uri().path() == "/small" {
                    return answer(respond, "small");
                }
                let Ok(mut stream) = respond.send_response(Response::new(()), false) else { return };
                count.fetch_add(1, Ordering::SeqCst);
                // It goes on sending for as long as it may.
                let body = Bytes::from(vec![b'x'; 1 << 20]);
                send_all(&mut stream, body, &AtomicUsize::new(0)).await;
            }
        },
    );
    let rig = rig_to(on, &backend);
    for round in 1..=40 {
        let mut clients: Vec<_> = (0..50).map(|_| rig.connect()).collect();
        for client in &mut clients {
            client.write_all(GET).unwrap();
        }
        until("all have begun", || begun.load(Ordering::SeqCst) == 50 * round);
        drop(clients);
    }
    let said = rig.ask_and_read_all(b"GET /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(said.contains("small"), "{said}");
    assert_eq!(backend.connections(), 1);
}

fn a_refused_stream_is_repeated_if_the_request_may_be(on: On) {
    let seen = Arc::new(AtomicUsize::new(0));
    let backend = H2Backend::start(
        |_| (),
        move |_, mut respond| {
            let seen = seen.clone();
            async move {
                if seen.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
                    respond.send_reset(Reason::REFUSED_STREAM);
                } else {
                    answer(respond, "second time");
                }
            }
        },
    );
    let rig = rig_to(on, &backend);
    assert!(rig.ask_and_read_all(GET).contains("second time"));
    assert_eq!(rig.record().retries, 1);
    let said = rig.ask_and_read_all(POST);
    assert!(said.starts_with("HTTP/1.1 502"), "a body is not sent twice: {said}");
    let record = rig.record();
    assert_eq!((record.retries, record.failure), (0, Some("server-reset")));
}

fn a_connection_that_goes_away_takes_no_more_requests(on: On) {
    let backend = H2Backend::with_connections(
        |_| (),
        |mut connection, number| async move {
            while let Some(Ok((_, respond))) = connection.accept().await {
                answer(respond, &format!("from {number}."));
                connection.graceful_shutdown();
            }
        },
    );
    let rig = rig_to(on, &backend);
    for number in 0..3 {
        assert!(rig.ask_and_read_all(GET).contains(&format!("from {number}.")));
        until("the connection has ended", || backend.ended.load(Ordering::SeqCst) > number);
    }
}

fn a_connection_that_breaks_fails_its_exchanges(on: On) {
    let backend = H2Backend::with_connections(
        |_| (),
        |mut connection, number| async move {
            while let Some(Ok((_, respond))) = connection.accept().await {
                if number == 0 {
                    return;
                }
                answer(respond, "later");
            }
        },
    );
    let rig = rig_to(on, &backend);
    let said = rig.ask_and_read_all(GET);
    assert!(said.starts_with("HTTP/1.1 502"), "the server may have done the work: {said}");
    assert_eq!(rig.record().failure, Some("server-reset"));
    assert!(rig.ask_and_read_all(GET).contains("later"));
}

fn a_kept_connection_that_was_closed_does_not_fail_a_request_that_may_be_repeated(on: On) {
    // The second request on each connection finds it closed, without a word of HTTP/2.
    let serve = |mut connection: h2::server::Connection<tokio::net::TcpStream, Bytes>, number| async move {
        let mut served = 0;
        while let Some(Ok((_, respond))) = connection.accept().await {
            served += 1;
            if served == 2 {
                return;
            }
            answer(respond, &format!("from {number}."));
        }
    };
    let backend = H2Backend::with_connections(|_| (), serve);
    let rig = rig_to(on, &backend);
    for number in 0..3 {
        assert!(rig.ask_and_read_all(GET).contains(&format!("from {number}.")));
        assert_eq!(rig.record().retries, u32::from(number > 0));
    }
    let said = rig.ask_and_read_all(POST);
    assert!(said.starts_with("HTTP/1.1 502"), "{said}");
}

fn an_idle_connection_is_closed(on: On) {
    let backend = H2Backend::start(|_| (), |_, respond| async move { answer(respond, "x") });
    let snapshot =
        to_h2(backend.address, |transport| transport.idle_conn_timeout = Duration::from_millis(100));
    let rig = Rig::start(on, snapshot, |_| ());
    for ended in 1..3 {
        assert!(rig.ask_and_read_all(GET).contains('x'));
        until("it ends", || backend.ended.load(Ordering::SeqCst) == ended);
    }
    assert_eq!(backend.connections(), 2);
}

fn a_silent_server_is_asked_and_given_up(on: On) {
    // It takes what comes and says nothing, not even to a PING.
    let server = backend(|mut stream, _| {
        let mut bytes = Vec::new();
        stream.write_all(b"\0\0\0\x04\0\0\0\0\0").unwrap();
        let _ = stream.read_to_end(&mut bytes);
    });
    let snapshot = to_h2(server, |transport| {
        transport.read_idle_timeout = Duration::from_millis(100);
        transport.ping_timeout = Duration::from_millis(100);
    });
    let rig = Rig::start(on, snapshot, |_| ());
    assert!(rig.ask_and_read_all(GET).starts_with("HTTP/1.1 502"));
    assert_eq!(rig.record().failure, Some("server-reset"));
    // One that answers them is left alone.
    let backend = H2Backend::start(
        |_| (),
        |_, respond| async move {
            tokio::task::spawn_local(async move {
                soon(Duration::from_millis(600)).await;
                answer(respond, "late");
            });
        },
    );
    let snapshot = to_h2(backend.address, |transport| {
        transport.read_idle_timeout = Duration::from_millis(100);
        transport.ping_timeout = Duration::from_millis(100);
    });
    let rig = Rig::start(on, snapshot, |_| ());
    assert!(rig.ask_and_read_all(GET).contains("late"));
}

fn an_upgrade_does_not_go_to_a_server_that_knows_none(on: On) {
    let backend = H2Backend::start(|_| (), |_, respond| async move { answer(respond, "x") });
    let rig = rig_to(on, &backend);
    let said = rig.ask_and_read_all(
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n",
    );
    assert!(said.starts_with("HTTP/1.1 502"), "{said}");
    assert_eq!(rig.record().failure, Some("upgrade-to-http2-server"));
}

fn a_server_that_does_not_speak_http2_is_a_502(on: On) {
    let server = backend(|mut stream, _| {
        let _ =
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
    });
    let rig = Rig::start(on, to_h2(server, |_| ()), |_| ());
    assert!(rig.ask_and_read_all(GET).starts_with("HTTP/1.1 502"));
    assert_eq!(rig.record().failure, Some("http2-malformed"));
}
