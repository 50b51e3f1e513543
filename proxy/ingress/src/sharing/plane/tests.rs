use super::*;
use crate::sharing::incoming::tests::certificate;

/// A control plane that nobody is.
fn plane(storage: &std::path::Path) -> Plane {
    let client = Client::new("http://127.0.0.1:1", &"t".repeat(32)).unwrap();
    Plane::new(client, "p1", [("le".to_owned(), storage.to_owned())].into_iter())
}

fn with(version: u64, names: &[&str]) -> (String, Remote) {
    let certificates = names.iter().map(|name| certificate(name, 2100)).collect();
    let stored = Arc::new(Stored { certificates, ..Stored::default() });
    ("le".into(), Remote { version, stored })
}

fn taken(resolvers: Vec<(String, Remote)>) -> Taken {
    Taken { resolvers, ..Taken::default() }
}

async fn names(plane: &Plane) -> Vec<String> {
    plane.load("le").await.unwrap().certificates.into_iter().map(|one| one.domain.main).collect()
}

#[tokio::test]
async fn without_the_control_plane_only_what_cannot_wait_is_ordered() {
    let dir = tempfile::tempdir().unwrap();
    let plane = plane(&dir.path().join("acme.json"));
    let refused = plane.lease("le", false).await.err().unwrap().to_string();
    assert!(refused.contains("it does not answer"), "{refused}");
    let lease = plane.lease("le", true).await.unwrap().expect("nobody else orders");
    assert!(lease.is_alone());
    plane.store("le", Box::new(|stored| stored.certificates.push(certificate("a", 2100)))).await.unwrap();
    assert_eq!(names(&plane).await, ["a"]);
    assert!(plane.state.borrow().more.contains("le"), "it is uploaded later");
}

#[tokio::test]
async fn what_is_refused_or_older_leaves_what_serves() {
    let dir = tempfile::tempdir().unwrap();
    let plane = plane(&dir.path().join("acme.json"));
    assert!(plane.take(taken(vec![with(2, &["a", "b"])]), true).await.is_empty());
    let bad = Taken { refused: vec!["bad".into()], ..Taken::default() };
    assert_eq!(plane.take(bad, true).await, ["bad"]);
    assert!(plane.take(taken(vec![with(1, &["c"])]), false).await.is_empty());
    assert_eq!(names(&plane).await, ["a", "b"]);
    assert!(plane.state.borrow().more.is_empty());
}

#[tokio::test]
async fn a_control_plane_that_has_less_is_told_more() {
    let dir = tempfile::tempdir().unwrap();
    let plane = plane(&dir.path().join("acme.json"));
    plane.take(taken(vec![with(7, &["a"])]), true).await;
    assert!(plane.state.borrow().more.is_empty());
    // Its store is lost, or an old copy.
    plane.take(taken(vec![]), true).await;
    assert_eq!((names(&plane).await, plane.state.borrow().more.len()), (vec!["a".to_owned()], 1));
    plane.take(taken(vec![with(1, &["b"])]), true).await;
    assert_eq!((names(&plane).await, plane.state.borrow().more.len()), (vec!["b".into(), "a".into()], 1));
}

#[test]
fn people_see_names_ends_and_errors_but_no_keys() {
    let mut stored = Stored { certificates: vec![certificate("a", 2030)], ..Stored::default() };
    let failed = crate::acme::plan::Failed { error: "no".into(), next_try: u64::MAX, ..Default::default() };
    let now = SystemTime::now();
    for name in ["a", "b"] {
        crate::acme::plan::set_failed(&mut stored, &[name.into()], Some(failed.clone()), now);
    }
    let all = summaries(&stored);
    let of = |n: usize| (all[n].domains.join(" "), all[n].not_after, all[n].last_error.as_str());
    assert_eq!((of(0), of(1)), (("a".into(), 1_901_232_000, "no"), ("b".into(), 0, "no")));
}
