//! How clients show their certificates: Go's five modes.

use std::sync::Arc;

use pancake_table::snapshot::tls::{ClientAuth, ClientAuthMode};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoClientAuth, WebPkiClientVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use crate::names::Found;
use crate::pem;

/// The verifier for `auth`; none if something is wrong, which is then in `found`.
pub(crate) fn verifier(
    auth: Option<&ClientAuth>,
    provider: &Arc<CryptoProvider>,
    found: &mut Found,
) -> Option<Arc<dyn ClientCertVerifier>> {
    let Some(auth) = auth else { return Some(Arc::new(NoClientAuth)) };
    let unchecked = |mandatory| {
        Some(Arc::new(Unchecked { mandatory, provider: Arc::clone(provider) }) as Arc<dyn ClientCertVerifier>)
    };
    match auth.mode {
        ClientAuthMode::None => Some(Arc::new(NoClientAuth)),
        ClientAuthMode::Request => unchecked(false),
        ClientAuthMode::RequireAny => unchecked(true),
        ClientAuthMode::VerifyIfGiven => checked(auth, false, provider, found),
        ClientAuthMode::RequireAndVerify => checked(auth, true, provider, found),
    }
}

/// With the chain checked against the authorities, and the whole chain against the revocation lists if there are any: then a
/// certificate whose issuer has no list is refused.
fn checked(
    auth: &ClientAuth,
    mandatory: bool,
    provider: &Arc<CryptoProvider>,
    found: &mut Found,
) -> Option<Arc<dyn ClientCertVerifier>> {
    let errors = found.errors.len();
    let mut roots = RootCertStore::empty();
    for authority in &auth.authorities {
        match pem::certificates(authority) {
            Ok(all) => {
                for der in all {
                    if roots.add(der).is_err() {
                        found
                            .errors
                            .push(("clientAuth.caFiles", "a certificate cannot be used as authority".into()));
                    }
                }
            }
            Err(message) => found.errors.push(("clientAuth.caFiles", message)),
        }
    }
    let mut lists = Vec::new();
    for list in &auth.crls {
        match pem::crls(list) {
            Ok(all) => lists.extend(all),
            Err(message) => found.errors.push(("clientAuth.crlFiles", message)),
        }
    }
    if roots.is_empty() && found.errors.len() == errors {
        let message = "clientAuthType verifies certificates, expected at least one authority";
        found.errors.push(("clientAuth.caFiles", message.into()));
    }
    if found.errors.len() > errors {
        return None;
    }
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).with_crls(lists);
    let builder = if mandatory { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| found.errors.push(("clientAuth", error.to_string()))).ok()
}

/// Whatever certificate the client has, if it has its key.
#[derive(Debug)]
struct Unchecked {
    mandatory: bool,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Unchecked {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
