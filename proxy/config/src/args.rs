//! The command line of `pancake-proxy`.
//!
//! Traefik's flags (`--entryPoints.web.address=:80`, in any case) and environment variables
//! (`TRAEFIK_ENTRYPOINTS_WEB_ADDRESS`) become an `Overlay`; what they mean is found out by
//! `crate::traefik::static_config::read`, together with the file. Flags go over environment variables, both go
//! over the file.

use std::path::PathBuf;

use crate::problem::{Problem, Span};
use crate::traefik::static_config::ROOT_KEYS;
use crate::tree::overlay::Overlay;

/// Longest flag or variable, in bytes.
pub const MAX_ARGUMENT_BYTES: usize = 64 * 1024;

/// Where Traefik looks for its file: each directory with each name.
const DIRECTORIES: [&str; 4] = [".", "$XDG_CONFIG_HOME", "$HOME/.config", "/etc/traefik"];
const FILE_NAMES: [&str; 3] = ["traefik.toml", "traefik.yaml", "traefik.yml"];

/// What the process is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// Print [`HELP`] and exit 0.
    Help,
    /// Print the version and exit 0.
    Version,
    /// Serve, or check.
    Run(Run),
}

/// What to serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// `--configFile`.
    pub config_file: Option<PathBuf>,
    /// `--check`: read everything, print every problem, exit 0 if there is none and 1 otherwise.
    pub check: bool,
    /// Settings of flags and environment variables.
    pub overlay: Overlay,
}

/// What `--help` prints.
pub const HELP: &str = "\
pancake-proxy: an ingress proxy that reads Traefik's configuration

Usage:
  pancake-proxy --configFile=traefik.yml [flags]
  pancake-proxy --configFile=traefik.yml --check

Flags of its own:
  --configFile=FILE       static configuration, .yml, .yaml or .toml; without it: traefik.{toml,yaml,yml} in the
                          working directory, $XDG_CONFIG_HOME, $HOME/.config or /etc/traefik
  --check                 read all configuration, print every problem as file:line:column, exit 0 or 1
  --help                  print this
  --version               print the version

Traefik's static configuration, each key a flag (any case; a flag goes over the file):
  --entryPoints.NAME.address=:80                          where to listen
  --entryPoints.NAME.asDefault=true                       for routers that name no entry point
  --entryPoints.NAME.forwardedHeaders.trustedIPs=CIDR,…   whose X-Forwarded-* are believed
  --entryPoints.NAME.http.tls=true                        TLS for its HTTP routers (certResolver, options, domains)
  --certificatesResolvers.NAME.acme.tlsChallenge=true     orders certificates (email, storage, httpChallenge, …)
  --entryPoints.NAME.transport.respondingTimeouts.readTimeout=60s   (writeTimeout=0s, idleTimeout=180s)
  --entryPoints.NAME.transport.lifeCycle.graceTimeOut=10s how long exchanges may go on after the signal to stop
  --providers.file.filename=FILE                          dynamic configuration, one file
  --providers.file.directory=DIR                          dynamic configuration, all files below
  --providers.file.watch=true                             pick up changes
  --providers.pancake.endpoint=http://HOST:PORT           dynamic configuration streamed by pancake-control
  --api.insecure=true --ping=true --metrics.prometheus=true         on the entry point traefik, :8080
  --accessLog=true --accessLog.format=common|json --accessLog.filePath=FILE
  --log.level=ERROR       TRACE, DEBUG, INFO, WARN, ERROR
  --serversTransport.maxIdleConnsPerHost=200

Settings that Traefik does not have:
  --pancake.workers=N     threads that serve; one per core by default
  --pancake.engine=auto   ring (io_uring), epoll, or auto: io_uring where the kernel allows it
  --pancake.limits.maxConnections=N                       (maxConnectionsPerAddress, memoryBudget,
                          tlsHandshakeTimeout, writeStallTimeout)
  --pancake.stateDir=DIR  keeps the last good snapshot for a start without the control plane

Environment variables: TRAEFIK_ENTRYPOINTS_WEB_ADDRESS=:80 is --entryPoints.web.address=:80; flags go over them.
All keys, and what Traefik has that is not built yet: ops/manual/traefik.md
";

