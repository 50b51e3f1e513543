//! Certificates that routers want from a CA: from the configuration to [`crate::acme`], and back to handshakes.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use pancake_config::traefik::static_config::{self as config, CertificatesResolver, Settings};
use pancake_session::acme_tokens::AcmeTokens;
use pancake_table::compiled::Table;
use pancake_table::snapshot::tls::{Certificate, Pem, RouterTls};
use pancake_tls::Challenges;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use tokio::task::spawn_local;

use crate::acme::plan::Pace;
use crate::acme::run::{self, AlpnCertificate, Served, Sink};
use crate::acme::settings::{
    Challenge, DnsChallenge, DnsProvider, ExternalAccount, KeyType, Resolver, Wanted,
};
use crate::acme::status::Status;
use crate::change::Handle;
use crate::sharing::plane::Plane;

/// What is known of certificates from a CA.
pub struct Parts {
    /// The static configuration.
    pub settings: Arc<Settings>,
    /// The serving table.
    pub table: Arc<ArcSwap<Table>>,
    /// Moves with each table.
    pub changed: watch::Receiver<u64>,
    /// Brings certificates to the table thread.
    pub changes: Handle,
    /// Where workers look http-01 answers up.
    pub tokens: Arc<AcmeTokens>,
    /// Where handshakes look tls-alpn-01 answers up.
    pub challenges: Arc<Challenges>,
    /// Through which it is shared with other proxies, if it is.
    pub sharing: Option<Rc<Plane>>,
}

/// Starts ordering and renewing, if there are resolvers. Returns what the admin API shows.
pub fn start(parts: Parts) -> Option<Arc<Status>> {
    let resolvers: Vec<Resolver> =
        parts.settings.certificates_resolvers.iter().filter_map(|one| resolver(one).ok()).collect();
    if resolvers.is_empty() && parts.sharing.is_none() {
        return None;
    }
    let status = Arc::new(Status::default());
    let (send, wanted) = watch::channel(Arc::new(wants(&parts.table.load())));
    let (table, mut changed) = (parts.table, parts.changed);
    spawn_local(async move {
        while changed.changed().await.is_ok() {
            let now = wants(&table.load());
            send.send_if_modified(|before| {
                let differs = **before != now;
                if differs {
                    *before = Arc::new(now);
                }
                differs
            });
        }
    });
    let sink = Rc::new(ToHandshakes {
        changes: parts.changes,
        challenges: parts.challenges,
        shown: Default::default(),
    });
    let (tokens, sharing, pace) = (parts.tokens, parts.sharing, Pace::default());
    run::spawn(run::Parts { resolvers, wanted, tokens, sink, status: status.clone(), sharing, pace });
    Some(status)
}

/// Everything about resolvers that is not built, or that the environment lacks.
pub fn problems(settings: &Settings) -> Vec<String> {
    let resolvers = settings.certificates_resolvers.iter().filter_map(|one| resolver(one).err());
    resolvers.chain(crate::sharing::problem(settings)).collect()
}

fn resolver(from: &CertificatesResolver) -> Result<Resolver, String> {
    let at = |what: String| format!("certificatesResolvers.{}.acme: {what}", from.name);
    let missing = [
        (from.profile.is_some(), "profile"),
        (!from.email_addresses.is_empty(), "emailAddresses"),
        (from.ca_server_name.is_some(), "caServerName"),
        (matches!(from.key_type, config::KeyType::Rsa8192), "keyType RSA8192"),
    ];
    if let Some((_, what)) = missing.iter().find(|(set, _)| *set) {
        return Err(at(format!("not supported yet: {what}")));
    }
    let challenge = match (&from.dns_challenge, &from.http_challenge, &from.tls_challenge) {
        (Some(dns), ..) => {
            let name = match dns.provider {
                config::DnsProvider::Rfc2136 => "rfc2136",
                config::DnsProvider::Exec => "exec",
            };
            Challenge::Dns(DnsChallenge {
                provider: DnsProvider::from_environment(name, |key| std::env::var(key).ok()).map_err(at)?,
                delay_before_check: dns.delay_before_checks,
                resolvers: dns.resolvers.clone(),
                disable_propagation_check: dns.disable_checks,
            })
        }
        (None, Some(http), _) => Challenge::Http { delay: http.delay },
        (None, None, Some(tls)) => Challenge::TlsAlpn { delay: tls.delay },
        (None, None, None) => return Err(at("it has no challenge".into())),
    };
    let mut authorities = Vec::new();
    for pem in &from.ca_certificates {
        authorities.push(match pem.path.is_empty() {
            true => pem.text.clone(),
            false => {
                std::fs::read_to_string(&pem.path).map_err(|error| at(format!("{}: {error}", pem.path)))?
            }
        });
    }
    Ok(Resolver {
        email: from.email.clone().unwrap_or_default(),
        ca_server: from.ca_server.clone(),
        storage: PathBuf::from(&from.storage),
        key_type: match from.key_type {
            config::KeyType::Ec256 => KeyType::Ec256,
            config::KeyType::Ec384 => KeyType::Ec384,
            config::KeyType::Rsa2048 => KeyType::Rsa2048,
            config::KeyType::Rsa4096 | config::KeyType::Rsa8192 => KeyType::Rsa4096,
        },
        eab: from
            .eab
            .as_ref()
            .map(|eab| ExternalAccount { kid: eab.kid.clone(), hmac_encoded: eab.hmac_encoded.clone() }),
        ca_certificates: authorities,
        preferred_chain: from.preferred_chain.clone(),
        ..Resolver::new(&from.name, challenge)
    })
}

