//! HTTP/3 through the real binary with two workers: the clients are aioquic, curl and chromium.

mod browser;
mod client;
#[allow(dead_code)]
#[path = "../protocols/rig.rs"]
mod rig;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::thread;

use client::Client;
use rig::{Rig, SOON, certificate, web};

const HTTP3: &str = "--entryPoints.web.http3=true";
const TWO_WORKERS: &str = "--pancake.workers=2";

fn start(dynamic: impl Fn(&Path, SocketAddr) -> String, more: &[&str]) -> Rig {
    let log = ["--accessLog=true", "--accessLog.filePath=access.log"];
    Rig::start(dynamic, &[&[HTTP3, TWO_WORKERS], &log[..], more].concat())
}

/// A counter of `/metrics`, all labels added up.
fn metric(rig: &Rig, name: &str) -> f64 {
    let text = rig.proxy.admin("/metrics");
    let lines = text.lines().filter(|line| line.starts_with(name) && !line.starts_with('#'));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[test]
fn bodies_pass_both_ways_and_requests_are_logged_as_http3() {
    let rig = start(web, &[]);
    let client = Client::of(&rig);
    let said =
        client.run("requests", &["GET /echo", "POST /echo 5", "POST /echo 3000000", "GET /bytes/3000000"]);
    let all = said.as_array().unwrap();
    assert!(all.iter().all(|one| one["status"] == 200 && one["how"] == "whole"), "{said}");
    let first = all[0]["text"].as_str().unwrap().to_lowercase();
    let port = rig.proxy.web.port();
    for line in ["x-forwarded-proto: https".to_owned(), format!("x-forwarded-port: {port}")] {
        assert!(first.contains(&format!("{line}\n")), "{first}");
    }
    assert!(first.starts_with("get /echo http/1.1\n") && !first.contains("transfer-encoding"), "{first}");
    assert!(all[1]["text"].as_str().unwrap().contains("body: 5 bytes"), "{said}");
    assert!(all[2]["text"].as_str().unwrap().contains("body: 3000000 bytes"), "{said}");
    assert_eq!(all[3]["length"], 3_000_000);
    let log = rig.dir.path().join("access.log");
    rig.until("the access log has all four", || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.matches(" HTTP/3.0\" 200 ").count() == 4
    });
    assert_eq!(metric(&rig, "pancake_quic_handshakes_total"), 1.0);
    let open = "traefik_open_connections{entrypoint=\"web\",protocol=\"UDP\"}";
    rig.until("the connection is closed", || rig.proxy.admin("/metrics").contains(&format!("{open} 0\n")));
}

#[test]
fn many_streams_at_once_and_trailers() {
    let rig = start(web, &[]);
    let client = Client::of(&rig);
    let said = client.run("many", &["100 /bytes/20000"]);
    let all = |key: &str, value: u64| said[key].as_array().unwrap().iter().all(|one| *one == value);
    assert!(said["statuses"].as_array().unwrap().len() == 100 && all("statuses", 200), "{said}");
    assert!(all("lengths", 20_000), "{said}");
    let said = client.run("trailers", &["/echo"]);
    assert!(said["text"].as_str().unwrap().contains("body: 5 bytes"), "{said}");
}

#[test]
fn answers_over_tls_say_where_http3_is() {
    let rig = start(web, &[]);
    let line = format!("alt-svc: h3=\":{}\"; ma=2592000\r\n", rig.proxy.web.port());
    for (protocol, scheme, path) in [
        ("--http1.1", "https", "/"),
        ("--http2", "https", "/"),
        ("--http1.1", "http", "/"),
        ("--http2", "https", "/status/404"),
    ] {
        let said = rig.curl(&["-i", protocol, &rig.url(scheme, "web.test", path)]).to_lowercase();
        assert_eq!(
            said.matches(&line).count(),
            usize::from(scheme == "https"),
            "{protocol} {scheme}: {said}"
        );
    }
    let unrouted =
        rig.curl(&["-i", "-H", "Host: nobody.test", &rig.url("https", "web.test", "/")]).to_lowercase();
    assert!(unrouted.contains(" 404") && unrouted.contains(&line), "{unrouted}");
    let said = Client::of(&rig).run("requests", &["GET /"]);
    assert!(!said.to_string().contains("alt-svc"), "{said}");
    let elsewhere = start(web, &["--entryPoints.web.http3.advertisedPort=443"]);
    let said = elsewhere.curl(&["-i", &elsewhere.url("https", "web.test", "/")]).to_lowercase();
    assert!(said.contains("alt-svc: h3=\":443\"; ma=2592000\r\n"), "{said}");
}

