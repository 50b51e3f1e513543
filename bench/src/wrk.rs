//! One run of wrk, and what it printed.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::rate::{Outcome, Target};

/// Runs wrk with one thread, pinned to the core of the target.
///
/// # Errors
/// When wrk cannot be run or its output cannot be read.
pub fn run(target: &Target, connections: usize, close: bool, time: Duration) -> Result<Outcome> {
    let mut command = Command::new("taskset");
    command.args(["-c", &target.core.to_string(), "wrk", "-t1", "--latency", "--timeout", "10s"]);
    command.arg(format!("-c{connections}")).arg(format!("-d{}s", time.as_secs().max(1)));
    if close {
        command.args(["-H", "Connection: close"]);
    }
    command.env("OPENSSL_CONF", target.openssl);
    let out = command.arg(target.url()).output().context("cannot run wrk")?;
    if !out.status.success() {
        bail!("wrk failed: {}", String::from_utf8_lossy(&out.stderr));
    }
    parse(&String::from_utf8_lossy(&out.stdout))
}

fn parse(text: &str) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut complete = false;
    for line in text.lines().map(str::trim) {
        let number = |text: &str| text.trim().parse::<f64>().unwrap_or(0.0);
        if let Some((count, _)) = line.split_once(" requests in ") {
            outcome.requests = number(count) as u64;
        } else if let Some(rate) = line.strip_prefix("Requests/sec:") {
            outcome.rate = number(rate);
            complete = true;
        } else if let Some(time) = line.strip_prefix("99%") {
            outcome.p99_us = Some(microseconds(time.trim()));
        } else if let Some(count) = line.strip_prefix("Non-2xx or 3xx responses:") {
            outcome.failed += number(count) as u64;
        } else if let Some(counts) = line.strip_prefix("Socket errors:") {
            outcome.failed += counts
                .split(',')
                .filter_map(|c| c.split_whitespace().nth(1))
                .map(|n| number(n) as u64)
                .sum::<u64>();
        }
    }
    if !complete {
        bail!("wrk printed no rate:\n{text}");
    }
    Ok(outcome)
}

fn microseconds(text: &str) -> f64 {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let scale = match &text[split..] {
        "us" => 1.0,
        "ms" => 1e3,
        _ => 1e6,
    };
    text[..split].parse::<f64>().unwrap_or(0.0) * scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_rate_latency_and_every_failure() {
        let text = "Running 1s test @ http://127.0.0.1:1/\n  1 threads and 64 connections\n  Thread Stats   Avg\n\
            Latency Distribution\n     50%  816.00us\n     99%    1.34ms\n  77341 requests in 1.10s, 20.49MB read\n\
            Socket errors: connect 1, read 2, write 0, timeout 3\n  Non-2xx or 3xx responses: 7\nRequests/sec:  70310.12\n";
        let expected =
            Outcome { requests: 77_341, rate: 70_310.12, p99_us: Some(1_340.0), failed: 13, why: None };
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn output_without_a_rate_is_an_error() {
        assert!(parse("unable to connect\n").is_err());
    }
}
