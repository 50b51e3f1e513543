//! The files of the swap scenarios: [`ROUTERS`] routers on distinct hosts, among them one for the load, and one that
//! only this version has. Every version changes each router, so that nothing stays the same by accident.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

/// Routers in a file; also the most services that the control plane reads from one.
pub const ROUTERS: usize = 10_000;
/// All but the two of [`own_rules`].
const OTHERS: usize = ROUTERS - 2;

/// Rules of the two routers that the scenario itself uses.
fn own_rules(version: usize) -> [(&'static str, String); 2] {
    [
        ("load", "Host(`load.test`)".to_owned()),
        ("marker", format!("Host(`marker.test`) && Path(`/version/{version}`)")),
    ]
}

/// A Traefik dynamic file; each version moves every router to another service.
pub fn dynamic(backend: SocketAddr, version: usize) -> String {
    let mut text = String::from("http:\n  routers:\n");
    for i in 0..OTHERS {
        let service = (i + version) % 10;
        let _ =
            write!(text, "    r{i}:\n      rule: \"Host(`h{i}.example.test`)\"\n      service: s{service}\n");
    }
    for (name, rule) in own_rules(version) {
        let _ = write!(text, "    {name}:\n      rule: \"{rule}\"\n      service: load\n");
    }
    text.push_str("  services:\n");
    for service in (0..10).map(|i| format!("s{i}")).chain(["load".to_owned()]) {
        let _ = write!(
            text,
            "    {service}:\n      loadBalancer:\n        servers:\n          - url: \"http://{backend}\"\n"
        );
    }
    text
}

/// A services file of the control plane; each version changes the weight of every instance.
pub fn services(backend: SocketAddr, version: usize) -> String {
    let mut text = String::from("services:\n");
    let (address, port, weight) = (backend.ip(), backend.port(), version + 1);
    let mut add = |name: &str, rule: &str, weight: usize| {
        let instance = format!("{{id: {name}-1, address: {address}, port: {port}, weight: {weight}}}");
        let _ = write!(text, "  {name}:\n    rule: \"{rule}\"\n    instances:\n      - {instance}\n");
    };
    for i in 0..OTHERS {
        add(&format!("r{i}"), &format!("Host(`h{i}.example.test`)"), weight);
    }
    for (name, rule) in own_rules(version) {
        add(name, &rule, 1);
    }
    text
}

/// Static configuration of a proxy that listens to a control plane.
pub fn controlled(listen: SocketAddr, endpoint: &str, dir: &Path) -> String {
    format!(
        "providers:\n  providersThrottleDuration: 100ms\n  pancake:\n    endpoint: \"{endpoint}\"\nlog:\n  level: WARN\n\
         entryPoints:\n  web:\n    address: \"{listen}\"\npancake:\n  stateDir: \"{}\"\n",
        dir.join("proxy-state").display()
    )
}
