//! The project's own programs as tests start them: built if need be, on free ports, in a directory of the test.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::peers::traefik_static;
use crate::process::{self, Process};

/// Longest wait for a program of ours to listen, a debug build on a busy machine included.
pub const START: Duration = Duration::from_secs(30);

/// A program of this workspace: from `PANCAKE_BIN_DIR` if set, else from the directory of the running test, built first.
///
/// # Errors
/// When it cannot be built.
pub fn program(name: &str) -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("PANCAKE_BIN_DIR") {
        let file = PathBuf::from(dir).join(name);
        if !file.is_file() {
            bail!("{} does not exist, though PANCAKE_BIN_DIR says so", file.display());
        }
        return Ok(file);
    }
    let exe = std::env::current_exe()?;
    let dir = exe.ancestors().find(|dir| dir.ends_with("debug") || dir.ends_with("release"));
    let dir = dir.with_context(|| format!("{} is in no target directory", exe.display()))?;
    let mut build = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    build.args(["build", "--quiet", "--workspace", "--bins"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if dir.ends_with("release") {
        build.arg("--release");
    }
    if let Some(target) = dir.parent() {
        build.arg("--target-dir").arg(target);
    }
    let out = build.output().context("cannot run cargo")?;
    if !out.status.success() {
        bail!("{name} cannot be built:\n{}", String::from_utf8_lossy(&out.stderr));
    }
    Ok(dir.join(name))
}

/// The command that starts `pancake-control dev`, all of its state in `state`.
///
/// # Errors
/// When the program cannot be found or the directory cannot be made.
pub fn control_command(listen: SocketAddr, services: &Path, state: &Path) -> Result<Command> {
    fs::create_dir_all(state)?;
    let mut command = Command::new(program("pancake-control")?);
    command.arg("dev").arg("--listen").arg(listen.to_string());
    command.arg("--services").arg(services).arg("--data-dir").arg(state);
    Ok(command)
}

/// A running `pancake-proxy`.
#[derive(Debug)]
pub struct Proxy {
    /// The process.
    pub process: Process,
    /// Entry point `web`.
    pub web: SocketAddr,
    /// Entry point `traefik`: the admin API.
    pub admin: SocketAddr,
}

impl Proxy {
    /// Starts one with a file provider on `dynamic`, its static file and log in `dir`, and waits until it listens.
    ///
    /// # Errors
    /// When it does not listen within [`START`]; its output is part of the error.
    pub fn start(dir: &Path, dynamic: &Path) -> Result<Self> {
        Self::start_with(dir, dynamic, &[])
    }

    /// The same with more arguments.
    ///
    /// # Errors
    /// As [`Proxy::start`].
    pub fn start_with(dir: &Path, dynamic: &Path, arguments: &[&str]) -> Result<Self> {
        Self::start_after(":", dir, dynamic, arguments)
    }

    /// The same after a shell has run `prelude` in the process that the proxy becomes: its limits, its control group.
    ///
    /// # Errors
    /// As [`Proxy::start`].
    pub fn start_after(prelude: &str, dir: &Path, dynamic: &Path, arguments: &[&str]) -> Result<Self> {
        let (web, admin) = (process::free_addr()?, process::free_addr()?);
        let file = dir.join("pancake.yml");
        fs::write(&file, traefik_static(web, dynamic, Some(admin)))?;
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{prelude}; exec \"$0\" \"$@\"")).arg(program("pancake-proxy")?);
        command.arg(format!("--configFile={}", file.display())).arg("--pancake.workers=1").args(arguments);
        command.current_dir(dir);
        let mut process = Process::start(command, &dir.join("pancake.log"))?;
        process.wait_listening(web, START)?;
        process.wait_listening(admin, START)?;
        Ok(Self { process, web, admin })
    }

    /// Body of an admin page; empty if it does not answer.
    pub fn admin(&self, path: &str) -> String {
        crate::load::get(self.admin, "localhost", path).map(|answer| answer.text()).unwrap_or_default()
    }
}
