//! The protocol (RFC 8555): directory, nonces, signed requests, problems.
//!
//! Own code and no library, because the libraries sign with P-256 keys only, and every account in a file of Traefik has an
//! RSA key; alternate chains and `Retry-After` of a refusal are needed too. It does not know what an order is for.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LINK, LOCATION, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use super::error::Error;
use super::keys::AccountKey;
use crate::limits::{
    ACME_REQUEST_TIMEOUT, MAX_ACME_ANSWER_BYTES, MAX_NONCE_TRIES, MAX_NONCES, MAX_RETRY_AFTER,
};

/// What a CA is told about who asks.
const AGENT: &str = concat!("pancake-proxy/", env!("CARGO_PKG_VERSION"));
/// The header that carries the nonce of the next request (RFC 8555 section 6.5.1).
const REPLAY_NONCE: &str = "replay-nonce";
const BAD_NONCE: &str = "urn:ietf:params:acme:error:badNonce";

type Http = HttpClient<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Where a CA wants requests (RFC 8555 section 7.1.1).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Directory {
    /// For nonces.
    pub new_nonce: String,
    /// For accounts.
    pub new_account: String,
    /// For orders.
    pub new_order: String,
    /// What else it says.
    #[serde(default)]
    pub meta: Meta,
}

/// What a directory says beside URLs.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// Whether accounts need an external one.
    #[serde(default)]
    pub external_account_required: bool,
}

/// An answer that is no problem.
#[derive(Debug)]
pub struct Answer {
    /// The body.
    pub body: Bytes,
    /// What was asked.
    url: String,
    headers: HeaderMap,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    /// If it is none of this form.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| malformed(&self.url, error.to_string()))
    }

    /// The URL of what was made.
    ///
    /// # Errors
    /// If the answer names none.
    pub fn location(&self) -> Result<String, Error> {
        let text = self.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        text.map(str::to_owned).ok_or_else(|| malformed(&self.url, "no Location".into()))
    }

    /// How long the CA wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        retry_after(&self.headers)
    }

    /// URLs of other chains of the same certificate (RFC 8555 section 7.4.2).
    pub fn alternates(&self) -> Vec<String> {
        let links = self.headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
        links.flat_map(|line| line.split(',')).filter_map(alternate).collect()
    }
}

/// A CA, with or without an account there.
pub struct Client {
    http: Http,
    /// What the CA offers.
    pub directory: Directory,
    nonces: RefCell<Vec<String>>,
}

impl Client {
    /// Asks a CA for its directory. `roots`: PEM texts of the only authorities that may have signed its HTTPS certificate;
    /// empty: those of the system.
    ///
    /// # Errors
    /// If the CA is out of reach or no ACME server.
    pub async fn connect(directory_url: &str, roots: &[String]) -> Result<Client, Error> {
        let http = http_client(roots)?;
        let (status, _, body) = exchange(&http, Method::GET, directory_url, None).await?;
        if status != StatusCode::OK {
            return Err(malformed(directory_url, format!("{status} instead of a directory")));
        }
        let directory =
            serde_json::from_slice(&body).map_err(|error| malformed(directory_url, error.to_string()))?;
        Ok(Client { http, directory, nonces: RefCell::default() })
    }

    /// Sends `payload`, signed; none: POST-as-GET (RFC 8555 section 6.3). Without `kid` the request carries the public key.
    ///
    /// # Errors
    /// If the CA is out of reach or refuses.
    pub async fn post(
        &self,
        key: &AccountKey,
        kid: Option<&str>,
        url: &str,
        payload: Option<&Value>,
    ) -> Result<Answer, Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            let nonce = self.nonce().await?;
            let body = key.signed(url, &nonce, kid, payload)?.to_string();
            let (status, headers, body) = exchange(&self.http, Method::POST, url, Some(body)).await?;
            self.keep_nonce(&headers);
            if status.is_success() {
                return Ok(Answer { body, url: url.to_owned(), headers });
            }
            let error = refusal(url, status, &headers, &body);
            // The refusal came with a fresh nonce (RFC 8555 section 6.5).
            if !matches!(&error, Error::Refused { kind, .. } if kind == BAD_NONCE) || tries >= MAX_NONCE_TRIES
            {
                return Err(error);
            }
        }
    }

    async fn nonce(&self) -> Result<String, Error> {
        let kept = self.nonces.borrow_mut().pop();
        if let Some(nonce) = kept {
            return Ok(nonce);
        }
        let url = &self.directory.new_nonce;
        let (_, headers, _) = exchange(&self.http, Method::HEAD, url, None).await?;
        let nonce = headers.get(REPLAY_NONCE).and_then(|value| value.to_str().ok());
        nonce.map(str::to_owned).ok_or_else(|| malformed(url, "no Replay-Nonce".into()))
    }

    fn keep_nonce(&self, headers: &HeaderMap) {
        let mut nonces = self.nonces.borrow_mut();
        if let Some(nonce) = headers.get(REPLAY_NONCE).and_then(|value| value.to_str().ok())
            && nonces.len() < MAX_NONCES
        {
            nonces.push(nonce.to_owned());
        }
    }
}

