//! The control plane binary.

mod args;

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Context;
use args::{Cli, Command, Dev, LogFormat};
use clap::Parser;
use pancake_control::boot;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let Command::Dev(dev) = Cli::parse().command;
    match run(&dev) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("pancake-control: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(dev: &Dev) -> anyhow::Result<()> {
    log(dev)?;
    let settings = dev.settings()?;
    // One thread serves; what blocks (the store, large snapshots) runs on the blocking pool.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut running = boot::start(settings).await?;
        println!("pancake-control: http://{} (status page and gRPC)", running.address);
        if let Some(path) = &dev.services {
            println!("pancake-control: services from {}", path.display());
        }
        let failed = tokio::select! {
            _ = terminate.recv() => None,
            _ = interrupt.recv() => None,
            why = running.failed() => Some(why),
        };
        tracing::info!("stopping");
        running.stop().await;
        match failed {
            Some(why) => anyhow::bail!("stopped because {why}"),
            None => Ok(()),
        }
    })
}

fn log(dev: &Dev) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&dev.log).with_context(|| format!("--log {}", dev.log))?;
    let colours = std::io::stderr().is_terminal();
    let logger =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    match dev.log_format {
        LogFormat::Text => logger.init(),
        LogFormat::Json => logger.json().init(),
    }
    Ok(())
}
