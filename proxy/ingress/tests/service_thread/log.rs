//! The access log.

use std::path::Path;
use std::time::Duration;

use pancake_proxy::limits::ACCESS_LOG_RING_BYTES;
use pancake_session::meter::Method;
use pancake_session::record::{Record, Sink, Text};

use super::rig::{Rig, eventually};

fn record(text: &Text) -> Record<'_> {
    Record {
        start: Duration::from_secs(1),
        duration: Duration::from_millis(2),
        origin_duration: Duration::from_millis(1),
        entry_point: "web",
        peer: "127.0.0.1:99".parse().unwrap(),
        text: Some(text),
        method: Method::Get,
        status: 200,
        origin_status: 200,
        request_bytes: 0,
        response_bytes: 5,
        router: Some("a@file"),
        service: Some("s@file"),
        server: Some("http://127.0.0.1:1"),
        retries: 0,
        failure: None,
    }
}

fn text(target: &str) -> Text {
    Text { method: "GET".into(), target: target.into(), protocol: "HTTP/1.1", ..Text::default() }
}

fn with_log(path: &Path) -> Rig {
    Rig::start(&format!("metrics: {{prometheus: {{}}}}\naccessLog: {{filePath: '{}'}}\n", path.display()))
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

#[test]
fn access_records_reach_the_file_and_a_new_one_after_a_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("logs/access.log");
    let rig = with_log(&path);
    let text = text("/a");
    rig.sinks[0].record(&record(&text));
    eventually("the line is written", || lines(&path) == 1);
    let line = std::fs::read_to_string(&path).unwrap();
    assert!(
        line.starts_with("127.0.0.1 - - [01/Jan/1970:00:00:01 +0000] \"GET /a HTTP/1.1\" 200 5"),
        "{line}"
    );
    std::fs::rename(&path, dir.path().join("old.log")).unwrap();
    let own = rustix::process::getpid();
    rustix::process::kill_process(own, rustix::process::Signal::USR1).unwrap();
    eventually("the file is opened again", || path.exists());
    rig.sinks[0].record(&record(&text));
    eventually("the line is written", || lines(&path) == 1);
    rig.stop();
}

#[test]
fn a_full_ring_drops_whole_lines_and_counts_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let rig = with_log(&path);
    let long = text(&"x".repeat(2000));
    let records = 3 * ACCESS_LOG_RING_BYTES / 2000;
    for _ in 0..records {
        rig.sinks[0].record(&record(&long));
    }
    let dropped = |rig: &Rig| -> usize {
        let (_, metrics) = rig.get("/metrics");
        let line =
            metrics.lines().find(|line| line.starts_with("pancake_access_log_dropped_total ")).unwrap();
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    eventually("every line is written or counted", || lines(&path) + dropped(&rig) == records);
    let whole = std::fs::read_to_string(&path).unwrap();
    assert!(whole.lines().all(|line| line.starts_with("127.0.0.1 ") && line.ends_with("ms")));
    rig.stop();
}

#[test]
fn what_is_in_the_ring_at_the_end_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let rig = with_log(&path);
    let text = text("/last");
    rig.sinks[0].record(&record(&text));
    rig.stop();
    assert_eq!(lines(&path), 1);
}
