//! Which certificate and which options a name gets.

use std::sync::Arc;

use pancake_table::snapshot::tls::{Store, TlsOptions, TlsVersion};
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::{ClientConfig, HandshakeKind, NamedGroup, ProtocolVersion, version};

use super::fixture::*;
use crate::{Facts, Refusal, challenge_certificate};

fn shown(table: &crate::TlsTable, config: &Arc<ClientConfig>, name: &str) -> Vec<u8> {
    connect(table, config, name).expect("a handshake").serial()
}

#[test]
fn exact_name_goes_before_wildcard_and_wildcard_covers_one_label() {
    let ca = Authority::new("ca");
    let (exact, wild) = (ca.ecdsa(&["a.example.com"]), ca.ecdsa(&["*.example.com"]));
    let table = Process::new().table(&tls(vec![wild.clone(), exact.clone()], vec![]));
    let mut config = client(&ca);
    trusting(&mut config);
    let config = Arc::new(config);
    assert_eq!(shown(&table, &config, "a.example.com"), der(&exact));
    assert_eq!(shown(&table, &config, "b.example.com"), der(&wild));
    assert_eq!(shown(&table, &config, "B.EXAMPLE.com"), der(&wild));
    for unknown in ["example.com", "a.b.example.com"] {
        let facts = Facts::of(&shown(&table, &config, unknown)).expect("a certificate");
        assert!(facts.subject.contains("PANCAKE DEFAULT CERT"), "{unknown}: {}", facts.subject);
    }
}

#[test]
fn store_default_serves_unknown_names_and_clients_without_a_name() {
    let ca = Authority::new("ca");
    let default = ca.ecdsa(&["default.example.com"]);
    let store =
        Store { name: "default".into(), default_certificate: Some(default.clone()), default_generated: None };
    let mut section = tls(vec![ca.ecdsa(&["a.example.com"])], vec![]);
    section.stores = vec![store];
    let table = Process::new().table(&section);
    let mut config = client(&ca);
    trusting(&mut config);
    let config = Arc::new(config);
    assert_eq!(shown(&table, &config, "unknown.test"), der(&default));
    assert_eq!(shown(&table, &config, "127.0.0.1"), der(&default), "an address is not sent as a name");
}

#[test]
fn generated_default_stays_the_same_over_tables() {
    let (process, ca) = (Process::new(), Authority::new("ca"));
    let first = process.table(&tls(vec![], vec![]));
    let (second, _) = process.build(&tls(vec![ca.ecdsa(&["a.test"])], vec![]), Some(&first));
    let mut config = client(&ca);
    trusting(&mut config);
    let config = Arc::new(config);
    assert_eq!(shown(&first, &config, "x.test"), shown(&second, &config, "x.test"));
}

#[test]
fn ecdsa_goes_before_rsa_if_the_client_can_verify_it() {
    let ca = Authority::new("ca");
    let (rsa, ecdsa) = (ca.rsa(&["a.test"]), ca.ecdsa(&["a.test"]));
    let table = Process::new().table(&tls(vec![rsa.clone(), ecdsa.clone()], vec![]));
    assert_eq!(shown(&table, &Arc::new(client(&ca)), "a.test"), der(&ecdsa));

    // A client of TLS 1.2 that speaks RSA suites only.
    let mut provider = default_provider();
    provider.cipher_suites = vec![cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256];
    let builder = ClientConfig::builder_with_details(Arc::new(provider), clock());
    let builder = builder.with_protocol_versions(&[&version::TLS12]).expect("TLS 1.2");
    let mut old = builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    trusting(&mut old);
    assert_eq!(shown(&table, &Arc::new(old), "a.test"), der(&rsa));
}

#[test]
fn among_equals_the_one_that_is_valid_and_expires_last_serves() {
    let ca = Authority::new("ca");
    let named = |from, until| ca.sign(valid(params(&["a.test"]), from, until), ecdsa_key());
    let expired = named(-90 * DAY, -DAY);
    let short = named(-DAY, 30 * DAY);
    let long = named(-DAY, 60 * DAY);
    let future = named(DAY, 900 * DAY);
    let (table, _) = Process::new().build(&tls(vec![expired, short, long.clone(), future], vec![]), None);
    assert_eq!(shown(&table, &Arc::new(client(&ca)), "a.test"), der(&long));
}

