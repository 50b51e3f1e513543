//! What a stored certificate is good for: names, times, issuers.

use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// Names and times of a leaf certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validity {
    /// DNS names that it is for, in lower case.
    pub names: Vec<String>,
    /// Since when.
    pub not_before: SystemTime,
    /// Until when.
    pub not_after: SystemTime,
}

impl Validity {
    /// Of the first certificate in a PEM text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(pem: &[u8]) -> Result<Validity, String> {
        let der = CertificateDer::pem_slice_iter(pem)
            .next()
            .ok_or("no certificate in the chain")?
            .map_err(|error| format!("not PEM: {error}"))?;
        let (_, leaf) =
            X509Certificate::from_der(&der).map_err(|error| format!("not a certificate: {error}"))?;
        let time = |time: x509_parser::time::ASN1Time| {
            let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
            SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
        };
        let names = leaf.subject_alternative_name().map_err(|error| format!("its names: {error}"))?;
        let names = names.map_or(&[][..], |extension| &extension.value.general_names);
        let dns = names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        Ok(Validity {
            names: dns.collect(),
            not_before: time(leaf.validity().not_before),
            not_after: time(leaf.validity().not_after),
        })
    }

    /// Whether all these names are among its own.
    pub fn covers(&self, names: &[String]) -> bool {
        names.iter().all(|name| self.names.iter().any(|own| matches(own, &name.to_ascii_lowercase())))
    }

    /// When to renew it: when a third of its lifetime is left, 30 days of 90. `jitter` from 0 to 1 moves that up to a
    /// thirtieth of the lifetime earlier, so that certificates made together are not renewed together.
    pub fn renew_at(&self, jitter: f64) -> SystemTime {
        let lifetime = self.not_after.duration_since(self.not_before).unwrap_or_default();
        self.not_after - lifetime / 3 - (lifetime / 30).mul_f64(jitter.clamp(0.0, 1.0))
    }
}

/// Whether a name of a certificate is this name or a wildcard for it (RFC 9525 section 6.3).
fn matches(own: &str, name: &str) -> bool {
    own == name
        || own.strip_prefix("*.").is_some_and(|base| {
            name.split_once('.')
                .is_some_and(|(label, rest)| !label.is_empty() && label != "*" && rest == base)
        })
}

/// Whether a certificate of the chain was issued by an authority with this common name.
pub fn has_issuer(pem: &[u8], common_name: &str) -> bool {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).any(|der| {
        X509Certificate::from_der(&der).is_ok_and(|(_, certificate)| {
            certificate
                .issuer()
                .iter_common_name()
                .any(|name| name.as_str().is_ok_and(|name| name == common_name))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> Validity {
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(2026, 1, 1), rcgen::date_time_ymd(2026, 4, 1));
        Validity::of(params.self_signed(&key).unwrap().pem().as_bytes()).unwrap()
    }

    #[test]
    fn a_wildcard_covers_one_label() {
        let validity = of(&["*.Example.com", "example.com"]);
        let covers = |name: &str| validity.covers(&[name.to_owned()]);
        assert!(covers("a.example.com") && covers("EXAMPLE.com") && covers("*.example.com"));
        assert!(!covers("a.b.example.com") && !covers("example.org") && !covers("*.a.example.com"));
        assert!(!validity.covers(&["example.com".into(), "example.org".into()]));
    }

    #[test]
    fn ninety_days_are_renewed_thirty_days_before_their_end() {
        let validity = of(&["a.example"]);
        let day = Duration::from_secs(24 * 60 * 60);
        assert_eq!(validity.renew_at(0.0), validity.not_after - day * 30);
        assert_eq!(validity.renew_at(1.0), validity.not_after - day * 33);
    }

    #[test]
    fn says_what_is_no_certificate() {
        assert_eq!(Validity::of(b"").unwrap_err(), "no certificate in the chain");
    }
}
