//! Starting programs, waiting for them, ending them, and what they cost: CPU time and resident memory from `/proc`.
//!
//! Only processes started here are ever signalled, by their id.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(10);

/// A child process that is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output going to `log`.
    ///
    /// # Errors
    /// When the log cannot be created or the program cannot be started.
    pub fn start(mut command: Command, log: &Path) -> Result<Self> {
        let out = fs::File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        let err = out.try_clone()?;
        let named = format!("{:?}", command.get_program());
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        Ok(Self { child: child.with_context(|| format!("cannot start {named}"))?, log: log.to_owned() })
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it printed so far.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until something accepts on `addr`.
    ///
    /// # Errors
    /// When the process ends first or `deadline` passes; the end of its output is part of the error.
    pub fn wait_listening(&mut self, addr: SocketAddr, deadline: Duration) -> Result<()> {
        let up = || TcpStream::connect_timeout(&addr, Duration::from_millis(200)).is_ok();
        let end = Instant::now() + deadline;
        while !up() {
            if let Some(status) = self.child.try_wait()? {
                bail!("ended with {status} before it listened on {addr}:\n{}", tail(&self.output()));
            }
            if Instant::now() >= end {
                bail!("does not listen on {addr} after {deadline:?}:\n{}", tail(&self.output()));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Sends a signal such as `TERM` to this process alone.
    ///
    /// # Errors
    /// When `kill` cannot be run or refuses.
    pub fn signal(&self, name: &str) -> Result<()> {
        let mut kill = Command::new("kill");
        let status =
            kill.arg(format!("-{name}")).arg(self.id().to_string()).stderr(Stdio::null()).status()?;
        if !status.success() {
            bail!("kill -{name} {} failed", self.id());
        }
        Ok(())
    }

    /// Waits for the end of the process.
    ///
    /// # Errors
    /// When it still runs after `deadline`.
    pub fn wait_exit(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let end = Instant::now() + deadline;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= end {
                bail!("process {} still runs after {deadline:?}:\n{}", self.id(), tail(&self.output()));
            }
            std::thread::sleep(POLL);
        }
    }

    /// CPU time of the process and its children so far.
    pub fn cpu(&self) -> Duration {
        tree(self.id()).into_iter().map(cpu_of).sum()
    }

    /// Resident memory of the process and its children, in bytes.
    pub fn rss_bytes(&self) -> u64 {
        tree(self.id()).into_iter().map(rss_of).sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Asked first: a parent such as nginx's then ends its workers. A child that is gone already is what is wanted.
        let _ = self.signal("TERM");
        if self.wait_exit(Duration::from_secs(2)).is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn tail(text: &str) -> &str {
    let start = text.len().saturating_sub(2_000);
    text.get(start..).unwrap_or(text)
}

/// `root` and its descendants.
fn tree(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        next += 1;
        for task in entries(&format!("/proc/{pid}/task")) {
            let children =
                fs::read_to_string(format!("/proc/{pid}/task/{task}/children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|c| c.parse::<u32>().ok()));
        }
    }
    found
}

/// The first figure of `schedstat` is time on a CPU in nanoseconds, user and system; kernel workers of io_uring are
/// tasks of the process and so are counted too.
fn cpu_of(pid: u32) -> Duration {
    let of_task = |task: String| {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{task}/schedstat")).unwrap_or_default();
        text.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0)
    };
    Duration::from_nanos(entries(&format!("/proc/{pid}/task")).into_iter().map(of_task).sum())
}

fn rss_of(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|l| l.split_whitespace().next()).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) * 1024
}

fn entries(dir: &str) -> Vec<String> {
    let Ok(list) = fs::read_dir(dir) else { return Vec::new() };
    list.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Waits until `condition` holds.
///
/// # Errors
/// When it still does not after `deadline`; the error names `what` was waited for.
pub fn wait_until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    let end = Instant::now() + deadline;
    while !condition() {
        if Instant::now() >= end {
            bail!("still not so after {deadline:?}: {what}");
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// A loopback address with a port from the kernel, free a moment ago.
///
/// # Errors
/// When the kernel has none left.
pub fn free_addr() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_the_whole_tree_and_ends_it() {
        let log = std::env::temp_dir().join(format!("pancake-process-{}", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", "while :; do :; done & trap 'kill $!' TERM; wait"]);
        let process = Process::start(command, &log).unwrap();
        wait_until("the child burns", Duration::from_secs(10), || process.cpu() > Duration::from_millis(20))
            .unwrap();
        assert!(process.rss_bytes() > 100_000);
        assert_eq!(tree(process.id()).len(), 2);
        let all = tree(process.id());
        drop(process);
        let gone = |pid: &u32| !Path::new(&format!("/proc/{pid}")).exists() || rss_of(*pid) == 0;
        wait_until("all are gone", Duration::from_secs(10), || all.iter().all(gone)).unwrap();
        fs::remove_file(log).unwrap();
    }

    #[test]
    fn a_program_that_ends_early_shows_its_output() {
        let log = std::env::temp_dir().join(format!("pancake-early-{}", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such option; exit 3"]);
        let mut process = Process::start(command, &log).unwrap();
        let error = process.wait_listening(free_addr().unwrap(), Duration::from_secs(10)).unwrap_err();
        assert!(error.to_string().contains("no such option"), "{error}");
        fs::remove_file(log).unwrap();
    }
}
