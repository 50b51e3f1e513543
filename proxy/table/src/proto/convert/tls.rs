//! TLS: what travels is text, never a path.

use super::{Problems, non_empty, pb};
use crate::check::object;
use crate::limits::{
    MAX_CERTIFICATES, MAX_DOMAINS_PER_ROUTER, MAX_HOST_BYTES, MAX_NAME_BYTES, MAX_OCSP_BYTES, MAX_PEM_BYTES,
    MAX_SANS, MAX_SNAPSHOT_PEM_BYTES, MAX_TLS_LIST, MAX_TLS_OPTIONS, MAX_TLS_STORES, MAX_URL_BYTES,
};
use crate::snapshot::tls::{
    Certificate, ClientAuth, ClientAuthMode, Domain, GeneratedCertificate, Pem, RouterTls, ServersTls, Store,
    Tls, TlsOptions, TlsVersion,
};

/// Sizes that are refused before anything is looked into.
pub(super) fn bound(tls: &pb::Tls, problems: &mut Problems) {
    let counts = [
        ("tls.certificates", tls.certificates.len(), MAX_CERTIFICATES, "certificates"),
        ("tls.options", tls.options.len(), MAX_TLS_OPTIONS, "options"),
        ("tls.stores", tls.stores.len(), MAX_TLS_STORES, "stores"),
    ];
    for (field, found, limit, what) in counts {
        problems.bound("snapshot", field, found, limit, what);
    }
    let bytes = tls.certificates.iter().map(|one| one.cert.len() + one.key.len()).sum();
    problems.bound("snapshot", "tls.certificates", bytes, MAX_SNAPSHOT_PEM_BYTES, "bytes");
}

pub(super) fn from_tls(tls: &Tls) -> pb::Tls {
    pb::Tls {
        certificates: tls.certificates.iter().map(from_certificate).collect(),
        options: tls.options.iter().map(from_options).collect(),
        stores: tls.stores.iter().map(from_store).collect(),
    }
}

pub(super) fn to_tls(tls: pb::Tls, problems: &mut Problems) -> Tls {
    let certificate = |one: pb::Certificate| {
        let of = object("tls certificate", &one.name);
        to_certificate(one, &of, "", problems)
    };
    Tls {
        certificates: tls.certificates.into_iter().map(certificate).collect(),
        options: tls.options.into_iter().map(|one| to_options(one, problems)).collect(),
        stores: tls.stores.into_iter().map(|one| to_store(one, problems)).collect(),
    }
}

fn texts(pems: &[Pem]) -> Vec<String> {
    pems.iter().map(|pem| pem.text.clone()).collect()
}

fn from_certificate(certificate: &Certificate) -> pb::Certificate {
    pb::Certificate {
        name: certificate.name.clone(),
        cert: certificate.cert.text.clone(),
        key: certificate.key.text.clone(),
        ocsp: certificate.ocsp.clone(),
    }
}

fn to_certificate(
    certificate: pb::Certificate,
    of: &str,
    within: &str,
    problems: &mut Problems,
) -> Certificate {
    problems.text(of, &format!("{within}name"), &certificate.name, MAX_NAME_BYTES);
    problems.bound(of, &format!("{within}ocsp"), certificate.ocsp.len(), MAX_OCSP_BYTES, "bytes");
    Certificate {
        name: certificate.name,
        cert: to_pem(certificate.cert, of, &format!("{within}certFile"), problems),
        key: to_pem(certificate.key, of, &format!("{within}keyFile"), problems),
        ocsp: certificate.ocsp,
    }
}

fn to_pem(text: String, of: &str, field: &str, problems: &mut Problems) -> Pem {
    problems.text(of, field, &text, MAX_PEM_BYTES);
    if text.is_empty() {
        problems.push(of, field, "is empty; expected a PEM text: a control plane sends contents, not paths");
    } else if !text.contains("-----BEGIN ") {
        problems.push(of, field, "is no PEM text; a control plane sends contents, not paths");
    }
    Pem::inline(text)
}

fn to_pems(texts: Vec<String>, of: &str, field: &str, problems: &mut Problems) -> Vec<Pem> {
    problems.bound(of, field, texts.len(), MAX_TLS_LIST, "entries");
    texts.into_iter().take(MAX_TLS_LIST).map(|text| to_pem(text, of, field, problems)).collect()
}

fn names(names: Vec<String>, of: &str, field: &str, problems: &mut Problems) -> Vec<String> {
    problems.names(of, field, &names, MAX_TLS_LIST);
    names
}

