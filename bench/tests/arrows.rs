//! Which crate may use which: the arrows of ARCHITECTURE.md, read from `cargo metadata`.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// What each crate may use of the workspace, for the program and its build. A crate that is not here fails the test:
/// whoever adds one says here where it stands.
const ALLOWED: &[(&str, &[&str])] = &[
    // The proxy. `wire, tls, balance -> session -> ingress`, `table -> tls`, `engine -> session`, `config -> ingress`.
    ("pancake-wire", &[]),
    ("pancake-table", &[]),
    ("pancake-tls", &["pancake-table"]),
    ("pancake-config", &["pancake-table"]),
    ("pancake-balance", &[]),
    ("pancake-engine", &[]),
    (
        "pancake-session",
        &["pancake-wire", "pancake-table", "pancake-tls", "pancake-balance", "pancake-engine"],
    ),
    (
        "pancake-proxy",
        &[
            "pancake-wire",
            "pancake-table",
            "pancake-tls",
            "pancake-config",
            "pancake-balance",
            "pancake-engine",
            "pancake-session",
        ],
    ),
    // The control plane. Of the proxy it uses the contract, and nothing else.
    ("pancake-model", &[]),
    ("pancake-api", &["pancake-model", "pancake-table"]),
    ("pancake-store", &["pancake-model"]),
    ("pancake-discovery", &["pancake-model"]),
    (
        "pancake-control",
        &["pancake-api", "pancake-model", "pancake-store", "pancake-discovery", "pancake-table"],
    ),
    ("pancake", &["pancake-api", "pancake-model", "pancake-table"]),
    // What looks at the rest from outside, or drives the proxy in a simulation.
    ("pancake-bench", &[]),
    (
        "pancake-sim",
        &["pancake-wire", "pancake-table", "pancake-balance", "pancake-engine", "pancake-session"],
    ),
];

/// No sockets, files, threads, clocks or global randomness, and so none of the crates that bring them.
const PURE: &[&str] =
    &["pancake-wire", "pancake-table", "pancake-config", "pancake-balance", "pancake-model"];

/// Crates of others that a pure crate does not use: runtimes, sockets, clocks, randomness.
const IMPURE: &[&str] = &[
    "async-std",
    "chrono",
    "crossbeam-channel",
    "fastrand",
    "getrandom",
    "hyper",
    "io-uring",
    "libc",
    "mio",
    "notify",
    "rand",
    "redb",
    "reqwest",
    "rustix",
    "smol",
    "socket2",
    "tempfile",
    "time",
    "tokio",
    "tokio-uring",
    "tonic",
    "tracing",
    "ureq",
    "uuid",
];

struct Crate {
    name: String,
    manifest: String,
    /// Name and kind: `normal`, `build` or `dev`.
    uses: Vec<(String, String)>,
}

fn workspace() -> Vec<Crate> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let out = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let metadata: Value = serde_json::from_slice(&out.stdout).expect("cargo metadata prints JSON");
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let packages = metadata["packages"].as_array().expect("packages");
    let uses = |package: &Value| {
        let dependencies = package["dependencies"].as_array().expect("dependencies").clone();
        let kind = |d: &Value| d["kind"].as_str().unwrap_or("normal").to_owned();
        dependencies.iter().map(|d| (text(d, "name"), kind(d))).collect()
    };
    packages
        .iter()
        .map(|p| Crate { name: text(p, "name"), manifest: text(p, "manifest_path"), uses: uses(p) })
        .collect()
}

fn ours(name: &str) -> bool {
    name == "pancake" || name.starts_with("pancake-")
}

#[test]
fn crates_use_only_what_their_arrows_allow() {
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let mut wrong = Vec::new();
    for package in workspace() {
        let Some(may_use) = allowed.get(package.name.as_str()) else {
            wrong.push(format!("{} is not in ALLOWED of bench/tests/arrows.rs", package.name));
            continue;
        };
        for (used, kind) in &package.uses {
            if ours(used) && kind != "dev" && !may_use.contains(&used.as_str()) {
                wrong.push(format!("{} must not use {used} ({kind}); allowed: {may_use:?}", package.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn planes_do_not_reach_into_each_other_even_in_tests() {
    let all = workspace();
    let plane = |package: &Crate| {
        let dirs = ["proxy", "control"];
        dirs.into_iter().find(|dir| package.manifest.contains(&format!("/{dir}/"))).unwrap_or("")
    };
    let planes: BTreeMap<_, _> = all.iter().map(|p| (p.name.clone(), plane(p))).collect();
    let mut wrong = Vec::new();
    for package in &all {
        let from = planes[&package.name];
        for (used, kind) in &package.uses {
            let to = planes.get(used).copied().unwrap_or("");
            if from == "proxy" && to == "control"
                || from == "control" && to == "proxy" && used != "pancake-table"
            {
                wrong.push(format!("{} ({from}) uses {used} ({to}, {kind})", package.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_crates_use_no_runtime_no_socket_and_no_clock() {
    for name in PURE {
        let may_use = ALLOWED.iter().find(|(n, _)| n == name).expect("pure crates have arrows").1;
        assert!(may_use.iter().all(|used| PURE.contains(used)), "{name} is pure, but may use {may_use:?}");
    }
    let mut wrong = Vec::new();
    for package in workspace().iter().filter(|p| PURE.contains(&p.name.as_str())) {
        for (used, kind) in &package.uses {
            if kind == "normal" && IMPURE.contains(&used.as_str()) {
                wrong.push(format!("{} is pure, but uses {used}", package.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
