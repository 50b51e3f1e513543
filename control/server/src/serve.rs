//! Sockets: gRPC and HTTP on one port.
//!
//! HTTP/2 with a gRPC content type goes to the services, everything else to the web pages. What it does not do: TLS
//! and authentication; the listener therefore stays on loopback unless told otherwise (`crate::boot`).

/// `pancake.certificates.v1.Certificates`: what proxies share.
pub mod certificates;
/// `pancake.control.v1.Control`.
pub mod control;
/// Requests explained by the published table.
pub mod explain;
/// `pancake.routing.v1.Routing`: one stream per proxy.
pub mod routing;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use pancake_api::certificates::certificates_server::CertificatesServer;
use pancake_api::control::control_server::ControlServer;
use pancake_api::routing::routing_server::RoutingServer;
use pancake_api::{CONTROL_DESCRIPTOR_SET, MAX_CONTROL_REQUEST, MAX_PROXY_MESSAGE};
use pancake_table::certificates::MAX_MESSAGE_BYTES as MAX_SHARED_MESSAGE;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tonic_reflection::server::v1::{ServerReflection as Reflection, ServerReflectionServer};

use crate::plane::{Plane, stopped};
use crate::settings::{
    HELLO_TIMEOUT, KEEP_ALIVE, MAX_CONNECTIONS, MAX_HEAD, MAX_SNAPSHOT, MAX_STREAMS, SHUTDOWN_GRACE,
};
use crate::web;

/// Accepts until `stop` is set, then lets open calls end for [`SHUTDOWN_GRACE`].
pub async fn run(plane: Arc<Plane>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
    let (health, dispatch) = dispatch(&plane, &stop).await;
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HELLO_TIMEOUT).max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                // Out of descriptors, mostly: without a pause this would spin.
                tracing::error!("accept: {e}");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(permit) = permits.clone().try_acquire_owned() else {
            tracing::warn!(%peer, "refused: {MAX_CONNECTIONS} connections are open");
            continue;
        };
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(dispatch.clone().for_peer(peer));
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(e) = connection.await {
                tracing::debug!(%peer, "connection: {e}");
            }
            drop(permit);
        });
    }
    health.set_service_status("", ServingStatus::NotServing).await;
    drop(listener);
    if tokio::time::timeout(SHUTDOWN_GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!("connections that were still open after {SHUTDOWN_GRACE:?} are closed");
    }
}

/// Whether somebody accepts connections there: for a helpful error where the address is in use.
pub async fn is_answered(address: SocketAddr) -> bool {
    let connect = TcpStream::connect(address);
    matches!(tokio::time::timeout(std::time::Duration::from_secs(1), connect).await, Ok(Ok(_)))
}

struct Dispatch<R: Reflection> {
    plane: Arc<Plane>,
    peer: Option<SocketAddr>,
    control: ControlServer<control::ControlService>,
    routing: RoutingServer<routing::RoutingService>,
    certificates: CertificatesServer<certificates::CertificatesService>,
    health: HealthServer<HealthService>,
    reflection: ServerReflectionServer<R>,
}

async fn dispatch(
    plane: &Arc<Plane>,
    stop: &watch::Receiver<bool>,
) -> (HealthReporter, Dispatch<impl Reflection + use<>>) {
    let reporter = HealthReporter::new();
    reporter.set_service_status("", ServingStatus::Serving).await;
    let health = HealthService::from_health_reporter(reporter.clone());
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(CONTROL_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(pancake_table::proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(pancake_table::certificates::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the descriptors were made by the build");
    let control = control::ControlService::new(plane.clone(), stop.clone());
    let routing = routing::RoutingService::new(plane.clone(), stop.clone());
    let certificates = certificates::CertificatesService::new(plane.clone(), stop.clone());
    let dispatch = Dispatch {
        plane: plane.clone(),
        peer: None,
        control: ControlServer::new(control).max_decoding_message_size(MAX_CONTROL_REQUEST),
        routing: RoutingServer::new(routing)
            .max_decoding_message_size(MAX_PROXY_MESSAGE)
            .max_encoding_message_size(MAX_SNAPSHOT),
        certificates: CertificatesServer::new(certificates)
            .max_decoding_message_size(MAX_SHARED_MESSAGE)
            .max_encoding_message_size(MAX_SHARED_MESSAGE),
        health: HealthServer::new(health),
        reflection,
    };
    (reporter, dispatch)
}

// Derived, it would ask for `R: Clone`; the services are shared.
impl<R: Reflection> Clone for Dispatch<R> {
    fn clone(&self) -> Self {
        Dispatch {
            plane: self.plane.clone(),
            peer: self.peer,
            control: self.control.clone(),
            routing: self.routing.clone(),
            certificates: self.certificates.clone(),
            health: self.health.clone(),
            reflection: self.reflection.clone(),
        }
    }
}

impl<R: Reflection> Dispatch<R> {
    fn for_peer(mut self, peer: SocketAddr) -> Self {
        self.peer = Some(peer);
        self
    }

    async fn answer(mut self, mut request: Request<Incoming>) -> Response<Body> {
        let grpc = request
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
        if !grpc {
            return web::answer(&self.plane, &request).map(Body::new);
        }
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(routing::Peer(peer));
        }
        let service = request.uri().path().split('/').nth(1).unwrap_or_default();
        let answered: Result<Response<Body>, Infallible> = match service {
            "pancake.control.v1.Control" => self.control.call(request).await,
            "pancake.certificates.v1.Certificates" => self.certificates.call(request).await,
            "pancake.routing.v1.Routing" => self.routing.call(request).await,
            "grpc.health.v1.Health" => self.health.call(request).await,
            "grpc.reflection.v1.ServerReflection" => self.reflection.call(request).await,
            _ => Ok(tonic::Status::unimplemented("no such service; see gRPC reflection").into_http()),
        };
        answered.unwrap_or_else(|never| match never {})
    }
}

impl<R: Reflection> Service<Request<Incoming>> for Dispatch<R> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let dispatch = self.clone();
        Box::pin(async move { Ok(dispatch.answer(request).await) })
    }
}
