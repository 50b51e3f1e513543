//! One run of h2load: HTTP/2 over TLS.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::rate::{Outcome, Target};

/// Runs h2load with one thread; it accepts no other protocol than HTTP/2. It tells no percentiles.
///
/// # Errors
/// When it cannot be run or its output cannot be read.
pub fn run(target: &Target, connections: usize, streams: usize, time: Duration) -> Result<Outcome> {
    let mut command = Command::new("taskset");
    command.args(["-c", &target.core.to_string(), "h2load", "-t1", "--npn-list=h2", "--groups=X25519"]);
    command.arg("--tls13-ciphers=TLS_AES_128_GCM_SHA256").env("OPENSSL_CONF", target.openssl);
    command.arg(format!("-c{connections}")).arg(format!("-m{streams}"));
    command.arg(format!("-D{}", time.as_secs().max(1)));
    command.arg(format!("--connect-to={}", target.listen));
    let out = command.arg(target.url()).output().context("cannot run h2load")?;
    if !out.status.success() {
        bail!("h2load failed: {}", String::from_utf8_lossy(&out.stderr));
    }
    parse(&String::from_utf8_lossy(&out.stdout))
}

fn parse(text: &str) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let (mut done, mut good) = (None, None);
    for line in text.lines().map(str::trim) {
        if let Some(counts) = line.strip_prefix("requests:") {
            done = Some(count(counts, "done"));
            outcome.failed = count(counts, "failed").max(count(counts, "errored") + count(counts, "timeout"));
        } else if let Some(counts) = line.strip_prefix("status codes:") {
            good = Some(count(counts, "2xx"));
        } else if let Some((_, rate)) = line.strip_prefix("finished in").and_then(|l| l.split_once(',')) {
            let number = rate.split_whitespace().next().and_then(|n| n.parse().ok());
            outcome.rate = number.unwrap_or(0.0);
        }
    }
    let (Some(done), Some(good)) = (done, good) else { bail!("h2load printed no counts:\n{text}") };
    outcome.requests = good;
    // A redirect is no failure to h2load, and to us it is.
    outcome.failed = outcome.failed.max(done.saturating_sub(good));
    Ok(outcome)
}

/// The number before `name` in `1 total, 2 started, …`.
fn count(counts: &str, name: &str) -> u64 {
    let fields = counts.split(',').filter_map(|field| field.trim().split_once(' '));
    fields.filter(|(_, n)| *n == name).find_map(|(number, _)| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "finished in 2.00s, 30128.50 req/s, 5.14MB/s\n\
        requests: 60257 total, 60513 started, 60257 done, 60257 succeeded, 0 failed, 0 errored, 0 timeout\n\
        status codes: 60257 2xx, 0 3xx, 0 4xx, 0 5xx\ntraffic: 10.29MB (10787328) total\n";

    #[test]
    fn reads_the_counts_and_the_rate() {
        let expected = Outcome { requests: 60_257, rate: 30_128.5, ..Outcome::default() };
        assert_eq!(parse(GOOD).unwrap(), expected);
    }

    #[test]
    fn errors_and_answers_outside_2xx_are_failures() {
        let errored = GOOD.replace("0 failed, 0 errored", "7 failed, 7 errored");
        assert_eq!(parse(&errored).unwrap().failed, 7);
        let moved = GOOD.replace("60257 2xx, 0 3xx", "60250 2xx, 7 3xx");
        assert_eq!((parse(&moved).unwrap().requests, parse(&moved).unwrap().failed), (60_250, 7));
    }

    #[test]
    fn output_without_counts_is_an_error() {
        assert!(parse("No supported protocol was negotiated.\n").is_err());
    }
}
