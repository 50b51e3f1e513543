//! What a tunnel costs: a TCP relay on one ring, by splice or by receive and send, and a load for it.
//!
//! ```text
//! tunnel splice|copy 127.0.0.1:0 UPSTREAM        relays; prints its address
//! tunnel load TARGET LISTEN FLOWS MEBIBYTES PID  answers at LISTEN what it asks for at TARGET; prints the CPU time of PID
//! ```

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pancake_engine::ring::{self, Ring, RingStream};
use pancake_engine::{Engine, Idle, ListenOptions, Listener, Options, Stream, Time, Want};

const IDLE: Duration = Duration::from_secs(60);
/// Flows at a time.
const CLIENTS: usize = 8;

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [how @ ("splice" | "copy"), listen, upstream] => {
            let (splice, listen, upstream) = (how == "splice", addr(listen)?, addr(upstream)?);
            ring::run(&Options::default(), |engine| relay(engine, splice, listen, upstream))
        }
        ["load", target, listen, flows, mebibytes, pid] => {
            load(addr(target)?, addr(listen)?, number(flows)?, number(mebibytes)?, pid)
        }
        _ => Err(io::Error::other(
            "usage: tunnel splice|copy LISTEN UPSTREAM | load TARGET LISTEN FLOWS MIB PID",
        )),
    }
}

fn addr(text: &str) -> io::Result<SocketAddr> {
    text.parse().map_err(io::Error::other)
}

fn number(text: &str) -> io::Result<usize> {
    text.parse().map_err(io::Error::other)
}

async fn relay(engine: Ring, splice: bool, listen: SocketAddr, upstream: SocketAddr) {
    let listener = engine.listen(listen, &ListenOptions::default()).expect("listens");
    println!("{}", listener.local_addr().expect("has an address"));
    loop {
        let front = Rc::new(listener.accept().await.expect("accepts"));
        let inner = engine.clone();
        engine.spawn(async move {
            let back = Rc::new(inner.connect(upstream, Time::NEVER).await.expect("connects"));
            inner.spawn(direction(inner.clone(), splice, front.clone(), back.clone()));
            direction(inner.clone(), splice, back, front).await;
        });
    }
}

async fn direction(engine: Ring, splice: bool, from: Rc<RingStream>, to: Rc<RingStream>) {
    if splice {
        let (idle, moved) = (Idle::new(engine.now(), IDLE), Cell::new(0));
        let _ = from.splice(&to, u64::MAX, &idle, &moved).await;
    } else {
        while let Ok(bytes) = from.recv(Want::Bulk, engine.now().after(IDLE)).await {
            if bytes.is_empty() || to.send(bytes.into(), engine.now().after(IDLE)).await.is_err() {
                break;
            }
        }
    }
    let _ = to.shutdown();
}

fn load(target: SocketAddr, listen: SocketAddr, flows: usize, mebibytes: usize, pid: &str) -> io::Result<()> {
    let listener = TcpListener::bind(listen)?;
    let bytes = mebibytes << 20;
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || serve(stream?, bytes));
        }
    });
    let left = AtomicUsize::new(flows);
    let (before, start) = (cpu_nanos(pid)?, Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let take = |n: usize| n.checked_sub(1);
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                    assert_eq!(fetch(target).expect("a flow"), bytes);
                }
            });
        }
    });
    let (spent, took) = (cpu_nanos(pid)? - before, start.elapsed());
    let total = (flows * mebibytes) as f64;
    println!(
        "{:.1} us CPU/MiB, {:.0} MiB/s, {:.2} busy",
        spent as f64 / 1e3 / total,
        total / took.as_secs_f64(),
        spent as f64 / took.as_nanos() as f64
    );
    Ok(())
}

fn serve(mut stream: TcpStream, bytes: usize) -> io::Result<()> {
    stream.read_exact(&mut [0])?;
    let piece = vec![7; 256 * 1024];
    for at in (0..bytes).step_by(piece.len()) {
        stream.write_all(&piece[..piece.len().min(bytes - at)])?;
    }
    Ok(())
}

fn fetch(target: SocketAddr) -> io::Result<usize> {
    let mut stream = TcpStream::connect(target)?;
    stream.write_all(b"?")?;
    let (mut room, mut total) = (vec![0; 256 * 1024], 0);
    loop {
        match stream.read(&mut room)? {
            0 => return Ok(total),
            n => total += n,
        }
    }
}

/// What the main thread of a process has spent.
fn cpu_nanos(pid: &str) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
    text.split_whitespace().next().unwrap_or_default().parse().map_err(io::Error::other)
}
