//! UDP and TCP routers and the PROXY protocol through the real binary, spoken by `socat`, `dig` and BIND.

mod rig;

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use pancake_bench::process::free_addr;
use rig::{Echo, Rig, free_udp, named, socat, socat_server};

const ENGINES: [&str; 2] = ["ring", "epoll"];

#[test]
fn socat_talks_to_socat_over_udp() {
    for engine in ENGINES {
        let dir = tempfile::tempdir().unwrap();
        let server = free_udp();
        let port = server.port();
        let listen = format!("UDP4-RECVFROM:{port},bind=127.0.0.1,fork");
        let _server = socat_server(dir.path(), &[&listen, "EXEC:tr a-z A-Z"], None);
        let rig = Rig::start(&[server], &[&format!("--pancake.engine={engine}")]);
        // The server starts a process for each datagram, and may not be there yet for the first.
        let said = rig.until("an answer", || {
            let to = format!("UDP4:{}", rig.udp);
            Some(socat(&["-t1", "-", &to], b"hello over udp\n")).filter(|said| !said.is_empty())
        });
        assert_eq!(said, "HELLO OVER UDP\n", "{engine}");
    }
}

/// An answer must come from the address that was asked, or a client that is connected to it never sees it.
#[test]
fn answers_come_from_the_address_that_was_asked() {
    for any in ["0.0.0.0", "[::]"] {
        for engine in ENGINES {
            let echo = Echo::start("one");
            let rig = Rig::start_on(any, &[echo.addr], &[&format!("--pancake.engine={engine}")]);
            for asked in ["127.0.0.1", "127.0.0.2", "127.9.9.9"] {
                let client = UdpSocket::bind("0.0.0.0:0").unwrap();
                client.connect((asked, rig.udp.port())).unwrap();
                assert_eq!(rig.ask(&client, b"x").as_deref(), Some("one x"), "{any} {engine} {asked}");
            }
            if any == "[::]"
                && let Ok(client) = UdpSocket::bind("[::1]:0")
            {
                client.connect(("::1", rig.udp.port())).unwrap();
                assert_eq!(rig.ask(&client, b"x").as_deref(), Some("one x"), "over IPv6, {engine}");
            }
        }
    }
}

#[test]
fn datagrams_of_every_size_pass_unchanged_and_sessions_take_turns() {
    for engine in ENGINES {
        let echoes = [Echo::start("one"), Echo::start("two")];
        let arguments = [&*format!("--pancake.engine={engine}"), "--pancake.workers=2"];
        let rig = Rig::start(&[echoes[0].addr, echoes[1].addr], &arguments);
        let clients: Vec<_> = (0..20).map(|_| rig.client()).collect();
        for client in &clients {
            let first = rig.ask(client, b"x").expect("an answer");
            for size in [0, 1, 512, 1400, 4096, 9000, 60_000] {
                let sent = vec![b'a'; size];
                let answer = rig.ask(client, &sent).expect("an answer");
                assert_eq!(answer.len(), size + 4, "{engine}");
                assert_eq!(answer[..3], first[..3], "{engine}: a session has one server");
            }
        }
        let heard = echoes.map(|echo| echo.peers());
        assert_eq!(heard[0] + heard[1], 20, "{engine}: a session is one peer of its server");
        // Each worker has turns of its own.
        assert!(heard[0].abs_diff(heard[1]) <= 2, "{engine}: {heard:?}");
        for line in [
            "pancake_udp_sessions_total 20",
            "pancake_udp_datagrams_total{direction=\"up\"} 160",
            "pancake_udp_datagrams_total{direction=\"down\"} 160",
            "traefik_open_connections{entrypoint=\"dgram\",protocol=\"UDP\"} 20",
        ] {
            // The last answer is counted after it was sent.
            rig.until(line, || rig.proxy.admin("/metrics").contains(line).then_some(()));
        }
        rig.until("the end of the sessions", || {
            let none = "traefik_open_connections{entrypoint=\"dgram\",protocol=\"UDP\"} 0";
            rig.proxy.admin("/metrics").contains(none).then_some(())
        });
    }
}

#[test]
fn a_server_that_refuses_is_passed_over() {
    for engine in ENGINES {
        let echo = Echo::start("one");
        let rig = Rig::start(&[free_udp(), echo.addr], &[&format!("--pancake.engine={engine}")]);
        for _ in 0..10 {
            // One datagram each: what the first server refused is sent to the second.
            let answer = rig.ask_once(&rig.client(), b"x", Duration::from_secs(5));
            assert_eq!(answer.as_deref(), Some("one x"), "{engine}");
        }
    }
}

