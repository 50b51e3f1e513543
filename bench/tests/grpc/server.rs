//! A gRPC server by tonic, its messages plain bytes: what it does is in the method's name.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::{Body, BoxFuture, Bytes, Context, Poll, Service, StdError, http};
use tonic::metadata::MetadataValue;
use tonic::server::{Grpc, StreamingService};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::raw::Raw;

/// What a test sees of the server.
#[derive(Clone, Default)]
pub struct Seen {
    /// Calls of `Hang` that began.
    pub begun: Arc<AtomicUsize>,
    /// Those that were given up.
    pub given_up: Arc<AtomicUsize>,
}

/// Starts one that serves HTTP/2 with prior knowledge.
pub fn start(runtime: &tokio::runtime::Runtime) -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let service = TowerToHyperService::new(Echo(seen.clone()));
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new()).http2_only();
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (address, seen)
}

#[derive(Clone)]
struct Echo(Seen);

impl<B> Service<http::Request<B>> for Echo
where
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        let call = Call { method, seen: self.0.clone() };
        Box::pin(async move {
            let mut grpc =
                Grpc::new(Raw).max_decoding_message_size(64 << 20).max_encoding_message_size(64 << 20);
            Ok(grpc.streaming(call, request).await)
        })
    }
}

/// One call. On the wire every kind of call is a stream of messages, one of them perhaps.
struct Call {
    method: String,
    seen: Seen,
}

type Answers = ReceiverStream<Result<Bytes, Status>>;

impl StreamingService<Bytes> for Call {
    type Response = Bytes;
    type ResponseStream = Answers;
    type Future = BoxFuture<Response<Answers>, Status>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let (method, seen) = (std::mem::take(&mut self.method), self.seen.clone());
        Box::pin(answer(method, request, seen))
    }
}

/// Counts itself when the call is given up.
struct GivenUp(Arc<AtomicUsize>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

async fn answer(
    method: String,
    request: Request<Streaming<Bytes>>,
    seen: Seen,
) -> Result<Response<Answers>, Status> {
    if method == "Refuse" {
        return Err(Status::permission_denied("not you: ä"));
    }
    if method == "Hang" {
        let _given_up = GivenUp(seen.given_up.clone());
        seen.begun.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<()>().await;
    }
    let metadata = request.metadata().clone();
    let mut messages = request.into_inner();
    let (send, receive) = mpsc::channel(4);
    let mut response = Response::new(ReceiverStream::new(receive));
    if let Some(large) = metadata.get("x-large") {
        response.metadata_mut().insert("x-large", large.clone());
    }
    if let Some(binary) = metadata.get_bin("x-raw-bin") {
        response.metadata_mut().insert_bin("x-raw-bin", binary.clone());
    }
    tokio::spawn(async move {
        let mut count = 0;
        while let Ok(Some(message)) = messages.message().await {
            count += 1;
            match &*method {
                // As many messages as the first says.
                "Count" => {
                    let wanted: usize = String::from_utf8_lossy(&message).parse().unwrap_or(0);
                    for n in 0..wanted {
                        if send.send(Ok(Bytes::from(n.to_string()))).await.is_err() {
                            return;
                        }
                    }
                }
                // How many came, at the end.
                "Collect" => {}
                "FailLate" => {
                    let _ = send.send(Ok(message)).await;
                    let mut status = Status::new(Code::DataLoss, "lost it");
                    status.metadata_mut().insert("x-detail", MetadataValue::from_static("half"));
                    let _ = send.send(Err(status)).await;
                    return;
                }
                // Ends while the client may go on.
                "One" => {
                    let _ = send.send(Ok(message)).await;
                    return;
                }
                _ => {
                    if send.send(Ok(message)).await.is_err() {
                        return;
                    }
                }
            }
        }
        if method == "Collect" {
            let _ = send.send(Ok(Bytes::from(format!("{count} messages")))).await;
        }
    });
    Ok(response)
}
