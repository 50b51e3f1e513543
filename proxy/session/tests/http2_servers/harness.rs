//! A server that speaks HTTP/2 with prior knowledge, on a thread of its own, and waiting.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use crate::rig::PATIENCE;

/// A running server.
pub struct H2Backend {
    pub address: SocketAddr,
    /// Connections that came.
    pub connections: Arc<AtomicUsize>,
    /// Those that have ended.
    pub ended: Arc<AtomicUsize>,
}

impl H2Backend {
    /// `serve` gets each request.
    pub fn start<F, Done>(settings: fn(&mut Builder), serve: F) -> H2Backend
    where
        F: Fn(Request<RecvStream>, SendResponse<Bytes>) -> Done + Clone + Send + 'static,
        Done: Future<Output = ()> + 'static,
    {
        H2Backend::with_connections(settings, move |mut connection, _| {
            let serve = serve.clone();
            async move {
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::task::spawn_local(serve(request, respond));
                }
            }
        })
    }

    /// `serve` gets each connection and its number.
    pub fn with_connections<F, Done>(settings: fn(&mut Builder), serve: F) -> H2Backend
    where
        F: Fn(Connection<TcpStream, Bytes>, usize) -> Done + Clone + Send + 'static,
        Done: Future<Output = ()> + 'static,
    {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (count, count_ended) = (connections.clone(), ended.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            LocalSet::new().block_on(&runtime, async move {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    let number = count.fetch_add(1, Ordering::SeqCst);
                    let (serve, count_ended) = (serve.clone(), count_ended.clone());
                    tokio::task::spawn_local(async move {
                        let mut builder = Builder::new();
                        settings(&mut builder);
                        if let Ok(connection) = builder.handshake(stream).await {
                            serve(connection, number).await;
                        }
                        count_ended.fetch_add(1, Ordering::SeqCst);
                    });
                }
            });
        });
        H2Backend { address, connections, ended }
    }

    /// Connections that came.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// All of a body, and its trailers.
pub async fn read_body(mut body: RecvStream) -> (Vec<u8>, Option<http::HeaderMap>) {
    let mut all = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
        all.extend_from_slice(&data);
    }
    (all, body.trailers().await.unwrap_or_default())
}

/// Answers 200 with this body.
pub fn answer(mut respond: SendResponse<Bytes>, body: &str) {
    if let Ok(mut stream) = respond.send_response(Response::new(()), false) {
        let _ = stream.send_data(Bytes::copy_from_slice(body.as_bytes()), true);
    }
}

/// Sends as far as the window goes, until all is sent or the peer gives up; how much it was.
pub async fn send_all(stream: &mut SendStream<Bytes>, mut data: Bytes, sent: &AtomicUsize) -> bool {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        match std::future::poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(Ok(room)) => {
                let piece = data.split_to(room.min(data.len()));
                sent.fetch_add(piece.len(), Ordering::SeqCst);
                if stream.send_data(piece, false).is_err() {
                    return false;
                }
            }
            _ => return false,
        }
    }
    true
}

/// Waits until `holds`.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until a count has begun and stays the same for a while; what it is then.
pub fn until_still(count: impl Fn() -> usize) -> usize {
    let mut before = 0;
    until("it stands still", || {
        std::thread::sleep(Duration::from_millis(100));
        let now = count();
        now > 0 && std::mem::replace(&mut before, now) == now
    });
    before
}

/// What a slow server needs.
pub async fn soon(after: Duration) {
    tokio::time::sleep(after).await;
}
