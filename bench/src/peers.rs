//! The proxies that are compared, each with a configuration that does the same job: one entry point, one backend with
//! keep-alive, `X-Forwarded-*` and `X-Real-Ip` added, no access log, one worker. What TLS negotiates is set at the
//! clients (`tls`), which offer one version, suite and group: so it is the same for all, also where a proxy has no
//! setting for it.

/// Configuration of Caddy.
mod caddy;
/// Configuration of Envoy.
mod envoy;
/// Configuration of HAProxy.
mod haproxy;
/// Configuration of nginx, as proxy and as backend.
mod nginx;
/// Configuration of Traefik, which is Pancake's too.
mod traefik;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

pub use self::nginx::backend as nginx_backend;
pub use self::traefik::fixed as traefik_static;
use crate::tls::Certificate;

/// Connections that each peer is set up to accept; two descriptors each must fit under the usual `ulimit -n` of 20,000.
const MAX_CONNECTIONS: usize = 9_000;
/// The same with TLS: 10,000 of them idle, and an idle one has one descriptor.
const MAX_TLS_CONNECTIONS: usize = 10_200;

/// What the entry point of a proxy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    /// HTTP/1.1.
    Http,
    /// HTTP/1.1 and HTTP/2 over TLS, with session tickets.
    Https,
    /// Any bytes over TCP.
    Tcp,
}

/// What a proxy has to do.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// What it speaks.
    pub front: Front,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where its one server is.
    pub backend: SocketAddr,
    /// What it shows with [`Front::Https`].
    pub certificate: &'a Certificate,
}

impl Job<'_> {
    fn scheme(&self) -> &'static str {
        if self.front == Front::Https { "https" } else { "http" }
    }

    fn max_connections(&self) -> usize {
        if self.front == Front::Https { MAX_TLS_CONNECTIONS } else { MAX_CONNECTIONS }
    }
}

/// One of the proxies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// `pancake-proxy` from this workspace.
    Pancake,
    /// HAProxy.
    Haproxy,
    /// nginx.
    Nginx,
    /// Envoy.
    Envoy,
    /// Traefik.
    Traefik,
    /// Caddy.
    Caddy,
}

/// All of them, in the order in which they run and are shown.
pub const ALL: [Peer; 6] =
    [Peer::Pancake, Peer::Haproxy, Peer::Nginx, Peer::Envoy, Peer::Traefik, Peer::Caddy];

impl Peer {
    /// Name on the command line and in the results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pancake => "pancake",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
            Self::Traefik => "traefik",
            Self::Caddy => "caddy",
        }
    }

    fn program(self) -> &'static str {
        if self == Self::Pancake { "pancake-proxy" } else { self.name() }
    }

    /// Where its program is: beside this program, on `PATH`, or in `/usr/sbin`.
    pub fn find(self) -> Option<PathBuf> {
        let own = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let dirs = own.into_iter().chain(std::env::split_paths(&path)).chain([PathBuf::from("/usr/sbin")]);
        dirs.map(|dir| dir.join(self.program())).find(|file| file.is_file())
    }

    /// What it says its version is, first line, shortened.
    pub fn version(self, program: &Path) -> String {
        let flag = match self {
            Self::Haproxy | Self::Nginx => "-v",
            Self::Traefik | Self::Caddy => "version",
            Self::Pancake | Self::Envoy => "--version",
        };
        let Ok(out) = Command::new(program).arg(flag).output() else { return String::new() };
        let text = String::from_utf8_lossy(&if out.stdout.is_empty() { out.stderr } else { out.stdout })
            .into_owned();
        let line = text.lines().find(|line| line.chars().any(|c| c.is_ascii_digit())).unwrap_or("");
        let word = |w: &str| w.split('.').count() >= 3 && w.contains(|c: char| c.is_ascii_digit());
        let found = line.split([' ', '/', '-']).find(|w| word(w)).unwrap_or(line);
        found.trim_start_matches('v').to_owned()
    }

    /// Whether it can do such a job at all.
    pub fn supports(self, front: Front) -> bool {
        // TCP needs a plugin in Caddy.
        self != Self::Caddy || front != Front::Tcp
    }

    /// Writes its configuration into `dir` and returns the command that starts it, without pinning.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn command(self, program: &Path, dir: &Path, job: &Job) -> Result<Command> {
        let file_of = |name: &str, text: String| -> Result<PathBuf> {
            let file = dir.join(name);
            fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
            Ok(file)
        };
        let mut command = Command::new(program);
        command.current_dir(dir);
        match self {
            Self::Pancake | Self::Traefik => {
                let dynamic = file_of("dynamic.yml", traefik::dynamic(job))?;
                let file = file_of("static.yml", traefik::fixed_for(job.front, job.listen, &dynamic))?;
                command.arg(format!("--configFile={}", file.display()));
                if self == Self::Pancake {
                    command.arg("--pancake.workers=1");
                } else {
                    command.env("GOMAXPROCS", "1");
                }
            }
            Self::Haproxy => {
                command.arg("-db").arg("-f").arg(file_of("haproxy.cfg", haproxy::config(job))?);
            }
            Self::Nginx => {
                let file = file_of("nginx-proxy.conf", nginx::proxy(dir, job))?;
                command.arg("-c").arg(file).arg("-p").arg(dir).args(["-e", "stderr"]);
            }
            Self::Envoy => {
                let file = file_of("envoy.json", envoy::config(job))?;
                command
                    .args(["--concurrency", "1", "--log-level", "warn", "--disable-hot-restart", "-c"])
                    .arg(file);
            }
            Self::Caddy => {
                let file = file_of("Caddyfile", caddy::config(job))?;
                command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
                command.env("GOMAXPROCS", "1").env("XDG_DATA_HOME", dir).env("XDG_CONFIG_HOME", dir);
            }
        }
        Ok(command)
    }
}
