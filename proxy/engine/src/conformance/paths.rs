//! Unix stream sockets: the same streams, addressed by a path.

use std::path::{Path, PathBuf};

use super::*;

/// The accept queue of [`waits_for_a_full_queue_until_its_deadline`], and how many connects overflow it for certain.
const SHORT_BACKLOG: i32 = 1;
const OVERFLOWING_CONNECTS: usize = 12;

/// A path that nobody else uses; the file goes with it.
struct TestPath(PathBuf);

impl TestPath {
    fn new<E: Engine>(engine: &E) -> TestPath {
        let name = format!("pancake-engine-{}-{:016x}", std::process::id(), engine.random());
        TestPath(std::env::temp_dir().join(name))
    }
}

impl Drop for TestPath {
    fn drop(&mut self) {
        // On `sim` there is none.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn listen_at<E: Engine>(engine: &E, path: &Path) -> E::Listener {
    engine.listen_unix(path, &ListenOptions::default()).expect("listens at a path")
}

/// Bytes go both ways, each way ends by itself, and no address is made up.
pub async fn carries_bytes_to_a_path<E: Subject>(engine: E, seed: u64) {
    let path = TestPath::new(&engine);
    let listener = listen_at(&engine, &path.0);
    let unspecified = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    assert_eq!(listener.local_addr().expect("has an address"), unspecified);
    let connecting =
        async { engine.connect_unix(&path.0, patience(&engine)).await.expect("connects to a path") };
    let (client, server) = join(connecting, accept(&listener)).await;
    for addr in [client.local_addr(), client.peer_addr(), server.local_addr(), server.peer_addr()] {
        assert_eq!(addr, unspecified);
    }
    let ask = async {
        send(&engine, &client, stretch(seed, 0, 700_000)).await.expect("sends");
        client.shutdown().expect("half-closes");
    };
    let answer = async {
        send(&engine, &server, stretch(seed + 1, 0, 300_000)).await.expect("sends");
        server.shutdown().expect("half-closes");
    };
    let receives = join(
        check_until_end(&engine, &server, seed, || Want::Bulk),
        check_until_end(&engine, &client, seed + 1, || Want::Some),
    );
    assert_eq!(join(join(ask, answer), receives).await.1, (700_000, 300_000));
    drop((client, server));
    all_returned(&engine).await;
}

/// No file, a file without a listener, a file that is there already, what can be no file: each is an error of its own.
pub async fn says_why_a_path_cannot_be_reached<E: Subject>(engine: E, _seed: u64) {
    for no_file in ["", "\0abstract", &"long/".repeat(40)] {
        let no_file = Path::new(no_file);
        let listened = engine.listen_unix(no_file, &ListenOptions::default()).err().map(|e| e.kind());
        let connected = engine.connect_unix(no_file, patience(&engine)).await.err().map(|e| e.kind());
        assert_eq!(
            (listened, connected),
            (Some(io::ErrorKind::InvalidInput), Some(io::ErrorKind::InvalidInput))
        );
    }
    let path = TestPath::new(&engine);
    let kind = |result: io::Result<E::Stream>| result.err().map(|e| e.kind());
    let missing = engine.connect_unix(&path.0, patience(&engine)).await;
    assert_eq!(kind(missing), Some(io::ErrorKind::NotFound));
    let listener = listen_at(&engine, &path.0);
    let second = engine.listen_unix(&path.0, &ListenOptions::default());
    assert_eq!(second.err().map(|e| e.kind()), Some(io::ErrorKind::AddrInUse));
    drop(listener);
    // An engine may close the socket a little later.
    let deadline = patience(&engine);
    loop {
        match kind(engine.connect_unix(&path.0, deadline).await) {
            Some(io::ErrorKind::ConnectionRefused) => break,
            None | Some(io::ErrorKind::ConnectionReset) => {
                assert!(engine.now() < deadline, "still accepted after the listener was dropped");
                pause(&engine, 5).await;
            }
            other => panic!("expected a refusal: {other:?}"),
        }
    }
}

/// While the accept queue is full a connect waits: until its deadline, or until there is room.
pub async fn waits_for_a_full_queue_until_its_deadline<E: Subject>(engine: E, seed: u64) {
    let path = TestPath::new(&engine);
    let options = ListenOptions { backlog: SHORT_BACKLOG, ..ListenOptions::default() };
    let listener = engine.listen_unix(&path.0, &options).expect("listens at a path");
    let mut queued = Vec::new();
    loop {
        assert!(queued.len() < OVERFLOWING_CONNECTS, "all fit into a queue of {SHORT_BACKLOG}");
        let until = engine.now().after(Duration::from_millis(200));
        match engine.connect_unix(&path.0, until).await {
            Ok(stream) => queued.push(stream),
            Err(e) => {
                assert_eq!(e.kind(), io::ErrorKind::TimedOut);
                assert!(engine.now() >= until, "ended before its deadline");
                break;
            }
        }
    }
    let accepts = async {
        pause(&engine, 40).await;
        let mut accepted = Vec::new();
        for _ in 0..=queued.len() {
            accepted.push(accept(&listener).await);
        }
        accepted
    };
    let late = async { engine.connect_unix(&path.0, patience(&engine)).await.expect("room came") };
    let (late, accepted) = join(late, accepts).await;
    send(&engine, &late, stretch(seed, 0, 50)).await.expect("sends");
    let last = accepted.last().expect("accepted at least one");
    check_exactly(&engine, last, seed, 0, 50).await;
}
