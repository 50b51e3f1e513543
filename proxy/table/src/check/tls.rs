//! TLS: options, certificates, stores, and what routers and transports say about it.
//!
//! Texts only: whether a certificate fits its key, is valid, or a suite exists is for whoever speaks TLS to find out.

use std::net::IpAddr;

use super::{Report, Subject, cut, name_problem};
use crate::limits::{
    MAX_DOMAINS_PER_ROUTER, MAX_HOST_BYTES, MAX_NAME_BYTES, MAX_OCSP_BYTES, MAX_PEM_BYTES, MAX_SANS,
    MAX_TLS_LIST, MAX_TLS_NAME_BYTES, MAX_URL_BYTES,
};
use crate::lookup::{DEFAULT_TLS_OPTIONS, options_of};
use crate::map::{Map, map_with_room};
use crate::server_url::is_host_name;
use crate::snapshot::Snapshot;
use crate::snapshot::tls::{
    Certificate, ClientAuthMode, Domain, Pem, RouterTls, ServersTls, TlsOptions, TlsVersion,
};

/// Checks the `tls` section. Options by name, and whether they are sound; `default` is always there.
pub(super) fn section<'a>(snapshot: &'a Snapshot, report: &mut Report) -> Map<&'a str, bool> {
    let tls = &snapshot.tls;
    for certificate in &tls.certificates {
        let of = Subject::new("tls certificate", &certificate.name);
        check_certificate(of, "", certificate, report);
    }
    let mut options: Map<&str, bool> = map_with_room(tls.options.len() + 1);
    for spec in &tls.options {
        let of = Subject::new("tls options", &spec.name);
        let before = report.errors;
        let twice = options.contains_key(&*spec.name);
        if twice && spec.name == DEFAULT_TLS_OPTIONS {
            // It has no provider in its name, so that two of them can say it without knowing of each other.
            of.warning("name", "there are other default options before these, which are used", report);
            continue;
        }
        of.check_name(twice, report);
        check_options(of, spec, report);
        if !twice {
            options.insert(&spec.name, report.errors == before);
        }
    }
    options.entry(DEFAULT_TLS_OPTIONS).or_insert(true);
    for (place, store) in tls.stores.iter().enumerate() {
        let of = Subject::new("tls store", &store.name);
        if let Some(problem) = name_problem(&store.name) {
            of.error("name", problem, report);
        } else if tls.stores[..place].iter().any(|before| before.name == store.name) {
            of.warning("name", "there is another store with this name before it, which is used", report);
        }
        if let Some(certificate) = &store.default_certificate {
            check_certificate(of, "defaultCertificate.", certificate, report);
        }
        if let Some(generated) = &store.default_generated {
            check_text(of, "defaultGeneratedCert.resolver", &generated.resolver, report);
            check_domain(of, "defaultGeneratedCert.domain", &generated.domain, report);
        }
    }
    options
}

fn check_options(of: Subject<'_>, options: &TlsOptions, report: &mut Report) {
    check_versions(of, "", Some(options.min_version), Some(options.max_version), report);
    check_names(of, "cipherSuites", &options.cipher_suites, report);
    check_names(of, "curvePreferences", &options.curves, report);
    check_names(of, "alpnProtocols", &options.alpn, report);
    let Some(auth) = &options.client_auth else { return };
    check_list(of, "clientAuth.caFiles", auth.authorities.len(), report);
    check_list(of, "clientAuth.crls", auth.crls.len(), report);
    for pem in &auth.authorities {
        check_pem(of, "clientAuth.caFiles", pem, report);
    }
    for pem in &auth.crls {
        check_pem(of, "clientAuth.crls", pem, report);
    }
    let verifies = matches!(auth.mode, ClientAuthMode::VerifyIfGiven | ClientAuthMode::RequireAndVerify);
    if verifies && auth.authorities.is_empty() {
        let message =
            "certificates of clients are to be verified, but there is no authority: expected caFiles";
        of.error("clientAuth.caFiles", message, report);
    }
}