#[test]
fn strict_options_refuse_unknown_and_missing_names() {
    let ca = Authority::new("ca");
    let strict = TlsOptions { sni_strict: true, ..TlsOptions::default() };
    let table = Process::new().table(&tls(vec![ca.ecdsa(&["a.test"])], vec![strict]));
    let config = Arc::new(client(&ca));
    assert!(connect(&table, &config, "a.test").is_ok());
    for name in ["b.test", "127.0.0.1"] {
        let refused = connect(&table, &config, name).err();
        assert!(matches!(refused, Some(Failed::Refused(Refusal::UnrecognizedName))), "{name}: {refused:?}");
    }
    assert_eq!(Refusal::UnrecognizedName.record(), [21, 3, 3, 0, 2, 2, 112]);
}

#[test]
fn options_are_chosen_by_host() {
    let ca = Authority::new("ca");
    let modern =
        TlsOptions { name: "modern@file".into(), min_version: TlsVersion::Tls13, ..TlsOptions::default() };
    let old = TlsOptions { name: "old@file".into(), max_version: TlsVersion::Tls12, ..TlsOptions::default() };
    let process = Process::new().hosts(&[("a.test", "modern@file"), ("*.old.test", "old@file")]);
    let table = process.table(&tls(vec![ca.ecdsa(&["a.test", "*.old.test", "b.test"])], vec![modern, old]));
    let spoken = |config: &Arc<ClientConfig>, name| {
        connect(&table, config, name).map(|ends| ends.server.protocol_version().expect("a version"))
    };
    let both = Arc::new(client(&ca));
    assert_eq!(spoken(&both, "a.test").expect("spoken"), ProtocolVersion::TLSv1_3);
    assert_eq!(spoken(&both, "x.old.test").expect("spoken"), ProtocolVersion::TLSv1_2);
    let builder = ClientConfig::builder_with_details(Arc::new(default_provider()), clock());
    let builder = builder.with_protocol_versions(&[&version::TLS12]).expect("TLS 1.2");
    let mut only_12 = builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    trusting(&mut only_12);
    let only_12 = Arc::new(only_12);
    assert!(matches!(spoken(&only_12, "a.test"), Err(Failed::Server(_))));
    assert_eq!(spoken(&only_12, "b.test").expect("spoken"), ProtocolVersion::TLSv1_2);
}

#[test]
fn host_with_unknown_options_is_refused_and_reported() {
    let ca = Authority::new("ca");
    let process = Process::new().hosts(&[("a.test", "mtsl@file")]);
    let (table, problems) = process.build(&tls(vec![ca.ecdsa(&["a.test", "b.test"])], vec![]), None);
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].object, "tls.options.mtsl@file");
    assert!(problems[0].message.contains("a.test"), "{}", problems[0]);
    let config = Arc::new(client(&ca));
    assert!(matches!(connect(&table, &config, "a.test"), Err(Failed::Refused(Refusal::Options))));
    assert!(connect(&table, &config, "b.test").is_ok());
}

#[test]
fn protocol_is_the_first_of_the_servers_list_that_the_client_offers() {
    let ca = Authority::new("ca");
    let table = Process::new().table(&tls(vec![ca.ecdsa(&["a.test"])], vec![]));
    for (offered, agreed) in
        [(vec!["http/1.1", "h2"], Some("h2")), (vec!["http/1.1"], Some("http/1.1")), (vec![], None)]
    {
        let mut config = client(&ca);
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let ends = connect(&table, &Arc::new(config), "a.test").expect("a handshake");
        assert_eq!(ends.server.alpn_protocol(), agreed.map(str::as_bytes), "{offered:?}");
    }
}

