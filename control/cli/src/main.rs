//! The control plane's command line.
//!
//! Each command is one question or one change over gRPC, shown as a table or as JSON. Exit codes: 0 done, 1 failed,
//! 2 called wrongly. What it does not do: change anything by other ways than the API.

/// What can be said.
mod args;
/// One module per kind of command.
mod commands;
/// The way to the control plane, and what to say when there is none.
mod connect;
/// Tables, JSON, text that cannot upset a terminal.
mod output;
/// The admin API of a proxy.
mod proxy;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("pancake: {e}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(commands::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has seen enough: `pancake services | head`.
        Err(e) if output::is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("pancake: {}", output::plain(&format!("{e:#}")));
            ExitCode::FAILURE
        }
    }
}
