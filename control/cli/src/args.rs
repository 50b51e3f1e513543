//! What can be said.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use pancake_api::DEFAULT_ENDPOINT;

/// Where a proxy's admin API is unless told otherwise.
pub const DEFAULT_PROXY: &str = "http://127.0.0.1:8080";

/// Ask and change the control plane of Pancake.
#[derive(Debug, Parser)]
#[command(
    name = "pancake",
    version,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 failed, 2 called wrongly.\n\n\
        Examples:\n  \
        pancake register web --address 127.0.0.1 --port 9001 --rule 'Host(`web.localhost`)' --check-http /health\n  \
        pancake drain web-127.0.0.1-9001 --wait && pancake deregister web-127.0.0.1-9001\n  \
        pancake explain http://web.localhost/login -X POST"
)]
pub struct Cli {
    /// The control plane.
    #[arg(long, global = true, value_name = "URL", default_value = DEFAULT_ENDPOINT, env = "PANCAKE_ENDPOINT")]
    pub endpoint: String,
    /// How to show the answer.
    #[arg(long, short, global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How to show answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs; streams are one object per line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List services, their instances and their health.
    Services(Services),
    /// List routers: published or not, and why not.
    Routes,
    /// List control plane nodes.
    Nodes,
    /// Lists certificates that proxies share, until when they are good, and who orders.
    Certificates,
    /// Show what is published, what each proxy serves, and alarms.
    Status,
    /// Add an instance of a service, or replace the one with the same id.
    Register(Box<Register>),
    /// Send the heartbeat of an instance that was registered with --ttl.
    Renew(Id),
    /// Remove an instance that was registered.
    Deregister(Id),
    /// Take an instance out of rotation; requests in flight go on.
    Drain(Drain),
    /// Say which router, middlewares and servers a request gets, and why.
    Explain(Explain),
    /// Print changes as they happen.
    Watch(Watch),
    /// Add or remove routers by name.
    #[command(subcommand)]
    Router(Router),
    /// Publish what the guard holds back.
    ///
    /// The control plane holds a snapshot back if it would lose everything, or half of much, and nobody asked for
    /// that. `pancake status` says what would go.
    Release,
}

/// Of `services`.
#[derive(Debug, Args)]
pub struct Services {
    /// Only this one.
    pub service: Option<String>,
    /// Instances that are gone, too.
    #[arg(long)]
    pub all: bool,
}

/// An instance.
#[derive(Debug, Args)]
pub struct Id {
    /// Id of the instance (see `pancake services`).
    pub id: String,
}

/// Of `register`.
#[derive(Debug, Args)]
pub struct Register {
    /// Name of the service.
    pub service: String,
    /// IP address or host name that proxies connect to.
    #[arg(long)]
    pub address: String,
    /// Port.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// Id; made from service, address and port if not given.
    #[arg(long)]
    pub id: Option<String>,
    /// Send requests that match this rule to the service, for example 'Host(`web.localhost`)'.
    #[arg(long)]
    pub rule: Option<String>,
    /// Entry point of the rule; all default ones if not given.
    #[arg(long, value_name = "NAME", requires = "rule")]
    pub entry_point: Vec<String>,
    /// Priority of the rule; its length if not given.
    #[arg(long, requires = "rule", allow_negative_numbers = true)]
    pub priority: Option<i64>,
    /// Middleware of the rule, in order.
    #[arg(long, value_name = "NAME", requires = "rule")]
    pub middleware: Vec<String>,
    /// What runs there.
    #[arg(long, value_enum, default_value_t = Mode::Http)]
    pub mode: Mode,
    /// Share of the requests.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub weight: u32,
    /// A label; may be given many times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub label: Vec<(String, String)>,
    /// Forget the instance if `pancake renew` does not come within this time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub ttl: Option<Duration>,
    /// Check with GET on this path: 2xx and 3xx are good.
    #[arg(long, value_name = "PATH", conflicts_with = "check_tcp")]
    pub check_http: Option<String>,
    /// Check that the port accepts connections.
    #[arg(long)]
    pub check_tcp: bool,
    /// Between two checks; 3s if not given.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub check_interval: Option<Duration>,
    /// Of one check; 2s if not given.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub check_timeout: Option<Duration>,
    /// Good results in a row that bring it in; 1 if not given.
    #[arg(long)]
    pub rise: Option<u32>,
    /// Bad results in a row that take it out; 3 if not given.
    #[arg(long)]
    pub fall: Option<u32>,
}

