//! The protocols of the edge through the real binary, spoken by the clients that people use.

mod rig;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;

use rig::{Rig, SOON, certificate, web};

#[test]
fn one_port_speaks_http1_and_http2_with_tls_and_without() {
    let rig = Rig::start(web, &[]);
    let (secure, plain) = (rig.url("https", "web.test", "/echo"), rig.url("http", "web.test", "/echo"));
    for (arguments, version, proto) in [
        (["--http1.1", &secure], "1.1", "https"),
        (["--http2", &secure], "2", "https"),
        (["--http1.1", &plain], "1.1", "http"),
        (["--http2-prior-knowledge", &plain], "2", "http"),
    ] {
        let mut all = vec!["-w", "\nversion %{http_version} %{http_code}"];
        all.extend(arguments);
        let said = rig.curl(&all).to_lowercase();
        assert!(said.contains(&format!("version {version} 200")), "{said}");
        assert!(said.contains(&format!("x-forwarded-proto: {proto}\n")), "{said}");
        let port = rig.proxy.web.port();
        assert!(said.contains(&format!("x-forwarded-port: {port}\n")), "{said}");
    }
}

#[test]
fn large_bodies_pass_both_ways_in_every_protocol() {
    let rig = Rig::start(web, &[]);
    let body = rig.dir.path().join("body");
    fs::write(&body, vec![b'x'; 3_000_000]).unwrap();
    let upload = format!("@{}", body.display());
    let out = rig.dir.path().join("out");
    for protocol in ["--http1.1", "--http2"] {
        let said = rig.curl(&[protocol, &rig.url("https", "web.test", "/echo"), "--data-binary", &upload]);
        assert!(said.contains("body: 3000000 bytes"), "{protocol}: {said}");
        // Without a length HTTP/1.1 needs chunks, HTTP/2 nothing.
        let unsized_body =
            if protocol == "--http1.1" { "Transfer-Encoding: chunked" } else { "Content-Length:" };
        let chunked = [
            protocol,
            &rig.url("https", "web.test", "/echo"),
            "-H",
            unsized_body,
            "-H",
            "Expect:",
            "--data-binary",
            &upload,
        ];
        assert!(rig.curl(&chunked).contains("body: 3000000 bytes"), "{protocol} without a length");
        let path = out.display().to_string();
        rig.curl(&[protocol, &rig.url("https", "web.test", "/bytes/5000000"), "-o", &path]);
        assert_eq!(fs::metadata(&out).unwrap().len(), 5_000_000, "{protocol}");
    }
}

#[test]
fn speaks_tls_1_2_and_1_3_with_sni_and_resumes_sessions() {
    let rig = Rig::start(web, &[]);
    for version in ["-tls1_2", "-tls1_3"] {
        let said = rig.s_client(&[version, "-servername", "web.test"]);
        assert!(said.contains("rcgen self signed cert"), "{version}: {said}");
    }
    let said = rig.s_client(&["-tls1_3", "-servername", "elsewhere.test"]);
    assert!(said.contains("PANCAKE DEFAULT CERT"), "a name without certificate gets the default: {said}");
    let refused = rig.s_client(&["-tls1_1", "-servername", "web.test"]);
    assert!(refused.contains("alert") || refused.contains("no protocols"), "{refused}");
    let session = rig.dir.path().join("session").display().to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let first = exchange(&rig, &[version, "-sess_out", &session]);
        assert!(first.contains("New, TLSv1"), "{first}");
        let second = exchange(&rig, &[version, "-sess_in", &session]);
        assert!(second.contains("Reused, TLSv1"), "{version}: {second}");
    }
    let metrics = rig.proxy.admin("/metrics");
    assert!(metrics.contains("pancake_tls_resumed_total 2"), "{metrics}");
}

/// One request through `openssl s_client`, which keeps the session that came with the answer.
fn exchange(rig: &Rig, arguments: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-ign_eof", "-servername", "web.test", "-connect", &rig.proxy.web.to_string()]);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut client = command.spawn().expect("openssl is installed");
    // Held until the server has closed: the end of its input would end the client.
    let mut input = client.stdin.take().unwrap();
    input.write_all(b"GET / HTTP/1.1\r\nHost: web.test\r\nConnection: close\r\n\r\n").unwrap();
    let mut said = String::new();
    client.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    client.wait().unwrap();
    said
}

