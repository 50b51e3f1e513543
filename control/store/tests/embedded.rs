//! The embedded store: what was committed is there again, and damage is never taken for emptiness.

use std::collections::BTreeMap;
use std::fs;

use pancake_model::instance::{Instance, Origin, ProxyMode};
use pancake_model::name::{InstanceId, NodeId, RouterName, ServiceName};
use pancake_model::registration::{Drain, Registration, ServiceEntry};
use pancake_model::router::Router;
use pancake_model::stamp::Stamp;
use pancake_store::embedded::FILE_NAME;
use pancake_store::{Embedded, Error, Publication, Store, Write};

fn instance(id: &str) -> Instance {
    Instance {
        id: InstanceId::new(id).unwrap(),
        service: ServiceName::new("web").unwrap(),
        node: NodeId::new("n1").unwrap(),
        address: "127.0.0.1".into(),
        port: 80,
        mode: ProxyMode::Http,
        weight: 1,
        labels: BTreeMap::from([("a".into(), "b".into())]),
        check: None,
        ttl: None,
        origin: Origin::Api,
    }
}

fn registration(id: &str) -> Write {
    let registered = Stamp { incarnation: 1, sequence: 2 };
    Write::PutRegistration(Box::new(Registration { instance: instance(id), routers: vec![], registered }))
}

fn router() -> Router {
    Router {
        name: RouterName::new("web").unwrap(),
        rule: "Host(`a`)".into(),
        service: ServiceName::new("web").unwrap(),
        entry_points: vec![],
        priority: 0,
        middlewares: vec![],
    }
}

#[test]
fn what_was_committed_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let entry = ServiceEntry {
        service: ServiceName::new("web").unwrap(),
        routers: vec![router()],
        instances: vec![instance("f-1")],
    };
    let publication = Publication { version: 7, snapshot: vec![1, 2, 3] };
    let before = {
        let store = Embedded::open(directory.path()).unwrap();
        store
            .commit(&[
                registration("a"),
                registration("b"),
                Write::PutEntry(Box::new(entry)),
                Write::PutRouter(Box::new(router())),
                Write::PutDrain(InstanceId::new("a").unwrap(), Drain { drained: true }),
                Write::PutProxy("p1".into()),
                Write::Publish(publication.clone()),
            ])
            .unwrap();
        store.commit(&[Write::DeleteRegistration(InstanceId::new("b").unwrap())]).unwrap();
        store.load().unwrap()
    };
    let after = Embedded::open(directory.path()).unwrap().load().unwrap();
    assert_eq!(before, after);
    assert_eq!(after.registrations.len(), 1);
    assert!(after.proxies.contains("p1"));
    assert_eq!(after.publication, Some(publication));
    assert!(after.drains[&InstanceId::new("a").unwrap()].drained);
}

#[test]
fn the_incarnation_grows_with_each_start() {
    let directory = tempfile::tempdir().unwrap();
    for expected in 1..4 {
        assert_eq!(Embedded::open(directory.path()).unwrap().begin_incarnation().unwrap(), expected);
    }
}

#[test]
fn a_second_process_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let _first = Embedded::open(directory.path()).unwrap();
    assert!(matches!(Embedded::open(directory.path()), Err(Error::InUse { .. })));
}

#[test]
fn a_damaged_file_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE_NAME);
    {
        let store = Embedded::open(directory.path()).unwrap();
        store.begin_incarnation().unwrap();
        store.commit(&(0..200).map(|i| registration(&format!("i-{i}"))).collect::<Vec<_>>()).unwrap();
    }
    let good = fs::read(&path).unwrap();
    let mut damaged: Vec<(&str, Vec<u8>)> = vec![
        ("empty", vec![]),
        ("garbage", b"this is not a store at all".repeat(1000)),
        ("cut in half", good[..good.len() / 2].to_vec()),
        ("cut to its header", good[..100].to_vec()),
        ("zeroed", vec![0; good.len()]),
    ];
    // A flipped bit inside a value: find a registration in the file.
    let needle = b"\"i-100\"";
    let at = good.windows(needle.len()).rposition(|w| w == needle).unwrap();
    let mut flipped = good.clone();
    flipped[at + 3] ^= 1;
    damaged.push(("one bit flipped", flipped));
    for (how, bytes) in damaged {
        fs::write(&path, &bytes).unwrap();
        match Embedded::open(directory.path()) {
            Err(Error::Corrupt { path: named, reason }) => assert!(named == path && !reason.is_empty()),
            Err(other) => panic!("{how}: {other}"),
            Ok(store) => {
                // redb keeps two copies of each root; falling back to an older commit would lose rows.
                let rows = store.load().unwrap().registrations.len();
                panic!("{how}: opened with {rows} registrations");
            }
        }
        // redb marks the header of a file that it starts to repair; nothing else may differ, and never its size.
        assert_eq!(fs::metadata(&path).unwrap().len(), bytes.len() as u64, "{how}: the size changed");
    }
    fs::write(&path, &good).unwrap();
    assert_eq!(Embedded::open(directory.path()).unwrap().load().unwrap().registrations.len(), 200);
}

#[test]
fn a_newer_schema_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(Embedded::open(directory.path()).unwrap());
    {
        let database = redb::Database::open(directory.path().join(FILE_NAME)).unwrap();
        let write = database.begin_write().unwrap();
        let meta = redb::TableDefinition::<&str, u64>::new("meta");
        write.open_table(meta).unwrap().insert("schema", 99).unwrap();
        write.commit().unwrap();
    }
    assert!(matches!(Embedded::open(directory.path()), Err(Error::Schema { found: 99, .. })));
}

#[test]
fn a_foreign_redb_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(redb::Database::create(directory.path().join(FILE_NAME)).unwrap());
    assert!(matches!(Embedded::open(directory.path()), Err(Error::Corrupt { .. })));
}

#[test]
fn what_proxies_share_is_kept_and_only_its_owner_can_read_the_file() {
    use std::os::unix::fs::PermissionsExt as _;

    use pancake_model::sharing::{LeaseRecord, SharedResolver, TicketKey};

    let directory = tempfile::tempdir().unwrap();
    let mode = || fs::metadata(directory.path().join(FILE_NAME)).unwrap().permissions().mode() & 0o777;
    let resolver = SharedResolver {
        version: 3,
        document: "{}".into(),
        summaries: vec![],
        stored_by: "p1".into(),
        stored_at_unix_ms: 5,
    };
    let lease = LeaseRecord { token: 9, holder: None };
    let key = TicketKey { key: vec![7; 48], encrypts_from: 1, encrypts_until: 2, decrypts_until: 3 };
    let store = Embedded::open(directory.path()).unwrap();
    assert_eq!(mode(), 0o600);
    store
        .commit(&[
            Write::PutShared("le".into(), Box::new(resolver.clone())),
            Write::PutLease("le".into(), lease.clone()),
            Write::PutTicketKeys(vec![key.clone()]),
        ])
        .unwrap();
    drop(store);
    // As a version left it that kept no keys.
    fs::set_permissions(directory.path().join(FILE_NAME), fs::Permissions::from_mode(0o644)).unwrap();
    let contents = Embedded::open(directory.path()).unwrap().load().unwrap();
    assert_eq!(mode(), 0o600);
    assert_eq!(contents.shared["le"], resolver);
    assert_eq!(contents.leases["le"], lease);
    assert_eq!(contents.ticket_keys, [key]);
    assert!(!format!("{contents:?}").contains("7, 7"), "keys do not show themselves");
}
