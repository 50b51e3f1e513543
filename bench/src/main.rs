//! `pancake-bench`: the comparison with the peers, and the small tools of the demo and the end-to-end tests.

use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use pancake_bench::backend::Backend;
use pancake_bench::load::{self, Plan};
use pancake_bench::run::{self, Settings};
use pancake_bench::scenario::Run;
use pancake_bench::{process, report};

#[derive(Parser)]
#[command(name = "pancake-bench", version, about)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compare the proxies; writes PREFIX.json, PREFIX.md and PREFIX.svg.
    Run {
        /// Scenarios, separated by commas (default: all).
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
        /// Peers, separated by commas (default: all that are installed).
        #[arg(long, value_delimiter = ',')]
        peers: Vec<String>,
        /// Interleaved rounds.
        #[arg(long, default_value_t = 5)]
        pairs: usize,
        /// Seconds of one rate measurement.
        #[arg(long, default_value_t = 4)]
        seconds: u64,
        /// Idle connections of the memory scenario.
        #[arg(long, default_value_t = 5_000)]
        idle: usize,
        /// Idle TLS connections of the memory scenario.
        #[arg(long, default_value_t = 10_000)]
        idle_tls: usize,
        /// One round of two seconds and 500 idle connections: a look, not a result.
        #[arg(long)]
        quick: bool,
        /// Core of the proxy.
        #[arg(long, default_value_t = 1)]
        proxy_core: usize,
        /// Core of backend and load generator.
        #[arg(long, default_value_t = 0)]
        load_core: usize,
        /// Date for the page.
        #[arg(long)]
        date: String,
        /// Where the results go, without the extension.
        #[arg(long)]
        out: PathBuf,
        /// Directory for configurations and logs.
        #[arg(long)]
        dir: PathBuf,
    },
    /// Write the page and the chart of a finished run anew.
    Render {
        /// The JSON file of the run.
        file: PathBuf,
    },
    /// A small backend: `/` says its name, `/health`, `/slow/MS`, `/bytes/N`, `/status/N`, `/echo`.
    Backend {
        /// What it calls itself.
        #[arg(long)]
        name: String,
        /// Address; port 0 takes one from the kernel, and it is printed either way.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: String,
    },
    /// Load one URL, count every failure, print a tally as JSON; exits 1 if a request failed.
    Load {
        /// `http://address:port/path`.
        url: String,
        /// Value of `Host` (default: as in the URL).
        #[arg(long)]
        host: Option<String>,
        /// Connections.
        #[arg(long, default_value_t = 8)]
        connections: usize,
        /// Requests per second over all connections (default: as fast as it goes).
        #[arg(long)]
        rate: Option<f64>,
        /// Longest run in seconds.
        #[arg(long, default_value_t = 10.0)]
        seconds: f64,
        /// One connection per request.
        #[arg(long)]
        close: bool,
        /// Stop as soon as this file exists.
        #[arg(long)]
        until: Option<PathBuf>,
    },
    /// Print loopback ports that are free now, one a line.
    Ports {
        /// How many.
        #[arg(default_value_t = 1)]
        count: usize,
    },
}

fn main() -> ExitCode {
    match dispatch(Args::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("pancake-bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Run {
            only,
            peers,
            pairs,
            seconds,
            idle,
            idle_tls,
            quick,
            proxy_core,
            load_core,
            date,
            out,
            dir,
        } => {
            for core in [proxy_core, load_core] {
                if !run::has_core(core) {
                    bail!("this machine has no core {core}: the proxy and the load need one each");
                }
            }
            let (rounds, seconds, idle, idle_tls) =
                if quick { (1, 2, 500, 500) } else { (pairs.max(1), seconds.max(1), idle, idle_tls) };
            let time = Duration::from_secs(seconds);
            let settings = Settings { only, peers, rounds, time, idle, idle_tls, proxy_core, load_core, dir };
            let result = run::run(&settings, &date)?;
            fs::write(out.with_extension("json"), serde_json::to_string_pretty(&result)? + "\n")?;
            render(&result, &out)?;
        }
        Command::Render { file } => {
            let text =
                fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            render(&serde_json::from_str(&text)?, &file)?;
        }
        Command::Backend { name, listen } => {
            let backend =
                Backend::start(&name, &listen).with_context(|| format!("cannot listen on {listen}"))?;
            println!("{}", backend.addr);
            loop {
                thread::park();
            }
        }
        Command::Load { url, host, connections, rate, seconds, close, until } => {
            let (addr, authority, path) = split(&url)?;
            let mut plan = Plan::new(
                addr,
                host.as_deref().unwrap_or(&authority),
                &path,
                Duration::from_secs_f64(seconds),
            );
            (plan.connections, plan.rate, plan.close) = (connections, rate, close);
            return load_until(&plan, until.as_deref());
        }
        Command::Ports { count } => {
            // All are bound before the first is given up, so that none comes twice.
            let held: Vec<_> = (0..count).map(|_| std::net::TcpListener::bind("127.0.0.1:0")).collect();
            for listener in held {
                println!("{}", listener?.local_addr()?.port());
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn render(result: &Run, out: &Path) -> Result<()> {
    let chart = out.with_extension("svg");
    let name = chart.file_name().and_then(|n| n.to_str()).unwrap_or("chart.svg");
    let page = report::table::markdown(result, name);
    fs::write(out.with_extension("md"), &page)?;
    fs::write(&chart, report::chart::svg(result))?;
    println!("{page}");
    Ok(())
}

fn load_until(plan: &Plan, until: Option<&Path>) -> Result<ExitCode> {
    let stop = AtomicBool::new(false);
    let tally = thread::scope(|scope| {
        let running = scope.spawn(|| load::run(plan, &stop));
        let ended = || running.is_finished() || until.is_some_and(Path::exists);
        // No error if neither comes: the plan ends by itself then.
        let _ = process::wait_until("the end of the load", plan.duration + plan.timeout, ended);
        stop.store(true, Ordering::Relaxed);
        running.join().unwrap_or_default()
    });
    let mut value = serde_json::to_value(&tally)?;
    value["failed"] = tally.failed().into();
    for (name, share) in [("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999), ("max_us", 1.0)] {
        value[name] = tally.quantile_us(share).into();
    }
    println!("{value}");
    Ok(if tally.failed() == 0 && tally.ok > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn split(url: &str) -> Result<(SocketAddr, String, String)> {
    let rest = url.strip_prefix("http://").with_context(|| format!("{url}: only http:// is supported"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let with_port = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
    let mut found = with_port.to_socket_addrs().with_context(|| format!("cannot resolve {authority}"))?;
    let addr = found.next().with_context(|| format!("{authority} has no address"))?;
    Ok((addr, authority.to_owned(), format!("/{path}")))
}
