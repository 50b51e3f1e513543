//! Servers that are named by host, through the real binary: a name with several addresses is served by whichever answers.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use pancake_bench::backend::Backend;
use pancake_bench::load;
use pancake_bench::process::{free_addr, wait_until};
use pancake_bench::stack::Proxy;

const SOON: Duration = Duration::from_secs(20);

/// Whether the proxy can be given an `/etc/hosts` of its own.
fn can_have_its_own_hosts() -> bool {
    let made = Command::new("unshare").args(["--mount", "true"]).output();
    let made = made.is_ok_and(|out| out.status.success());
    if !made {
        eprintln!("SKIPPED: no mount namespace can be made here (unshare --mount)");
    }
    made
}

#[test]
fn a_name_with_several_addresses_is_served_by_the_one_that_answers() {
    if !can_have_its_own_hosts() {
        return;
    }
    // Either is the first of the two for the system's resolver.
    for listen in ["127.0.0.1:0", "127.0.0.9:0"] {
        for engine in ["ring", "epoll"] {
            let dir = tempfile::tempdir().unwrap();
            let backend = Backend::start("one", listen).unwrap();
            let raw = free_addr().unwrap();
            let port = backend.addr.port();
            let file = dir.path().join("dynamic.yml");
            let dynamic = format!(
                "http:
  routers: {{all: {{rule: 'PathPrefix(`/`)', service: one, entryPoints: [web]}}}}
  services: {{one: {{loadBalancer: {{servers: [{{url: 'http://many.test:{port}'}}]}}}}}}
tcp:
  routers: {{raw: {{rule: 'HostSNI(`*`)', service: one, entryPoints: [raw]}}}}
  services: {{one: {{loadBalancer: {{servers: [{{address: 'many.test:{port}'}}]}}}}}}
"
            );
            fs::write(&file, dynamic).unwrap();
            let raw_flag = format!("--entryPoints.raw.address={raw}");
            let arguments = [&*raw_flag, &*format!("--pancake.engine={engine}")];
            let hosts = dir.path().join("hosts");
            fs::write(&hosts, "127.0.0.1 localhost many.test\n127.0.0.9 many.test\n").unwrap();
            let (hosts, run) = (hosts.display(), "exec \"$0\" \"$@\"");
            let prelude = format!(
                "exec unshare --mount sh -c 'mount --bind {hosts} /etc/hosts && {run}' \"$0\" \"$@\""
            );
            let proxy = Proxy::start_after(&prelude, dir.path(), &file, &arguments).unwrap();
            let served = || load::get(proxy.web, "x", "/name").is_ok_and(|a| a.head.status() == 200);
            wait_until("a first answer", SOON, served).unwrap();
            for _ in 0..20 {
                let answer = load::get(proxy.web, "x", "/name").unwrap();
                assert_eq!(answer.head.status(), 200, "{listen} {engine}");
                let mut stream = TcpStream::connect(raw).unwrap();
                stream.set_read_timeout(Some(SOON)).unwrap();
                stream.write_all(b"GET /name HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
                let mut said = String::new();
                stream.read_to_string(&mut said).unwrap();
                assert!(said.starts_with("HTTP/1.1 200 "), "{listen} {engine}: {said}");
            }
        }
    }
}
