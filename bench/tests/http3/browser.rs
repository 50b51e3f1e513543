//! A page in chromium, over HTTP/3.

use std::fs;
use std::process::{Command, Stdio};

use crate::rig::web;
use crate::start;

/// The hash by which chromium trusts a certificate that no authority signed: of its public key.
fn key_hash(certificate: &std::path::Path) -> String {
    let script = "openssl x509 -pubkey -noout -in \"$1\" | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | openssl base64";
    let out = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(certificate)
        .output()
        .expect("openssl is installed");
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

#[test]
fn chromium_loads_a_page_over_http3() {
    let rig = start(web, &[]);
    let (port, home) = (rig.proxy.web.port(), rig.dir.path().join("chromium"));
    let log = rig.dir.path().join("access.log");
    let mut chromium = Command::new("chromium");
    chromium.args([
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
    ]);
    chromium.args(["--disable-background-networking", "--enable-quic", "--virtual-time-budget=5000"]);
    chromium.arg(format!("--user-data-dir={}", home.display()));
    chromium.arg(format!("--origin-to-force-quic-on=web.test:{port}"));
    chromium.arg("--host-resolver-rules=MAP web.test 127.0.0.1");
    let hash = key_hash(&rig.dir.path().join("cert.pem"));
    chromium.arg(format!("--ignore-certificate-errors-spki-list={hash}"));
    chromium.arg("--dump-dom").arg(format!("https://web.test:{port}/echo?page"));
    let out = chromium.stdin(Stdio::null()).output().expect("chromium is installed (ops/test installs it)");
    let (dom, errors) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(dom.contains("GET /echo?page HTTP/1.1"), "{dom}\n{errors}");
    rig.until("the page is in the access log", || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.contains("\"GET /echo?page HTTP/3.0\" 200 ")
    });
}
