//! PEM texts (RFC 7468) to DER. Nothing of a key's text ever gets into a message.

use pancake_table::snapshot::tls::Pem;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use crate::limits::{MAX_CHAIN, MAX_PEM_BYTES};

/// All certificates of the text, at most [`MAX_CHAIN`]; an error says what was expected.
pub(crate) fn chain(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = certificates(pem)?;
    if certificates.len() > MAX_CHAIN {
        return Err(format!(
            "{} certificates in {}, at most {MAX_CHAIN} are allowed",
            certificates.len(),
            place(pem)
        ));
    }
    Ok(certificates)
}

/// All certificates of the text, at least one.
pub(crate) fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = text(pem)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match all {
        Ok(all) if all.is_empty() => {
            Err(format!("no certificate in {}, expected a PEM block CERTIFICATE", place(pem)))
        }
        Ok(all) => Ok(all),
        Err(error) => Err(broken(pem, &error)),
    }
}

/// All revocation lists of the text, at least one.
pub(crate) fn crls(pem: &Pem) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let text = text(pem)?;
    let all: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(text.as_bytes()).collect();
    match all {
        Ok(all) if all.is_empty() => {
            Err(format!("no revocation list in {}, expected a PEM block X509 CRL", place(pem)))
        }
        Ok(all) => Ok(all),
        Err(error) => Err(broken(pem, &error)),
    }
}

/// The key of the text: PKCS #8, PKCS #1 or SEC 1.
pub(crate) fn key(pem: &Pem) -> Result<PrivateKeyDer<'static>, String> {
    let text = text(pem)?;
    // PKCS #8 (RFC 5958) says it in the label, the older forms in a header (RFC 1421).
    if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(format!("the key in {} is encrypted, expected one without a passphrase", place(pem)));
    }
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            format!("no private key in {}, expected a PEM block PRIVATE KEY (PKCS #8), RSA PRIVATE KEY or EC PRIVATE KEY", place(pem))
        }
        error => broken(pem, &error),
    })
}

/// How messages name where the text comes from.
fn place(pem: &Pem) -> String {
    if pem.path.is_empty() { "the text".into() } else { format!("{:?}", pem.path) }
}

fn text(pem: &Pem) -> Result<&str, String> {
    if pem.text.len() > MAX_PEM_BYTES {
        return Err(format!(
            "{} bytes in {}, at most {MAX_PEM_BYTES} are allowed",
            pem.text.len(),
            place(pem)
        ));
    }
    if pem.text.trim().is_empty() {
        let what = if pem.path.is_empty() {
            "nothing is given".into()
        } else {
            format!("{} is empty or was not read", place(pem))
        };
        return Err(format!("{what}, expected PEM"));
    }
    Ok(&pem.text)
}

/// Errors of the parser quote lines of the text, which may be key material: only their kind is told.
fn broken(pem: &Pem, error: &pem::Error) -> String {
    let what = match error {
        pem::Error::MissingSectionEnd { .. } => "a PEM block has no end",
        pem::Error::IllegalSectionStart { .. } => "a PEM block has a faulty first line",
        pem::Error::Base64Decode(_) => "a PEM block is not base64",
        _ => "the PEM cannot be read",
    };
    format!("{what} in {}", place(pem))
}