/// The TLS half of a transport.
pub(super) fn check_servers_tls(of: Subject<'_>, tls: &ServersTls, report: &mut Report) {
    if let Some(name) = &tls.server_name
        && !(is_host_name(name) || name.parse::<IpAddr>().is_ok())
    {
        let message = format!("{:?} is neither a host name nor an address", cut(name, MAX_HOST_BYTES));
        of.error("serverName", message, report);
    }
    check_list(of, "rootCAs", tls.root_cas.len(), report);
    for pem in tls.root_cas.iter().take(MAX_TLS_LIST) {
        check_pem(of, "rootCAs", pem, report);
    }
    check_list(of, "certificates", tls.certificates.len(), report);
    for (place, certificate) in tls.certificates.iter().take(MAX_TLS_LIST).enumerate() {
        check_certificate(of, &format!("certificates[{place}]."), certificate, report);
    }
    check_names(of, "cipherSuites", &tls.cipher_suites, report);
    check_versions(of, "", tls.min_version, tls.max_version, report);
    if let Some(uri) = &tls.peer_cert_uri
        && (uri.is_empty() || uri.len() > MAX_URL_BYTES || !uri.bytes().all(|b| b.is_ascii_graphic()))
    {
        of.error("peerCertURI", "expected a URI such as spiffe://example.com/name", report);
    }
    if tls.insecure_skip_verify && (!tls.root_cas.is_empty() || tls.peer_cert_uri.is_some()) {
        let message = "nothing is verified, so rootCAs and peerCertURI have no effect";
        of.warning("insecureSkipVerify", message, report);
    }
}

/// `tls` of an HTTP or TCP router. `options`: by name, and whether they are sound.
pub(super) fn check_router_tls(
    of: Subject<'_>,
    tls: &RouterTls,
    options: &Map<&str, bool>,
    report: &mut Report,
) {
    let name = options_of(tls);
    match options.get(name) {
        Some(true) => {}
        // Serving with others would let in whom these keep out.
        Some(false) => {
            let message = format!("the TLS options {:?} have errors of their own", cut(name, MAX_NAME_BYTES));
            of.error("tls.options", message, report);
        }
        None => {
            let message = format!("the TLS options {:?} do not exist", cut(name, MAX_NAME_BYTES));
            of.error("tls.options", message, report);
        }
    }
    if let Some(resolver) = &tls.cert_resolver {
        check_text(of, "tls.certResolver", resolver, report);
    }
    if tls.domains.len() > MAX_DOMAINS_PER_ROUTER {
        let message = format!("{} domains, at most {MAX_DOMAINS_PER_ROUTER} are allowed", tls.domains.len());
        of.error("tls.domains", message, report);
        return;
    }
    for (place, domain) in tls.domains.iter().enumerate() {
        check_domain(of, &format!("tls.domains[{place}]"), domain, report);
    }
}

/// What a router wants for the hosts of its rule.
pub(super) struct Wish<'a> {
    pub(super) of: Subject<'a>,
    pub(super) entry_points: &'a [String],
    pub(super) hosts: Vec<&'a str>,
    pub(super) tls: &'a RouterTls,
}

/// Wishes for one host that further ones are compared with: many routers for one host are common, many options are
/// not.
const MAX_COMPARED: usize = 64;

/// Options, entry points and the router that wants them.
type Known<'a> = (&'a str, &'a [String], &'a str);

/// Warns of routers that want different options for the same host on the same entry point: `default` is used.
pub(super) fn conflicts<'a>(wishes: impl Iterator<Item = Wish<'a>>, report: &mut Report) {
    let mut wanted: Map<&str, Vec<Known<'_>>> = Map::default();
    for wish in wishes {
        let name = options_of(wish.tls);
        if wish.hosts.is_empty() && name != DEFAULT_TLS_OPTIONS {
            let message =
                "the rule names no host, so these options are used only where other routers ask for them";
            wish.of.warning("tls.options", message, report);
        }
        for host in wish.hosts {
            let others = wanted.entry(host).or_default();
            let meets = |names: &[String]| {
                names.is_empty()
                    || wish.entry_points.is_empty()
                    || names.iter().any(|one| wish.entry_points.contains(one))
            };
            let other = others.iter().find(|(options, names, _)| *options != name && meets(names));
            if let Some((options, _, router)) = other {
                let router = cut(router, MAX_NAME_BYTES);
                let message = format!(
                    "{name:?} for the host {host:?}, but router {router:?} wants {options:?} for it: \
                     the options \"default\" are used for this host"
                );
                wish.of.warning("tls.options", message, report);
            }
            if others.len() < MAX_COMPARED {
                others.push((name, wish.entry_points, wish.of.name));
            }
        }
    }
}

