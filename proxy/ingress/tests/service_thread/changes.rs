//! Files that change, and the snapshot on disk.

use std::path::Path;

use pancake_proxy::providers::control::saved;
use pancake_table::snapshot::{LoadBalancer, Router, Service, ServiceKind, Snapshot};

use super::rig::{Rig, eventually, replace};

fn dynamic(host: &str) -> String {
    format!(
        "http:\n  routers:\n    {host}: {{rule: 'Host(`{host}.test`)', service: s}}\n  services:\n    \
         s: {{loadBalancer: {{servers: [{{url: 'http://127.0.0.1:1'}}]}}}}\n"
    )
}

fn watched(path: &Path) -> Rig {
    Rig::start(&format!(
        "api: {{insecure: true}}\nmetrics: {{prometheus: {{}}}}\nproviders:\n  providersThrottleDuration: 0s\n  file: \
         {{filename: '{}'}}\n",
        path.display()
    ))
}

fn problems(rig: &Rig) -> Vec<String> {
    let shown = rig.json("/api/pancake/problems");
    let all = shown["problems"].as_array().unwrap().iter();
    all.map(|problem| format!("{}: {}", problem["place"].as_str().unwrap(), problem["message"])).collect()
}

#[test]
fn a_file_that_changes_breaks_vanishes_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dynamic.yml");
    std::fs::write(&path, dynamic("one")).unwrap();
    let rig = watched(&path);
    assert_eq!(rig.routes(), ["one@file"]);
    replace(&path, &dynamic("two"));
    eventually("the change serves", || rig.routes() == ["two@file"]);
    replace(&path, "http: [broken\n");
    eventually("the fault is visible", || problems(&rig).iter().any(|text| text.contains("dynamic.yml:")));
    assert_eq!(rig.routes(), ["two@file"]);
    assert!(!rig.json("/api/rawdata")["problems"].as_array().unwrap().is_empty());
    let (_, metrics) = rig.get("/metrics");
    assert!(metrics.contains("pancake_config_stale{provider=\"file\"} 1"), "{metrics}");
    std::fs::remove_file(&path).unwrap();
    eventually("the loss is visible", || problems(&rig).iter().any(|text| text.contains("No such file")));
    replace(&path, "");
    eventually("emptiness is visible", || problems(&rig).iter().any(|text| text.contains("no router")));
    assert_eq!(rig.routes(), ["two@file"]);
    std::fs::write(&path, dynamic("three")).unwrap();
    eventually("the change serves", || rig.routes() == ["three@file"]);
    assert_eq!(problems(&rig), Vec::<String>::new());
    rig.stop();
}

#[test]
fn a_directory_is_read_as_one() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("one.yml"), dynamic("one")).unwrap();
    let rig = Rig::start(&format!(
        "providers:\n  providersThrottleDuration: 0s\n  file: {{directory: '{}'}}\n",
        dir.path().display()
    ));
    let two = "[http.routers.two]\nrule = 'Host(`two.test`)'\nservice = 's'\n";
    std::fs::write(dir.path().join("two.toml"), two).unwrap();
    eventually("both serve", || rig.routes() == ["one@file", "two@file"]);
    rig.stop();
}

fn saved_snapshot() -> Snapshot {
    let kind = ServiceKind::LoadBalancer(LoadBalancer::default());
    Snapshot {
        version: 12,
        routers: vec![Router {
            name: "kept@pancake".into(),
            rule: "Host(`kept.test`)".into(),
            service: "s@pancake".into(),
            ..Router::default()
        }],
        services: vec![Service { name: "s@pancake".into(), kind }],
        ..Snapshot::default()
    }
}

fn without_control_plane(state: &Path) -> Rig {
    Rig::start(&format!(
        "api: {{insecure: true}}\nproviders: {{pancake: {{endpoint: 'http://127.0.0.1:1'}}}}\npancake: {{stateDir: \
         '{}'}}\n",
        state.display()
    ))
}

#[test]
fn what_was_kept_on_disk_serves_without_the_control_plane() {
    let dir = tempfile::tempdir().unwrap();
    saved::save(dir.path(), &saved_snapshot()).unwrap();
    let rig = without_control_plane(dir.path());
    assert_eq!(rig.routes(), ["kept@pancake"]);
    eventually("the loss is visible", || {
        let status = rig.json("/api/pancake/status");
        let stream = &status["providers"][0]["stream"];
        stream["connected"] == false
            && stream["lastError"].as_str().is_some_and(|why| why.contains("refused"))
    });
    rig.stop();
}

#[test]
fn a_damaged_snapshot_on_disk_is_reported_and_not_used() {
    let dir = tempfile::tempdir().unwrap();
    saved::save(dir.path(), &saved_snapshot()).unwrap();
    let file = dir.path().join("snapshot.pancake");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 3]).unwrap();
    let rig = without_control_plane(dir.path());
    assert_eq!(rig.routes(), Vec::<String>::new());
    assert!(problems(&rig).iter().any(|text| text.contains("checksum")), "{:?}", problems(&rig));
    rig.stop();
}
