//! TLS to servers.

use std::sync::Arc;

use pancake_table::snapshot::tls::{
    ClientAuth, ClientAuthMode, Pem, ServersTls, Store, TlsOptions, TlsVersion,
};
use rcgen::SanType;
use rustls::pki_types::ServerName;
use rustls::{HandshakeKind, ProtocolVersion, ServerConfig};

use super::fixture::*;
use crate::{ClientTls, SystemRoots};

const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];

fn roots(authorities: &[&Authority]) -> SystemRoots {
    SystemRoots::new(authorities.iter().map(|authority| authority.root())).0
}

fn server(
    certificate: pancake_table::snapshot::tls::Certificate,
    options: Vec<TlsOptions>,
) -> Arc<ServerConfig> {
    Process::new().table(&tls(vec![certificate], options)).server_config(None).expect("options")
}

fn try_connect(
    tls: &ServersTls,
    roots: &SystemRoots,
    server: &Arc<ServerConfig>,
    host: &str,
) -> Result<Ends, Failed> {
    let made = ClientTls::build(tls, roots, BOTH, &clock()).expect("usable");
    connect_to(server, made.config(), made.server_name(host).expect("a name"))
}

#[test]
fn server_is_verified_by_the_system_or_by_own_authorities() {
    let (ca, own) = (Authority::new("ca"), Authority::new("own"));
    let (public, private) = (server(ca.ecdsa(&["a.test"]), vec![]), server(own.ecdsa(&["a.test"]), vec![]));
    let plain = ServersTls::default();
    let with_own = ServersTls { root_cas: vec![Pem::inline(&*own.pem)], ..ServersTls::default() };
    let system = roots(&[&ca]);
    assert!(try_connect(&plain, &system, &public, "a.test").is_ok());
    assert!(try_connect(&plain, &system, &private, "a.test").is_err());
    assert!(try_connect(&with_own, &system, &private, "a.test").is_ok());
    assert!(
        try_connect(&with_own, &system, &public, "a.test").is_err(),
        "own authorities replace those of the system"
    );
}

#[test]
fn another_name_is_refused_unless_it_is_the_one_to_ask_for_or_nothing_is_verified() {
    let ca = Authority::new("ca");
    let server = server(ca.ecdsa(&["a.test"]), vec![]);
    let system = roots(&[&ca]);
    let named = ServersTls { server_name: Some("a.test".into()), ..ServersTls::default() };
    let blind = ServersTls { insecure_skip_verify: true, ..ServersTls::default() };
    assert!(try_connect(&ServersTls::default(), &system, &server, "10.0.0.1").is_err());
    assert!(try_connect(&named, &system, &server, "10.0.0.1").is_ok());
    assert!(try_connect(&blind, &roots(&[]), &server, "other.test").is_ok());
}

#[test]
fn addresses_are_verified_as_addresses() {
    let ca = Authority::new("ca");
    // What parses as an address becomes an IP alternative name. Who asks for an address names nothing, and gets the
    // default certificate.
    let mut settings = tls(vec![], vec![]);
    let default = Some(ca.ecdsa(&["10.0.0.1", "::1"]));
    settings.stores.push(Store { name: "default".into(), default_certificate: default, ..Store::default() });
    let server = Process::new().table(&settings).server_config(None).expect("options");
    let system = roots(&[&ca]);
    for (host, expected) in [("10.0.0.1", true), ("[::1]", true), ("::1", true), ("10.0.0.2", false)] {
        assert_eq!(try_connect(&ServersTls::default(), &system, &server, host).is_ok(), expected, "{host}");
    }
}

#[test]
fn refuses_hosts_that_no_certificate_can_have() {
    let made = ClientTls::build(&ServersTls::default(), &roots(&[&Authority::new("ca")]), BOTH, &clock());
    let made = made.expect("usable");
    assert!(made.server_name("a b").is_err());
    assert_eq!(made.server_name("a.test.").expect("a name"), ServerName::try_from("a.test").expect("a name"));
}

#[test]
fn uri_of_the_server_is_required_even_where_nothing_else_is_verified() {
    let ca = Authority::new("ca");
    let mut with_uri = params(&["a.test"]);
    with_uri.subject_alt_names.push(SanType::URI("spiffe://x/a".try_into().expect("ASCII")));
    let server = server(ca.sign(with_uri, ecdsa_key()), vec![]);
    let system = roots(&[&ca]);
    for blind in [false, true] {
        for (uri, expected) in [("spiffe://x/a", true), ("spiffe://x/b", false)] {
            let tls = ServersTls {
                peer_cert_uri: Some(uri.into()),
                insecure_skip_verify: blind,
                ..ServersTls::default()
            };
            assert_eq!(try_connect(&tls, &system, &server, "a.test").is_ok(), expected, "{uri} {blind}");
        }
    }
}

#[test]
fn own_certificate_is_shown_to_servers_that_ask() {
    let (ca, people, others) = (Authority::new("ca"), Authority::new("people"), Authority::new("others"));
    let auth = ClientAuth {
        authorities: vec![Pem::inline(&*people.pem)],
        mode: ClientAuthMode::RequireAndVerify,
        crls: vec![],
    };
    let server =
        server(ca.ecdsa(&["a.test"]), vec![TlsOptions { client_auth: Some(auth), ..TlsOptions::default() }]);
    let system = roots(&[&ca]);
    assert!(try_connect(&ServersTls::default(), &system, &server, "a.test").is_err());
    // The second is the one whose authority the server names.
    let certificates = vec![others.ecdsa(&["me.test"]), people.ecdsa(&["me.test"])];
    let showing = ServersTls { certificates, ..ServersTls::default() };
    assert!(try_connect(&showing, &system, &server, "a.test").is_ok());
}

#[test]
fn versions_protocols_and_sessions() {
    let ca = Authority::new("ca");
    let server = server(ca.ecdsa(&["a.test"]), vec![]);
    let old = ServersTls { max_version: Some(TlsVersion::Tls12), ..ServersTls::default() };
    let made = ClientTls::build(&old, &roots(&[&ca]), &[b"http/1.1"], &clock()).expect("usable");
    let connect = || connect_to(&server, made.config(), made.server_name("a.test").expect("a name"));
    let first = connect().expect("a handshake");
    assert_eq!(first.client.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    assert_eq!(first.client.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(connect().expect("a handshake").client.handshake_kind(), Some(HandshakeKind::Resumed));
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let tls = ServersTls {
        server_name: Some("a b".into()),
        root_cas: vec![Pem::inline("nothing")],
        cipher_suites: vec!["TLS_FAST".into()],
        min_version: Some(TlsVersion::Tls13),
        max_version: Some(TlsVersion::Tls12),
        ..ServersTls::default()
    };
    let errors = ClientTls::build(&tls, &roots(&[]), BOTH, &clock()).expect_err("faulty");
    for field in ["serverName", "rootCAs", "cipherSuites", "minVersion"] {
        assert!(errors.iter().any(|error| error.starts_with(field)), "{field}: {errors:?}");
    }
    let none =
        ClientTls::build(&ServersTls::default(), &roots(&[]), BOTH, &clock()).expect_err("no authorities");
    assert!(none[0].contains("no certificate authorities"), "{none:?}");
}
