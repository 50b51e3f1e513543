//! Names of cipher suites (IANA), groups (Go's and IANA's) and versions to what rustls has.

use pancake_table::snapshot::tls::TlsVersion;
use rustls::crypto::aws_lc_rs::{ALL_CIPHER_SUITES, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion, version};

/// Suites that Go and so Traefik know, and that we do not speak: no forward secrecy, CBC, RC4 or 3DES.
const UNSAFE_SUITES: &[&str] = &[
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
];

/// What is wrong with a list of names.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The setting cannot be used.
    pub(crate) errors: Vec<(&'static str, String)>,
    /// Left out of the setting.
    pub(crate) warnings: Vec<(&'static str, String)>,
}

/// The provider with these suites and groups only; empty lists mean all that are safe.
pub(crate) fn provider(suites: &[String], groups: &[String], found: &mut Found) -> CryptoProvider {
    let mut provider = default_provider();
    if !suites.is_empty() {
        provider.cipher_suites = self::suites(suites, found);
    }
    if !groups.is_empty() {
        provider.kx_groups = self::groups(groups, found);
    }
    provider
}

fn suites(names: &[String], found: &mut Found) -> Vec<SupportedCipherSuite> {
    let is_13 = |suite: &SupportedCipherSuite| suite.tls13().is_some();
    let mut chosen: Vec<_> = ALL_CIPHER_SUITES.iter().copied().filter(is_13).collect();
    for name in names {
        if let Some(suite) = ALL_CIPHER_SUITES.iter().find(|suite| iana(suite) == *name) {
            if !chosen.contains(suite) {
                chosen.push(*suite);
            }
        } else if UNSAFE_SUITES.contains(&name.as_str()) {
            found.warnings.push(("cipherSuites", format!("{name} is not safe and left out")));
        } else {
            let known: Vec<_> = ALL_CIPHER_SUITES.iter().map(iana).collect();
            found.errors.push((
                "cipherSuites",
                format!("unknown suite {name:?}, expected some of {}", known.join(", ")),
            ));
        }
    }
    chosen
}

/// rustls names suites of TLS 1.3 a little differently from IANA.
fn iana(suite: &SupportedCipherSuite) -> String {
    let name = suite.suite().as_str().unwrap_or_default();
    name.replacen("TLS13_", "TLS_", 1)
}

fn groups(names: &[String], found: &mut Found) -> Vec<&'static dyn SupportedKxGroup> {
    let mut chosen: Vec<&'static dyn SupportedKxGroup> = Vec::new();
    for name in names {
        let group = match name.to_ascii_lowercase().as_str() {
            "x25519mlkem768" => kx_group::X25519MLKEM768,
            "secp256r1mlkem768" => kx_group::SECP256R1MLKEM768,
            "x25519" => kx_group::X25519,
            "curvep256" | "p256" | "p-256" | "secp256r1" => kx_group::SECP256R1,
            "curvep384" | "p384" | "p-384" | "secp384r1" => kx_group::SECP384R1,
            "curvep521" | "p521" | "p-521" | "secp521r1" | "secp384r1mlkem1024" => {
                found.warnings.push(("curvePreferences", format!("{name} is not spoken here and left out")));
                continue;
            }
            _ => {
                let expected = "X25519MLKEM768, SecP256r1MLKEM768, X25519, CurveP256, CurveP384";
                found.errors.push((
                    "curvePreferences",
                    format!("unknown group {name:?}, expected some of {expected}"),
                ));
                continue;
            }
        };
        if !chosen.iter().any(|other| other.name() == group.name()) {
            chosen.push(group);
        }
    }
    if chosen.is_empty() && found.errors.is_empty() {
        found.errors.push(("curvePreferences", "none of the groups is spoken here".into()));
    }
    chosen
}

/// The versions from `min` to `max`, newest first.
pub(crate) fn versions(
    min: TlsVersion,
    max: TlsVersion,
    found: &mut Found,
) -> &'static [&'static SupportedProtocolVersion] {
    static OLD: [&SupportedProtocolVersion; 1] = [&version::TLS12];
    static NEW: [&SupportedProtocolVersion; 1] = [&version::TLS13];
    static BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
    match (min, max) {
        (TlsVersion::Tls12, TlsVersion::Tls12) => &OLD,
        (TlsVersion::Tls12, TlsVersion::Tls13) => &BOTH,
        (TlsVersion::Tls13, TlsVersion::Tls13) => &NEW,
        (TlsVersion::Tls13, TlsVersion::Tls12) => {
            found.errors.push(("minVersion", "it is above maxVersion, expected at most that".into()));
            &NEW
        }
    }
}