#[test]
fn a_changed_service_gets_new_sessions_and_the_old_ones_stay() {
    let echoes = [Echo::start("one"), Echo::start("two")];
    let rig = Rig::start(&[echoes[0].addr], &["--entryPoints.dgram.udp.timeout=60s"]);
    let old = rig.client();
    assert_eq!(rig.ask(&old, b"a").as_deref(), Some("one a"));
    rig.serve(&[echoes[1].addr]);
    rig.until("the change", || (rig.ask(&rig.client(), b"b")? == "two b").then_some(()));
    assert_eq!(rig.ask(&old, b"c").as_deref(), Some("one c"));
}

#[test]
fn a_burst_passes_without_loss_that_the_proxy_makes() {
    for engine in ENGINES {
        let echo = Echo::start("one");
        let mut rig = Rig::start(&[echo.addr], &[&format!("--pancake.engine={engine}")]);
        let client = rig.client();
        let mut answered = 0;
        for _ in 0..50 {
            for _ in 0..40 {
                client.send(&[b'z'; 1200]).unwrap();
            }
            for _ in 0..40 {
                let mut into = [0; 2000];
                if client.recv(&mut into).is_err() {
                    break;
                }
                answered += 1;
            }
        }
        let metrics = rig.proxy.admin("/metrics");
        assert!(answered >= 1900, "{engine}: {answered} of 2000\n{metrics}");
        assert!(metrics.contains("pancake_udp_dropped_total{reason=\"send\"} 0"), "{engine}: {metrics}");
        // Told to stop it waits for the session, which is silent now.
        rig.proxy.process.signal("TERM").unwrap();
        let began = Instant::now();
        assert!(rig.proxy.process.wait_exit(Duration::from_secs(20)).unwrap().success());
        assert!(began.elapsed() < Duration::from_secs(9), "it did not wait for the whole grace");
    }
}

#[test]
fn dig_asks_bind_through_the_proxy() {
    let Some(named) = named() else { return };
    let rig = Rig::start(&[named.addr], &[]);
    let dig = |more: &[&str]| rig.dig(more);
    rig.until("BIND", || dig(&["+short", "www.pancake.test", "A"]).contains("192.0.2.7").then_some(()));
    let long = dig(&["+bufsize=4096", "+noedns", "+ignore", "long.pancake.test", "TXT"]);
    assert!(long.contains("tc") || long.contains("TXT"), "{long}");
    assert!(dig(&["+bufsize=4096", "long.pancake.test", "TXT"]).contains("xxxxxxxx"));
}

#[test]
fn socat_talks_to_socat_over_tcp() {
    let dir = tempfile::tempdir().unwrap();
    let server = free_addr().unwrap();
    let listen = format!("TCP4-LISTEN:{},bind=127.0.0.1,fork,reuseaddr", server.port());
    let _server = socat_server(dir.path(), &[&listen, "EXEC:tr a-z A-Z"], Some(server));
    let rig = Rig::start_tcp(server, "", &[]);
    // The client's half-close reaches the server, and what it says then comes back.
    let said = socat(&["-t5", "-", &format!("TCP4:{}", rig.raw)], b"hello over tcp\n");
    assert_eq!(said, "HELLO OVER TCP\n");
}

#[test]
fn a_proxy_header_goes_in_and_out() {
    let dir = tempfile::tempdir().unwrap();
    let server = free_addr().unwrap();
    let listen = format!("TCP4-LISTEN:{},bind=127.0.0.1,fork,reuseaddr", server.port());
    let _server = socat_server(dir.path(), &[&listen, "EXEC:cat"], Some(server));
    let arguments = ["--entryPoints.raw.proxyProtocol.trustedIPs=127.0.0.1"];
    let rig = Rig::start_tcp(server, "serversTransport: v1,", &arguments);
    let header = b"PROXY TCP4 192.0.2.1 198.51.100.1 1234 443\r\nhello\n";
    let said = socat(&["-t5", "-", &format!("TCP4:{}", rig.raw)], header);
    let own = format!("PROXY TCP4 192.0.2.1 127.0.0.1 1234 {}\r\nhello\n", rig.raw.port());
    assert_eq!(said, own, "the server is told who the client is");
    let own =
        |addr: SocketAddr| format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", addr.port(), rig.raw.port());
    let from = free_addr().unwrap();
    let said =
        socat(&["-t5", "-", &format!("TCP4:{},sourceport={},reuseaddr", rig.raw, from.port())], b"x\n");
    assert_eq!(said, format!("{}x\n", own(from)), "without a header it is the peer");
    let said = socat(&["-t5", "-", &format!("TCP4:{}", rig.raw)], b"PROXY nonsense\r\nhello\n");
    assert_eq!(said, "", "a malformed header ends the connection");
    fs::remove_dir_all(dir.path()).ok();
}