/// What the routers of a table want, each set of names once.
fn wants(table: &Table) -> Vec<Wanted> {
    let http = table.routes.iter().map(|route| (&route.tls, &route.rule));
    let tcp = table.tcp_routes.iter().map(|route| (&route.tls, &route.rule));
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for (tls, rule) in http.chain(tcp) {
        let Some(RouterTls { cert_resolver: Some(resolver), domains, passthrough: false, .. }) =
            tls.as_deref()
        else {
            continue;
        };
        let named = domains.iter().map(|domain| {
            let main = std::iter::once(&domain.main).filter(|main| !main.is_empty());
            main.chain(&domain.sans).cloned().collect()
        });
        let mut sets: Vec<Vec<String>> = named.collect();
        if sets.is_empty() {
            sets.push(rule.hosts().into_iter().map(|host| host.to_ascii_lowercase()).collect());
        }
        for domains in sets {
            if !domains.is_empty() && seen.insert((resolver.clone(), domains.clone())) {
                all.push(Wanted { resolver: resolver.clone(), domains });
            }
        }
    }
    for store in &table.snapshot.tls.stores {
        let Some(generated) = store.default_generated.as_ref().filter(|_| store.name == "default") else {
            continue;
        };
        let mut domains = vec![generated.domain.main.clone()];
        domains.extend(generated.domain.sans.iter().cloned());
        all.push(Wanted { resolver: generated.resolver.clone(), domains });
    }
    all
}

/// Brings what was ordered to handshakes.
struct ToHandshakes {
    changes: Handle,
    challenges: Arc<Challenges>,
    /// Hosts whose challenge certificate was put there last.
    shown: std::cell::RefCell<Vec<String>>,
}

impl Sink for ToHandshakes {
    fn certificates(&self, all: &[Served]) {
        let text = |bytes: &[u8]| Pem::inline(String::from_utf8_lossy(bytes));
        let certificates: Vec<_> = all
            .iter()
            .map(|served| Certificate {
                name: format!("{} of {}", served.domains.join(" "), served.resolver),
                cert: text(&served.chain_pem),
                key: text(&served.key_pem),
                ocsp: Vec::new(),
            })
            .collect();
        let changes = self.changes.clone();
        spawn_local(async move { changes.take_ordered(certificates).await });
    }

    fn challenges(&self, all: &[AlpnCertificate]) {
        let mut shown = self.shown.borrow_mut();
        for host in shown.drain(..).filter(|host| all.iter().all(|one| one.host != *host)) {
            self.challenges.remove(&host);
        }
        for one in all {
            let key = any_supported_type(&PrivatePkcs8KeyDer::from(one.key.clone()).into());
            let Ok(key) = key else { continue };
            let chain = vec![CertificateDer::from(one.certificate.clone())];
            match self.challenges.insert(&one.host, &Arc::new(CertifiedKey::new(chain, key))) {
                Ok(()) => shown.push(one.host.clone()),
                Err(_) => tracing::warn!(host = one.host, "too many ACME challenges at a time"),
            }
        }
    }
}
