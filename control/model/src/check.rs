//! How an instance is checked, and what a run of results means.
//!
//! What this module does not do: open connections (that is `pancake-discovery`).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::state::State;

/// Shortest time between two checks of one instance.
pub const MIN_INTERVAL: Duration = Duration::from_millis(100);
/// Longest time between two checks of one instance.
pub const MAX_INTERVAL: Duration = Duration::from_secs(3600);
/// Largest `rise` and `fall`.
pub const MAX_STREAK: u32 = 100;
/// Bytes of a check's path and of its `Host`.
pub const MAX_CHECK_TEXT: usize = 2048;

/// How an instance is checked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Check {
    /// What is asked.
    pub kind: CheckKind,
    /// Between two checks. Default 3 s.
    pub interval: Duration,
    /// Of one check, from connect to answer. Default 2 s; at most the interval.
    pub timeout: Duration,
    /// Successes in a row that make it alive. Default 1.
    pub rise: u32,
    /// Failures in a row that make it unhealthy. Default 3.
    pub fall: u32,
}

/// What a check asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckKind {
    /// GET over HTTP/1.1 answers with the expected status.
    Http {
        /// Path and query; starts with `/`.
        path: String,
        /// None: the port of the instance.
        port: Option<u16>,
        /// `Host`; none: `address:port`.
        host: Option<String>,
        /// None: any 2xx or 3xx.
        status: Option<u16>,
    },
    /// The port accepts a connection.
    Tcp {
        /// None: the port of the instance.
        port: Option<u16>,
    },
}

/// Why a check cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// Outside its limits.
    #[error("check: {field} is {given}, expected {expected}")]
    Limit {
        /// Name of the field.
        field: &'static str,
        /// What was given.
        given: String,
        /// What is allowed.
        expected: &'static str,
    },
}

impl Default for Check {
    fn default() -> Check {
        Check {
            kind: CheckKind::Tcp { port: None },
            interval: Duration::from_secs(3),
            timeout: Duration::from_secs(2),
            rise: 1,
            fall: 3,
        }
    }
}

impl Check {
    /// Whether every field is within its limits.
    pub fn validate(&self) -> Result<(), CheckError> {
        let limit = |ok: bool, field, given: String, expected| {
            if ok { Ok(()) } else { Err(CheckError::Limit { field, given, expected }) }
        };
        limit(
            (MIN_INTERVAL..=MAX_INTERVAL).contains(&self.interval),
            "interval",
            format!("{:?}", self.interval),
            "100ms to 1h",
        )?;
        limit(
            !self.timeout.is_zero() && self.timeout <= self.interval,
            "timeout",
            format!("{:?}", self.timeout),
            "more than 0 and at most the interval",
        )?;
        limit((1..=MAX_STREAK).contains(&self.rise), "rise", self.rise.to_string(), "1 to 100")?;
        limit((1..=MAX_STREAK).contains(&self.fall), "fall", self.fall.to_string(), "1 to 100")?;
        let port = match &self.kind {
            CheckKind::Tcp { port } => *port,
            CheckKind::Http { path, port, host, status } => {
                let plain = |text: &str| {
                    text.len() <= MAX_CHECK_TEXT && text.bytes().all(|b| (0x21..0x7f).contains(&b))
                };
                limit(
                    path.starts_with('/') && plain(path) && !path.contains('#'),
                    "path",
                    format!("{path:?}"),
                    "visible ASCII that starts with `/`",
                )?;
                if let Some(host) = host {
                    limit(!host.is_empty() && plain(host), "host", format!("{host:?}"), "visible ASCII")?;
                }
                if let Some(status) = status {
                    limit((100..600).contains(status), "status", status.to_string(), "100 to 599")?;
                }
                *port
            }
        };
        limit(port != Some(0), "port", "0".into(), "1 to 65535")
    }
}

/// Runs of equal results, and the verdict that follows from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streak {
    verdict: State,
    ok: bool,
    length: u32,
}

impl Default for Streak {
    fn default() -> Streak {
        Streak { verdict: State::Unknown, ok: false, length: 0 }
    }
}

impl Streak {
    /// Counts a result and returns the verdict: Unknown until the first run of `rise` or `fall`, then Alive or
    /// Unhealthy.
    pub fn observe(&mut self, ok: bool, check: &Check) -> State {
        self.length = if self.length > 0 && self.ok == ok { self.length.saturating_add(1) } else { 1 };
        self.ok = ok;
        if ok && self.length >= check.rise {
            self.verdict = State::Alive;
        }
        if !ok && self.length >= check.fall {
            self.verdict = State::Unhealthy;
        }
        self.verdict
    }

    /// Alive, Unhealthy or Unknown.
    pub fn verdict(&self) -> State {
        self.verdict
    }

    /// Results like the last one, in a row; 0 before the first.
    pub fn length(&self) -> u32 {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(rise: u32, fall: u32) -> Check {
        Check { rise, fall, ..Check::default() }
    }

    proptest! {
        #[test]
        fn the_verdict_changes_only_after_a_full_run(rise in 1u32..5, fall in 1u32..5, results: Vec<bool>) {
            let check = check(rise, fall);
            let mut streak = Streak::default();
            for (i, ok) in results.iter().enumerate() {
                let before = streak.verdict();
                let after = streak.observe(*ok, &check);
                if before != after {
                    let need = if *ok { rise } else { fall } as usize;
                    prop_assert!(i + 1 >= need);
                    prop_assert!(results[i + 1 - need..=i].iter().all(|r| r == ok));
                }
            }
        }
    }

    #[test]
    fn one_failure_does_not_take_an_instance_out() {
        let check = check(1, 3);
        let mut streak = Streak::default();
        assert_eq!(streak.observe(true, &check), State::Alive);
        assert_eq!(streak.observe(false, &check), State::Alive);
        assert_eq!(streak.observe(false, &check), State::Alive);
        assert_eq!(streak.observe(false, &check), State::Unhealthy);
        assert_eq!(streak.observe(true, &check), State::Alive);
    }

    #[test]
    fn refuses_a_check_outside_its_limits() {
        let http = |path: &str| CheckKind::Http { path: path.into(), port: None, host: None, status: None };
        let bad = [
            Check { interval: Duration::from_millis(1), ..Check::default() },
            Check { timeout: Duration::ZERO, ..Check::default() },
            Check { timeout: Duration::from_secs(4), ..Check::default() },
            Check { rise: 0, ..Check::default() },
            Check { fall: 101, ..Check::default() },
            Check { kind: http("health"), ..Check::default() },
            Check { kind: http("/a b"), ..Check::default() },
            Check { kind: http("/\r\nX: y"), ..Check::default() },
            Check { kind: CheckKind::Tcp { port: Some(0) }, ..Check::default() },
        ];
        for check in bad {
            assert!(check.validate().is_err(), "{check:?} was accepted");
        }
        assert!(Check::default().validate().is_ok());
        assert!(Check { kind: http("/health?x=1"), ..Check::default() }.validate().is_ok());
    }
}
