//! Where certificates are ordered: `certificatesResolvers.*`.
//!
//! ACME only (RFC 8555). Secrets of DNS providers come from the environment, as in Traefik, and are not looked at
//! here.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use pancake_table::snapshot::tls::Pem;

use super::{EntryPoint, Protocol};
use crate::decode::{Fields, bad_value, join};
use crate::problem::Problem;
use crate::suggest::nearest;
use crate::traefik::tls;
use crate::tree::quote;

/// Most resolvers of a process.
const MAX_RESOLVERS: usize = 64;
/// Longest validity that can be asked for, in hours: ten years.
const MAX_CERTIFICATES_DURATION: u32 = 10 * 365 * 24;

/// `certificatesResolvers.NAME.acme`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificatesResolver {
    /// What `certResolver` of routers names; not qualified.
    pub name: String,
    /// `email`: of the account; none registers without.
    pub email: Option<String>,
    /// `caServer`: the directory. Default Let's Encrypt's.
    pub ca_server: String,
    /// `storage`: account and certificates, in Traefik's form. Default `acme.json`.
    pub storage: PathBuf,
    /// `keyType` of certificates. Default RSA4096.
    pub key_type: KeyType,
    /// `certificatesDuration`, which tells when to renew. Default 90 days.
    pub certificates_duration: Duration,
    /// `preferredChain`: common name of the issuer of a chain among several.
    pub preferred_chain: Option<String>,
    /// `profile`: of those that the authority offers.
    pub profile: Option<String>,
    /// `eab`: external account binding (RFC 8555 section 7.3.4).
    pub eab: Option<ExternalAccount>,
    /// `emailAddresses`: put into certificate requests.
    pub email_addresses: Vec<String>,
    /// `disableCommonName`: certificate requests have no common name.
    pub disable_common_name: bool,
    /// `clientTimeout`: for one request to the authority. Default 2 min.
    pub client_timeout: Duration,
    /// `clientResponseHeaderTimeout`: to the head of its response. Default 30 s.
    pub client_response_header_timeout: Duration,
    /// `certificateTimeout`: from finalization to the certificate. Default 30 s.
    pub certificate_timeout: Duration,
    /// `caCertificates`: who signs for the authority's server.
    pub ca_certificates: Vec<Pem>,
    /// `caServerName`: verified instead of the host of `ca_server`.
    pub ca_server_name: Option<String>,
    /// `caSystemCertPool`: those of the system count besides `ca_certificates`.
    pub ca_system_cert_pool: bool,
    /// `httpChallenge`.
    pub http_challenge: Option<HttpChallenge>,
    /// `tlsChallenge`.
    pub tls_challenge: Option<TlsChallenge>,
    /// `dnsChallenge`.
    pub dns_challenge: Option<DnsChallenge>,
}

/// `keyType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub enum KeyType {
    /// `EC256`: P-256.
    Ec256,
    /// `EC384`: P-384.
    Ec384,
    /// `RSA2048`
    Rsa2048,
    /// `RSA4096`
    #[default]
    Rsa4096,
    /// `RSA8192`
    Rsa8192,
}

/// `eab`. The key is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ExternalAccount {
    /// `kid`.
    pub kid: String,
    /// `hmacEncoded`: base64url, as the authority gives it out.
    pub hmac_encoded: String,
}

impl fmt::Debug for ExternalAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExternalAccount({:?}, {} bytes)", self.kid, self.hmac_encoded.len())
    }
}

/// `httpChallenge` (RFC 8555 section 8.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpChallenge {
    /// Reached on port 80 of the domain.
    pub entry_point: String,
    /// Between the challenge and its validation.
    pub delay: Duration,
}

/// `tlsChallenge` (RFC 8737), on every entry point with TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsChallenge {
    /// Between the challenge and its validation.
    pub delay: Duration,
}

/// `dnsChallenge` (RFC 8555 section 8.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsChallenge {
    /// Who sets the record.
    pub provider: DnsProvider,
    /// `resolvers`: `host` or `host:port` of recursive servers; empty means those of the system.
    pub resolvers: Vec<String>,
    /// `propagation.delayBeforeChecks`, or the older `delayBeforeCheck`.
    pub delay_before_checks: Duration,
    /// `propagation.disableChecks`, or the older `disablePropagationCheck`: the record counts as visible.
    pub disable_checks: bool,
    /// `propagation.disableANSChecks`: authoritative servers are not asked.
    pub disable_authoritative_checks: bool,
    /// `propagation.requireAllRNS`: all recursive servers must see the record.
    pub require_all_resolvers: bool,
}

