//! The command line as people call it: exit codes, errors that help, explanations by a proxy.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output};
use std::thread;

fn pancake(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pancake"))
        .args(arguments)
        .env_remove("PANCAKE_ENDPOINT")
        .env_remove("PANCAKE_PROXY")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An address that nobody listens on.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// Answers one request with this; returns its address and, once it was asked, the request line.
fn proxy(status: &'static str, body: &'static str) -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        let n = stream.read(&mut head).unwrap();
        let length = body.len();
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
        text(&head[..n]).lines().next().unwrap_or_default().to_owned()
    });
    (address, asked)
}

#[test]
fn without_a_control_plane_it_says_what_was_tried_and_what_helps() {
    let endpoint = nobody();
    for command in [&["services"][..], &["watch"], &["drain", "a", "--wait"], &["deregister", "a"]] {
        let mut arguments = vec!["--endpoint", &endpoint];
        arguments.extend(command);
        let output = pancake(&arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(&endpoint) && error.contains("refused"), "{error}");
        assert!(
            error.contains("pancake-control dev --listen") && error.contains("PANCAKE_ENDPOINT"),
            "{error}"
        );
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_wrong_call_exits_with_2() {
    let wrong: [&[&str]; 8] = [
        &[],
        &["servces"],
        &["register", "web"],
        &["register", "web", "--address", "x", "--port", "0"],
        &["register", "web", "--address", "x", "--port", "1", "--label", "novalue"],
        &["register", "web", "--address", "x", "--port", "1", "--priority", "3"],
        &["explain", "http://x", "-H", "novalue"],
        &["services", "--output", "xml"],
    ];
    for arguments in wrong {
        assert_eq!(pancake(arguments).status.code(), Some(2), "{arguments:?}");
    }
    let help = pancake(&["--help"]);
    assert!(help.status.success() && text(&help.stdout).contains("Exit codes"));
}

#[test]
fn an_endpoint_that_is_none_is_an_error() {
    for (endpoint, expected) in
        [("https://127.0.0.1:1", "only http"), ("http://a b", "address of a control plane")]
    {
        let output = pancake(&["--endpoint", endpoint, "services"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
    }
}

const EXPLANATION: &str = r#"{"version":7,"entry_point":"web",
 "request":{"method":"POST","host":"web.localhost","path":"/a b","query":"x=1","client_ip":"127.0.0.1"},
 "routers":3,"ruled_out":1,
 "candidates":[{"router":"b@file","rule":"Path(`/b`)","priority":9,"matched":false,
   "failed":[{"part":"Path(`/b`)","offset":0,"why":"the path is /a"}]},
  {"router":"a@pancake","rule":"PathPrefix(`/a`)","priority":5,"matched":true,"failed":[]}],
 "chosen":{"router":"a@pancake","service":"a@pancake","usable":1,
  "servers":[{"url":"http://127.0.0.1:9001","id":"a-1","weight":1,"draining":false,"up":true,"state":"up"}]},
 "outcome":"router \"a@pancake\", one of 1 usable servers \u001b[31m"}"#;

#[test]
fn a_proxy_explains_without_a_control_plane() {
    let (address, asked) = proxy("200 OK", EXPLANATION);
    let call = ["explain", "http://web.localhost/a b?x=1", "-X", "POST", "-H", "X-A: b", "--proxy", &address];
    let output = pancake(&call);
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for expected in
        ["a@pancake", "http://127.0.0.1:9001", "middlewares  none", "b@file", "the path is /a", &address]
    {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    assert!(!shown.contains('\x1b'), "what others say cannot upset the terminal");
    let line = asked.join().unwrap();
    let query = "url=http%3A%2F%2Fweb.localhost%2Fa%20b%3Fx%3D1&method=POST&header=X-A%3A%20b";
    assert_eq!(line, format!("GET /api/pancake/explain?{query} HTTP/1.1"));
}

#[test]
fn json_names_who_explained() {
    let (address, _) = proxy("200 OK", EXPLANATION);
    let output = pancake(&["explain", "http://web.localhost/", "-o", "json", "--proxy", &address]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["source"], format!("proxy {address}"));
    assert_eq!(answer["chosen"]["router"], "a@pancake");
}

#[test]
fn what_a_proxy_cannot_understand_is_not_asked_elsewhere() {
    let (address, _) = proxy("400 Bad Request", "url: has no host; expected url=http://host/path");
    let output = pancake(&["explain", "http://", "--proxy", &address]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("has no host"), "{}", text(&output.stderr));
}

#[test]
fn with_nobody_to_explain_it_names_both() {
    let (proxy, endpoint) = (nobody(), nobody());
    let output = pancake(&["--endpoint", &endpoint, "explain", "http://x/", "--proxy", &proxy]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        error.contains(&proxy) && error.contains(&endpoint) && error.contains("pancake-control dev"),
        "{error}"
    );
}

#[test]
fn something_else_at_the_address_is_no_control_plane() {
    let (address, _) = proxy("200 OK", "hello");
    let output = pancake(&["--endpoint", &address, "services"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("control plane"), "{}", text(&output.stderr));
}
