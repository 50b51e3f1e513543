//! Asks one instance once.
//!
//! HTTP over a fresh connection, so that what is measured is what a new client would see. Redirects are answers, not
//! followed. What it does not do: TLS.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use pancake_model::check::CheckKind;
use pancake_model::instance::authority;
use tokio::net::TcpStream;

use super::schedule::{Outcome, Target};

/// Bytes of the answer that people see.
pub const MAX_OUTPUT: usize = 512;
/// Bytes of an answer's head.
pub const MAX_HEAD: usize = 16 << 10;

/// Asks; never takes longer than the check's timeout.
pub async fn probe(target: &Target) -> Outcome {
    let started = Instant::now();
    let (ok, mut output) = match tokio::time::timeout(target.check.timeout, ask(target)).await {
        Ok(Ok(output)) => (true, output),
        Ok(Err(output)) => (false, output),
        Err(_) => (false, format!("no answer within {:?}", target.check.timeout)),
    };
    truncate(&mut output, MAX_OUTPUT);
    Outcome { ok, output, took: started.elapsed().max(Duration::from_micros(1)) }
}

async fn ask(target: &Target) -> Result<String, String> {
    let port = target.asked_port();
    let stream = TcpStream::connect((target.address.as_str(), port))
        .await
        .map_err(|e| format!("connect {}: {e}", authority(&target.address, port)))?;
    match &target.check.kind {
        CheckKind::Tcp { .. } => Ok("connected".into()),
        CheckKind::Http { path, host, status, .. } => {
            let host = host.clone().unwrap_or_else(|| authority(&target.address, port));
            get(stream, path, &host, *status).await
        }
    }
}

async fn get(stream: TcpStream, path: &str, host: &str, expected: Option<u16>) -> Result<String, String> {
    let request = http::Request::get(path)
        .header(http::header::HOST, host)
        .header(http::header::USER_AGENT, "pancake-control health check")
        .header(http::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|e| format!("request: {e}"))?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|e| format!("handshake: {e}"))?;
    let exchange = async move {
        let mut response = sender.send_request(request).await.map_err(|e| format!("no answer: {e}"))?;
        let status = response.status();
        let mut body = Vec::new();
        while body.len() < MAX_OUTPUT {
            match response.body_mut().frame().await {
                Some(Ok(frame)) => body.extend_from_slice(frame.data_ref().map_or(&[][..], |d| d)),
                Some(Err(e)) => return Err(format!("{status}, then the body broke: {e}")),
                None => break,
            }
        }
        let ok = match expected {
            Some(code) => status.as_u16() == code,
            None => status.is_success() || status.is_redirection(),
        };
        let mut output = status.to_string();
        if let (Some(code), false) = (expected, ok) {
            output.push_str(&format!(" (expected {code})"));
        }
        let body = String::from_utf8_lossy(&body);
        let body: String = body.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if !body.is_empty() {
            output = format!("{output}: {body}");
        }
        if ok { Ok(output) } else { Err(output) }
    };
    // The connection makes progress only while it is polled; it ends with the exchange.
    tokio::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        ended = connection => match ended {
            // The peer closed after the whole answer: what is left of it is in the exchange.
            Ok(()) => exchange.await,
            Err(e) => Err(format!("no answer: {e}")),
        },
    }
}

fn truncate(text: &mut String, limit: usize) {
    if text.len() > limit {
        let mut end = limit - '…'.len_utf8();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
}
