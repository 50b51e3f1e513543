//! Connections and requests: HTTP/1.1 by hyper, bounded in number, size and time.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::message::{Answer, Asked};
use super::{Context, paths};
use crate::limits::{ADMIN_CONNECTION_TIME, ADMIN_HEAD_TIMEOUT, MAX_ADMIN_CONNECTIONS, MAX_ADMIN_HEAD_BYTES};
use crate::workers::Life;

/// Pause after a failed accept.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Answers on `listener` until [`Life::Stop`].
pub async fn serve(listener: TcpListener, context: Arc<Context>) {
    let places = Arc::new(Semaphore::new(MAX_ADMIN_CONNECTIONS));
    let mut life = context.life.clone();
    let accepts = async {
        loop {
            // More connections wait in the kernel.
            let Ok(place) = places.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::task::spawn_local(connection(stream, context.clone(), place))),
                Err(error) => {
                    tracing::debug!(%error, "the admin entry point could not accept");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    };
    tokio::select! {
        () = accepts => {}
        _ = life.wait_for(|life| *life == Life::Stop) => {}
    }
}

async fn connection(stream: TcpStream, context: Arc<Context>, place: OwnedSemaphorePermit) {
    // Refused only on a socket that is gone already.
    let _ = stream.set_nodelay(true);
    let context = Rc::new(context);
    let service = service_fn(move |request| {
        let context = context.clone();
        async move { Ok::<_, Infallible>(respond(request, &context).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ADMIN_HEAD_TIMEOUT)
        .max_buf_size(MAX_ADMIN_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(ADMIN_CONNECTION_TIME, served).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection to the admin entry point failed"),
    }
    drop(place);
}

async fn respond(request: Request<Incoming>, context: &Arc<Context>) -> Response<Full<Bytes>> {
    let head = request.method() == Method::HEAD;
    if !head && request.method() != Method::GET {
        let mut response = finish(Answer::error(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD"), false);
        response.headers_mut().insert(http::header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let asked = Asked::of(request.uri());
    let context = context.clone();
    let answer = match paths::ping(&asked, &context) {
        Some(answer) => answer,
        // Large tables take long to show: not on the service thread.
        None => tokio::task::spawn_blocking(move || paths::answer(&asked, &context))
            .await
            .unwrap_or_else(|error| Answer::error(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    };
    finish(answer, head)
}

fn finish(answer: Answer, head: bool) -> Response<Full<Bytes>> {
    let length = answer.body.len();
    let mut response = Response::new(Full::new(if head { Bytes::new() } else { answer.body.into() }));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    headers.insert(http::header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if head {
        headers.insert(http::header::CONTENT_LENGTH, length.into());
    }
    if let Some(page) = answer.next_page {
        headers.insert("X-Next-Page", page.into());
    }
    response
}
