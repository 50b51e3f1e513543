//! Settings for TLS that the static and the dynamic configuration share.
//!
//! Files are named, not read: a [`Pem`] holds its path until whoever may read files has done so. Whether a
//! certificate and its key are any good is found out then.

use std::net::IpAddr;

use pancake_table::snapshot::tls::{Certificate, Domain, Pem, RouterTls, ServersTls};

use crate::decode::{Fields, bad_value};
use crate::tree::is_scalar;

/// Versions, cipher suites and groups by name.
mod algorithms;

pub(crate) use algorithms::{curves, protocol};

const EXPECTED_NAME: &str = "a name such as example.org or *.example.org";

/// `certFile` and `keyFile`; each a path or the PEM text itself.
pub(crate) fn certificate(fields: &Fields<'_, '_>, name: String) -> Certificate {
    let pem = |key| match fields.string(key).filter(|text| !text.is_empty()) {
        Some(text) => Pem::of(text),
        None => {
            // Something that is no single value has been reported.
            if fields.get(key).is_none_or(is_scalar) {
                fields.missing(key, "a PEM file, or its text");
            }
            Pem::default()
        }
    };
    Certificate { name, cert: pem("certFile"), key: pem("keyFile"), ocsp: Vec::new() }
}

/// A list of PEM files or texts.
pub(crate) fn pems(fields: &Fields<'_, '_>, key: &'static str) -> Vec<Pem> {
    let texts = fields.list_but(key, |text| text.contains("-----BEGIN "));
    texts.into_iter().map(|(text, _)| Pem::of(text)).collect()
}

/// The `tls` of a router, or of all routers of an entry point. `qualify` completes the name of its options.
pub(crate) fn router_tls(fields: &Fields<'_, '_>, qualify: impl Fn(&str) -> String) -> RouterTls {
    let text = |key| fields.string(key).filter(|text| !text.is_empty());
    RouterTls {
        options: text("options").map(qualify),
        cert_resolver: text("certResolver").map(str::to_string),
        domains: fields.sections("domains", |_, section| domain(section)),
        passthrough: false,
    }
}

/// `main` and `sans`; as in Traefik, the first of `sans` stands in for a `main` that is not there.
pub(crate) fn domain(fields: &Fields<'_, '_>) -> Domain {
    let main = fields.parsed("main", EXPECTED_NAME, host_name);
    let mut sans = Vec::new();
    for (text, node) in fields.list("sans") {
        match host_name(text) {
            Some(name) => sans.push(name),
            None => fields.sink().push(bad_value("sans", text, &node.span).expected(EXPECTED_NAME)),
        }
    }
    match main {
        Some(main) => Domain { main, sans },
        None if !sans.is_empty() => Domain { main: sans.remove(0), sans },
        None => {
            if fields.get("main").is_none() && fields.get("sans").is_none() {
                fields.missing("main", EXPECTED_NAME);
            }
            Domain::default()
        }
    }
}

/// A DNS name, perhaps with `*` as its first label, or an IP address; in lower case.
fn host_name(text: &str) -> Option<String> {
    const MAX_NAME_BYTES: usize = 253;
    const MAX_LABEL_BYTES: usize = 63;
    let text = text.trim().to_ascii_lowercase();
    if text.parse::<IpAddr>().is_ok() {
        return Some(text);
    }
    let is_label = |label: &str| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let labels = text.strip_prefix("*.").unwrap_or(&text);
    (text.len() <= MAX_NAME_BYTES && labels.split('.').all(is_label)).then_some(text)
}

/// How TLS to servers is spoken: what transports of all kinds have. `provider` (`@file`, or nothing) completes the
/// names of certificates.
pub(crate) fn servers_tls(fields: &Fields<'_, '_>, provider: &str) -> ServersTls {
    fields.not_supported(&["peerCertSANs", "spiffe"]);
    let text = |key| fields.string(key).filter(|text| !text.is_empty()).map(str::to_string);
    let client = |section: &Fields<'_, '_>| certificate(section, format!("{}{provider}", section.path()));
    ServersTls {
        server_name: text("serverName"),
        insecure_skip_verify: fields.boolean("insecureSkipVerify").unwrap_or_default(),
        root_cas: pems(fields, "rootCAs"),
        certificates: fields.sections("certificates", |_, section| client(section)),
        peer_cert_uri: text("peerCertURI"),
        ..ServersTls::default()
    }
}
