use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::{Control, channel, settings, web};

async fn ask(control: &Control, head: &str) -> String {
    let mut stream = TcpStream::connect(control.running.address).await.unwrap();
    let request = format!("{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_page_and_its_json_are_on_the_same_port_as_grpc() {
    let directory = tempfile::tempdir().unwrap();
    let mut control = Control::start(settings(directory.path())).await;
    let mut request = web("a", 9001);
    request.labels = [("x".to_owned(), "y".to_owned())].into();
    request.routers[0].rule = "Header(`X`, `<script>alert(1)</script>`)".into();
    control.register(request).await;
    control.until_status("published", |s| s.servers == 1).await;
    let page = ask(&control, "GET /").await;
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("127.0.0.1:9001"), "{page}");
    assert!(page.contains("content-security-policy: default-src 'none'"), "{page}");
    assert!(!page.contains("<script>alert"), "what people write is escaped");
    let fragment = ask(&control, "GET /fragment").await;
    assert!(fragment.contains("127.0.0.1:9001") && !fragment.contains("<html"), "{fragment}");
    for (path, expected) in [
        ("/api/services", "\"state\": \"alive\""),
        ("/api/routes", "\"origin\": \"register\""),
        ("/api/nodes", "\"local\": true"),
        ("/api/status", "\"publishedVersion\""),
        ("/ping", "OK"),
        ("/status.js", "fetch"),
        ("/status.css", "table"),
    ] {
        let answer = ask(&control, &format!("GET {path}")).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(expected), "{path}: {answer}");
    }
    assert!(ask(&control, "GET /nothing").await.starts_with("HTTP/1.1 404"));
    assert!(ask(&control, "POST /api/services").await.starts_with("HTTP/1.1 405"));
    assert!(ask(&control, &format!("GET /{}", "x".repeat(100_000))).await.starts_with("HTTP/1.1 4"));
    let mut health = HealthClient::new(channel(&control.running).await);
    let answer = health.check(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(answer.status, 1);
    control.stop().await;
}
