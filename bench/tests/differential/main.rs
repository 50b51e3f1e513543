//! The same file and the same bytes to Pancake and to the real Traefik: status, answer and what reaches the backend must
//! match. Each intended difference stands in `intended.rs` with its reason.
//!
//! Traefik comes from `PATH` or the cache of `ops/setup.sh`; without it the test says so and checks nothing.

mod cases;
mod intended;
mod observe;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use cases::CASES;
use intended::{INTENDED, Intended};
use observe::Observed;
use pancake_bench::backend::Backend;
use pancake_bench::peers::traefik_static;
use pancake_bench::process::{Process, free_addr};
use pancake_bench::stack::{Proxy, START};

fn traefik() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").unwrap_or_default();
    let cache = std::env::var_os("PANCAKE_CACHE")
        .map_or_else(|| PathBuf::from(home).join(".cache/pancake"), PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs = std::env::split_paths(&path).chain([cache.join("peers")]);
    dirs.find_map(|dir| Some(dir.join("traefik")).filter(|file| file.is_file()))
}

#[test]
fn pancake_answers_as_traefik_does() {
    let Some(program) = traefik() else {
        println!("NOT CHECKED: traefik is not installed (ops/test installs it)");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let one = Backend::start("one", "127.0.0.1:0").unwrap();
    let two = Backend::start("two", "127.0.0.1:0").unwrap();
    let gone = free_addr().unwrap();
    let file = dir.path().join("routes.yml");
    fs::write(&file, cases::dynamic(&one.url(), &two.url(), &format!("http://{gone}"))).unwrap();

    let (web, admin) = (free_addr().unwrap(), free_addr().unwrap());
    let fixed = dir.path().join("traefik.yml");
    fs::write(&fixed, traefik_static(web, &file, Some(admin))).unwrap();
    let mut command = Command::new(program);
    command.arg(format!("--configFile={}", fixed.display()));
    let mut real = Process::start(command, &dir.path().join("traefik.log")).unwrap();
    real.wait_listening(web, START).unwrap();
    // PANCAKE_DIFFERENTIAL_SELF=1 compares Traefik with itself: what differs then is noise of the harness.
    let mut observed = Vec::new();
    if std::env::var_os("PANCAKE_DIFFERENTIAL_SELF").is_some() {
        observed.push(observe::all(web, &real, CASES));
        observed.push(observe::all(web, &real, CASES));
    } else {
        let own = Proxy::start(dir.path(), &file).unwrap();
        observed.push(observe::all(web, &real, CASES));
        observed.push(observe::all(own.web, &own.process, CASES));
    }
    let (theirs, ours) = (&observed[0], &observed[1]);

    let mut wrong = Vec::new();
    let mut used = vec![false; INTENDED.len()];
    for case in CASES {
        let mut unexplained = Vec::new();
        for (what, shown) in differences(&theirs[case.name], &ours[case.name]) {
            let covers = |entry: &Intended| {
                (entry.cases.is_empty() || entry.cases.contains(&case.name))
                    && (entry.what.is_empty() || entry.what.contains(&what.as_str()))
            };
            match INTENDED.iter().position(covers) {
                Some(entry) => used[entry] = true,
                None => unexplained.push(shown),
            }
        }
        if !unexplained.is_empty() {
            wrong.push(format!("{}:\n{}", case.name, unexplained.join("\n")));
        }
    }
    for (entry, _) in INTENDED.iter().zip(used).filter(|(_, used)| !used) {
        wrong.push(format!(
            "{:?}: listed as intended, but there is no such difference ({})",
            entry.cases, entry.reason
        ));
    }
    for name in INTENDED.iter().flat_map(|entry| entry.cases).filter(|n| !CASES.iter().any(|c| c.name == **n))
    {
        wrong.push(format!("{name}: listed as intended, but there is no such case"));
    }
    println!("{} cases, {} intended differences", CASES.len(), INTENDED.len());
    assert!(wrong.is_empty(), "traefik against pancake:\n\n{}", wrong.join("\n\n"));
}

/// Every difference: what differs, and a line that shows it.
fn differences(theirs: &Observed, ours: &Observed) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut compare = |what: &str, theirs: &str, ours: &str| {
        if theirs != ours {
            out.push((what.to_owned(), format!("  {what}: traefik {theirs:?}, pancake {ours:?}")));
        }
    };
    compare("status", &theirs.status.to_string(), &ours.status.to_string());
    compare("backend", &theirs.backend, &ours.backend);
    compare("body", &theirs.body, &ours.body);
    compare("request line to the backend", &theirs.request_line, &ours.request_line);
    compare("kept alive", &theirs.keep_alive.to_string(), &ours.keep_alive.to_string());
    for (what, theirs, ours) in [
        ("to the backend", &theirs.to_backend, &ours.to_backend),
        ("to the client", &theirs.to_client, &ours.to_client),
    ] {
        let names: std::collections::BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
        let shown = |fields: &BTreeMap<String, Vec<String>>, name: &str| {
            fields.get(name).map_or("absent".to_owned(), |values| values.join(" | "))
        };
        for name in names {
            compare(&format!("{name} {what}"), &shown(theirs, name), &shown(ours, name));
        }
    }
    out
}