#[test]
fn a_certificate_is_replaced_under_load_without_a_failed_request() {
    let rig = Rig::start(web, &["--providers.providersThrottleDuration=0s"]);
    let before = rig.s_client(&["-servername", "web.test"]);
    let url = rig.url("https", "web.test", "/");
    let load = thread::scope(|scope| {
        let address = rig.proxy.web.to_string();
        let running = scope.spawn(move || {
            // Each connection of h2load lives for all its requests; new ones are made by curl below.
            let connect = format!("--connect-to={address}");
            let arguments = ["-D", "6", "-c", "8", "-m", "8", &connect, &url];
            Command::new("h2load").args(arguments).output().expect("h2load is installed")
        });
        certificate(rig.dir.path(), "cert", &["web.test", "*.web.test", "tcp.test"]);
        rig.until("the new certificate serves", || {
            let now = rig.s_client(&["-servername", "web.test"]);
            let body = |text: &str| text.split("-----").nth(2).map(str::to_owned);
            body(&now).is_some() && body(&now) != body(&before)
        });
        assert!(rig.curl(&["--http2", &rig.url("https", "web.test", "/")]).contains("one"));
        running.join().unwrap()
    });
    let said = String::from_utf8_lossy(&load.stdout);
    assert!(said.contains(" 0 failed, 0 errored, 0 timeout"), "{said}");
    assert!(!said.contains("requests: 0 total"), "{said}");
}

#[test]
fn a_request_for_a_host_with_other_tls_options_is_misdirected() {
    let rig = Rig::start(
        |dir, backend| {
            let strict = "  options:\n    strict: {minVersion: VersionTLS13}\n";
            let routed = "    strict: {rule: 'Host(`strict.web.test`)', service: one, tls: {options: strict}}\n  services:";
            format!("{}{strict}", web(dir, backend).replace("  services:", routed))
        },
        &[],
    );
    let said = rig.curl(&[
        "--http1.1",
        "-w",
        " %{http_code}",
        "-H",
        "Host: strict.web.test",
        &rig.url("https", "web.test", "/"),
    ]);
    assert!(said.ends_with(" 421"), "{said}");
    let refused = rig.s_client(&["-tls1_2", "-servername", "strict.web.test"]);
    assert!(refused.contains("alert protocol version"), "{refused}");
}

#[test]
fn tcp_routers_take_raw_connections_and_those_of_their_names() {
    let rig = Rig::start(
        |dir, backend| {
            format!(
                "{}tcp:
  routers:
    raw: {{rule: 'HostSNI(`*`)', service: raw, entryPoints: [raw]}}
    named: {{rule: 'HostSNI(`tcp.test`)', service: raw, entryPoints: [web], tls: {{}}}}
  services:
    raw: {{loadBalancer: {{servers: [{{address: '{backend}'}}]}}}}
",
                web(dir, backend)
            )
        },
        &[],
    );
    let port = rig.raw.port();
    assert!(rig.curl(&[&format!("http://web.test:{port}/")]).contains("one"), "raw bytes");
    // No X-Forwarded-*: nobody has read the request.
    let said = rig.curl(&["--http1.1", &rig.url("https", "tcp.test", "/echo")]).to_lowercase();
    assert!(said.contains("get /echo") && !said.contains("x-forwarded-for"), "{said}");
    let said = rig.curl(&["--http1.1", &rig.url("https", "web.test", "/echo")]).to_lowercase();
    assert!(said.contains("x-forwarded-for"), "the HTTP router has its own: {said}");
    let out = rig.dir.path().join("out");
    let path = out.display().to_string();
    rig.curl(&[&format!("http://web.test:{port}/bytes/20000000"), "-o", &path]);
    assert_eq!(fs::metadata(&out).unwrap().len(), 20_000_000, "large flows are whole");
}

#[test]
fn tls_is_passed_through_untouched_and_servers_are_spoken_to_in_tls() {
    let inner = Rig::start(web, &[]);
    let behind = inner.proxy.web;
    let ca = inner.dir.path().join("cert.pem").display().to_string();
    let outer = Rig::start(
        |dir, _| {
            let dir = dir.display();
            format!(
                "http:
  routers:
    secure: {{rule: 'Host(`web.test`)', service: inner, entryPoints: [web]}}
  services:
    inner:
      loadBalancer: {{serversTransport: verified, servers: [{{url: 'https://{behind}'}}]}}
  serversTransports:
    verified: {{serverName: web.test, rootCAs: ['{ca}']}}
    unknown: {{serverName: web.test}}
tls:
  certificates: [{{certFile: '{dir}/cert.pem', keyFile: '{dir}/cert.key'}}]
tcp:
  routers:
    through: {{rule: 'HostSNI(`a.web.test`)', service: inner, entryPoints: [raw], tls: {{passthrough: true}}}}
  services:
    inner: {{loadBalancer: {{servers: [{{address: '{behind}'}}]}}}}
"
            )
        },
        &[],
    );
    // The inner proxy's certificate is seen through the outer one.
    let through = format!("https://a.web.test:{}/", outer.raw.port());
    let said = outer.try_curl(&["--http2", "--cacert", &ca, "-w", " %{http_version}", &through]);
    assert_eq!(String::from_utf8_lossy(&said.stdout), "one\n 2", "{}", String::from_utf8_lossy(&said.stderr));
    let said = outer.curl(&["-w", " %{http_code}", &outer.url("http", "web.test", "/echo")]).to_lowercase();
    assert!(said.ends_with(" 200") && said.contains("x-forwarded-proto: https"), "{said}");
    let file = outer.dir.path().join("dynamic.yml");
    let text =
        fs::read_to_string(&file).unwrap().replace("serversTransport: verified", "serversTransport: unknown");
    fs::write(&file, text).unwrap();
    outer.until("a certificate of an unknown authority is refused", || {
        let said = outer.curl(&["-w", " %{http_code}", &outer.url("http", "web.test", "/echo")]);
        said.ends_with(" 502")
    });
}

