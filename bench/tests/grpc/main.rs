//! gRPC through the real binary: tonic and grpcio as clients and servers, and browsers' gRPC-Web as bytes of curl.

mod python;
mod raw;
#[allow(dead_code)]
#[path = "../protocols/rig.rs"]
mod rig;
mod server;
mod tonics;
mod web;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use rig::Rig;

/// The dynamic file of all tests: what comes goes to a server of gRPC, with TLS and without, and through gRPC-Web.
fn dynamic(dir: &Path, server: &str) -> String {
    let dir = dir.display();
    format!(
        "http:
  routers:
    secure: {{rule: 'PathPrefix(`/test.Echo/`)', service: echo, entryPoints: [web], tls: {{}}, middlewares: [web]}}
    plain: {{rule: 'PathPrefix(`/test.Echo/`)', service: echo, entryPoints: [web], middlewares: [web]}}
    dead: {{rule: 'PathPrefix(`/test.Dead/`)', service: dead, entryPoints: [web], middlewares: [web]}}
    none: {{rule: 'PathPrefix(`/test.None/`)', service: none, entryPoints: [web]}}
    dead-secure: {{rule: 'PathPrefix(`/test.Dead/`)', service: dead, entryPoints: [web], tls: {{}}}}
    none-secure: {{rule: 'PathPrefix(`/test.None/`)', service: none, entryPoints: [web], tls: {{}}}}
    slow: {{rule: 'PathPrefix(`/test.Echo/Hang`) && Header(`x-slow`, `1`)', service: slow, entryPoints: [web]}}
  middlewares:
    web: {{grpcWeb: {{allowOrigins: ['https://app.test']}}}}
  services:
    echo: {{loadBalancer: {{serversTransport: verified, servers: [{{url: '{server}'}}]}}}}
    slow: {{loadBalancer: {{serversTransport: quick, servers: [{{url: '{server}'}}]}}}}
    dead: {{loadBalancer: {{servers: [{{url: 'h2c://127.0.0.1:1'}}]}}}}
    none: {{loadBalancer: {{servers: []}}}}
  serversTransports:
    verified: {{serverName: web.test, rootCAs: ['{dir}/server.pem']}}
    quick: {{forwardingTimeouts: {{responseHeaderTimeout: 200ms}}, serverName: web.test, rootCAs: ['{dir}/server.pem']}}
tls:
  certificates: [{{certFile: '{dir}/cert.pem', keyFile: '{dir}/cert.key'}}]
"
    )
}

/// A proxy in front of `server`, `h2c://…` or `https://…` with a certificate by `authority`.
fn proxy(server: &str, authority: Option<&Path>) -> Rig {
    let dynamic = move |dir: &Path, _: SocketAddr| {
        match authority {
            Some(authority) => drop(fs::copy(authority, dir.join("server.pem")).unwrap()),
            None => drop(rig::certificate(dir, "server", &["web.test"])),
        }
        dynamic(dir, server)
    };
    Rig::start(dynamic, &[])
}