#[test]
fn case_21_a_connection_outlives_changes_of_its_clients_address_on_every_worker() {
    let rig = start(web, &[]);
    let client = Client::of(&rig);
    // Each connection falls to one of two workers, each change of address would without steering: 12 chances to go wrong.
    for _ in 0..4 {
        let said = client.run("migrate", &["/echo", "/bytes/300000", "/echo", "/echo"]);
        let answers = said["answers"].as_array().unwrap();
        assert!(answers.len() == 4 && answers.iter().all(|one| one["status"] == 200), "{said}");
        assert_eq!(answers[1]["length"], 300_000);
    }
    assert!(metric(&rig, "pancake_quic_migrations_total") >= 4.0);
    assert_eq!(metric(&rig, "pancake_quic_handshakes_total"), 4.0);
}

#[test]
fn case_21_under_a_flood_of_initials_clients_must_show_their_address() {
    let rig = start(web, &["--pancake.limits.tlsHandshakeTimeout=3s"]);
    let said = Client::of(&rig).run("flood", &["300"]);
    let (retries, answers) = (said["retries"].as_u64().unwrap(), said["answers"].as_u64().unwrap());
    // 64 handshakes under way for each of two workers, at most; how many the kernel dropped is its affair.
    assert!(retries > 0 && answers - retries <= 128, "{said}");
    assert_eq!(said["through"][0]["status"], 200, "a client that goes on gets through: {said}");
    assert!(metric(&rig, "pancake_quic_retries_total") >= retries as f64);
    rig.until("those that went no further are gone", || {
        metric(&rig, "traefik_open_connections{entrypoint=\"web\",protocol=\"UDP\"}") == 0.0
    });
    assert!(metric(&rig, "pancake_quic_failures_total") >= 1.0);
}

#[test]
fn certificates_and_options_are_those_of_the_name() {
    let rig = start(
        |dir, backend| {
            certificate(dir, "other", &["other.test"]);
            certificate(dir, "strict", &["strict.test"]);
            let dir_ = dir.display();
            web(dir, backend)
                .replace("Host(`web.test`) ||", "Host(`web.test`) || Host(`other.test`) || Host(`else.test`) ||")
                .replace(
                    "  services:",
                    "    old: {rule: 'Host(`old.test`)', service: one, tls: {options: old}}
    strict: {rule: 'Host(`strict.test`) || Host(`nocert.test`)', service: one, tls: {options: strict}}
  services:",
                )
                .replace(
                    "tls:\n  certificates: [",
                    &format!(
                        "tls:
  options:
    strict: {{sniStrict: true}}
    old: {{maxVersion: VersionTLS12}}
  certificates: [{{certFile: '{dir_}/other.pem', keyFile: '{dir_}/other.key'}}, {{certFile: '{dir_}/strict.pem', keyFile: '{dir_}/strict.key'}}, "
                    ),
                )
        },
        &[],
    );
    let client = Client::of(&rig);
    for (host, ca) in [("web.test", "cert.pem"), ("other.test", "other.pem"), ("strict.test", "strict.pem")] {
        let ca = rig.dir.path().join(ca).display().to_string();
        let said = client.with(&["--host", host, "--ca", &ca]).run("requests", &["GET /"]);
        assert_eq!(said[0]["status"], 200, "{host}: {said}");
    }
    let ca = rig.dir.path().join("cert.pem").display().to_string();
    let said = client.with(&["--host", "other.test", "--ca", &ca]).run("requests", &["GET /"]);
    assert!(said["refused"].is_string(), "its certificate is another one: {said}");
    let said = client.with(&["--host", "else.test"]).run("requests", &["GET /"]);
    assert_eq!(said[0]["status"], 200, "without a certificate of its own it gets the default one: {said}");
    let said = client.with(&["--host", "nocert.test"]).run("requests", &["GET /"]);
    // 112 is unrecognized_name, 70 protocol_version (RFC 8446 section 6); QUIC adds 0x100.
    assert_eq!(said["error_code"], 0x100 + 112, "sniStrict refuses names without certificate: {said}");
    let said = client.with(&["--host", "old.test"]).run("requests", &["GET /"]);
    assert_eq!(said["error_code"], 0x100 + 70, "QUIC needs TLS 1.3: {said}");
    let said = client.with(&["--host", "web.test", "--authority", "strict.test"]).run("requests", &["GET /"]);
    assert_eq!(said[0]["status"], 421, "the handshake was made by other rules: {said}");
}

#[test]
fn case_20_requests_that_break_the_rules_reach_no_server() {
    let rig = start(web, &[]);
    let said = Client::of(&rig).run("malformed", &[]);
    const MESSAGE_ERROR: &str = "reset 270";
    for name in ["injection", "two paths", "connection field", "upper case", "long body", "short body"] {
        assert_eq!(said[name][1], MESSAGE_ERROR, "{name}: {said}");
    }
    assert_eq!(said["good"][0], 200, "{said}");
    assert_eq!(said["data first"][2][0], 0x105, "FRAME_UNEXPECTED ends the connection: {said}");
    assert_eq!(said["no head"][1], "reset 269", "{said}");
    assert_eq!(said["endless head"][0], 431, "{said}");
}

#[test]
fn early_data_is_off_unless_asked_for_and_then_for_safe_methods_only() {
    let rig = start(web, &[]);
    let said = Client::of(&rig).run("early", &["GET /echo"]);
    assert_eq!(said["accepted"], false, "{said}");
    assert!(!said["answers"][0]["text"].as_str().unwrap().to_lowercase().contains("early-data"), "{said}");

    let rig = start(web, &["--entryPoints.web.pancake.zeroRtt=true", "--pancake.workers=1"]);
    let said = Client::of(&rig).run("early", &["GET /echo", "POST /echo"]);
    assert_eq!(said["accepted"], true, "{said}");
    let text = |n: usize| said["answers"][n]["text"].as_str().unwrap_or_default().to_lowercase();
    assert!(text(0).contains("early-data: 1\n"), "{said}");
    assert!(text(1).starts_with("post /echo") && !text(1).contains("early-data"), "{said}");
}

#[test]
fn web_sockets_pass_over_http3() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    let rig = start(|dir, _| web(dir, server), &[]);
    let echo = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let (mut reader, mut head) = (BufReader::new(&stream), String::new());
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
        }
        let agreed = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        (&stream).write_all(agreed.as_bytes()).unwrap();
        let mut frame = [0; 11];
        reader.read_exact(&mut frame).unwrap();
        // A text frame comes back without its mask.
        (&stream).write_all(&[&[0x81, 5], &frame[6..]].concat()).unwrap();
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        (head, frame)
    });
    let said = Client::of(&rig).run("websocket", &["/chat"]);
    let (head, frame) = echo.join().unwrap();
    assert!(head.starts_with("GET /chat HTTP/1.1\r\n") && head.contains("Sec-WebSocket-Key: "), "{head}");
    assert_eq!(&frame[6..], b"hello");
    assert_eq!((&said["status"], &said["text"]), (&200.into(), &"\u{81}\u{5}hello".into()), "{said}");
}

