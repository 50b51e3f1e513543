//! A certificate with its chain and key, loaded, with what is wrong with it. Chains are looked at by name only; whether
//! signatures are right is for clients to find out.

use std::sync::Arc;

use pancake_table::check::Problem;
use pancake_table::snapshot::tls::Certificate;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use crate::facts::{Facts, KeyKind};
use crate::fingerprint::{Digest, Fingerprint};
use crate::limits::EXPIRES_SOON_SECS;
use crate::pem;

/// A certificate that can serve.
#[derive(Debug)]
pub struct Loaded {
    /// Chain, key and OCSP response, as rustls takes them.
    pub key: Arc<CertifiedKey>,
    /// What the certificate says.
    pub facts: Facts,
    /// What is wrong with the chain, if anything.
    chain_warning: Option<String>,
}

/// Why a certificate cannot serve: the field and the message.
pub(crate) type Fault = (&'static str, String);

impl Loaded {
    /// Parses everything and checks that key and certificate belong together.
    pub(crate) fn load(certificate: &Certificate, provider: &CryptoProvider) -> Result<Loaded, Fault> {
        let chain = pem::chain(&certificate.cert).map_err(|message| ("certFile", message))?;
        let facts: Result<Vec<Facts>, String> = chain.iter().map(|der| Facts::of(der)).collect();
        let mut facts = facts.map_err(|message| ("certFile", message))?;
        let der = pem::key(&certificate.key).map_err(|message| ("keyFile", message))?;
        // What rustls says of a faulty key is not told: it might quote the key.
        let key = provider.key_provider.load_private_key(der).map_err(|_| {
            ("keyFile", "the key cannot be used, expected RSA (2048 to 8192 bits), ECDSA (P-256, P-384, P-521) or Ed25519".to_owned())
        })?;
        let mut key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                return Err(("keyFile", "the key does not belong to the certificate".into()));
            }
            Err(error) => return Err(("certFile", format!("the certificate cannot be used: {error}"))),
        }
        key.ocsp = (!certificate.ocsp.is_empty()).then(|| certificate.ocsp.clone());
        let chain_warning = chain_warning(&facts);
        Ok(Loaded { key: Arc::new(key), facts: facts.swap_remove(0), chain_warning })
    }

    /// One that was made here.
    pub(crate) fn generated(key: Arc<CertifiedKey>) -> Result<Loaded, String> {
        let end: &CertificateDer<'_> = key.cert.first().ok_or("no certificate")?;
        let facts = Facts::of(end)?;
        Ok(Loaded { key, facts, chain_warning: None })
    }

    /// Whether it is neither RSA nor unknown: smaller and faster, so preferred.
    pub(crate) fn is_elliptic(&self) -> bool {
        matches!(self.facts.key, KeyKind::Ecdsa(_) | KeyKind::Ed25519)
    }

    /// What its holder should know, though it serves. `now` in seconds since 1970.
    pub(crate) fn warnings(&self, object: &str, now: i64) -> Vec<Problem> {
        let mut found = Vec::new();
        let mut warn = |message: String| found.push(Problem::warning(object, "certFile", message));
        let Facts { not_before, not_after, .. } = self.facts;
        if now > not_after {
            warn(format!("expired {} ago", span(now - not_after)));
        } else if now < not_before {
            warn(format!("not valid for another {}", span(not_before - now)));
        } else if not_after - now < EXPIRES_SOON_SECS {
            warn(format!("expires in {}", span(not_after - now)));
        }
        if !self.facts.has_alternative_names {
            warn("it has no subject alternative names; clients of today accept none such".into());
        }
        if let Some(message) = &self.chain_warning {
            warn(message.clone());
        }
        found
    }
}

/// Equal content, equal digest.
pub(crate) fn digest(certificate: &Certificate) -> Digest {
    let mut print = Fingerprint::new("certificate");
    print.text(&certificate.cert.text).text(&certificate.key.text).bytes(&certificate.ocsp);
    print.finish()
}

/// Whether each certificate is signed by the next one, by their names.
fn chain_warning(chain: &[Facts]) -> Option<String> {
    if let [only] = chain {
        let alone = !only.is_self_issued();
        return alone.then(|| {
            format!(
                "the intermediate seems to be missing: the file holds only the certificate, issued by {:?}",
                only.issuer
            )
        });
    }
    chain.windows(2).enumerate().find(|(_, pair)| pair[0].issuer != pair[1].subject).map(|(at, pair)| {
        format!(
            "the chain is out of order: certificate {} is issued by {:?}, but {:?} follows",
            at + 1,
            pair[0].issuer,
            pair[1].subject
        )
    })
}

/// Seconds as people say them.
fn span(seconds: i64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3_600);
    match (days, hours) {
        (2.., _) => format!("{days} days"),
        (_, 2..) => format!("{hours} hours"),
        _ => format!("{} minutes", seconds / 60),
    }
}
