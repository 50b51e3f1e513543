//! The proxies that are compared, each with a configuration that does the same job: one entry point, one backend with
//! keep-alive, `X-Forwarded-*` and `X-Real-Ip` added, no access log, one worker.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// Connections that each peer is set up to accept; two descriptors each must fit under the usual `ulimit -n` of 20,000.
const MAX_CONNECTIONS: usize = 9_000;

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

    /// Writes its configuration into `dir` and returns the command that starts it, without pinning.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn command(
        self,
        program: &Path,
        dir: &Path,
        listen: SocketAddr,
        backend: SocketAddr,
    ) -> Result<Command> {
        let file_of = |name: &str, text: String| -> Result<PathBuf> {
            let file = dir.join(name);
            fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
            Ok(file)
        };
        let mut command = Command::new(program);
        command.current_dir(dir);
        match self {
            Self::Pancake => {
                let dynamic = file_of("pancake-dynamic.yml", traefik_dynamic(backend))?;
                let file = file_of("pancake.yml", traefik_static(listen, &dynamic, None))?;
                command.arg(format!("--configFile={}", file.display())).arg("--pancake.workers=1");
            }
            Self::Traefik => {
                let dynamic = file_of("traefik-dynamic.yml", traefik_dynamic(backend))?;
                let file = file_of("traefik.yml", traefik_static(listen, &dynamic, None))?;
                command.arg(format!("--configFile={}", file.display())).env("GOMAXPROCS", "1");
            }
            Self::Haproxy => {
                command.arg("-db").arg("-f").arg(file_of("haproxy.cfg", haproxy(listen, backend))?);
            }
            Self::Nginx => {
                let file = file_of("nginx-proxy.conf", nginx_proxy(dir, listen, backend))?;
                command.arg("-c").arg(file).arg("-p").arg(dir).args(["-e", "stderr"]);
            }
            Self::Envoy => {
                let file = file_of("envoy.json", envoy(listen, backend))?;
                command
                    .args(["--concurrency", "1", "--log-level", "warn", "--disable-hot-restart", "-c"])
                    .arg(file);
            }
            Self::Caddy => {
                let file = file_of("Caddyfile", caddy(listen, backend))?;
                command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
                command.env("GOMAXPROCS", "1").env("XDG_DATA_HOME", dir).env("XDG_CONFIG_HOME", dir);
            }
        }
        Ok(command)
    }
}

/// Static Traefik configuration with one entry point and one file provider; with `admin`, also its API and metrics
/// there. Changes apply after 100 ms instead of Traefik's 2 s.
pub fn traefik_static(listen: SocketAddr, dynamic: &Path, admin: Option<SocketAddr>) -> String {
    let mut text = format!(
        "providers:\n  providersThrottleDuration: 100ms\n  file:\n    filename: \"{}\"\n    watch: true\n\
         log:\n  level: WARN\nentryPoints:\n  web:\n    address: \"{listen}\"\n",
        dynamic.display(),
    );
    if let Some(addr) = admin {
        let _ = write!(
            text,
            "  traefik:\n    address: \"{addr}\"\napi:\n  insecure: true\nping: {{}}\nmetrics:\n  prometheus: {{}}\n"
        );
    }
    text
}

fn traefik_dynamic(backend: SocketAddr) -> String {
    format!(
        "http:\n  routers:\n    bench:\n      rule: \"PathPrefix(`/`)\"\n      service: bench\n  services:\n    bench:\n      \
         loadBalancer:\n        servers:\n          - url: \"http://{backend}\"\n"
    )
}

fn haproxy(listen: SocketAddr, backend: SocketAddr) -> String {
    let port = listen.port();
    format!(
        "global\n  nbthread 1\n  maxconn {MAX_CONNECTIONS}\ndefaults\n  mode http\n  timeout connect 5s\n  \
         timeout client 600s\n  timeout server 600s\n  timeout http-keep-alive 600s\n  option http-keep-alive\n  \
         http-reuse always\nfrontend web\n  bind {listen}\n  option forwardfor\n  \
         http-request set-header X-Forwarded-Proto http\n  http-request set-header X-Forwarded-Host %[req.hdr(host)]\n  \
         http-request set-header X-Forwarded-Port {port}\n  http-request set-header X-Forwarded-Server bench\n  \
         http-request set-header X-Real-Ip %[src]\n  default_backend web\nbackend web\n  server one {backend}\n"
    )
}

