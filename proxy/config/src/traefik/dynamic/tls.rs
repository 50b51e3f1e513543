//! `tls`: certificates, options, stores.

use pancake_table::snapshot::tls::{
    Certificate, ClientAuth, ClientAuthMode, GeneratedCertificate, Store, TlsOptions,
};

use super::{Object, PROVIDER};
use crate::decode::{Fields, join};
use crate::problem::{Problem, Scope};
use crate::traefik::tls;

/// Longest name of a protocol in ALPN (RFC 7301 section 3.1).
const MAX_ALPN_BYTES: usize = 255;

/// `tls.certificates`, counted through all files; each that is faulty is left out alone.
pub(super) fn certificates(section: &Fields<'_, '_>, all: &mut Vec<Object<Certificate>>) {
    for node in section.mappings("certificates") {
        let path = format!("tls.certificates[{}]", all.len());
        let name = format!("{path}@{PROVIDER}");
        let scope = Scope::Object(format!("certificate {name}"));
        let (value, sound) = section.sink().scoped(scope, || {
            section.sink().section(node, &path, |fields| {
                only_default_store(fields);
                tls::certificate(fields, name)
            })
        });
        all.push(Object { value, span: node.span.clone(), node: node.clone(), sound });
    }
}

fn only_default_store(fields: &Fields<'_, '_>) {
    for (store, node) in fields.list("stores") {
        if store != "default" {
            let path = join(fields.path(), "stores");
            let message = format!("{path} has no effect: there is only the store default");
            fields.sink().push(Problem::new(node.span.clone(), message).scope(Scope::Note));
        }
    }
}

/// `tls.options.NAME`.
pub(super) fn options(name: String, fields: &Fields<'_, '_>) -> TlsOptions {
    let default = TlsOptions::default();
    fields.ignored(&["preferServerCipherSuites"], "the best of what both sides speak is taken");
    let protocol = tls::protocol(fields);
    let alpn = alpn(fields);
    TlsOptions {
        name,
        min_version: protocol.min_version.unwrap_or(default.min_version),
        max_version: protocol.max_version.unwrap_or(default.max_version),
        cipher_suites: protocol.cipher_suites,
        curves: tls::curves(fields),
        alpn: if fields.get("alpnProtocols").is_some() { alpn } else { default.alpn },
        sni_strict: fields.boolean("sniStrict").unwrap_or_default(),
        client_auth: fields.section("clientAuth", client_auth).flatten(),
        disable_session_tickets: fields.boolean("disableSessionTickets").unwrap_or_default(),
    }
}

fn alpn(fields: &Fields<'_, '_>) -> Vec<String> {
    let mut names = Vec::new();
    for (text, node) in fields.list("alpnProtocols") {
        if text.len() > MAX_ALPN_BYTES {
            let message = format!("a name in alpnProtocols has {} bytes", text.len());
            let expected = format!("at most {MAX_ALPN_BYTES}");
            fields.sink().push(Problem::new(node.span.clone(), message).expected(expected));
        }
        names.push(text.to_string());
    }
    names
}

/// As in Traefik: authorities alone mean that a certificate is required and verified.
fn client_auth(fields: &Fields<'_, '_>) -> Option<ClientAuth> {
    const MODES: [(&str, ClientAuthMode); 5] = [
        ("NoClientCert", ClientAuthMode::None),
        ("RequestClientCert", ClientAuthMode::Request),
        ("RequireAnyClientCert", ClientAuthMode::RequireAny),
        ("VerifyClientCertIfGiven", ClientAuthMode::VerifyIfGiven),
        ("RequireAndVerifyClientCert", ClientAuthMode::RequireAndVerify),
    ];
    let authorities = tls::pems(fields, "caFiles");
    let named = fields.string("clientAuthType").filter(|text| !text.is_empty());
    let named = named.and_then(|_| fields.word("clientAuthType", &MODES));
    let crls = fields.section("pancake", |own| tls::pems(own, "crlFiles")).unwrap_or_default();
    let mode = named.unwrap_or(match authorities.is_empty() {
        true => ClientAuthMode::None,
        false => ClientAuthMode::RequireAndVerify,
    });
    let verifies = matches!(mode, ClientAuthMode::VerifyIfGiven | ClientAuthMode::RequireAndVerify);
    if verifies && authorities.is_empty() {
        fields.missing("caFiles", "the authorities that sign client certificates");
    }
    if !verifies
        && !crls.is_empty()
        && let Some(node) = fields.get("pancake")
    {
        let message = format!("{}.pancake.crlFiles is for certificates that are verified", fields.path());
        let expected = "clientAuthType VerifyClientCertIfGiven or RequireAndVerifyClientCert";
        fields.sink().push(Problem::new(node.span.clone(), message).expected(expected));
    }
    let asks = mode != ClientAuthMode::None || !authorities.is_empty();
    asks.then_some(ClientAuth { authorities, mode, crls })
}

/// `tls.stores.NAME`.
pub(super) fn store(name: String, fields: &Fields<'_, '_>) -> Store {
    if name != "default" {
        let message = format!("{} has no effect: there is only the store default", fields.path());
        fields.sink().push(Problem::new(fields.span().clone(), message).scope(Scope::Note));
    }
    let certificate =
        |section: &Fields<'_, '_>| tls::certificate(section, format!("{}@{PROVIDER}", section.path()));
    Store {
        name,
        default_certificate: fields.section("defaultCertificate", certificate),
        default_generated: fields.section("defaultGeneratedCert", |section| {
            if section.get("resolver").is_none() {
                section.missing("resolver", "the name of a certificate resolver");
            }
            let domain = section.section("domain", tls::domain);
            if domain.is_none() {
                section.missing("domain", "a domain with main");
            }
            GeneratedCertificate {
                resolver: section.string("resolver").unwrap_or_default().to_string(),
                domain: domain.unwrap_or_default(),
            }
        }),
    }
}
