//! At the limit of descriptors an accept fails, the engine lives on, and every connection is accepted in the end
//! (case 23). One test, alone in its process: the limit is the process's.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use pancake_engine::{Engine, ListenOptions, Listener, Options, Stream, Want, choose, epoll, ring};

const CLIENTS: usize = 20;
/// Descriptors left for the server: fewer than clients.
const LEFT: usize = 6;

/// Sets the soft limit of descriptors.
fn limit_descriptors(soft: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a pointer to a live `rlimit` and keep nothing of it.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = soft.min(limit.rlim_max);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
}

/// Lets so many more descriptors be opened.
fn leave_descriptors(count: usize) {
    // Descriptors are given out from the lowest: as many as are open, plus the rest, is the limit.
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count() - 1;
    limit_descriptors((open + count) as u64);
}

async fn serves_all_in_turns<E: Engine>(engine: E) {
    let listener = engine.listen("127.0.0.1:0".parse().unwrap(), &ListenOptions::default()).unwrap();
    let addr: SocketAddr = listener.local_addr().unwrap();
    let soon = engine.now().after(Duration::from_secs(20));
    // The kernel completes the connections before they are accepted.
    let clients: Vec<TcpStream> = (0..CLIENTS).map(|_| TcpStream::connect(addr).unwrap()).collect();
    leave_descriptors(LEFT);
    let (mut open, mut served, mut refused) = (Vec::new(), 0, 0);
    while served < CLIENTS {
        match listener.accept().await {
            Ok(stream) => {
                stream.send((&b"hello"[..]).into(), soon).await.unwrap();
                open.push(stream);
                served += 1;
            }
            Err(e) => {
                assert_eq!(e.raw_os_error(), Some(libc::EMFILE));
                refused += 1;
                assert!(refused < 200, "{served} served after {refused} refusals");
                // What a caller does: makes room and waits a little.
                open.pop();
                engine.sleep_until(engine.now().after(Duration::from_millis(1))).await;
            }
        }
    }
    assert!(refused > 0, "the limit was felt");
    limit_descriptors(1024);
    drop(clients);
    // They left with bytes unread: a reset.
    let last = open.pop().unwrap();
    assert_eq!(last.recv(Want::Some, soon).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_full_descriptor_table_delays_and_breaks_nothing() {
    epoll::run(&Options::default(), serves_all_in_turns).unwrap();
    if choose::probe().is_ok() {
        ring::run(&Options::default(), serves_all_in_turns).unwrap();
    }
}