/// `dnsChallenge.provider`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DnsProvider {
    /// `rfc2136`: dynamic updates, set up by `RFC2136_*`.
    Rfc2136,
    /// `exec`: the program that `EXEC_PATH` names, as with Traefik.
    Exec,
}

/// All resolvers, by name.
pub(super) fn read(root: &Fields<'_, '_>, entry_points: &[EntryPoint]) -> Vec<CertificatesResolver> {
    const KEY: &str = "certificatesResolvers";
    let mut resolvers = Vec::new();
    for entry in root.names(KEY) {
        if resolvers.len() == MAX_RESOLVERS {
            let message = format!("more than {MAX_RESOLVERS} certificate resolvers");
            root.sink().push(Problem::new(entry.span.clone(), message));
            break;
        }
        let resolver = root.sink().section(&entry.value, &join(KEY, &entry.key), |fields| {
            fields.not_supported(&["tailscale"]);
            if fields.get("acme").is_none() && fields.get("tailscale").is_none() {
                fields.missing("acme", "acme with a challenge");
            }
            fields.section("acme", |section| acme(&entry.key, section, entry_points))
        });
        resolvers.extend(resolver);
    }
    resolvers.sort_by(|a, b| a.name.cmp(&b.name));
    resolvers
}

fn acme(name: &str, fields: &Fields<'_, '_>, entry_points: &[EntryPoint]) -> CertificatesResolver {
    const KEY_TYPES: [(&str, KeyType); 5] = [
        ("EC256", KeyType::Ec256),
        ("EC384", KeyType::Ec384),
        ("RSA2048", KeyType::Rsa2048),
        ("RSA4096", KeyType::Rsa4096),
        ("RSA8192", KeyType::Rsa8192),
    ];
    let text = |key| fields.string(key).filter(|text| !text.is_empty()).map(str::to_string);
    let expected = format!("a number of hours from 1 to {MAX_CERTIFICATES_DURATION}");
    let in_range = |hours: &u32| (1..=MAX_CERTIFICATES_DURATION).contains(hours);
    let hours = fields.number("certificatesDuration", &expected, in_range).unwrap_or(90 * 24);
    let timeout = |key, seconds| fields.duration_over_zero(key).unwrap_or(Duration::from_secs(seconds));
    let resolver = CertificatesResolver {
        name: name.to_string(),
        email: text("email"),
        ca_server: ca_server(fields),
        storage: storage(fields),
        key_type: fields.word("keyType", &KEY_TYPES).unwrap_or_default(),
        certificates_duration: Duration::from_secs(u64::from(hours) * 3600),
        preferred_chain: text("preferredChain"),
        profile: text("profile"),
        eab: fields.section("eab", external_account),
        email_addresses: texts(fields, "emailAddresses"),
        disable_common_name: fields.boolean("disableCommonName").unwrap_or_default(),
        client_timeout: timeout("clientTimeout", 120),
        client_response_header_timeout: timeout("clientResponseHeaderTimeout", 30),
        certificate_timeout: timeout("certificateTimeout", 30),
        ca_certificates: tls::pems(fields, "caCertificates"),
        ca_server_name: text("caServerName"),
        ca_system_cert_pool: fields.boolean("caSystemCertPool").unwrap_or_default(),
        http_challenge: fields.section("httpChallenge", |section| http_challenge(section, entry_points)),
        tls_challenge: fields
            .section("tlsChallenge", |section| TlsChallenge { delay: delay(section, "delay") }),
        dns_challenge: fields.section("dnsChallenge", dns_challenge).flatten(),
    };
    if ["httpChallenge", "tlsChallenge", "dnsChallenge"].iter().all(|key| fields.get(key).is_none()) {
        let message = format!("{} has no challenge", fields.path());
        let problem = Problem::new(fields.span().clone(), message);
        fields.sink().push(problem.expected("httpChallenge, tlsChallenge or dnsChallenge"));
    }
    resolver
}