#[test]
fn proxy_headers_are_believed_of_trusted_peers_and_written_for_servers() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    let rig = Rig::start(
        |dir, backend| {
            format!(
                "{}tcp:
  routers:
    raw: {{rule: 'HostSNI(`*`)', service: raw, entryPoints: [raw]}}
  services:
    raw: {{loadBalancer: {{serversTransport: told, servers: [{{address: '{server}'}}]}}}}
  serversTransports:
    told: {{proxyProtocol: {{version: 1}}}}
",
                web(dir, backend)
            )
        },
        &["--entryPoints.web.proxyProtocol.trustedIPs=127.0.0.1"],
    );
    let said = rig.curl(&["--haproxy-protocol", &rig.url("http", "web.test", "/echo")]);
    assert!(said.to_lowercase().contains("x-forwarded-for: 127.0.0.1\n"), "{said}");
    let mut stream = TcpStream::connect(rig.proxy.web).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n").unwrap();
    stream.write_all(b"GET /echo HTTP/1.1\r\nHost: web.test\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.to_lowercase().contains("x-forwarded-for: 192.0.2.7\n"), "{answer}");
    let mut stream = TcpStream::connect(rig.proxy.web).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(b"PROXY TCP4 192.0.2.7 999.0.2.1 4711 80\r\nGET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty(), "a malformed header ends the connection");

    let mut client = TcpStream::connect(rig.raw).unwrap();
    client.write_all(b"hello").unwrap();
    let (mut at_server, _) = listener.accept().unwrap();
    at_server.set_read_timeout(Some(SOON)).unwrap();
    let from = client.local_addr().unwrap().port();
    let expected = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {}\r\nhello", rig.raw.port());
    let mut got = vec![0; expected.len()];
    at_server.read_exact(&mut got).unwrap();
    assert_eq!(String::from_utf8(got).unwrap(), expected);
}

#[test]
fn servers_over_tls_are_spoken_to_in_http2_and_upgrades_in_http1() {
    // A server that agrees to a web socket and sends back what comes.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n").unwrap();
        stream.write_all(b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n").unwrap();
        std::io::copy(&mut stream.try_clone().unwrap(), &mut stream).unwrap();
    });
    let inner = Rig::start(
        |dir, backend| {
            let socket = format!(
                "    socket: {{rule: 'Path(`/socket`)', priority: 1000, service: socket, tls: {{}}}}\n  services:
    socket: {{loadBalancer: {{servers: [{{url: 'http://{socket}'}}]}}}}"
            );
            web(dir, backend).replace("  services:", &socket)
        },
        &["--accessLog=true"],
    );
    let (behind, ca) = (inner.proxy.web, inner.dir.path().join("cert.pem").display().to_string());
    let outer = Rig::start(
        |_, _| {
            format!(
                "http:
  routers:
    any: {{rule: 'PathPrefix(`/`)', service: any, entryPoints: [web]}}
    old: {{rule: 'PathPrefix(`/old`)', service: old, entryPoints: [web]}}
  services:
    any: {{loadBalancer: {{serversTransport: any, servers: [{{url: 'https://{behind}'}}]}}}}
    old: {{loadBalancer: {{serversTransport: old, servers: [{{url: 'https://{behind}'}}]}}}}
  serversTransports:
    any: {{serverName: web.test, rootCAs: ['{ca}']}}
    old: {{serverName: web.test, rootCAs: ['{ca}'], disableHTTP2: true}}
"
            )
        },
        &[],
    );
    assert!(outer.curl(&[&outer.url("http", "web.test", "/new")]).contains("one"));
    assert!(outer.curl(&[&outer.url("http", "web.test", "/old")]).contains("one"));
    outer.until("both are logged", || inner.proxy.process.output().contains("GET /old"));
    let log = inner.proxy.process.output();
    assert!(log.contains("\"GET /new HTTP/2.0\"") && log.contains("\"GET /old HTTP/1.1\""), "{log}");

    let mut client = TcpStream::connect(outer.proxy.web).unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    client.write_all(b"GET /socket HTTP/1.1\r\nHost: web.test\r\nConnection: Upgrade\r\n").unwrap();
    client.write_all(b"Upgrade: websocket\r\n\r\n").unwrap();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    client.write_all(b"ping pong").unwrap();
    let mut rest = Vec::new();
    while !rest.ends_with(b"ping pong") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        rest.push(byte[0]);
    }
}
