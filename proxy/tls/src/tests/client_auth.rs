//! Certificates of clients, in all modes.

use std::sync::Arc;

use pancake_table::snapshot::tls::{Certificate, ClientAuth, ClientAuthMode, Pem, TlsOptions};
use rcgen::{
    CertificateRevocationListParams, ExtendedKeyUsagePurpose, KeyIdMethod, RevokedCertParams, SerialNumber,
};
use rustls::ClientConfig;
use rustls::pki_types::PrivateKeyDer;

use super::fixture::*;
use crate::TlsTable;

fn table(ca: &Authority, mode: ClientAuthMode, authority: &Authority, crls: Vec<Pem>) -> TlsTable {
    let auth = ClientAuth { authorities: vec![Pem::inline(&*authority.pem)], mode, crls };
    let options = TlsOptions { client_auth: Some(auth), ..TlsOptions::default() };
    Process::new().table(&tls(vec![ca.ecdsa(&["a.test"])], vec![options]))
}

fn person(authority: &Authority, serial: u64) -> Certificate {
    let mut params = params(&["person.test"]);
    params.serial_number = Some(SerialNumber::from(serial));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    authority.sign(params, ecdsa_key())
}

fn showing(ca: &Authority, certificate: Option<&Certificate>) -> Arc<ClientConfig> {
    let mut config = client(ca);
    if let Some(certificate) = certificate {
        let chain = crate::pem::certificates(&certificate.cert).expect("PEM");
        let key: PrivateKeyDer<'static> = crate::pem::key(&certificate.key).expect("PEM");
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).expect("a key");
        let key = rustls::sign::CertifiedKey::new(chain, key);
        config.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(key));
    }
    Arc::new(config)
}

#[test]
fn each_mode_takes_whom_it_should() {
    use ClientAuthMode::{None, Request, RequireAndVerify, RequireAny, VerifyIfGiven};
    let (ca, people, strangers) =
        (Authority::new("ca"), Authority::new("people"), Authority::new("strangers"));
    let (known, stranger) = (person(&people, 1), person(&strangers, 2));
    // Mode; without, with a stranger's, with a known certificate; whether a certificate is seen.
    for (mode, without, with_stranger, with_known, seen) in [
        (None, true, true, true, false),
        (Request, true, true, true, true),
        (RequireAny, false, true, true, true),
        (VerifyIfGiven, true, false, true, true),
        (RequireAndVerify, false, false, true, true),
    ] {
        let table = table(&ca, mode, &people, vec![]);
        for (certificate, expected) in
            [(Option::None, without), (Some(&stranger), with_stranger), (Some(&known), with_known)]
        {
            let ends = connect(&table, &showing(&ca, certificate), "a.test");
            assert_eq!(ends.is_ok(), expected, "{mode:?} {:?}", certificate.map(|c| c.name.clone()));
            if let Ok(ends) = ends {
                let certificates = ends.server.peer_certificates();
                assert_eq!(certificates.is_some(), seen && certificate.is_some(), "{mode:?}");
            }
        }
    }
}

#[test]
fn revoked_certificate_is_refused() {
    let (ca, people) = (Authority::new("ca"), Authority::new("people"));
    let at = rcgen::date_time_ymd(2026, 1, 1);
    let revoked = RevokedCertParams {
        serial_number: 1u64.into(),
        revocation_time: at,
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: at,
        next_update: rcgen::date_time_ymd(2100, 1, 1),
        crl_number: SerialNumber::from(1u64),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&people.issuer).expect("signed").pem().expect("PEM");
    let table = table(&ca, ClientAuthMode::RequireAndVerify, &people, vec![Pem::inline(list)]);
    assert!(connect(&table, &showing(&ca, Some(&person(&people, 1))), "a.test").is_err());
    assert!(connect(&table, &showing(&ca, Some(&person(&people, 2))), "a.test").is_ok());
}

#[test]
fn verifying_without_authorities_is_an_error_and_serves_nobody() {
    let ca = Authority::new("ca");
    let auth = ClientAuth { authorities: vec![], mode: ClientAuthMode::RequireAndVerify, crls: vec![] };
    let options = TlsOptions { client_auth: Some(auth), ..TlsOptions::default() };
    let (table, problems) = Process::new().build(&tls(vec![ca.ecdsa(&["a.test"])], vec![options]), None);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!((&*problems[0].object, &*problems[0].field), ("tls.options.default", "clientAuth.caFiles"));
    assert!(connect(&table, &showing(&ca, None), "a.test").is_err());
}
