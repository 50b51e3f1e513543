//! Traefik's configuration, static and dynamic; Pancake reads the same files.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use super::{Front, Job};

/// Static configuration with one entry point `web` and one file provider; with `admin`, also Traefik's API and metrics
/// there. Changes apply after 100 ms instead of Traefik's 2 s.
pub fn fixed(listen: SocketAddr, dynamic: &Path, admin: Option<SocketAddr>) -> String {
    let mut text = with_entry_point("web", listen, dynamic);
    if let Some(addr) = admin {
        let _ = write!(
            text,
            "  traefik:\n    address: \"{addr}\"\napi:\n  insecure: true\nping: {{}}\nmetrics:\n  prometheus: {{}}\n"
        );
    }
    text
}

/// The same with the entry point named as people do: `web`, `websecure`, `tcp`.
pub(super) fn fixed_for(front: Front, listen: SocketAddr, dynamic: &Path) -> String {
    let name = match front {
        Front::Http => "web",
        Front::Https => "websecure",
        Front::Tcp => "tcp",
    };
    with_entry_point(name, listen, dynamic)
}

fn with_entry_point(name: &str, listen: SocketAddr, dynamic: &Path) -> String {
    format!(
        "providers:\n  providersThrottleDuration: 100ms\n  file:\n    filename: \"{}\"\n    watch: true\n\
         log:\n  level: WARN\nentryPoints:\n  {name}:\n    address: \"{listen}\"\n",
        dynamic.display(),
    )
}

/// One router that takes everything.
pub(super) fn dynamic(job: &Job) -> String {
    let backend = job.backend;
    if job.front == Front::Tcp {
        return format!(
            "tcp:\n  routers:\n    bench:\n      rule: \"HostSNI(`*`)\"\n      service: bench\n  services:\n    bench:\n      \
             loadBalancer:\n        servers:\n          - address: \"{backend}\"\n"
        );
    }
    let tls = if job.front == Front::Https { "      tls: {}\n" } else { "" };
    let mut text = format!(
        "http:\n  routers:\n    bench:\n      rule: \"PathPrefix(`/`)\"\n      service: bench\n{tls}  services:\n    bench:\n      \
         loadBalancer:\n        servers:\n          - url: \"http://{backend}\"\n"
    );
    if job.front == Front::Https {
        let (chain, key) = (job.certificate.chain.display(), job.certificate.key.display());
        let _ =
            write!(text, "tls:\n  certificates:\n    - certFile: \"{chain}\"\n      keyFile: \"{key}\"\n");
    }
    text
}