/// Reads the arguments (without the name of the program) and the environment.
///
/// Errors: all that is wrong with the form. An unknown flag is found later, by
/// [`crate::traefik::static_config::read`].
pub fn parse(args: &[String], env: &[(String, String)]) -> Result<Invocation, Vec<Problem>> {
    let mut run = Run::default();
    let mut problems = Vec::new();
    let mut flags = Overlay::default();
    from_environment(env, &mut run, &mut problems);
    let mut rest = args.iter().peekable();
    while let Some(arg) = rest.next() {
        let Some(flag) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')) else {
            match arg.as_str() {
                "help" => return Ok(Invocation::Help),
                "version" => return Ok(Invocation::Version),
                _ => problems.push(
                    Problem::new(Span::whole(shown(arg)), "not a flag")
                        .expected("flags such as --configFile=FILE"),
                ),
            }
            continue;
        };
        if arg.len() > MAX_ARGUMENT_BYTES {
            let message = format!("longer than {MAX_ARGUMENT_BYTES} bytes");
            problems.push(Problem::new(Span::whole(shown(arg)), message));
            continue;
        }
        let (name, mut value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (flag, None),
        };
        match name.to_ascii_lowercase().as_str() {
            "help" | "h" => return Ok(Invocation::Help),
            "version" | "v" => return Ok(Invocation::Version),
            _ => {}
        }
        if value.is_none() {
            value = rest.next_if(|next| !next.starts_with('-') || is_number(next)).map(String::as_str);
        }
        if let Err(problem) = set(name, value, &mut run, &mut flags) {
            problems.push(problem);
        }
    }
    run.overlay = run.overlay.put_over(flags);
    if problems.is_empty() { Ok(Invocation::Run(run)) } else { Err(problems) }
}

/// The files to try, in order, when no `--configFile` is given. Traefik's places.
pub fn standard_files(env: &[(String, String)]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for directory in DIRECTORIES {
        let resolved = match directory.strip_prefix('$') {
            None => directory.to_string(),
            Some(rest) => {
                let (variable, below) = rest.split_once('/').unwrap_or((rest, ""));
                let value = env.iter().find(|(name, value)| name == variable && !value.is_empty());
                let Some((_, value)) = value else { continue };
                format!("{value}/{below}")
            }
        };
        files.extend(FILE_NAMES.iter().map(|name| PathBuf::from(&resolved).join(name)));
    }
    files
}

fn set(name: &str, value: Option<&str>, run: &mut Run, flags: &mut Overlay) -> Result<(), Problem> {
    let span = || Span::whole(format!("--{}", shown(name)));
    match name.to_ascii_lowercase().as_str() {
        "configfile" => match value {
            Some(file) if !file.is_empty() => run.config_file = Some(file.into()),
            _ => return Err(Problem::new(span(), "no file is named").expected("--configFile=FILE")),
        },
        "check" => match value {
            None | Some("true") => run.check = true,
            Some("false") => run.check = false,
            Some(_) => return Err(Problem::new(span(), "not a boolean").expected("--check")),
        },
        _ => flags.set(name, value.unwrap_or("true"), span())?,
    }
    Ok(())
}

/// Variables that do not begin with a key of the static configuration are somebody else's (`TRAEFIK_SERVICE_HOST`
/// in Kubernetes).
fn from_environment(env: &[(String, String)], run: &mut Run, problems: &mut Vec<Problem>) {
    let mut sorted: Vec<&(String, String)> = env.iter().collect();
    sorted.sort();
    for (name, value) in sorted {
        let Some(path) = name.strip_prefix("TRAEFIK_") else { continue };
        let path = path.to_ascii_lowercase().replace('_', ".");
        let root = path.split('.').next().unwrap_or_default();
        if !ROOT_KEYS.iter().any(|key| key.eq_ignore_ascii_case(root)) {
            continue;
        }
        let span = Span::whole(shown(name));
        if path == "configfile" {
            run.config_file = Some(value.into());
        } else if name.len() + value.len() > MAX_ARGUMENT_BYTES {
            problems.push(Problem::new(span, format!("longer than {MAX_ARGUMENT_BYTES} bytes")));
        } else if let Err(problem) = run.overlay.set(&path, value, span) {
            problems.push(problem);
        }
    }
}

fn is_number(text: &str) -> bool {
    text.len() > 1 && text[1..].bytes().all(|byte| byte.is_ascii_digit())
}

/// A name as a place in a message: printable, and not longer than a line.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(120).collect()
}

#[cfg(test)]
mod tests;