fn nginx_proxy(dir: &Path, listen: SocketAddr, backend: SocketAddr) -> String {
    let port = listen.port();
    let body = format!(
        "upstream web {{ server {backend}; keepalive 256; keepalive_requests 1000000000; }}\n\
         server {{ listen {listen} backlog=4096;\n location / {{ proxy_pass http://web; proxy_http_version 1.1;\n\
         proxy_set_header Connection \"\"; proxy_set_header Host $http_host;\n\
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto http;\n\
         proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Port {port};\n\
         proxy_set_header X-Forwarded-Server bench; proxy_set_header X-Real-Ip $remote_addr;\n }} }}\n"
    );
    nginx(dir, "proxy", &body)
}

fn is_root() -> bool {
    // The owner of what this process makes, as the kernel shows it.
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

/// Configuration of the backend: static answers of 128 bytes, 64 KiB and 1 MiB from files in `dir`.
///
/// # Errors
/// When a file cannot be written.
pub fn nginx_backend(dir: &Path, listen: SocketAddr) -> Result<String> {
    let root = dir.join("www");
    fs::create_dir_all(&root)?;
    for (name, size) in [("128", 128), ("64k", 64 * 1024), ("1m", 1024 * 1024)] {
        fs::write(root.join(name), "x".repeat(size)).with_context(|| format!("cannot write {name}"))?;
    }
    let body = format!(
        "open_file_cache max=16 inactive=600s;\nserver {{ listen {listen} backlog=4096; root {}; sendfile on; tcp_nopush on;\n\
         location = /128 {{ return 200 \"{}\"; }} }}\n",
        root.display(),
        "x".repeat(128)
    );
    Ok(nginx(dir, "backend", &body))
}

fn nginx(dir: &Path, name: &str, body: &str) -> String {
    let dir = dir.display();
    let mut temporary = String::new();
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = writeln!(temporary, "{kind}_temp_path {dir}/{name}-{kind};");
    }
    // As root nginx would give its workers to `nobody`, who may not read `dir`.
    let user = if is_root() { "user root;\n" } else { "" };
    format!(
        "{user}daemon off;\nworker_processes 1;\nworker_rlimit_nofile 20000;\npid {dir}/{name}.pid;\nerror_log stderr error;\n\
         events {{ worker_connections {MAX_CONNECTIONS}; }}\nhttp {{ access_log off; keepalive_timeout 600s;\n\
         keepalive_requests 1000000000; default_type text/plain; tcp_nodelay on;\n{temporary}{body} }}\n"
    )
}

fn caddy(listen: SocketAddr, backend: SocketAddr) -> String {
    let port = listen.port();
    format!(
        "{{\n  admin off\n  auto_https off\n  persist_config off\n  log {{\n    level ERROR\n  }}\n}}\n\
         http://:{port} {{\n  bind {}\n  reverse_proxy {backend} {{\n    header_up X-Forwarded-Port {port}\n    \
         header_up X-Forwarded-Server bench\n    header_up X-Real-Ip {{remote_host}}\n    \
         transport http {{\n      keepalive_idle_conns_per_host 256\n    }}\n  }}\n}}\n",
        listen.ip()
    )
}

fn envoy(listen: SocketAddr, backend: SocketAddr) -> String {
    let socket = |addr: SocketAddr| serde_json::json!({"socket_address": {"address": addr.ip().to_string(), "port_value": addr.port()}});
    let add = |name: &str, value: &str| serde_json::json!({"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"});
    let manager = serde_json::json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "web", "use_remote_address": true, "generate_request_id": false,
        "route_config": {"virtual_hosts": [{"name": "web", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": "web"}}],
            "request_headers_to_add": [add("X-Forwarded-Host", "%REQ(:AUTHORITY)%"), add("X-Forwarded-Server", "bench"),
                add("X-Forwarded-Port", &listen.port().to_string()),
                add("X-Real-Ip", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%")]}]},
        "http_filters": [{"name": "router", "typed_config":
            {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]
    });
    let limit = serde_json::json!([{"max_connections": MAX_CONNECTIONS, "max_pending_requests": MAX_CONNECTIONS,
        "max_requests": MAX_CONNECTIONS}]);
    serde_json::json!({"static_resources": {
        "listeners": [{"name": "web", "address": socket(listen), "filter_chains": [{"filters": [
            {"name": "http", "typed_config": manager}]}]}],
        "clusters": [{"name": "web", "type": "STATIC", "circuit_breakers": {"thresholds": limit},
            "load_assignment": {"cluster_name": "web", "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": socket(backend)}}]}]}}]
    }})
    .to_string()
}