#[test]
fn post_quantum_group_is_agreed_on_by_default_and_others_if_configured() {
    let ca = Authority::new("ca");
    let certificate = || vec![ca.ecdsa(&["a.test"])];
    let config = Arc::new(client(&ca));
    let group = |table: &crate::TlsTable| {
        let ends = connect(table, &config, "a.test").expect("a handshake");
        ends.server.negotiated_key_exchange_group().expect("a group").name()
    };
    assert_eq!(group(&Process::new().table(&tls(certificate(), vec![]))), NamedGroup::X25519MLKEM768);
    let p384 = TlsOptions { curves: vec!["CurveP384".into()], ..TlsOptions::default() };
    assert_eq!(group(&Process::new().table(&tls(certificate(), vec![p384]))), NamedGroup::secp384r1);
}

#[test]
fn configured_suites_of_tls12_are_an_order_of_preference() {
    let ca = Authority::new("ca");
    let suites = ["TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"];
    let options = TlsOptions {
        max_version: TlsVersion::Tls12,
        cipher_suites: suites.map(String::from).to_vec(),
        ..TlsOptions::default()
    };
    let table = Process::new().table(&tls(vec![ca.ecdsa(&["a.test"])], vec![options]));
    let ends = connect(&table, &Arc::new(client(&ca)), "a.test").expect("a handshake");
    let suite = ends.server.negotiated_cipher_suite().expect("a suite").suite();
    assert_eq!(suite.as_str(), Some(suites[0]));
}

#[test]
fn challenge_certificate_answers_only_clients_that_ask_for_nothing_else() {
    let ca = Authority::new("ca");
    let process = Process::new();
    let usual = ca.ecdsa(&["a.test"]);
    let table = process.table(&tls(vec![usual.clone()], vec![]));
    let mut config = client(&ca);
    trusting(&mut config);
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let asking = Arc::new(config.clone());
    assert!(matches!(connect(&table, &asking, "a.test"), Err(Failed::Refused(Refusal::NoChallenge))));

    let answer = challenge_certificate("a.test", &[7; 32], NOW).expect("a certificate");
    process.challenges.insert("A.test", &answer).expect("room");
    let ends = connect(&table, &asking, "a.test").expect("a handshake");
    assert_eq!(ends.serial(), answer.cert[0].to_vec());
    assert_eq!(ends.server.alpn_protocol(), Some(&b"acme-tls/1"[..]));
    config.alpn_protocols = vec![b"h2".to_vec(), b"acme-tls/1".to_vec()];
    assert_eq!(shown(&table, &Arc::new(config), "a.test"), der(&usual));

    process.challenges.remove("a.test");
    assert!(connect(&table, &asking, "a.test").is_err());
}

#[test]
fn ocsp_response_is_stapled() {
    let ca = Authority::new("ca");
    let mut certificate = ca.ecdsa(&["a.test"]);
    certificate.ocsp = vec![0x30, 0x03, 0x0a, 0x01, 0x06];
    let (table, _) = Process::new().build(&tls(vec![certificate.clone()], vec![]), None);
    let loaded = table.first_choice("a.test").expect("loaded");
    assert_eq!(loaded.key.ocsp.as_deref(), Some(&certificate.ocsp[..]));
}

#[test]
fn replaced_certificate_is_shown_at_once_and_old_sessions_resume() {
    let ca = Authority::new("ca");
    let process = Process::new();
    let (old, new) = (ca.ecdsa(&["a.test"]), ca.ecdsa(&["a.test"]));
    let first = process.table(&tls(vec![old.clone()], vec![]));
    let returning = Arc::new(client(&ca));
    assert_eq!(shown(&first, &returning, "a.test"), der(&old));

    let (second, _) = process.build(&tls(vec![new.clone()], vec![]), Some(&first));
    assert_eq!(shown(&second, &Arc::new(client(&ca)), "a.test"), der(&new));
    let ends = connect(&second, &returning, "a.test").expect("a handshake");
    assert_eq!(ends.server.handshake_kind(), Some(HandshakeKind::Resumed));
}

#[test]
fn unchanged_options_and_certificates_are_taken_over() {
    let ca = Authority::new("ca");
    let process = Process::new();
    let section = tls(vec![ca.ecdsa(&["a.test"])], vec![]);
    let first = process.table(&section);
    let (second, _) = process.build(&section, Some(&first));
    let of = |table: &crate::TlsTable| table.server_config(Some("a.test")).expect("options");
    assert!(Arc::ptr_eq(&of(&first), &of(&second)));
}