fn from_version(version: Option<TlsVersion>) -> i32 {
    i32::from(match version {
        None => pb::TlsVersion::Unspecified,
        Some(TlsVersion::Tls12) => pb::TlsVersion::TlsVersion12,
        Some(TlsVersion::Tls13) => pb::TlsVersion::TlsVersion13,
    })
}

fn to_version(version: i32, of: &str, field: &str, problems: &mut Problems) -> Option<TlsVersion> {
    match pb::TlsVersion::try_from(version) {
        Ok(pb::TlsVersion::Unspecified) => None,
        Ok(pb::TlsVersion::TlsVersion12) => Some(TlsVersion::Tls12),
        Ok(pb::TlsVersion::TlsVersion13) => Some(TlsVersion::Tls13),
        Err(_) => {
            problems.push(of, field, "is no version that this program knows; expected TLS 1.2 or 1.3");
            None
        }
    }
}

fn from_options(options: &TlsOptions) -> pb::TlsOptions {
    pb::TlsOptions {
        name: options.name.clone(),
        min_version: from_version(Some(options.min_version)),
        max_version: from_version(Some(options.max_version)),
        cipher_suites: options.cipher_suites.clone(),
        curves: options.curves.clone(),
        alpn: Some(pb::Protocols { names: options.alpn.clone() }),
        sni_strict: options.sni_strict,
        client_auth: options.client_auth.as_ref().map(from_client_auth),
        disable_session_tickets: options.disable_session_tickets,
    }
}

fn to_options(options: pb::TlsOptions, problems: &mut Problems) -> TlsOptions {
    let default = TlsOptions::default();
    let of = &object("tls options", &options.name);
    problems.text(of, "name", &options.name, MAX_NAME_BYTES);
    let min = to_version(options.min_version, of, "minVersion", problems);
    let max = to_version(options.max_version, of, "maxVersion", problems);
    TlsOptions {
        min_version: min.unwrap_or(default.min_version),
        max_version: max.unwrap_or(default.max_version),
        cipher_suites: names(options.cipher_suites, of, "cipherSuites", problems),
        curves: names(options.curves, of, "curvePreferences", problems),
        alpn: match options.alpn {
            None => default.alpn,
            Some(alpn) => names(alpn.names, of, "alpnProtocols", problems),
        },
        sni_strict: options.sni_strict,
        client_auth: options.client_auth.map(|auth| to_client_auth(auth, of, problems)),
        disable_session_tickets: options.disable_session_tickets,
        name: options.name,
    }
}

fn from_client_auth(auth: &ClientAuth) -> pb::ClientAuth {
    let mode = match auth.mode {
        ClientAuthMode::None => pb::ClientAuthMode::None,
        ClientAuthMode::Request => pb::ClientAuthMode::Request,
        ClientAuthMode::RequireAny => pb::ClientAuthMode::RequireAny,
        ClientAuthMode::VerifyIfGiven => pb::ClientAuthMode::VerifyIfGiven,
        ClientAuthMode::RequireAndVerify => pb::ClientAuthMode::RequireAndVerify,
    };
    pb::ClientAuth { authorities: texts(&auth.authorities), mode: mode.into(), crls: texts(&auth.crls) }
}

fn to_client_auth(auth: pb::ClientAuth, of: &str, problems: &mut Problems) -> ClientAuth {
    let mode = match pb::ClientAuthMode::try_from(auth.mode) {
        Ok(pb::ClientAuthMode::None) => ClientAuthMode::None,
        Ok(pb::ClientAuthMode::Request) => ClientAuthMode::Request,
        Ok(pb::ClientAuthMode::RequireAny) => ClientAuthMode::RequireAny,
        Ok(pb::ClientAuthMode::VerifyIfGiven) => ClientAuthMode::VerifyIfGiven,
        Ok(pb::ClientAuthMode::RequireAndVerify) => ClientAuthMode::RequireAndVerify,
        Err(_) => {
            problems.push(of, "clientAuth.clientAuthType", "is none that this program knows");
            ClientAuthMode::RequireAndVerify
        }
    };
    ClientAuth {
        authorities: to_pems(auth.authorities, of, "clientAuth.caFiles", problems),
        mode,
        crls: to_pems(auth.crls, of, "clientAuth.crls", problems),
    }
}

