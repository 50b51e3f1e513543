//! What an X.509 certificate (RFC 5280) says about itself: for choosing, for warnings and for the admin API.

use std::fmt;
use std::net::IpAddr;

use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::public_key::PublicKey;

/// What kind of key a certificate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// RSA with so many bits.
    Rsa(usize),
    /// ECDSA on a curve of so many bits.
    Ecdsa(usize),
    /// Ed25519 (RFC 8410).
    Ed25519,
    /// Another; rustls may still know it.
    Other,
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyKind::Rsa(bits) => write!(f, "RSA-{bits}"),
            KeyKind::Ecdsa(bits) => write!(f, "ECDSA-P{bits}"),
            KeyKind::Ed25519 => f.write_str("Ed25519"),
            KeyKind::Other => f.write_str("other"),
        }
    }
}

/// The facts of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// DNS names in lower case, `*.` included; the common name if the certificate has no alternative names.
    pub names: Vec<String>,
    /// IP addresses. Clients send none in the handshake (RFC 6066 section 3).
    pub addresses: Vec<IpAddr>,
    /// Whether there are alternative names. Today's clients accept no certificate without (RFC 9525 section 2).
    pub has_alternative_names: bool,
    /// Valid from, in seconds since 1970.
    pub not_before: i64,
    /// Valid until, in seconds since 1970.
    pub not_after: i64,
    /// The public key.
    pub key: KeyKind,
    /// Hexadecimal with colons.
    pub serial: String,
    /// Distinguished name of the holder.
    pub subject: String,
    /// Distinguished name of the signer.
    pub issuer: String,
}

impl Facts {
    /// Of a DER certificate.
    pub(crate) fn of(der: &[u8]) -> Result<Facts, String> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| "the certificate is not X.509 in DER".to_owned())?;
        if !rest.is_empty() {
            return Err(format!("{} bytes follow the certificate in its PEM block", rest.len()));
        }
        let (mut names, addresses, has_alternative_names) = alternative_names(&certificate)?;
        if !has_alternative_names {
            let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
            names.extend(common.filter(|name| is_host(name)).map(str::to_ascii_lowercase));
        }
        Ok(Facts {
            names,
            addresses,
            has_alternative_names,
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            key: key_kind(&certificate),
            serial: certificate.raw_serial_as_string(),
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
        })
    }

    /// Whether it signed itself, as far as its names tell.
    pub fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    /// Whether `now`, in seconds since 1970, is within its time.
    pub fn is_valid_at(&self, now: i64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }
}

type Names = (Vec<String>, Vec<IpAddr>, bool);

fn alternative_names(certificate: &X509Certificate<'_>) -> Result<Names, String> {
    let found = certificate
        .subject_alternative_name()
        .map_err(|_| "the certificate's alternative names cannot be read".to_owned())?;
    let (mut names, mut addresses) = (Vec::new(), Vec::new());
    for name in found.iter().flat_map(|found| &found.value.general_names) {
        match name {
            GeneralName::DNSName(name) => names.push(name.trim_end_matches('.').to_ascii_lowercase()),
            GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
            _ => {}
        }
    }
    let any = !names.is_empty() || !addresses.is_empty();
    Ok((names, addresses, any))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

fn key_kind(certificate: &X509Certificate<'_>) -> KeyKind {
    const ED25519: &str = "1.3.101.112";
    if certificate.public_key().algorithm.algorithm.to_id_string() == ED25519 {
        return KeyKind::Ed25519;
    }
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => KeyKind::Rsa(key.key_size()),
        Ok(PublicKey::EC(point)) => KeyKind::Ecdsa(match point.key_size() {
            // An uncompressed point of P-521 has 66 bytes per coordinate.
            528 => 521,
            bits => bits,
        }),
        _ => KeyKind::Other,
    }
}

/// Whether a common name can be a host: the field holds free text.
fn is_host(name: &str) -> bool {
    let bytes = name.strip_prefix("*.").unwrap_or(name).bytes();
    name.contains('.') && bytes.clone().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}
