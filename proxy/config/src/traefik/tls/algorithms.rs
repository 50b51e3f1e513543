//! Versions, cipher suites and groups by name.
//!
//! Names are Go's, as in Traefik. What Go has and rustls leaves out (TLS under 1.2, suites without forward secrecy or
//! authenticated encryption) is refused with the reason: leaving it out silently would let clients fail later.

use pancake_table::snapshot::tls::TlsVersion;

use crate::decode::{Fields, bad_value, join};
use crate::problem::{Problem, Scope};
use crate::suggest::nearest;
use crate::tree::quote;

/// TLS 1.2 suites that can be spoken, and Go's older names for two of them.
const SUITES: [(&str, &str); 8] = [
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
];

/// Always on where TLS 1.3 is; Go does not let them be chosen either.
const TLS13_SUITES: [&str; 3] =
    ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

/// Go's suites that are not spoken.
const WEAK_SUITES: [&str; 16] = [
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

/// Groups that can be spoken, with the names of RFC 8446 section 4.2.7, which Traefik takes too.
const CURVES: [(&str, &str); 10] = [
    ("X25519", "X25519"),
    ("CurveP256", "CurveP256"),
    ("CurveP384", "CurveP384"),
    ("X25519MLKEM768", "X25519MLKEM768"),
    ("SecP256r1MLKEM768", "SecP256r1MLKEM768"),
    ("x25519", "X25519"),
    ("secp256r1", "CurveP256"),
    ("secp384r1", "CurveP384"),
    ("x25519mlkem768", "X25519MLKEM768"),
    ("secp256r1mlkem768", "SecP256r1MLKEM768"),
];

/// Go's groups that are not spoken.
const OTHER_CURVES: [&str; 4] = ["CurveP521", "secp521r1", "SecP384r1MLKEM1024", "secp384r1mlkem1024"];

/// `minVersion`, `maxVersion` and `cipherSuites`, which belong together.
#[derive(Debug, Default)]
pub(crate) struct Protocol {
    /// None means the default.
    pub min_version: Option<TlsVersion>,
    /// None means the default.
    pub max_version: Option<TlsVersion>,
    /// IANA names of TLS 1.2 suites; empty means all.
    pub cipher_suites: Vec<String>,
}

pub(crate) fn protocol(fields: &Fields<'_, '_>) -> Protocol {
    let mut protocol = Protocol {
        min_version: version(fields, "minVersion"),
        max_version: version(fields, "maxVersion"),
        cipher_suites: Vec::new(),
    };
    let only_tls13 = cipher_suites(fields, &mut protocol.cipher_suites);
    if only_tls13 {
        // As in Go: no suite of TLS 1.2 is left, so it cannot be spoken.
        protocol.min_version = Some(TlsVersion::Tls13);
    }
    if let (Some(min), Some(max)) = (protocol.min_version, protocol.max_version)
        && min > max
        && let Some(node) = fields.get("maxVersion")
    {
        let why = if only_tls13 { "cipherSuites has only suites of TLS 1.3" } else { "minVersion is higher" };
        let message = format!("{} allows no version: {why}", join(fields.path(), "maxVersion"));
        fields.sink().push(Problem::new(node.span.clone(), message).expected("VersionTLS13"));
    }
    protocol
}

fn version(fields: &Fields<'_, '_>, key: &'static str) -> Option<TlsVersion> {
    const SPOKEN: [&str; 2] = ["VersionTLS12", "VersionTLS13"];
    let (text, node) = fields.scalar(key).filter(|(text, _)| !text.is_empty())?;
    let mut problem = bad_value(key, text, &node.span).expected("VersionTLS12 or VersionTLS13");
    match text {
        "VersionTLS12" => return Some(TlsVersion::Tls12),
        "VersionTLS13" => return Some(TlsVersion::Tls13),
        "VersionTLS10" | "VersionTLS11" => problem.message.push_str(": TLS 1.0 and TLS 1.1 are not spoken"),
        _ => problem = problem.suggest(nearest(text, SPOKEN).map(quote)),
    }
    fields.sink().push(problem);
    None
}

/// Whether suites are listed, but none of TLS 1.2.
fn cipher_suites(fields: &Fields<'_, '_>, suites: &mut Vec<String>) -> bool {
    const KEY: &str = "cipherSuites";
    let listed = fields.list(KEY);
    let mut faulty = false;
    for (text, node) in &listed {
        if let Some((_, name)) = SUITES.iter().find(|(written, _)| written == text) {
            suites.push((*name).to_string());
        } else if TLS13_SUITES.contains(text) || *text == "TLS_FALLBACK_SCSV" {
            let why = match *text {
                "TLS_FALLBACK_SCSV" => "it is no suite, and always understood",
                _ => "the suites of TLS 1.3 are always on",
            };
            let message = format!("{text} in {} has no effect: {why}", join(fields.path(), KEY));
            fields.sink().push(Problem::new(node.span.clone(), message).scope(Scope::Note));
        } else {
            faulty = true;
            let mut problem = bad_value(KEY, text, &node.span);
            if WEAK_SUITES.contains(text) {
                problem.message.push_str(": suites with RSA key exchange, CBC or RC4 are not spoken");
                problem = problem.expected("a suite with ECDHE and AES-GCM or ChaCha20-Poly1305");
            } else {
                let known = SUITES.iter().map(|(name, _)| *name).chain(TLS13_SUITES);
                let suggestion = nearest(text, known).map(quote);
                problem = problem
                    .expected("the name of a cipher suite, such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
                problem = problem.suggest(suggestion);
            }
            fields.sink().push(problem);
        }
    }
    !listed.is_empty() && suites.is_empty() && !faulty
}

/// `curvePreferences`, with Go's names.
pub(crate) fn curves(fields: &Fields<'_, '_>) -> Vec<String> {
    const KEY: &str = "curvePreferences";
    let mut curves = Vec::new();
    for (text, node) in fields.list(KEY) {
        if let Some((_, name)) = CURVES.iter().find(|(written, _)| *written == text) {
            curves.push((*name).to_string());
            continue;
        }
        let mut problem = bad_value(KEY, text, &node.span);
        if OTHER_CURVES.contains(&text) {
            problem.message.push_str(": this group is not spoken");
        }
        let names = || CURVES.iter().take(5).map(|(name, _)| *name);
        let suggestion = nearest(text, names()).filter(|_| !OTHER_CURVES.contains(&text));
        let expected = format!("one of {}", names().collect::<Vec<_>>().join(", "));
        fields.sink().push(problem.expected(expected).suggest(suggestion.map(quote)));
    }
    curves
}
