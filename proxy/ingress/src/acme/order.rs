//! One order (RFC 8555 section 7.4): from names to a chain.
//!
//! `new order -> authorizations -> answer published -> CA told -> order ready -> key and request -> chain`. What was published is
//! taken away on every way out that is not an abort. It stores nothing and knows no schedule.

use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::account::Account;
use super::alpn;
use super::certificate;
use super::dns::{self, Proof};
use super::error::Error;
use super::keys::{encode, request, sha256};
use super::settings::{Challenge, Resolver};
use super::shared::{Answer, Shared};
use crate::limits::{
    ACME_POLL_MAX, ACME_POLL_MIN, MAX_ALTERNATE_CHAINS, MAX_NAMES_PER_CERTIFICATE, ORDER_TIMEOUT,
};

/// What an order gives.
pub struct Issued {
    /// PEM, leaf first.
    pub chain_pem: Vec<u8>,
    /// PKCS#8 PEM.
    pub key_pem: Vec<u8>,
}

/// An order as the CA tells it (RFC 8555 section 7.1.3).
#[derive(Deserialize)]
struct OrderState {
    status: String,
    #[serde(default)]
    authorizations: Vec<String>,
    finalize: String,
    certificate: Option<String>,
    error: Option<Problem>,
}

/// An authorization (RFC 8555 section 7.1.4).
#[derive(Deserialize)]
struct Authorization {
    status: String,
    identifier: Identifier,
    challenges: Vec<Offer>,
}

#[derive(Deserialize)]
struct Identifier {
    value: String,
}

/// A challenge (RFC 8555 section 8).
#[derive(Deserialize)]
struct Offer {
    #[serde(rename = "type")]
    kind: String,
    url: String,
    #[serde(default)]
    token: String,
    error: Option<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    detail: String,
}

/// Whether these names can be ordered so; asked before the CA is.
///
/// # Errors
/// What is wrong with which name.
pub fn check(resolver: &Resolver, names: &[String]) -> Result<(), Error> {
    let wrong = |what: String| Err(Error::Wanted(format!("{}: {what}", resolver.name)));
    if names.is_empty() {
        return wrong("no name was given; expected a Host rule or tls.domains".into());
    }
    if names.len() > MAX_NAMES_PER_CERTIFICATE {
        return wrong(format!(
            "{} names, at most {MAX_NAMES_PER_CERTIFICATE} fit in a certificate",
            names.len()
        ));
    }
    for name in names {
        let base = name.strip_prefix("*.").unwrap_or(name);
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if base.parse::<IpAddr>().is_ok() || base.len() > 253 || !base.split('.').all(label) {
            return wrong(format!(
                "`{name}` is not a name that can be ordered; expected a DNS name in ASCII"
            ));
        }
        if base != name && !matches!(resolver.challenge, Challenge::Dns(_)) {
            return wrong(format!("`{name}` is a wildcard, which only dnsChallenge can prove"));
        }
    }
    Ok(())
}

/// Orders a certificate for these names, at most [`ORDER_TIMEOUT`] long.
///
/// # Errors
/// If any step fails.
pub async fn order(
    resolver: &Resolver,
    account: &Account,
    shared: &dyn Shared,
    names: &[String],
) -> Result<Issued, Error> {
    let all = async {
        let identifiers: Vec<Value> =
            names.iter().map(|name| json!({"type": "dns", "value": name})).collect();
        let answer = account
            .post(&account.client.directory.new_order, Some(&json!({"identifiers": identifiers})))
            .await?;
        let (url, state) = (answer.location()?, answer.json::<OrderState>()?);
        let mut published = Vec::new();
        let proven = prove(resolver, account, shared, &state, &mut published).await;
        for one in &published {
            one.take_away(resolver, shared).await;
        }
        proven?;
        finish(resolver, account, &url, names).await
    };
    let too_slow =
        || Error::TooSlow { what: format!("the order for {}", names.join(", ")), limit: ORDER_TIMEOUT };
    timeout(ORDER_TIMEOUT, all).await.unwrap_or_else(|_| Err(too_slow()))
}