fn check_certificate(of: Subject<'_>, within: &str, certificate: &Certificate, report: &mut Report) {
    check_pem(of, &format!("{within}certFile"), &certificate.cert, report);
    check_pem(of, &format!("{within}keyFile"), &certificate.key, report);
    if certificate.ocsp.len() > MAX_OCSP_BYTES {
        let found = certificate.ocsp.len();
        let message = format!("the OCSP response has {found} bytes, at most {MAX_OCSP_BYTES} are allowed");
        of.error(format!("{within}ocsp"), message, report);
    }
}

/// A path without a text is for whoever may read files; here it counts as good.
fn check_pem(of: Subject<'_>, field: &str, pem: &Pem, report: &mut Report) {
    if pem.text.is_empty() && pem.path.is_empty() {
        of.error(field, "is missing: expected a PEM text or the path of a file", report);
    } else if pem.text.len() > MAX_PEM_BYTES {
        let message = format!("{} bytes, at most {MAX_PEM_BYTES} are allowed", pem.text.len());
        of.error(field, message, report);
    }
}

fn check_versions(
    of: Subject<'_>,
    within: &str,
    min: Option<TlsVersion>,
    max: Option<TlsVersion>,
    report: &mut Report,
) {
    let (min, max) = (min.unwrap_or(TlsVersion::Tls12), max.unwrap_or(TlsVersion::Tls13));
    if min > max {
        let message = "minVersion is above maxVersion: no version is left";
        of.error(format!("{within}minVersion"), message, report);
    }
}

fn check_list(of: Subject<'_>, field: &str, found: usize, report: &mut Report) -> bool {
    if found > MAX_TLS_LIST {
        of.error(field, format!("{found} entries, at most {MAX_TLS_LIST} are allowed"), report);
    }
    found <= MAX_TLS_LIST
}

fn check_names(of: Subject<'_>, field: &str, names: &[String], report: &mut Report) {
    if !check_list(of, field, names.len(), report) {
        return;
    }
    let sound = |name: &String| {
        (1..=MAX_TLS_NAME_BYTES).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic())
    };
    for (place, _) in names.iter().enumerate().filter(|(_, name)| !sound(name)) {
        let message = format!("expected 1 to {MAX_TLS_NAME_BYTES} visible ASCII characters");
        of.error(format!("{field}[{place}]"), message, report);
    }
}

fn check_text(of: Subject<'_>, field: &str, text: &str, report: &mut Report) {
    if let Some(problem) = name_problem(text) {
        of.error(field, problem, report);
    }
}

fn check_domain(of: Subject<'_>, field: &str, domain: &Domain, report: &mut Report) {
    if domain.sans.len() > MAX_SANS {
        let message = format!("{} names, at most {MAX_SANS} are allowed", domain.sans.len());
        of.error(format!("{field}.sans"), message, report);
        return;
    }
    let sound = |name: &str| is_host_name(name.strip_prefix("*.").unwrap_or(name));
    if !sound(&domain.main) {
        let message = format!("{:?} is no host name", cut(&domain.main, MAX_HOST_BYTES));
        of.error(format!("{field}.main"), message, report);
    }
    for (place, name) in domain.sans.iter().enumerate().filter(|(_, name)| !sound(name)) {
        let message = format!("{:?} is no host name", cut(name, MAX_HOST_BYTES));
        of.error(format!("{field}.sans[{place}]"), message, report);
    }
}
