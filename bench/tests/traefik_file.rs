//! `pancake-proxy` with a Traefik dynamic file, from outside: what it serves, and what a bad file does to traffic.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use pancake_bench::backend::Backend;
use pancake_bench::load::{self, Plan, get};
use pancake_bench::process::wait_until;
use pancake_bench::stack::{Proxy, program};

const SOON: Duration = Duration::from_secs(20);

/// A file that sends `app.test` to `backend`.
fn dynamic(backend: &Backend) -> String {
    format!(
        "http:\n  routers:\n    app:\n      rule: \"Host(`app.test`)\"\n      service: app\n  services:\n    app:\n      \
         loadBalancer:\n        servers:\n          - url: \"{}\"\n",
        backend.url()
    )
}

/// Whole or not at all, as editors and deploy tools do it.
fn replace(file: &Path, text: &str) {
    let beside = file.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::rename(&beside, file).unwrap();
}

struct Bed {
    proxy: Proxy,
    file: PathBuf,
    one: Backend,
    two: Backend,
    _dir: tempfile::TempDir,
}

fn bed() -> Bed {
    let dir = tempfile::tempdir().unwrap();
    let one = Backend::start("one", "127.0.0.1:0").unwrap();
    let two = Backend::start("two", "127.0.0.1:0").unwrap();
    // In a directory of its own: the provider watches it.
    let file = dir.path().join("dynamic").join("routes.yml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, dynamic(&one)).unwrap();
    let proxy = Proxy::start(dir.path(), &file).unwrap();
    let bed = Bed { proxy, file, one, two, _dir: dir };
    wait_until("the file serves", SOON, || bed.served_by() == "one").unwrap();
    bed
}

impl Bed {
    /// Name of the backend that answers now; empty if none does.
    fn served_by(&self) -> String {
        let answer = get(self.proxy.web, "app.test", "/").ok().filter(|a| a.head.status() == 200);
        answer.and_then(|a| a.head.get("x-backend").map(str::to_owned)).unwrap_or_default()
    }

    /// Whether API and metrics both say that the file is not as it should be.
    fn shows_problems(&self) -> bool {
        let metrics = self.proxy.admin("/metrics");
        let count =
            metrics.lines().find_map(|l| l.strip_prefix("pancake_config_problems{provider=\"file\"} "));
        count.is_some_and(|n| n != "0") && self.proxy.admin("/api/pancake/problems").contains("routes.yml")
    }

    /// Runs `change` while requests go on; every one of them must be answered with 2xx.
    fn under_load(&self, change: impl FnOnce()) -> load::Tally {
        let stop = AtomicBool::new(false);
        let mut plan = Plan::new(self.proxy.web, "app.test", "/", Duration::from_secs(60));
        (plan.rate, plan.connections) = (Some(300.0), 4);
        let tally = thread::scope(|scope| {
            let running = scope.spawn(|| load::run(&plan, &stop));
            // The load must end even if the change fails, or the scope would wait for it.
            let changed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(change));
            stop.store(true, Ordering::Relaxed);
            let tally = running.join().unwrap();
            if let Err(panic) = changed {
                std::panic::resume_unwind(panic);
            }
            tally
        });
        assert!(tally.ok > 0 && tally.failed() == 0, "{tally:?}\n{}", self.proxy.process.output());
        tally
    }
}

#[test]
fn a_rewritten_file_takes_over_without_a_failed_request() {
    let bed = bed();
    let tally = bed.under_load(|| {
        for _ in 0..3 {
            for (backend, name) in [(&bed.two, "two"), (&bed.one, "one")] {
                replace(&bed.file, &dynamic(backend));
                wait_until("the new file serves", SOON, || bed.served_by() == name).unwrap();
            }
        }
    });
    assert_eq!(tally.by_backend.len(), 2, "both served: {tally:?}");
}

