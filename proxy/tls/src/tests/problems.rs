//! What is said about faulty settings.

use pancake_table::check::{Problem, Severity};
use pancake_table::snapshot::tls::{Certificate, Pem, Tls, TlsOptions, TlsVersion};

use super::fixture::*;
use crate::KeyKind;

fn problems(section: &Tls) -> Vec<Problem> {
    Process::new().build(section, None).1
}

/// The only problem of a certificate.
fn problem(certificate: Certificate) -> Problem {
    let mut found = problems(&tls(vec![certificate], vec![]));
    assert_eq!(found.len(), 1, "{found:?}");
    let problem = found.remove(0);
    assert_eq!(problem.object, "tls.certificates[0]@file");
    problem
}

fn assert_says(problem: &Problem, severity: Severity, field: &str, text: &str) {
    assert_eq!((problem.severity, &*problem.field), (severity, field), "{problem}");
    assert!(problem.message.contains(text), "{problem} should say {text:?}");
}

#[test]
fn key_of_another_certificate() {
    let ca = Authority::new("ca");
    let key = ca.ecdsa(&["b.test"]).key;
    let found = problem(Certificate { key, ..ca.ecdsa(&["a.test"]) });
    assert_says(&found, Severity::Error, "keyFile", "does not belong to the certificate");
}

#[test]
fn texts_that_are_no_certificate() {
    let good = Authority::new("ca").ecdsa(&["a.test"]);
    let broken = "-----BEGIN CERTIFICATE-----\nSECRETTEXT!\n-----END CERTIFICATE-----\n";
    let no_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (text, said) in [
        ("", "expected PEM"),
        ("hello", "no certificate"),
        (broken, "not base64"),
        (no_der, "not X.509"),
        (&*good.key.text, "no certificate"),
    ] {
        let found = problem(Certificate { cert: Pem::inline(text), ..good.clone() });
        assert_says(&found, Severity::Error, "certFile", said);
        assert!(!found.message.contains("SECRETTEXT"), "{found}");
    }
    let unread = problem(Certificate { cert: Pem::file("/etc/a.pem"), ..good });
    assert_says(&unread, Severity::Error, "certFile", "/etc/a.pem");
}

#[test]
fn texts_that_are_no_key() {
    let good = Authority::new("ca").ecdsa(&["a.test"]);
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let old =
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let nonsense = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    for (text, said) in [
        (encrypted, "encrypted"),
        (old, "encrypted"),
        (nonsense, "cannot be used"),
        (&*good.cert.text, "no private key"),
    ] {
        let found = problem(Certificate { key: Pem::inline(text), ..good.clone() });
        assert_says(&found, Severity::Error, "keyFile", said);
    }
}

#[test]
fn times_are_warned_of_and_the_certificate_serves() {
    let ca = Authority::new("ca");
    for (from, until, said) in [
        (-90 * DAY, -3 * DAY, "expired 3 days ago"),
        (3 * DAY, 90 * DAY, "not valid for another 3 days"),
        (-90 * DAY, 6 * DAY, "expires in 6 days"),
    ] {
        let certificate = ca.sign(valid(params(&["a.test"]), from, until), ecdsa_key());
        assert_says(&problem(certificate.clone()), Severity::Warning, "certFile", said);
        let (table, _) = Process::new().build(&tls(vec![certificate], vec![]), None);
        assert!(table.first_choice("a.test").is_some());
    }
    let fine = ca.sign(valid(params(&["a.test"]), -DAY, 8 * DAY), ecdsa_key());
    assert!(problems(&tls(vec![fine], vec![])).is_empty());
}

#[test]
fn chain_that_clients_cannot_follow() {
    let (ca, other) = (Authority::new("ca"), Authority::new("other"));
    let good = ca.ecdsa(&["a.test"]);
    let end = good.cert.text.strip_suffix(&ca.pem).expect("the authority comes last").to_owned();
    let alone = Certificate { cert: Pem::inline(&*end), ..good.clone() };
    assert_says(&problem(alone), Severity::Warning, "certFile", "intermediate seems to be missing");
    let wrong = Certificate { cert: Pem::inline(end + &other.pem), ..good };
    assert_says(&problem(wrong), Severity::Warning, "certFile", "out of order");
}

#[test]
fn certificate_without_alternative_names_serves_its_common_name() {
    let ca = Authority::new("ca");
    let mut nameless = params(&["a.test"]);
    nameless.subject_alt_names.clear();
    let certificate = ca.sign(nameless, ecdsa_key());
    assert_says(&problem(certificate.clone()), Severity::Warning, "certFile", "no subject alternative names");
    let (table, _) = Process::new().build(&tls(vec![certificate], vec![]), None);
    assert!(table.first_choice("a.test").is_some());
}

#[test]
fn options_that_cannot_be_used() {
    let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
    let suite = TlsOptions { cipher_suites: names(&["TLS_FAST"]), ..TlsOptions::default() };
    let unsafe_suite = TlsOptions {
        cipher_suites: names(&["TLS_RSA_WITH_AES_128_CBC_SHA", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]),
        ..TlsOptions::default()
    };
    let group = TlsOptions { curves: names(&["CurveP111"]), ..TlsOptions::default() };
    let order = TlsOptions {
        min_version: TlsVersion::Tls13,
        max_version: TlsVersion::Tls12,
        ..TlsOptions::default()
    };
    for (options, severity, field, said) in [
        (suite, Severity::Error, "cipherSuites", "unknown suite \"TLS_FAST\""),
        (unsafe_suite, Severity::Warning, "cipherSuites", "TLS_RSA_WITH_AES_128_CBC_SHA is not safe"),
        (group, Severity::Error, "curvePreferences", "unknown group \"CurveP111\""),
        (order, Severity::Error, "minVersion", "above maxVersion"),
    ] {
        let found = problems(&tls(vec![], vec![options]));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].object, "tls.options.default");
        assert_says(&found[0], severity, field, said);
    }
}

#[test]
fn warnings_come_again_with_every_table() {
    let ca = Authority::new("ca");
    let process = Process::new();
    let section = tls(vec![ca.sign(valid(params(&["a.test"]), -90 * DAY, DAY), ecdsa_key())], vec![]);
    let (first, before) = process.build(&section, None);
    let (_, after) = process.build(&section, Some(&first));
    assert_eq!((before.len(), &before), (1, &after));
}

#[test]
fn description_says_which_names_a_certificate_serves() {
    let ca = Authority::new("ca");
    let (rsa, ecdsa) = (ca.rsa(&["a.test", "b.test"]), ca.ecdsa(&["a.test", "*.c.test"]));
    let all = Process::new().table(&tls(vec![rsa, ecdsa], vec![])).describe();
    assert_eq!(all.len(), 3);
    assert_eq!((all[0].key, &all[0].serves[..]), (KeyKind::Rsa(2048), &["b.test".to_owned()][..]));
    assert_eq!((all[1].key, all[1].serves.len()), (KeyKind::Ecdsa(256), 2));
    assert!(all[2].is_default && all[2].subject.contains("PANCAKE DEFAULT CERT"));
    assert!(all.iter().all(|one| one.not_before < one.not_after && !one.serial.is_empty()));
}