fn from_store(store: &Store) -> pb::TlsStore {
    pb::TlsStore {
        name: store.name.clone(),
        default_certificate: store.default_certificate.as_ref().map(from_certificate),
        default_generated: store.default_generated.as_ref().map(|generated| pb::GeneratedCertificate {
            resolver: generated.resolver.clone(),
            domain: Some(from_domain(&generated.domain)),
        }),
    }
}

fn to_store(store: pb::TlsStore, problems: &mut Problems) -> Store {
    let of = &object("tls store", &store.name);
    problems.text(of, "name", &store.name, MAX_NAME_BYTES);
    let certificate =
        store.default_certificate.map(|one| to_certificate(one, of, "defaultCertificate.", problems));
    let generated = store.default_generated.map(|generated| {
        problems.text(of, "defaultGeneratedCert.resolver", &generated.resolver, MAX_NAME_BYTES);
        let domain = generated.domain.unwrap_or_default();
        GeneratedCertificate {
            resolver: generated.resolver,
            domain: to_domain(domain, of, "defaultGeneratedCert.domain", problems),
        }
    });
    Store { name: store.name, default_certificate: certificate, default_generated: generated }
}

fn from_domain(domain: &Domain) -> pb::Domain {
    pb::Domain { main: domain.main.clone(), sans: domain.sans.clone() }
}

fn to_domain(domain: pb::Domain, of: &str, field: &str, problems: &mut Problems) -> Domain {
    problems.text(of, field, &domain.main, MAX_HOST_BYTES);
    problems.names(of, field, &domain.sans, MAX_SANS);
    Domain { main: domain.main, sans: domain.sans }
}

pub(super) fn from_router_tls(tls: &RouterTls) -> pb::RouterTls {
    pb::RouterTls {
        options: tls.options.clone().unwrap_or_default(),
        cert_resolver: tls.cert_resolver.clone().unwrap_or_default(),
        domains: tls.domains.iter().map(from_domain).collect(),
        passthrough: tls.passthrough,
    }
}

pub(super) fn to_router_tls(tls: pb::RouterTls, of: &str, problems: &mut Problems) -> RouterTls {
    problems.text(of, "tls.options", &tls.options, MAX_NAME_BYTES);
    problems.text(of, "tls.certResolver", &tls.cert_resolver, MAX_NAME_BYTES);
    problems.bound(of, "tls.domains", tls.domains.len(), MAX_DOMAINS_PER_ROUTER, "domains");
    let domains = tls.domains.into_iter().take(MAX_DOMAINS_PER_ROUTER);
    RouterTls {
        options: non_empty(tls.options),
        cert_resolver: non_empty(tls.cert_resolver),
        domains: domains.map(|domain| to_domain(domain, of, "tls.domains", problems)).collect(),
        passthrough: tls.passthrough,
    }
}

pub(super) fn from_servers_tls(tls: &ServersTls) -> pb::ServersTls {
    pb::ServersTls {
        server_name: tls.server_name.clone().unwrap_or_default(),
        insecure_skip_verify: tls.insecure_skip_verify,
        root_cas: texts(&tls.root_cas),
        certificates: tls.certificates.iter().map(from_certificate).collect(),
        cipher_suites: tls.cipher_suites.clone(),
        min_version: from_version(tls.min_version),
        max_version: from_version(tls.max_version),
        peer_cert_uri: tls.peer_cert_uri.clone().unwrap_or_default(),
    }
}

pub(super) fn to_servers_tls(tls: pb::ServersTls, of: &str, problems: &mut Problems) -> ServersTls {
    problems.text(of, "serverName", &tls.server_name, MAX_HOST_BYTES);
    problems.text(of, "peerCertURI", &tls.peer_cert_uri, MAX_URL_BYTES);
    problems.bound(of, "certificates", tls.certificates.len(), MAX_TLS_LIST, "certificates");
    let certificates = tls.certificates.into_iter().take(MAX_TLS_LIST);
    ServersTls {
        server_name: non_empty(tls.server_name),
        insecure_skip_verify: tls.insecure_skip_verify,
        root_cas: to_pems(tls.root_cas, of, "rootCAs", problems),
        certificates: certificates.map(|one| to_certificate(one, of, "certificates.", problems)).collect(),
        cipher_suites: names(tls.cipher_suites, of, "cipherSuites", problems),
        min_version: to_version(tls.min_version, of, "minVersion", problems),
        max_version: to_version(tls.max_version, of, "maxVersion", problems),
        peer_cert_uri: non_empty(tls.peer_cert_uri),
    }
}
