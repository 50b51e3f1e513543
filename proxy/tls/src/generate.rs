//! Certificates that are made here. Their keys are random: callers that must be reproducible do not call this.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, CustomExtension, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

/// The common name of the certificate that serves where none is configured.
pub(crate) const DEFAULT_NAME: &str = "PANCAKE DEFAULT CERT";
/// How long it is valid: as long as a process may run.
const DEFAULT_VALID_SECS: u64 = 10 * 365 * 86_400;
/// A challenge is over within minutes.
const CHALLENGE_VALID_SECS: u64 = 7 * 86_400;
/// Clocks of clients may be behind ours.
const BACKDATED_SECS: u64 = 86_400;

/// Why no certificate could be made.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The certificate cannot be built, for instance because a name is not ASCII.
    #[error("the certificate cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The key cannot be used.
    #[error("the generated key cannot be used: {0}")]
    Key(#[from] rustls::Error),
}

/// The self-signed certificate for names that no other one has. To be made once per process, so that clients that
/// pinned it do not see it change with each configuration. `now` in seconds since 1970.
pub fn generated_default(now_unix: u64) -> Result<Arc<CertifiedKey>, GenerateError> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.push(DnType::CommonName, DEFAULT_NAME);
    self_signed(params, now_unix, DEFAULT_VALID_SECS)
}

/// The certificate that answers ACME's tls-alpn-01 for `host`. `digest` is the SHA-256 of the key authorization
/// (RFC 8737 section 3). `now` in seconds since 1970.
pub fn challenge_certificate(
    host: &str,
    digest: &[u8; 32],
    now_unix: u64,
) -> Result<Arc<CertifiedKey>, GenerateError> {
    let mut params = CertificateParams::new(vec![host.to_owned()])?;
    params.custom_extensions.push(CustomExtension::new_acme_identifier(digest));
    self_signed(params, now_unix, CHALLENGE_VALID_SECS)
}

fn self_signed(
    mut params: CertificateParams,
    now_unix: u64,
    valid_secs: u64,
) -> Result<Arc<CertifiedKey>, GenerateError> {
    let start = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = start + Duration::from_secs(now_unix.saturating_sub(BACKDATED_SECS));
    params.not_after = start + Duration::from_secs(now_unix + valid_secs);
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = params.self_signed(&pair)?;
    let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pair.serialize_der()));
    let key = any_supported_type(&der)?;
    Ok(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key)))
}