fn http_client(roots: &[String]) -> Result<Http, Error> {
    let wrong = |what: String| Error::Wanted(format!("caCertificates: {what}"));
    let mut store = rustls::RootCertStore::empty();
    if roots.is_empty() {
        // What the system has and cannot be read is left out, as everywhere.
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    for text in roots {
        for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
            let certificate = certificate.map_err(|error| wrong(format!("expected PEM: {error}")))?;
            store.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
    }
    if store.is_empty() {
        return Err(wrong("no authority to trust: neither here nor in the system".into()));
    }
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?
        .with_root_certificates(store)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().build();
    Ok(HttpClient::builder(TokioExecutor::new()).build(connector))
}

async fn exchange(
    http: &Http,
    method: Method,
    url: &str,
    body: Option<String>,
) -> Result<(StatusCode, HeaderMap, Bytes), Error> {
    let unreachable = |cause: String| Error::Unreachable { url: url.to_owned(), cause };
    let mut request = http::Request::builder().method(method).uri(url).header(USER_AGENT, AGENT);
    if body.is_some() {
        request = request.header(CONTENT_TYPE, "application/jose+json");
    }
    let request = request
        .body(Full::new(Bytes::from(body.unwrap_or_default())))
        .map_err(|error| unreachable(error.to_string()))?;
    let answer = async {
        let (head, body) =
            http.request(request).await.map_err(|error| unreachable(chain(&error)))?.into_parts();
        let body = Limited::new(body, MAX_ACME_ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| unreachable(error.to_string()))?;
        Ok((head.status, head.headers, body.to_bytes()))
    };
    timeout(ACME_REQUEST_TIMEOUT, answer)
        .await
        .unwrap_or_else(|_| Err(unreachable(format!("no answer in {} s", ACME_REQUEST_TIMEOUT.as_secs()))))
}

/// An error with its causes, each once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let more = next.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = next.source();
    }
    text
}

/// A problem document (RFC 7807), or what a server that is no CA says.
fn refusal(url: &str, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
    #[derive(Deserialize)]
    struct Problem {
        #[serde(rename = "type", default)]
        kind: String,
        #[serde(default)]
        detail: String,
        #[serde(default)]
        subproblems: Vec<Sub>,
    }
    #[derive(Deserialize)]
    struct Sub {
        #[serde(default)]
        detail: String,
    }
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => {
            let parts =
                std::iter::once(problem.detail).chain(problem.subproblems.into_iter().map(|sub| sub.detail));
            Error::Refused {
                url: url.to_owned(),
                kind: problem.kind,
                detail: parts.collect::<Vec<_>>().join("; "),
                retry_after: retry_after(headers),
            }
        }
        Err(_) => malformed(url, format!("{status} without a problem document")),
    }
}

fn malformed(url: &str, what: String) -> Error {
    Error::Malformed { url: url.to_owned(), what }
}

/// `Retry-After` (RFC 9110 section 10.2.3): seconds or a date, at most [`MAX_RETRY_AFTER`] from now.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = SystemTime::from(jiff::fmt::rfc2822::parse(text).ok()?.timestamp());
            date.duration_since(SystemTime::now()).unwrap_or_default()
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// The URL of a link (RFC 8288) whose relation is `alternate`.
fn alternate(link: &str) -> Option<String> {
    let (url, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_alternate = parameters.split(';').filter_map(|parameter| parameter.trim().split_once('=')).any(
        |(name, value)| {
            name.eq_ignore_ascii_case("rel") && value.trim_matches('"').eq_ignore_ascii_case("alternate")
        },
    );
    is_alternate.then(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_alternate_chains_among_links() {
        let mut headers = HeaderMap::new();
        headers.append(LINK, "<https://ca/dir>;rel=\"index\"".parse().unwrap());
        headers
            .append(LINK, "<https://ca/1>; rel=\"alternate\", <https://ca/2>;rel=alternate".parse().unwrap());
        let answer = Answer { body: Bytes::new(), url: String::new(), headers };
        assert_eq!(answer.alternates(), ["https://ca/1", "https://ca/2"]);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_has_a_limit() {
        let wait = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(wait("120"), Some(Duration::from_secs(120)));
        assert_eq!(wait("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("99999999999"), Some(MAX_RETRY_AFTER));
        assert_eq!(wait("soon"), None);
    }

    #[test]
    fn a_refusal_carries_the_words_of_the_ca() {
        let body = br#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many","subproblems":[{"detail":"a.example"}]}"#;
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, "60".parse().unwrap());
        let error = refusal("https://ca/o", StatusCode::TOO_MANY_REQUESTS, &headers, body);
        assert_eq!(error.retry_after(), Some(Duration::from_secs(60)));
        assert!(error.to_string().contains("too many; a.example"), "{error}");
    }
}
