//! Sends a case and writes down what can be compared: what depends on the run (ports, dates) is made equal.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use pancake_bench::load::{connect, get};
use pancake_bench::message::{Answer, read_answer};
use pancake_bench::process::{Process, wait_until};

use crate::cases::Case;

/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(10);

/// What a case did. Names of fields in lower case: they compare without case.
#[derive(Debug, Default, PartialEq)]
pub struct Observed {
    /// Status of the answer; 0 if the connection was closed without one.
    pub status: u16,
    /// Name of the backend that answered; empty if the proxy did itself.
    pub backend: String,
    /// Body of an answer that is no echo.
    pub body: String,
    /// Request line that the backend received.
    pub request_line: String,
    /// Fields that the backend received.
    pub to_backend: BTreeMap<String, Vec<String>>,
    /// Fields that the client received.
    pub to_client: BTreeMap<String, Vec<String>>,
    /// Whether the connection may go on.
    pub keep_alive: bool,
}

/// Sends every case on a connection of its own, once the configuration serves.
pub fn all(addr: SocketAddr, process: &Process, cases: &[Case]) -> BTreeMap<&'static str, Observed> {
    let ready = || get(addr, "ready.test", "/").is_ok_and(|a| a.head.status() == 200);
    wait_until("the configuration serves", ANSWER, ready)
        .unwrap_or_else(|e| panic!("{e}\n{}", process.output()));
    cases.iter().map(|case| (case.name, one(addr, case))).collect()
}

fn one(addr: SocketAddr, case: &Case) -> Observed {
    let mut connection = connect(addr, ANSWER).unwrap();
    // A proxy may answer and close before it has read everything; the answer counts.
    let _ = connection.get_mut().write_all(case.request.as_bytes());
    let method = case.request.split(' ').next().unwrap_or("");
    let Ok(Some(answer)) = read_answer(&mut connection, method) else { return Observed::default() };
    observe(addr, &answer)
}

fn observe(addr: SocketAddr, answer: &Answer) -> Observed {
    let mut out = Observed {
        status: answer.head.status(),
        backend: answer.head.get("x-backend").unwrap_or("").to_owned(),
        keep_alive: answer.head.keep_alive(),
        ..Observed::default()
    };
    for (name, value) in &answer.head.fields {
        add(&mut out.to_client, addr, name, value);
    }
    // Its presence counts, its value is the time.
    if let Some(date) = out.to_client.get_mut("date") {
        *date = vec!["a date".to_owned()];
    }
    let text = answer.text();
    // The backend says last how long the body was.
    if !out.backend.is_empty() && text.contains("\nbody: ") {
        // Its length is that of the echo, which differs with the port's digits.
        out.to_client.remove("content-length");
        let (head, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
        let mut lines = head.lines();
        out.request_line = lines.next().unwrap_or("").to_owned();
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            add(&mut out.to_backend, addr, name, value);
        }
        out.body = rest.to_owned();
    } else {
        out.body = text;
    }
    out
}

fn add(to: &mut BTreeMap<String, Vec<String>>, addr: SocketAddr, name: &str, value: &str) {
    let port = addr.port().to_string();
    to.entry(name.to_ascii_lowercase()).or_default().push(value.replace(&port, "PORT"));
}
