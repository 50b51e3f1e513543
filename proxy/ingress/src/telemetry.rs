//! What the process tells about itself: events to standard error, as `log.level` and `log.format` say.
//!
//! `RUST_LOG`, if set, goes over `log.level`. Other crates' events below `info` are for their authors: they come with
//! `RUST_LOG` only. Access records are not events: see [`crate::access_log`].

use std::io::IsTerminal;

use anyhow::{Result, anyhow};
use pancake_config::traefik::static_config::{Log, LogFormat, LogLevel};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// What targets of this workspace start with.
const OWN: &str = "pancake";

/// Starts logging; once per process.
///
/// # Errors
/// If somebody has started it already.
pub fn start(log: &Log) -> Result<()> {
    let builder = tracing_subscriber::fmt().with_env_filter(filter(log)).with_writer(std::io::stderr);
    let started = match log.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Common => builder.with_ansi(!log.no_color && std::io::stderr().is_terminal()).try_init(),
    };
    started.map_err(|error| anyhow!("logging: {error}"))
}

fn filter(log: &Log) -> EnvFilter {
    if let Ok(filter) = EnvFilter::try_from_env("RUST_LOG") {
        return filter;
    }
    let own = level(log.level);
    let others = own.min(LevelFilter::INFO);
    EnvFilter::new(format!(
        "{others},{OWN}_proxy={own},{OWN}_session={own},{OWN}_engine={own},{OWN}_table={own}"
    ))
}

fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Trace => LevelFilter::TRACE,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_crates_stay_at_info() {
        for (own, others) in [(LogLevel::Trace, "info"), (LogLevel::Error, "error")] {
            let filter = filter(&Log { level: own, ..Log::default() }).to_string();
            assert!(filter.contains(&format!("pancake_proxy={}", level(own))), "{filter}");
            assert!(filter.split(',').any(|part| part == others), "{filter}");
        }
    }
}
