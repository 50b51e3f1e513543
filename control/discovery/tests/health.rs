//! Checks against real sockets.

use std::time::Duration;

use pancake_discovery::health::probe::{MAX_OUTPUT, probe};
use pancake_discovery::health::runner;
use pancake_discovery::health::schedule::Target;
use pancake_model::check::{Check, CheckKind};
use pancake_model::name::InstanceId;
use pancake_model::state::State;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

/// Answers every connection with `answer`; returns its port.
async fn server(answer: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(&answer).await;
            });
        }
    });
    port
}

fn target(port: u16, kind: CheckKind) -> Target {
    let check = Check {
        kind,
        interval: Duration::from_millis(100),
        timeout: Duration::from_millis(100),
        rise: 1,
        fall: 1,
    };
    Target { id: InstanceId::new("a").unwrap(), address: "127.0.0.1".into(), port, check }
}

fn http(status: Option<u16>) -> CheckKind {
    CheckKind::Http { path: "/health".into(), port: None, host: None, status }
}

#[tokio::test]
async fn an_expected_status_is_healthy_and_the_output_is_kept() {
    let port = server(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready".to_vec()).await;
    let outcome = probe(&target(port, http(None))).await;
    assert!(outcome.ok, "{}", outcome.output);
    assert_eq!(outcome.output, "200 OK: ready");
    assert!(!probe(&target(port, http(Some(204)))).await.ok);
}

#[tokio::test]
async fn an_answer_without_length_ends_with_the_connection() {
    let port = server(b"HTTP/1.0 200 OK\r\n\r\nold".to_vec()).await;
    assert_eq!(probe(&target(port, http(None))).await.output, "200 OK: old");
}

#[tokio::test]
async fn everything_else_is_unhealthy_and_says_why() {
    let answers: [(&[u8], &str); 4] = [
        (
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\ndown",
            "503 Service Unavailable: down",
        ),
        (b"SSH-2.0-OpenSSH\r\n", "no answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort", "body broke"),
        (b"", "no answer"),
    ];
    for (answer, expected) in answers {
        let outcome = probe(&target(server(answer.to_vec()).await, http(None))).await;
        assert!(!outcome.ok && outcome.output.contains(expected), "{expected}: {}", outcome.output);
    }
}

#[tokio::test]
async fn a_silent_or_absent_server_costs_no_more_than_the_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let outcome = probe(&target(port, http(None))).await;
    assert!(!outcome.ok && outcome.output.contains("within 100ms"), "{}", outcome.output);
    drop(listener);
    assert!(!probe(&target(port, CheckKind::Tcp { port: None })).await.ok);
}

#[tokio::test]
async fn a_huge_answer_is_not_read_to_its_end() {
    let mut answer = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    answer.extend("é".repeat(1 << 20).into_bytes());
    let outcome = probe(&target(server(answer).await, http(None))).await;
    assert!(outcome.ok && outcome.output.len() <= MAX_OUTPUT);
}

#[tokio::test]
async fn the_runner_reports_until_it_is_dropped() {
    let port = server(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()).await;
    let (targets, watched) = watch::channel(vec![target(port, http(None))]);
    let (sender, mut reports) = mpsc::channel(4);
    let running = tokio::spawn(runner::run(watched, sender));
    let report = reports.recv().await.unwrap();
    assert_eq!((report.verdict, report.streak), (State::Alive, 1));
    targets.send(vec![target(1, http(None))]).unwrap();
    while reports.recv().await.unwrap().verdict != State::Unhealthy {}
    drop(targets);
    tokio::time::timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
}
