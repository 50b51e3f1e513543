//! The admin API of a proxy: one GET.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Of the whole exchange.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer.
const MAX_ANSWER: usize = 8 << 20;

/// GETs `path` with these query parameters from `base` and reads the answer as JSON.
pub async fn get(base: &str, path: &str, query: &[(&str, &str)]) -> anyhow::Result<serde_json::Value> {
    let base = if base.contains("://") { base.to_owned() } else { format!("http://{base}") };
    let mut target = format!("{}{path}", base.trim_end_matches('/'));
    for (i, (name, value)) in query.iter().enumerate() {
        target.push(if i == 0 { '?' } else { '&' });
        target.push_str(name);
        target.push('=');
        encode(&mut target, value);
    }
    let uri: http::Uri = target.parse().with_context(|| format!("{base} is not a URL"))?;
    if uri.scheme_str() != Some("http") {
        bail!("only http is spoken so far");
    }
    tokio::time::timeout(TIMEOUT, ask(uri)).await.map_err(|_| anyhow!("no answer within {TIMEOUT:?}"))?
}

async fn ask(uri: http::Uri) -> anyhow::Result<serde_json::Value> {
    let host = uri.host().context("no host in the address")?;
    let port = uri.port_u16().unwrap_or(80);
    let stream = TcpStream::connect((host.trim_start_matches('[').trim_end_matches(']'), port)).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let request = http::Request::get(path)
        .header(http::header::HOST, authority)
        .header(http::header::ACCEPT, "application/json")
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|e| anyhow!("{e}"))?;
    let body = body.to_bytes();
    if !status.is_success() {
        let why: String = String::from_utf8_lossy(&body).trim().chars().take(500).collect();
        bail!(Answered { status: status.as_u16(), why });
    }
    serde_json::from_slice(&body).context("its answer is not JSON")
}

/// The proxy answered, and said no.
#[derive(Debug)]
pub struct Answered {
    /// Its status.
    pub status: u16,
    /// Start of its body.
    pub why: String,
}

impl std::fmt::Display for Answered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "it answers {} {}", self.status, self.why)
    }
}

impl std::error::Error for Answered {}

/// Everything but unreserved characters, percent-encoded (RFC 3986 2.3).
fn encode(out: &mut String, value: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::encode;

    #[test]
    fn encodes_what_a_query_cannot_carry() {
        let mut out = String::new();
        encode(&mut out, "http://a/b?c=d&e é#");
        assert_eq!(out, "http%3A%2F%2Fa%2Fb%3Fc%3Dd%26e%20%C3%A9%23");
    }
}
