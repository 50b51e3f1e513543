//! tls-alpn-01 (RFC 8737): the certificate that proves a name.
//!
//! Who terminates TLS serves it to a ClientHello whose only protocol is `acme-tls/1`, and closes after the handshake.

use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};

use super::error::Error;
use super::keys::sha256;
use super::shared::Answer;
use super::storage::Bytes;

/// The protocol by which a CA asks (RFC 8737 section 6.2).
pub const PROTOCOL: &[u8] = b"acme-tls/1";

/// A self-signed certificate for this name alone, with the digest in a critical `acmeIdentifier` (RFC 8737 section 3).
///
/// # Errors
/// If the name is none, or the crypto library fails.
pub fn certificate(host: &str, key_authorization: &str) -> Result<Answer, Error> {
    let failed =
        |error: rcgen::Error| Error::Key(format!("{host}: making a tls-alpn-01 certificate: {error}"));
    let mut params = CertificateParams::new([host.to_owned()]).map_err(failed)?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions =
        vec![CustomExtension::new_acme_identifier(&sha256(key_authorization.as_bytes()))];
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok(Answer::TlsAlpn {
        host: host.to_owned(),
        certificate: Bytes(certificate.der().to_vec()),
        key: Bytes(key.serialize_der()),
    })
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::*;

    use super::*;

    #[test]
    fn the_digest_is_in_a_critical_extension() {
        let Answer::TlsAlpn { certificate, .. } = certificate("a.example", "token.thumb").unwrap() else {
            panic!("not a tls-alpn-01 answer");
        };
        let (_, parsed) = X509Certificate::from_der(&certificate.0).unwrap();
        let extension =
            parsed.extensions().iter().find(|e| e.oid.to_id_string() == "1.3.6.1.5.5.7.1.31").unwrap();
        assert!(extension.critical);
        assert_eq!(extension.value[..2], [4, 32]);
        assert_eq!(extension.value[2..], sha256(b"token.thumb"));
        assert!(parsed.validity().is_valid());
    }
}
