//! One health check: a request as Traefik makes it, and its verdict.

use std::io;
use std::net::SocketAddr;

use http::header::{CONNECTION, HOST, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use http::{Method, Request, Response, Uri};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use pancake_table::compiled::{Scheme, Server};
use pancake_table::snapshot::HealthCheck;
use thiserror::Error;
use tokio::net::TcpStream;

use crate::limits::{MAX_CHECK_HEAD_BYTES, MAX_CHECK_REDIRECTS};

/// Why a server counts as down.
#[derive(Debug, Error)]
pub(super) enum Down {
    /// Nothing came in time.
    #[error("no answer within {0:?}")]
    TimedOut(std::time::Duration),
    /// It answered with another status than it should.
    #[error("status {found}, expected {expected}")]
    Status {
        /// What came.
        found: u16,
        /// What was expected.
        expected: String,
    },
    /// Its name has no address yet.
    #[error("the name {0} is not resolved")]
    Unresolved(String),
    /// It is spoken to in a way that checks do not know.
    #[error("health checks over TLS, HTTP/2 without TLS and Unix sockets are not built yet")]
    NotBuilt,
    /// It could not be connected to.
    #[error("connecting to {0}: {1}")]
    Connect(SocketAddr, io::Error),
    /// It is no HTTP server, or closed the connection.
    #[error("{0}")]
    Http(#[from] hyper::Error),
    /// The configuration makes no request.
    #[error("{0}")]
    Request(#[from] http::Error),
    /// It sent the check elsewhere, and there is no way.
    #[error("redirected to {0:?}: {1}")]
    Redirect(String, &'static str),
}

/// Asks `server`; an error is a verdict.
pub(super) async fn probe(server: &Server, check: &HealthCheck) -> Result<(), Down> {
    let asked = tokio::time::timeout(check.timeout, ask(server, check)).await;
    let found = asked.map_err(|_| Down::TimedOut(check.timeout))??;
    let good = match check.status {
        Some(expected) => found == expected,
        None => (200..400).contains(&found),
    };
    let expected = || check.status.map_or_else(|| "2xx or 3xx".to_owned(), |status| status.to_string());
    if good { Ok(()) } else { Err(Down::Status { found, expected: expected() }) }
}

/// The status of the last answer.
async fn ask(server: &Server, check: &HealthCheck) -> Result<u16, Down> {
    if server.scheme != Scheme::Http || server.unix.is_some() || check.scheme.as_deref() == Some("https") {
        return Err(Down::NotBuilt);
    }
    let unresolved = || Down::Unresolved(server.host.to_string());
    let mut address = server.live.address.load().as_deref().copied().ok_or_else(unresolved)?;
    let mut authority = server.authority.to_string();
    if let Some(port) = check.port {
        address.set_port(port);
        authority = if server.host.contains(':') {
            format!("[{}]:{port}", server.host)
        } else {
            format!("{}:{port}", server.host)
        };
    }
    let mut host = check.hostname.clone().unwrap_or_else(|| authority.clone());
    let mut method = Method::from_bytes(check.method.as_bytes()).map_err(http::Error::from)?;
    let mut target =
        if check.path.starts_with('/') { check.path.clone() } else { format!("/{}", check.path) };
    for _ in 0..=MAX_CHECK_REDIRECTS {
        let answer = exchange(address, request(&method, &target, &host, check)?).await?;
        let status = answer.status().as_u16();
        let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let (true, Some(location)) = (check.follow_redirects && is_redirect(status), location) else {
            return Ok(status);
        };
        if matches!(status, 301..=303) && method != Method::HEAD {
            method = Method::GET;
        }
        (target, authority) = next(location, &target, authority)?;
        if let Some(elsewhere) = differs(location) {
            address = resolve(&elsewhere, location).await?;
            host = elsewhere;
        }
    }
    Err(Down::Redirect(target, "too many redirects"))
}

fn is_redirect(status: u16) -> bool {
    matches!(status, 301..=303 | 307 | 308)
}

/// Target and authority that a redirect names (RFC 9110 section 10.2.2).
fn next(location: &str, target: &str, authority: String) -> Result<(String, String), Down> {
    let bad = |why| Down::Redirect(location.to_owned(), why);
    if location.starts_with("//") {
        return Err(bad("no scheme"));
    }
    if location.starts_with('/') {
        return Ok((location.to_owned(), authority));
    }
    if !location.contains("://") {
        let path = target.split('?').next().unwrap_or("/");
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        return Ok((format!("{directory}/{location}"), authority));
    }
    let uri: Uri = location.parse().map_err(|_| bad("not a URL"))?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("http"), Some(authority)) => {
            let target = uri.path_and_query().map_or("/", |target| target.as_str());
            Ok((target.to_owned(), authority.to_string()))
        }
        _ => Err(bad("only http is supported yet")),
    }
}

/// The authority of an absolute redirect.
fn differs(location: &str) -> Option<String> {
    let uri: Uri = location.parse().ok()?;
    uri.authority().map(ToString::to_string)
}

async fn resolve(authority: &str, location: &str) -> Result<SocketAddr, Down> {
    let authority = if authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    let failed = || Down::Redirect(location.to_owned(), "its host has no address");
    let mut addresses = tokio::net::lookup_host(authority).await.map_err(|_| failed())?;
    addresses.next().ok_or_else(failed)
}

fn request(
    method: &Method,
    target: &str,
    host: &str,
    check: &HealthCheck,
) -> Result<Request<Empty<Bytes>>, Down> {
    let mut request = Request::builder().method(method).uri(target).body(Empty::new())?;
    let headers = request.headers_mut();
    headers
        .insert(USER_AGENT, HeaderValue::from_static(concat!("pancake-proxy/", env!("CARGO_PKG_VERSION"))));
    for (name, value) in &check.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(http::Error::from)?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(http::Error::from)?;
        headers.insert(name, value);
    }
    // After the others: as in Go, a `Host` among them does not count.
    headers.insert(HOST, HeaderValue::from_str(host).map_err(http::Error::from)?);
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(request)
}

/// One request on a connection of its own. The body of the answer is not read.
async fn exchange(address: SocketAddr, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, Down> {
    let stream = TcpStream::connect(address).await.map_err(|error| Down::Connect(address, error))?;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(MAX_CHECK_HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await?;
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(sender.send_request(request));
    tokio::select! {
        answer = &mut answer => Ok(answer?),
        ended = &mut connection => {
            ended?;
            Ok(answer.await?)
        }
    }
}
