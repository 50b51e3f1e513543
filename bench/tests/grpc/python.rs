//! grpcio as client and as server, with TLS and without.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tokio::runtime::Runtime;

use crate::{proxy, rig, server};

/// Python with grpcio, as `ops/test` installs it.
fn python() -> PathBuf {
    let home = std::env::var_os("HOME").unwrap_or_default();
    let cache = std::env::var_os("PANCAKE_CACHE")
        .map_or_else(|| PathBuf::from(home).join(".cache/pancake"), PathBuf::from);
    let own = cache.join("venv/bin/python");
    if own.is_file() { own } else { "python3".into() }
}

fn peer(arguments: &[&str]) -> Command {
    let mut command = Command::new(python());
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/grpc/peer.py")).args(arguments);
    command
}

/// Makes every kind of call.
fn call(target: &str, authority: Option<&Path>) {
    let mut arguments = vec!["call", target];
    let authority = authority.map(|path| path.display().to_string());
    arguments.extend(authority.as_deref());
    let out = peer(&arguments).output().expect("Python is installed");
    let (said, errors) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(said.ends_with("all calls passed\n"), "(ops/test installs grpcio) {said}{errors}");
}

/// A running server by grpcio; it ends when this drops.
struct Served {
    child: Child,
    port: u16,
}

impl Served {
    fn start(arguments: &[&str]) -> Served {
        let mut all = vec!["serve"];
        all.extend(arguments);
        let mut child = peer(&all).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().expect("grpcio serves (ops/test installs it)");
        Served { child, port }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_client_by_grpcio_makes_every_kind_of_call_with_tls_and_without() {
    let runtime = Runtime::new().unwrap();
    let (address, _) = server::start(&runtime);
    let rig = proxy(&format!("h2c://{address}"), None);
    let target = rig.proxy.web.to_string();
    call(&target, None);
    call(&target, Some(&rig.dir.path().join("cert.pem")));
}

#[test]
fn a_server_by_grpcio_answers_every_kind_of_call_with_tls_and_without() {
    let plain = Served::start(&[]);
    let rig = proxy(&format!("h2c://127.0.0.1:{}", plain.port), None);
    call(&rig.proxy.web.to_string(), None);

    let dir = tempfile::tempdir().unwrap();
    let certificate = rig::certificate(dir.path(), "server", &["web.test"]);
    let key = dir.path().join("server.key");
    assert!(fs::exists(&key).unwrap());
    let secure = Served::start(&[&certificate.display().to_string(), &key.display().to_string()]);
    let rig = proxy(&format!("https://127.0.0.1:{}", secure.port), Some(&certificate));
    call(&rig.proxy.web.to_string(), Some(&rig.dir.path().join("cert.pem")));
}
