//! How TLS to servers is spoken: `serversTransports` to a [`ClientConfig`]. Does not read the system's authorities; whoever
//! may read files gives them.

/// What is checked about a server's certificate beyond, or instead of, its chain.
mod verify;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use pancake_table::snapshot::tls::{Certificate, ServersTls, TlsVersion};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ClientSessionMemoryCache, ResolvesClientCert, Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};

use crate::certificate::Loaded;
use crate::limits::CLIENT_SESSIONS;
use crate::names::{self, Found};
use crate::pem;
use verify::{Unchecked, WithUri};

/// The authorities of the system, read once per process.
#[derive(Clone, Debug)]
pub struct SystemRoots(Arc<RootCertStore>);

impl SystemRoots {
    /// Of certificates that someone read; those that cannot be used as authorities are left out and counted.
    pub fn new(certificates: impl IntoIterator<Item = CertificateDer<'static>>) -> (SystemRoots, usize) {
        let mut store = RootCertStore::empty();
        let (_, unusable) = store.add_parsable_certificates(certificates);
        (SystemRoots(Arc::new(store)), unusable)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none: then every server is refused.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A name that a server cannot have: neither a DNS name nor an IP address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot be verified in a certificate, expected a DNS name or an IP address")]
pub struct FaultyServerName(pub String);

/// How TLS to the servers of one transport is spoken.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientTls({:?})", self.server_name)
    }
}

impl ClientTls {
    /// Everything that is wrong, else the configuration. `alpn`, best first: `h2` and `http/1.1`, or less. `clock` is what
    /// certificates are checked against.
    pub fn build(
        tls: &ServersTls,
        roots: &SystemRoots,
        alpn: &[&[u8]],
        clock: &Arc<dyn TimeProvider>,
    ) -> Result<ClientTls, Vec<String>> {
        let mut found = Found::default();
        let provider = Arc::new(names::provider(&tls.cipher_suites, &[], &mut found));
        let min = tls.min_version.unwrap_or(TlsVersion::Tls12);
        let max = tls.max_version.unwrap_or(TlsVersion::Tls13);
        let versions = names::versions(min, max, &mut found);
        let verifier = verifier(tls, roots, &provider, &mut found);
        let keys = keys(&tls.certificates, &provider, &mut found);
        let server_name = tls.server_name.as_deref().map(parse_name).transpose();
        let server_name =
            server_name.map_err(|error| found.errors.push(("serverName", error.to_string()))).ok();
        let builder = ClientConfig::builder_with_details(provider, Arc::clone(clock));
        let builder = builder.with_protocol_versions(versions).map_err(|error| {
            found.errors.push(("cipherSuites", format!("they fit no version that is spoken: {error}")));
        });
        let (Some(verifier), Some(server_name), Ok(builder), true) =
            (verifier, server_name, builder, found.errors.is_empty())
        else {
            return Err(found.errors.into_iter().map(|(field, text)| format!("{field}: {text}")).collect());
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match keys.is_empty() {
            true => builder.with_no_client_auth(),
            false => builder.with_client_cert_resolver(Arc::new(Keys(keys))),
        };
        config.enable_secret_extraction = true;
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config.resumption = Resumption::store(Arc::new(ClientSessionMemoryCache::new(CLIENT_SESSIONS)));
        Ok(ClientTls { config: Arc::new(config), server_name })
    }

    /// What connections are made with. Its memory of sessions is shared by all connections of the transport.
    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// The same with other protocols offered (RFC 7301), best first. The memory of sessions stays shared.
    pub fn offering(&self, alpn: &[&[u8]]) -> Arc<ClientConfig> {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    }

    /// What is asked for and verified when `host` is connected to: the transport's `serverName`, else the host, which may be
    /// an address (then no name is sent, RFC 6066 section 3), with or without brackets.
    pub fn server_name(&self, host: &str) -> Result<ServerName<'static>, FaultyServerName> {
        match &self.server_name {
            Some(name) => Ok(name.clone()),
            None => parse_name(host),
        }
    }
}

fn parse_name(host: &str) -> Result<ServerName<'static>, FaultyServerName> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(ServerName::from(address));
    }
    let name = bare.strip_suffix('.').unwrap_or(bare);
    ServerName::try_from(name.to_owned()).map_err(|_| FaultyServerName(host.chars().take(255).collect()))
}

fn verifier(
    tls: &ServersTls,
    roots: &SystemRoots,
    provider: &Arc<CryptoProvider>,
    found: &mut Found,
) -> Option<Arc<dyn ServerCertVerifier>> {
    let checked: Arc<dyn ServerCertVerifier> = if tls.insecure_skip_verify {
        Arc::new(Unchecked::new(provider))
    } else {
        let store = match tls.root_cas.is_empty() {
            true => Arc::clone(&roots.0),
            false => Arc::new(own_roots(tls, found)),
        };
        let builder = WebPkiServerVerifier::builder_with_provider(store, Arc::clone(provider));
        match builder.build() {
            Ok(verifier) => verifier,
            Err(_) if !found.errors.is_empty() => return None,
            Err(_) => {
                let message =
                    "the system has no certificate authorities, expected rootCAs or insecureSkipVerify";
                found.errors.push(("rootCAs", message.into()));
                return None;
            }
        }
    };
    match &tls.peer_cert_uri {
        Some(uri) => Some(Arc::new(WithUri::new(checked, uri))),
        None => Some(checked),
    }
}

fn own_roots(tls: &ServersTls, found: &mut Found) -> RootCertStore {
    let mut store = RootCertStore::empty();
    for authority in &tls.root_cas {
        match pem::certificates(authority) {
            Ok(all) => {
                let (_, unusable) = store.add_parsable_certificates(all);
                if unusable > 0 {
                    found
                        .errors
                        .push(("rootCAs", format!("{unusable} certificates cannot be used as authority")));
                }
            }
            Err(message) => found.errors.push(("rootCAs", message)),
        }
    }
    store
}

fn keys(
    certificates: &[Certificate],
    provider: &CryptoProvider,
    found: &mut Found,
) -> Vec<Arc<CertifiedKey>> {
    let mut keys = Vec::new();
    for certificate in certificates {
        match Loaded::load(certificate, provider) {
            Ok(loaded) => keys.push(loaded.key),
            Err((field, message)) => found.errors.push(("certificates", format!("{field}: {message}"))),
        }
    }
    keys
}

/// Shows the first certificate that the server can verify and whose chain names an authority that the server names; else the
/// first that it can verify, as Go does where a server names no authority.
#[derive(Debug)]
struct Keys(Vec<Arc<CertifiedKey>>);

impl ResolvesClientCert for Keys {
    fn resolve(&self, authorities: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let mut usable = self.0.iter().filter(|key| key.key.choose_scheme(schemes).is_some());
        let signed = usable.clone().find(|key| verify::has_issuer(&key.cert, authorities));
        signed.or_else(|| usable.next()).cloned()
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}
