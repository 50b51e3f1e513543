//! SIGTERM: what is in flight is finished, nothing new is accepted, and the program ends by itself.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use pancake_bench::backend::Backend;
use pancake_bench::load::{connect, get};
use pancake_bench::message::read_answer;
use pancake_bench::process::wait_until;
use pancake_bench::stack::Proxy;

const SOON: Duration = Duration::from_secs(20);

#[test]
fn requests_in_flight_are_finished_and_new_connections_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let backend = Backend::start("one", "127.0.0.1:0").unwrap();
    let file = dir.path().join("routes.yml");
    let text = format!(
        "http:\n  routers:\n    app:\n      rule: \"PathPrefix(`/`)\"\n      service: app\n  services:\n    app:\n      \
         loadBalancer:\n        servers:\n          - url: \"{}\"\n",
        backend.url()
    );
    fs::write(&file, text).unwrap();
    let mut proxy = Proxy::start(dir.path(), &file).unwrap();
    wait_until("it serves", SOON, || get(proxy.web, "a", "/").is_ok_and(|a| a.head.status() == 200)).unwrap();

    let before = backend.received();
    let mut idle = connect(proxy.web, SOON).unwrap();
    let mut busy = connect(proxy.web, SOON).unwrap();
    busy.get_mut().write_all(b"GET /slow/3000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    wait_until("the request is with the backend", SOON, || backend.received() > before).unwrap();

    proxy.process.signal("TERM").unwrap();
    wait_until("the port is closed", SOON, || TcpStream::connect(proxy.web).is_err()).unwrap();
    let answer = read_answer(&mut busy, "GET").unwrap().expect("an answer, not a closed connection");
    assert_eq!(answer.head.status(), 200);
    assert!(!answer.head.keep_alive(), "the answer tells the client to go: {:?}", answer.head);
    assert!(matches!(read_answer(&mut idle, "GET"), Ok(None)), "an idle connection is closed without a word");
    let status = proxy.process.wait_exit(SOON).unwrap();
    assert!(status.success(), "{status}\n{}", proxy.process.output());
}
