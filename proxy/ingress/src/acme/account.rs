//! An account at a CA (RFC 8555 section 7.3): the stored one, or a new one.

use serde_json::{Map, json};

use super::client::{Answer, Client};
use super::error::Error;
use super::keys::AccountKey;
use super::settings::Resolver;
use super::storage::{Bytes, Registration, StoredAccount};

/// A CA with an account there.
pub struct Account {
    /// The CA.
    pub client: Client,
    /// Signs requests.
    pub key: AccountKey,
    /// The account's URL.
    pub url: String,
}

impl Account {
    /// Sends `payload` in the account's name; none: POST-as-GET.
    ///
    /// # Errors
    /// If the CA is out of reach or refuses.
    pub async fn post(&self, url: &str, payload: Option<&serde_json::Value>) -> Result<Answer, Error> {
        self.client.post(&self.key, Some(&self.url), url, payload).await
    }
}

/// The stored account, if it is one of this resolver's CA; as Traefik, by the host of the account's URL.
pub fn usable<'a>(
    resolver: &Resolver,
    stored: Option<&'a StoredAccount>,
) -> Option<(&'a StoredAccount, &'a str)> {
    let account = stored?;
    let url = account.registration.as_ref().map(|registration| registration.uri.as_str())?;
    let host = |url: &str| Some(url.parse::<http::Uri>().ok()?.host()?.to_ascii_lowercase());
    (host(url)? == host(&resolver.ca_server)?).then_some((account, url))
}

/// Restores the stored account.
///
/// # Errors
/// If its key cannot be read or the CA is out of reach.
pub async fn restore(resolver: &Resolver, stored: &StoredAccount, url: &str) -> Result<Account, Error> {
    let key = AccountKey::from_der(&stored.private_key.0)?;
    let client = Client::connect(&resolver.ca_server, &resolver.ca_certificates).await?;
    Ok(Account { client, key, url: url.to_owned() })
}

/// Makes an account, and what is to be stored of it.
///
/// # Errors
/// If the CA is out of reach or refuses.
pub async fn create(resolver: &Resolver) -> Result<(Account, StoredAccount), Error> {
    let client = Client::connect(&resolver.ca_server, &resolver.ca_certificates).await?;
    if client.directory.meta.external_account_required && resolver.eab.is_none() {
        return Err(Error::Wanted(format!(
            "{}: the CA wants an external account; expected acme.eab.kid and acme.eab.hmacEncoded",
            resolver.name
        )));
    }
    let key = tokio::task::spawn_blocking(AccountKey::generate)
        .await
        .map_err(|error| Error::Key(format!("making an account key: {error}")))??;
    let contact: Vec<String> = Some(&resolver.email)
        .filter(|email| !email.is_empty())
        .map(|email| format!("mailto:{email}"))
        .into_iter()
        .collect();
    let mut wish = json!({"termsOfServiceAgreed": true, "contact": contact});
    let url = client.directory.new_account.clone();
    if let Some(eab) = &resolver.eab {
        wish["externalAccountBinding"] = key.bound(&url, &eab.kid, &eab.hmac_encoded)?;
    }
    let answer = client.post(&key, None, &url, Some(&wish)).await?;
    let url = answer.location()?;
    let stored = StoredAccount {
        email: resolver.email.clone(),
        registration: Some(Registration { body: answer.json()?, uri: url.clone() }),
        private_key: Bytes(key.der().to_vec()),
        key_type: Some("4096".into()),
        rest: Map::new(),
    };
    Ok((Account { client, key, url }, stored))
}
