//! nginx's configuration: as a proxy that is measured, and as the backend of all.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Front, Job, MAX_CONNECTIONS};

/// Where distributions put the `stream` module; where none is, it is taken to be built in.
const STREAM_MODULES: [&str; 2] =
    ["/usr/lib/nginx/modules/ngx_stream_module.so", "/usr/lib64/nginx/modules/ngx_stream_module.so"];

/// One server in front of one upstream.
pub(super) fn proxy(dir: &Path, job: &Job) -> String {
    let (listen, backend, port, scheme) = (job.listen, job.backend, job.listen.port(), job.scheme());
    if job.front == Front::Tcp {
        let module = STREAM_MODULES.iter().find(|file| Path::new(file).is_file());
        let load = module.map_or(String::new(), |file| format!("load_module {file};\n"));
        return format!(
            "{load}{}stream {{ upstream tcp {{ server {backend}; }}\n\
             server {{ listen {listen} backlog=4096; proxy_pass tcp; proxy_timeout 600s; }} }}\n",
            top(dir, "proxy", job.max_connections())
        );
    }
    let (flags, tls) = match job.front {
        Front::Https => {
            let (chain, key) = (job.certificate.chain.display(), job.certificate.key.display());
            let files = format!("ssl_certificate {chain}; ssl_certificate_key {key};");
            (" ssl http2", format!("{files} ssl_protocols TLSv1.3; ssl_session_tickets on;\n"))
        }
        Front::Http | Front::Tcp => ("", String::new()),
    };
    let body = format!(
        "upstream web {{ server {backend}; keepalive 256; keepalive_requests 1000000000; }}\n\
         server {{ listen {listen}{flags} backlog=4096;\n {tls}location / {{ proxy_pass http://web; proxy_http_version 1.1;\n\
         proxy_set_header Connection \"\"; proxy_set_header Host $http_host;\n\
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto {scheme};\n\
         proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Port {port};\n\
         proxy_set_header X-Forwarded-Server bench; proxy_set_header X-Real-Ip $remote_addr;\n }} }}\n"
    );
    http(dir, "proxy", job.max_connections(), &body)
}

/// Configuration of the backend: static answers of 128 bytes, 64 KiB and 1 MiB from files in `dir`.
///
/// # Errors
/// When a file cannot be written.
pub fn backend(dir: &Path, listen: SocketAddr) -> Result<String> {
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
    Ok(http(dir, "backend", MAX_CONNECTIONS, &body))
}

fn http(dir: &Path, name: &str, connections: usize, body: &str) -> String {
    let mut temporary = String::new();
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = writeln!(temporary, "{kind}_temp_path {}/{name}-{kind};", dir.display());
    }
    format!(
        "{}http {{ access_log off; keepalive_timeout 600s;\n\
         keepalive_requests 1000000000; default_type text/plain; tcp_nodelay on;\n{temporary}{body} }}\n",
        top(dir, name, connections)
    )
}

fn is_root() -> bool {
    // The owner of what this process makes, as the kernel shows it.
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

fn top(dir: &Path, name: &str, connections: usize) -> String {
    // As root nginx would give its workers to `nobody`, who may not read `dir`.
    let user = if is_root() { "user root;\n" } else { "" };
    format!(
        "{user}daemon off;\nworker_processes 1;\nworker_rlimit_nofile 20000;\npid {}/{name}.pid;\nerror_log stderr error;\n\
         events {{ worker_connections {connections}; }}\n",
        dir.display()
    )
}