/// What runs at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// HTTP.
    Http,
    /// TCP: listed, not routed yet.
    Tcp,
    /// WebSocket over HTTP.
    Ws,
}

/// Of `drain`.
#[derive(Debug, Args)]
pub struct Drain {
    /// Id of the instance (see `pancake services`).
    pub id: String,
    /// Wait until every proxy has confirmed that no request is in flight to it.
    #[arg(long, conflicts_with = "cancel")]
    pub wait: bool,
    /// Stop waiting, with exit code 1, after this. The drain goes on.
    #[arg(long, value_name = "TIME", value_parser = time, requires = "wait")]
    pub timeout: Option<Duration>,
    /// Take the drain back.
    #[arg(long)]
    pub cancel: bool,
}

/// Of `explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// The request's URL: http://host/path?query
    pub url: String,
    /// Its method.
    #[arg(long, short = 'X', default_value = "GET")]
    pub method: String,
    /// A header of it; may be given many times.
    #[arg(long, short = 'H', value_name = "NAME: VALUE", value_parser = header)]
    pub header: Vec<(String, String)>,
    /// The entry point that it comes in by; the first default one if not given.
    #[arg(long, value_name = "NAME")]
    pub entry_point: Option<String>,
    /// The address that it comes from; 127.0.0.1 if not given.
    #[arg(long, value_name = "IP")]
    pub client_ip: Option<std::net::IpAddr>,
    /// Admin address of the proxy to ask first: it also knows routers from its own files.
    #[arg(long, value_name = "URL", default_value = DEFAULT_PROXY, env = "PANCAKE_PROXY")]
    pub proxy: String,
}

/// Of `watch`.
#[derive(Debug, Args)]
pub struct Watch {
    /// Only this service.
    pub service: Option<String>,
    /// Begin with what is known now.
    #[arg(long)]
    pub initial: bool,
}

/// Routers by name.
#[derive(Debug, Subcommand)]
pub enum Router {
    /// Add a router, or replace the one with the same name.
    Put(Box<PutRouter>),
    /// Remove a router that was put.
    Delete {
        /// Its name, without provider.
        name: String,
    },
}

/// Of `router put`.
#[derive(Debug, Args)]
pub struct PutRouter {
    /// Its name, without provider.
    pub name: String,
    /// Which requests it takes, for example 'Host(`web.localhost`) && PathPrefix(`/api`)'.
    #[arg(long)]
    pub rule: String,
    /// The service that they go to.
    #[arg(long)]
    pub service: String,
    /// Entry point; all default ones if not given.
    #[arg(long, value_name = "NAME")]
    pub entry_point: Vec<String>,
    /// The length of the rule if not given.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    pub priority: i64,
    /// In order.
    #[arg(long, value_name = "NAME")]
    pub middleware: Vec<String>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err("expected KEY=VALUE".into()),
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().into(), value.trim().into())),
        _ => Err("expected 'NAME: VALUE'".into()),
    }
}

/// `500ms`, `2s`, `5m`, `1h`; a bare number counts seconds.
fn time(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let one = match &text[digits..] {
        "ms" => Duration::from_millis(1),
        "" | "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        "h" => Duration::from_secs(3600),
        _ => return Err("expected for example 500ms, 2s, 5m or 1h".into()),
    };
    let number: u32 = text[..digits].parse().map_err(|_| "expected for example 500ms, 2s, 5m or 1h")?;
    one.checked_mul(number).ok_or_else(|| "too long".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn reads_times_labels_and_headers() {
        assert_eq!(time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time("3"), Ok(Duration::from_secs(3)));
        assert!(time("").is_err() && time("x").is_err() && time("1.5s").is_err() && time("-1s").is_err());
        assert_eq!(key_value("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(key_value("=x").is_err());
        assert_eq!(header("X-A: b:c"), Ok(("X-A".into(), "b:c".into())));
        assert!(header("none").is_err());
    }
}
