//! HAProxy's configuration.

use super::{Front, Job};

/// One frontend and one backend, in the mode that the job asks for.
pub(super) fn config(job: &Job) -> String {
    let (listen, backend, port) = (job.listen, job.backend, job.listen.port());
    // Idle connections need one descriptor where HAProxy reckons with two: it shall warn, not refuse.
    let global = format!("global\n  nbthread 1\n  no strict-limits\n  maxconn {}\n", job.max_connections());
    let times = "  timeout connect 5s\n  timeout client 600s\n  timeout server 600s\n";
    if job.front == Front::Tcp {
        return format!(
            "{global}defaults\n  mode tcp\n{times}  option splice-auto\nfrontend tcp\n  bind {listen}\n  \
             default_backend tcp\nbackend tcp\n  server one {backend}\n"
        );
    }
    let (scheme, tls) = (job.scheme(), tls(job));
    format!(
        "{global}defaults\n  mode http\n{times}  timeout http-keep-alive 600s\n  option http-keep-alive\n  \
         http-reuse always\nfrontend web\n  bind {listen}{tls}\n  option forwardfor\n  \
         http-request set-header X-Forwarded-Proto {scheme}\n  \
         http-request set-header X-Forwarded-Host %[req.hdr(host)]\n  \
         http-request set-header X-Forwarded-Port {port}\n  http-request set-header X-Forwarded-Server bench\n  \
         http-request set-header X-Real-Ip %[src]\n  default_backend web\nbackend web\n  server one {backend}\n"
    )
}

fn tls(job: &Job) -> String {
    match job.front {
        Front::Https => {
            let file = job.certificate.joined.display();
            format!(" ssl crt {file} alpn h2,http/1.1 ssl-min-ver TLSv1.3")
        }
        Front::Http | Front::Tcp => String::new(),
    }
}
