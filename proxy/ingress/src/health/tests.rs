use std::cell::RefCell;

use pancake_table::check::check;
use pancake_table::compile::compile;
use pancake_table::snapshot::{LoadBalancer, ServiceKind, Snapshot};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

use super::*;
use crate::change::tests::entry_points;

/// A server that answers each request with what `answers` says at that time, and keeps the requests.
struct Backend {
    address: std::net::SocketAddr,
    answer: Rc<RefCell<String>>,
    requests: Rc<RefCell<Vec<String>>>,
}

async fn backend(answer: &str) -> Backend {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Rc::new(RefCell::new(answer.to_owned()));
    let requests = Rc::new(RefCell::new(Vec::new()));
    let (answers, kept) = (answer.clone(), requests.clone());
    spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            let mut buffer = [0; 4096];
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read(&mut buffer).await {
                    Ok(n) if n > 0 => head.extend_from_slice(&buffer[..n]),
                    _ => break,
                }
            }
            kept.borrow_mut().push(String::from_utf8(head).unwrap());
            let answer = answers.borrow().clone();
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    Backend { address, answer, requests }
}

fn table(servers: &[String], check_with: HealthCheck, previous: Option<&Table>) -> Table {
    let balancer = LoadBalancer {
        servers: servers.iter().map(pancake_table::snapshot::Server::new).collect(),
        health_check: Some(check_with),
        ..LoadBalancer::default()
    };
    let service =
        pancake_table::snapshot::Service { name: "s@file".into(), kind: ServiceKind::LoadBalancer(balancer) };
    let snapshot = Snapshot { services: vec![service], ..Snapshot::default() };
    let report = check(&snapshot, &["web".into()]);
    assert!(!report.has_errors(), "{:?}", report.problems());
    compile(Arc::new(snapshot), &report, &entry_points(), previous)
}

fn fast() -> HealthCheck {
    HealthCheck {
        path: "/health?x=1".into(),
        interval: Duration::from_millis(10),
        unhealthy_interval: Duration::from_millis(10),
        timeout: Duration::from_secs(5),
        ..HealthCheck::default()
    }
}

async fn eventually(condition: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.expect("the condition holds in time");
}

fn local<F: std::future::Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test)
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const BAD: &str = "HTTP/1.1 503 Bad\r\nContent-Length: 0\r\n\r\n";

#[test]
fn a_failing_server_goes_down_and_comes_back() {
    local(async {
        let backend = backend(BAD).await;
        let table = Arc::new(table(&[format!("http://{}", backend.address)], fast(), None));
        let live = table.services[0].servers[0].live.clone();
        let (_changed, changes) = watch::channel(0);
        let checks = spawn_local(run(Arc::new(ArcSwap::new(table)), changes));
        eventually(|| !live.is_up()).await;
        *backend.answer.borrow_mut() = OK.into();
        eventually(|| live.is_up()).await;
        let request = backend.requests.borrow()[0].to_lowercase();
        assert!(request.starts_with("get /health?x=1 http/1.1\r\n"), "{request}");
        assert!(request.contains(&format!("host: {}\r\n", backend.address)), "{request}");
        checks.abort();
    });
}

#[test]
fn a_server_that_stays_keeps_its_check_through_a_swap() {
    local(async {
        let (one, two) = (backend(BAD).await, backend(OK).await);
        let slow = HealthCheck { unhealthy_interval: Duration::from_secs(600), ..fast() };
        let urls = [&one, &two].map(|backend| format!("http://{}", backend.address));
        let first = Arc::new(table(&urls[..1], slow.clone(), None));
        let live = first.services[0].servers[0].live.clone();
        let served = Arc::new(ArcSwap::new(first.clone()));
        let (changed, changes) = watch::channel(0);
        let checks = spawn_local(run(served.clone(), changes));
        eventually(|| !live.is_up()).await;
        served.store(Arc::new(table(&urls, slow, Some(&first))));
        changed.send_replace(1);
        eventually(|| !two.requests.borrow().is_empty()).await;
        assert_eq!(one.requests.borrow().len(), 1);
        assert!(!served.load().services[0].servers[0].live.is_up());
        checks.abort();
    });
}

async fn verdict(answer: &str, check: &HealthCheck) -> Result<(), String> {
    let backend = backend(answer).await;
    let table = table(&[format!("http://{}", backend.address)], check.clone(), None);
    probe::probe(&table.services[0].servers[0], check).await.map_err(|down| down.to_string())
}

#[test]
fn the_status_decides() {
    local(async {
        let redirect = "HTTP/1.1 302 Found\r\nLocation: https://x.test/\r\nContent-Length: 0\r\n\r\n";
        let stay = HealthCheck { follow_redirects: false, ..fast() };
        assert_eq!(verdict(redirect, &stay).await, Ok(()));
        assert!(verdict(redirect, &fast()).await.unwrap_err().contains("redirected"));
        let teapot = HealthCheck { status: Some(418), ..fast() };
        assert_eq!(verdict(OK, &teapot).await.unwrap_err(), "status 200, expected 418");
        assert_eq!(verdict(BAD, &fast()).await.unwrap_err(), "status 503, expected 2xx or 3xx");
        assert!(verdict("nonsense\r\n\r\n", &fast()).await.is_err());
    });
}

#[test]
fn redirects_are_followed_within_a_limit() {
    local(async {
        let loops = "HTTP/1.1 301 Moved\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n";
        assert!(verdict(loops, &fast()).await.unwrap_err().contains("too many redirects"));
    });
}

#[test]
fn silence_and_closed_ports_are_down() {
    local(async {
        let short = HealthCheck { timeout: Duration::from_millis(50), ..fast() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = table(&[format!("http://{}", listener.local_addr().unwrap())], short.clone(), None);
        let down = probe::probe(&silent.services[0].servers[0], &short).await.unwrap_err();
        assert!(down.to_string().starts_with("no answer within"), "{down}");
        drop(listener);
        let down = probe::probe(&silent.services[0].servers[0], &fast()).await.unwrap_err();
        assert!(down.to_string().starts_with("connecting to"), "{down}");
    });
}

#[test]
fn hostname_headers_and_port_are_as_configured() {
    local(async {
        let backend = backend(OK).await;
        let check = HealthCheck {
            hostname: Some("inside.test".into()),
            port: Some(backend.address.port()),
            headers: [("X-Probe".to_owned(), "yes".to_owned())].into(),
            method: "HEAD".into(),
            ..fast()
        };
        let table = table(&["http://127.0.0.1:1".to_owned()], check.clone(), None);
        probe::probe(&table.services[0].servers[0], &check).await.unwrap();
        let request = backend.requests.borrow()[0].to_lowercase();
        assert!(request.starts_with("head "), "{request}");
        assert!(
            request.contains("host: inside.test\r\n") && request.contains("x-probe: yes\r\n"),
            "{request}"
        );
    });
}