fn texts(section: &Fields<'_, '_>, key: &'static str) -> Vec<String> {
    section.list(key).into_iter().map(|(text, _)| text.to_string()).collect()
}

fn delay(section: &Fields<'_, '_>, key: &'static str) -> Duration {
    section.duration(key).unwrap_or_default()
}

fn ca_server(fields: &Fields<'_, '_>) -> String {
    const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
    let expected = "the URL of an ACME directory, such as https://acme-v02.api.letsencrypt.org/directory";
    if fields.string("caServer").is_none_or(str::is_empty) {
        return LETS_ENCRYPT.to_string();
    }
    let url = fields.parsed("caServer", expected, |text| {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
        let printable = rest.bytes().all(|byte| byte.is_ascii_graphic());
        (printable && !rest.is_empty() && !rest.starts_with('/')).then(|| text.to_string())
    });
    url.unwrap_or_default()
}

fn storage(fields: &Fields<'_, '_>) -> PathBuf {
    match fields.scalar("storage") {
        None => PathBuf::from("acme.json"),
        Some((text, node)) => {
            if text.is_empty() {
                fields.sink().push(bad_value("storage", text, &node.span).expected("the path of a file"));
            }
            PathBuf::from(text)
        }
    }
}

fn external_account(section: &Fields<'_, '_>) -> ExternalAccount {
    let text = |key| {
        if section.string(key).is_none_or(str::is_empty) {
            section.missing(key, "what the authority gave out");
        }
        section.string(key).unwrap_or_default().to_string()
    };
    ExternalAccount { kid: text("kid"), hmac_encoded: text("hmacEncoded") }
}

fn http_challenge(section: &Fields<'_, '_>, entry_points: &[EntryPoint]) -> HttpChallenge {
    let delay = delay(section, "delay");
    let Some((name, node)) = section.scalar("entryPoint").filter(|(text, _)| !text.is_empty()) else {
        section.missing("entryPoint", "the name of the entry point on port 80");
        return HttpChallenge { entry_point: String::new(), delay };
    };
    let tcp = entry_points.iter().filter(|entry_point| entry_point.protocol == Protocol::Tcp);
    let names: Vec<&str> = tcp.map(|entry_point| entry_point.name.as_str()).collect();
    if !names.contains(&name) {
        let problem = bad_value("entryPoint", name, &node.span);
        let suggestion = nearest(name, names.iter().copied()).map(quote);
        section.sink().push(problem.expected(format!("one of {}", names.join(", "))).suggest(suggestion));
    }
    HttpChallenge { entry_point: name.to_string(), delay }
}

fn dns_challenge(section: &Fields<'_, '_>) -> Option<DnsChallenge> {
    let older = (section.duration("delayBeforeCheck"), section.boolean("disablePropagationCheck"));
    let mut challenge = DnsChallenge {
        provider: DnsProvider::Exec,
        resolvers: texts(section, "resolvers"),
        delay_before_checks: older.0.unwrap_or_default(),
        disable_checks: older.1.unwrap_or_default(),
        disable_authoritative_checks: false,
        require_all_resolvers: false,
    };
    section.section("propagation", |propagation| {
        let boolean = |key| propagation.boolean(key).unwrap_or_default();
        challenge.disable_checks |= boolean("disableChecks");
        challenge.disable_authoritative_checks = boolean("disableANSChecks");
        challenge.require_all_resolvers = boolean("requireAllRNS");
        if let Some(delay) = propagation.duration("delayBeforeChecks") {
            challenge.delay_before_checks = delay;
        }
    });
    let Some((name, node)) = section.scalar("provider").filter(|(text, _)| !text.is_empty()) else {
        section.missing("provider", "rfc2136 or exec");
        return None;
    };
    challenge.provider = match name {
        "rfc2136" => DnsProvider::Rfc2136,
        "exec" => DnsProvider::Exec,
        _ => {
            let what = format!("the DNS provider {}", quote(name));
            let problem = Problem::not_supported(node.span.clone(), what);
            section.sink().push(problem.expected("rfc2136, or exec with a program of yours in EXEC_PATH"));
            return None;
        }
    };
    Some(challenge)
}