/// What was published to prove a name.
enum Published {
    Shared(Answer),
    Record(Proof),
}

impl Published {
    async fn take_away(&self, resolver: &Resolver, shared: &dyn Shared) {
        let gone = match (self, &resolver.challenge) {
            (Published::Shared(answer), _) => {
                shared.withdraw(&resolver.name, answer).await.map_err(Error::from)
            }
            (Published::Record(proof), Challenge::Dns(settings)) => dns::clean_up(settings, proof).await,
            (Published::Record(_), _) => Ok(()),
        };
        if let Err(error) = gone {
            tracing::warn!(resolver = resolver.name, %error, "the answer to a challenge stays behind");
        }
    }
}

/// A challenge that is answered and that the CA is to be told of.
struct Pending {
    domain: String,
    authorization: String,
    challenge: String,
}

async fn prove(
    resolver: &Resolver,
    account: &Account,
    shared: &dyn Shared,
    state: &OrderState,
    published: &mut Vec<Published>,
) -> Result<(), Error> {
    let mut pending = Vec::new();
    for url in &state.authorizations {
        let authorization: Authorization = account.post(url, None).await?.json()?;
        // Proven not long ago: the CA asks for nothing.
        if authorization.status == "valid" {
            continue;
        }
        let domain = authorization.identifier.value;
        let kind = kind(&resolver.challenge);
        let Some(offer) = authorization.challenges.iter().find(|offer| offer.kind == kind) else {
            let offered: Vec<_> = authorization.challenges.iter().map(|offer| offer.kind.as_str()).collect();
            return Err(Error::NotOffered { domain, challenge: kind, offered: offered.join(", ") });
        };
        publish(resolver, account, shared, &domain, &offer.token, published).await?;
        pending.push(Pending { domain, authorization: url.clone(), challenge: offer.url.clone() });
    }
    if pending.is_empty() {
        return Ok(());
    }
    wait_until_seen(resolver, shared, published).await?;
    for one in &pending {
        account.post(&one.challenge, Some(&json!({}))).await?;
    }
    for one in &pending {
        wait_until_proven(resolver, account, one).await?;
    }
    Ok(())
}

fn kind(challenge: &Challenge) -> &'static str {
    match challenge {
        Challenge::Http { .. } => "http-01",
        Challenge::TlsAlpn { .. } => "tls-alpn-01",
        Challenge::Dns(_) => "dns-01",
    }
}

async fn publish(
    resolver: &Resolver,
    account: &Account,
    shared: &dyn Shared,
    domain: &str,
    token: &str,
    published: &mut Vec<Published>,
) -> Result<(), Error> {
    let key_authorization = account.key.key_authorization(token);
    let answer = match &resolver.challenge {
        Challenge::Http { .. } => Answer::Http { token: token.to_owned(), key_authorization },
        Challenge::TlsAlpn { .. } => alpn::certificate(domain, &key_authorization)?,
        Challenge::Dns(settings) => {
            let proof = dns::proof(settings, domain, encode(sha256(key_authorization.as_bytes()))).await?;
            // Noted first: an update whose answer was lost may have been made.
            published.push(Published::Record(proof.clone()));
            return dns::present(settings, &proof).await;
        }
    };
    shared.publish(&resolver.name, &answer).await?;
    published.push(Published::Shared(answer));
    Ok(())
}

async fn wait_until_seen(
    resolver: &Resolver,
    shared: &dyn Shared,
    published: &[Published],
) -> Result<(), Error> {
    match &resolver.challenge {
        Challenge::Http { delay } | Challenge::TlsAlpn { delay } => {
            shared.spread().await;
            sleep(*delay).await;
        }
        Challenge::Dns(settings) => {
            for one in published {
                if let Published::Record(proof) = one {
                    dns::seen(settings, proof).await?;
                }
            }
        }
    }
    Ok(())
}

