use crate::harness::{Control, servers, settings};

const TWO: &str = "
services:
  web: {rule: 'Host(`web.localhost`)', instances: ['127.0.0.1:9001', '127.0.0.1:9002']}
  api: {rule: 'Host(`api.localhost`)', instances: ['127.0.0.1:9003']}
";

#[tokio::test]
async fn the_services_file_is_followed_and_accidents_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("services.yml");
    let mut settings = settings(directory.path());
    settings.services = Some(path.clone());
    let mut control = Control::start(settings.clone()).await;
    control.until_status("the missing file is reported", |s| !s.alarms.is_empty()).await;
    let mut proxy = control.proxy("p1").await;
    std::fs::write(&path, TWO).unwrap();
    let good = proxy.until("both are in", |s| s.routers.len() == 2).await;
    assert_eq!(servers(&good, "web@pancake").len(), 2);
    control.until_status("no alarm", |s| s.alarms.is_empty()).await;

    for (what, text) in [("broken", Some("services: [")), ("emptied", Some("")), ("vanished", None)] {
        match text {
            Some(text) => std::fs::write(&path, text).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let status = control.until_status(what, |s| !s.alarms.is_empty()).await;
        assert_eq!(status.alarms[0].subject, "services-file");
        assert!(status.alarms[0].message.contains("stay in force"), "{what}: {}", status.alarms[0].message);
        assert_eq!(status.published_version, good.version, "{what}");
        std::fs::write(&path, TWO).unwrap();
        control.until_status("no alarm", |s| s.alarms.is_empty()).await;
    }

    // A start without the file serves what it said last.
    std::fs::remove_file(&path).unwrap();
    control.stop().await;
    let control = Control::start(settings).await;
    let mut proxy = control.proxy("p1").await;
    let snapshot = proxy.next().await;
    assert_eq!((snapshot.routers.len(), servers(&snapshot, "web@pancake").len()), (2, 2));
    assert!(snapshot.version > good.version);
    control.stop().await;
}

#[tokio::test]
async fn a_bad_entry_is_reported_and_hides_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("services.yml");
    std::fs::write(&path, TWO).unwrap();
    let mut settings = settings(directory.path());
    settings.services = Some(path.clone());
    let mut control = Control::start(settings).await;
    let mut proxy = control.proxy("p1").await;
    proxy.until("both are in", |s| s.routers.len() == 2).await;
    let bad = TWO.replace("Host(`web.localhost`)", "Hots(`web`)").replace("9003", "9004");
    std::fs::write(&path, bad).unwrap();
    let moved = |s: &pancake_table::proto::Snapshot| {
        servers(s, "api@pancake") == [("api-127.0.0.1-9004".to_owned(), false)]
    };
    let snapshot = proxy.until("api follows", moved).await;
    assert!(snapshot.routers.iter().any(|r| r.rule == "Host(`web.localhost`)"), "web stays as it was");
    let status = control.until_status("web is reported", |s| !s.alarms.is_empty()).await;
    assert!(status.alarms[0].message.contains("web: rule"), "{}", status.alarms[0].message);
    control.stop().await;
}

#[tokio::test]
async fn json_says_the_same_and_an_empty_file_can_be_meant() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("services.json");
    std::fs::write(&path, r#"{"services":{"web":{"rule":"Host(`a`)","instances":["127.0.0.1:9001"]}}}"#)
        .unwrap();
    let mut settings = settings(directory.path());
    settings.services = Some(path.clone());
    let control = Control::start(settings).await;
    let mut proxy = control.proxy("p1").await;
    proxy.until("it is in", |s| s.routers.len() == 1).await;
    std::fs::write(&path, r#"{"allowEmpty":true}"#).unwrap();
    let snapshot = proxy.until("it is out", |s| s.routers.is_empty()).await;
    assert!(snapshot.allow_empty);
    control.stop().await;
}
