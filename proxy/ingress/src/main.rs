//! `pancake-proxy`: reads the command line, then checks or serves.

use std::process::ExitCode;

use pancake_config::args::{self, Invocation};
use pancake_config::problem::Problem;
use pancake_proxy::boot;

/// Counted, for `pancake.limits.memoryBudget`.
#[global_allocator]
static HEAP: pancake_engine::heap::Counted = pancake_engine::heap::Counted;

/// Exit code of a command line or configuration that cannot be used.
const UNUSABLE: u8 = 1;

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    let env: Vec<(String, String)> = std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .collect();
    let run = match args::parse(&arguments, &env) {
        Err(problems) => return refuse(&problems),
        Ok(Invocation::Help) => {
            print!("{}", args::HELP);
            return ExitCode::SUCCESS;
        }
        Ok(Invocation::Version) => {
            println!("pancake-proxy {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Ok(Invocation::Run(run)) => run,
    };
    let settings = match boot::settings(&run, &env) {
        Ok(settings) => settings,
        Err(problems) => return refuse(&problems),
    };
    let outcome = if run.check { boot::check(settings) } else { boot::serve(settings) };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(UNUSABLE),
        Err(error) => {
            eprintln!("pancake-proxy: {error:#}");
            ExitCode::from(UNUSABLE)
        }
    }
}

fn refuse(problems: &[Problem]) -> ExitCode {
    for problem in problems {
        eprintln!("{problem}");
    }
    let plural = if problems.len() == 1 { "" } else { "s" };
    eprintln!("pancake-proxy: {} problem{plural}; --help lists what can be set", problems.len());
    ExitCode::from(UNUSABLE)
}
