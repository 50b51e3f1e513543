//! Caddy's configuration.

use super::{Front, Job};

/// One site that proxies everything; HTTP/3 is off, as nobody else has it on.
pub(super) fn config(job: &Job) -> String {
    let (scheme, port) = (job.scheme(), job.listen.port());
    let tls = match job.front {
        Front::Https => {
            let (chain, key) = (job.certificate.chain.display(), job.certificate.key.display());
            format!("  tls {chain} {key} {{\n    protocols tls1.3\n  }}\n")
        }
        Front::Http | Front::Tcp => String::new(),
    };
    format!(
        "{{\n  admin off\n  auto_https off\n  persist_config off\n  log {{\n    level ERROR\n  }}\n  \
         servers {{\n    protocols h1 h2\n  }}\n}}\n\
         {scheme}://:{port} {{\n  bind {}\n{tls}  reverse_proxy {} {{\n    header_up X-Forwarded-Port {port}\n    \
         header_up X-Forwarded-Server bench\n    header_up X-Real-Ip {{remote_host}}\n    \
         transport http {{\n      keepalive_idle_conns_per_host 256\n    }}\n  }}\n}}\n",
        job.listen.ip(),
        job.backend
    )
}