#[test]
fn a_broken_file_leaves_traffic_alone_and_is_visible() {
    let bed = bed();
    let broken = [
        ("not YAML", "http:\n  routers: [unclosed\n"),
        ("a field that does not exist", "http:\n  routres:\n    app: {}\n"),
        ("bytes that are no text", "\u{0}\u{1}\u{2}"),
    ];
    bed.under_load(|| {
        for (what, text) in broken {
            let seen = bed.proxy.process.output().len();
            replace(&bed.file, text);
            wait_until(&format!("the log names the file ({what})"), SOON, || {
                bed.proxy.process.output()[seen..].contains("routes.yml")
            })
            .unwrap();
            assert_eq!(bed.served_by(), "one", "{what}");
            assert!(bed.shows_problems(), "{what}: {}", bed.proxy.admin("/api/pancake/problems"));
        }
    });
    replace(&bed.file, &dynamic(&bed.two));
    wait_until("a good file takes over again", SOON, || bed.served_by() == "two").unwrap();
    wait_until("nothing is shown as wrong any more", SOON, || !bed.shows_problems()).unwrap();
}

#[test]
fn a_vanished_file_leaves_traffic_alone() {
    let bed = bed();
    let seen = bed.proxy.process.output().len();
    bed.under_load(|| {
        fs::remove_file(&bed.file).unwrap();
        wait_until("the log names the file", SOON, || {
            bed.proxy.process.output()[seen..].contains("routes.yml")
        })
        .unwrap();
        assert_eq!(bed.served_by(), "one");
        assert!(bed.shows_problems(), "{}", bed.proxy.admin("/api/pancake/problems"));
    });
    replace(&bed.file, &dynamic(&bed.two));
    wait_until("the file that came back takes over", SOON, || bed.served_by() == "two").unwrap();
}

#[test]
fn the_admin_entry_point_shows_what_serves() {
    let bed = bed();
    assert_eq!(bed.proxy.admin("/ping"), "OK");
    assert!(bed.proxy.admin("/api/http/routers").contains("app@file"));
    assert!(bed.proxy.admin("/api/http/services").contains(&bed.one.url()));
    assert!(bed.proxy.admin("/api/rawdata").contains("app@file"));
    for _ in 0..5 {
        assert_eq!(bed.served_by(), "one");
    }
    wait_until("the metrics count the requests", SOON, || {
        let metrics = bed.proxy.admin("/metrics");
        metrics
            .lines()
            .any(|line| line.starts_with("traefik_service_requests_total") && line.contains("app@file"))
    })
    .unwrap();
}

#[test]
fn check_names_every_problem_with_its_place_and_exits_1() {
    let dir = tempfile::tempdir().unwrap();
    let (fixed, routes) = (dir.path().join("traefik.yml"), dir.path().join("routes.yml"));
    let text = pancake_bench::peers::traefik_static("127.0.0.1:0".parse().unwrap(), &routes, None);
    fs::write(&fixed, text).unwrap();
    fs::write(
        &routes,
        "http:\n  routers:\n    a:\n      rule: \"Hots(`a.test`)\"\n      service: s\n    b:\n      rule: \"Host(`b.test`)\"\n      \
         servise: s\n  services:\n    s:\n      loadBalancer:\n        servers:\n          - url: \"http://127.0.0.1:1\"\n",
    )
    .unwrap();
    let check = || {
        let mut command = Command::new(program("pancake-proxy").unwrap());
        command.arg("--check").arg(format!("--configFile={}", fixed.display())).output().unwrap()
    };
    let out = check();
    let printed = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    assert_eq!(out.status.code(), Some(1), "{printed}");
    assert!(printed.contains("routes.yml:4:"), "the place of the first problem:\n{printed}");
    assert!(printed.contains("routes.yml:8:"), "and of the second:\n{printed}");
    assert!(printed.contains("Host") && printed.contains("service"), "what was meant:\n{printed}");

    fs::write(&routes, dynamic(&Backend::start("one", "127.0.0.1:0").unwrap())).unwrap();
    let out = check();
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
}