async fn wait_until_proven(resolver: &Resolver, account: &Account, pending: &Pending) -> Result<(), Error> {
    let mut poll = Poll::default();
    loop {
        let answer = account.post(&pending.authorization, None).await?;
        let state: Authorization = answer.json()?;
        match state.status.as_str() {
            "valid" => return Ok(()),
            "pending" | "processing" => poll.wait(answer.retry_after()).await,
            other => {
                let details = state.challenges.into_iter().filter_map(|offer| Some(offer.error?.detail));
                let mut detail = details.collect::<Vec<_>>().join("; ");
                if detail.is_empty() {
                    detail = format!("the authorization is {other}");
                }
                let challenge = kind(&resolver.challenge);
                return Err(Error::Unproven { domain: pending.domain.clone(), challenge, detail });
            }
        }
    }
}

/// Asks for the certificate and fetches it, with the preferred chain if there is one.
async fn finish(
    resolver: &Resolver,
    account: &Account,
    url: &str,
    names: &[String],
) -> Result<Issued, Error> {
    let (names, key_type) = (names.to_vec(), resolver.key_type);
    let made = tokio::task::spawn_blocking(move || request(&names, key_type));
    let made = made.await.map_err(|error| Error::Key(format!("making a key: {error}")))??;
    let mut poll = Poll::default();
    let mut asked = false;
    let certificate_url = loop {
        let answer = account.post(url, None).await?;
        let state: OrderState = answer.json()?;
        match state.status.as_str() {
            "valid" => match state.certificate {
                Some(url) => break url,
                None => return Err(Error::Malformed { url: url.into(), what: "no certificate URL".into() }),
            },
            "ready" if !asked => {
                account.post(&state.finalize, Some(&json!({"csr": encode(&made.csr)}))).await?;
                asked = true;
            }
            "pending" | "ready" | "processing" => poll.wait(answer.retry_after()).await,
            other => {
                let detail = state.error.map_or_else(String::new, |problem| problem.detail);
                return Err(Error::Malformed {
                    url: url.into(),
                    what: format!("the order is {other}: {detail}"),
                });
            }
        }
    };
    let answer = account.post(&certificate_url, None).await?;
    let mut chain_pem = answer.body.to_vec();
    if let Some(wanted) = &resolver.preferred_chain
        && !certificate::has_issuer(&chain_pem, wanted)
    {
        for alternate in answer.alternates().iter().take(MAX_ALTERNATE_CHAINS) {
            let other = account.post(alternate, None).await?.body.to_vec();
            if certificate::has_issuer(&other, wanted) {
                chain_pem = other;
                break;
            }
        }
    }
    certificate::Validity::of(&chain_pem).map_err(|what| Error::Malformed { url: certificate_url, what })?;
    Ok(Issued { chain_pem, key_pem: made.key_pem.into_bytes() })
}

/// The pauses between looks at what the CA is doing.
struct Poll(Duration);

impl Default for Poll {
    fn default() -> Self {
        Poll(ACME_POLL_MIN)
    }
}

impl Poll {
    /// As long as the CA asks; the order's own limit cuts it.
    async fn wait(&mut self, retry_after: Option<Duration>) {
        sleep(retry_after.unwrap_or(self.0).max(ACME_POLL_MIN)).await;
        self.0 = (self.0 * 2).min(ACME_POLL_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_names_that_cannot_be_ordered() {
        let resolver = Resolver::new("le", Challenge::Http { delay: Duration::ZERO });
        let check = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            check(&resolver, &names).map_err(|error| error.to_string())
        };
        assert_eq!(check(&["a.example", "b.example"]), Ok(()));
        assert!(check(&["*.example"]).unwrap_err().contains("only dnsChallenge"));
        assert!(check(&["127.0.0.1"]).unwrap_err().contains("expected a DNS name"));
        assert!(check(&["a..example"]).is_err() && check(&["*.*.example"]).is_err() && check(&[]).is_err());
    }
}