#[test]
fn a_swap_touches_no_connection_and_a_drain_lets_requests_finish() {
    let mut rig = start(web, &["--providers.providersThrottleDuration=0s"]);
    let flag = rig.dir.path().join("go");
    let mut waiting = Client::of(&rig)
        .start("requests", &["GET /echo", &format!("WAIT {}", flag.display()), "GET /bytes/77"]);
    waiting.line("waiting");
    certificate(rig.dir.path(), "cert", &["web.test", "new.test"]);
    let file = rig.dir.path().join("dynamic.yml");
    let swapped = fs::read_to_string(&file).unwrap().replace("Host(`a.web.test`)", "Host(`new.test`)");
    fs::write(&file, swapped).unwrap();
    rig.until("the new certificate serves", || {
        let said = rig.try_curl(&[
            "--resolve",
            &format!("new.test:{}:127.0.0.1", rig.proxy.web.port()),
            &rig.url("https", "new.test", "/"),
        ]);
        said.status.success() && said.stdout == b"one\n"
    });
    fs::write(&flag, "").unwrap();
    let said = waiting.json();
    assert_eq!((&said[0]["status"], &said[1]["length"]), (&200.into(), &77.into()), "{said}");
    assert_eq!(metric(&rig, "pancake_quic_handshakes_total"), 1.0);

    let mut held = Client::of(&rig).start("hold", &["/slow/1500"]);
    held.line("open");
    rig.until("the request is under way", || metric(&rig, "pancake_requests_in_flight") == 1.0);
    rig.proxy.process.signal("TERM").unwrap();
    let said = held.json();
    assert_eq!((&said["answer"]["status"], &said["answer"]["how"]), (&200.into(), &"whole".into()), "{said}");
    assert_eq!(said["terminated"][0], 0x100, "NO_ERROR: {said}");
    assert!(rig.proxy.process.wait_exit(SOON).unwrap().success());
}
