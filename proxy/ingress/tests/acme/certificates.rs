use std::time::{Duration, SystemTime};

use pancake_proxy::acme::certificate::{Validity, has_issuer};
use pancake_proxy::acme::settings::{Challenge, ExternalAccount};
use pancake_proxy::acme::storage::{self, Bytes, Domain, Stored, StoredCertificate};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;

use crate::harness::{eventually, free};
use crate::rig::{Place, http, json, mode, names_in};

#[test]
fn http_01_gives_a_certificate_that_is_stored_in_the_form_of_traefik() {
    let Some(place) = Place::new() else { return };
    let rig = place.start(place.resolver(http()), &[&["a.example", "b.example"]]);
    let served = rig.certificate(&["a.example", "b.example"]);
    let mut names = names_in(&served);
    names.sort();
    assert_eq!(names, ["a.example", "b.example"]);
    assert!(PrivateKeyDer::from_pem_slice(&served.key_pem).is_ok());
    assert_eq!(mode(&place.storage()), 0o600);
    let file = json(&place.storage());
    let le = &file["le"];
    assert_eq!(le["Account"]["Registration"]["body"]["status"], "valid");
    assert!(le["Account"]["Registration"]["uri"].as_str().unwrap().starts_with("https://127.0.0.1"));
    let domain = &le["Certificates"][0]["domain"];
    assert_eq!((&domain["main"], &domain["sans"][0]), (&"a.example".into(), &"b.example".into()));
    assert_eq!(le["Certificates"][0]["Store"], "default");
    assert!(le.get("PancakeFailedOrders").is_none());
    eventually("tokens are taken away", || place.tokens[0].is_empty());
}

#[test]
fn tls_alpn_01_gives_a_certificate() {
    let Some(place) = Place::new() else { return };
    let rig = place.start(place.resolver(Challenge::TlsAlpn { delay: Duration::ZERO }), &[&["a.example"]]);
    assert_eq!(names_in(&rig.certificate(&["a.example"])), ["a.example"]);
    eventually("challenges are taken away", || place.challenges.lock().unwrap().is_empty());
}

#[test]
fn a_restart_uses_the_stored_account_and_orders_nothing_again() {
    let Some(place) = Place::new() else { return };
    let rig = place.start(place.resolver(http()), &[&["a.example"]]);
    let before = rig.certificate(&["a.example"]);
    rig.stop();
    let account = json(&place.storage())["le"]["Account"].clone();

    let rig = place.start(place.resolver(http()), &[&["a.example"]]);
    assert!(rig.certificate(&["a.example"]) == before);
    rig.settled(1);
    rig.want(&[&["a.example"], &["b.example"]]);
    rig.certificate(&["b.example"]);
    assert_eq!(json(&place.storage())["le"]["Account"], account);
    assert!(rig.certificate(&["a.example"]) == before);
}

/// A certificate of ninety days of which `left` are left, as if it came from a CA.
fn old_certificate(name: &str, left: Duration) -> StoredCertificate {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
    let day = Duration::from_secs(24 * 60 * 60);
    let end = SystemTime::now() + left;
    (params.not_before, params.not_after) = ((end - day * 90).into(), end.into());
    StoredCertificate {
        domain: Domain::of(&[name.to_owned()]),
        certificate: Bytes(params.self_signed(&key).unwrap().pem().into_bytes()),
        key: Bytes(key.serialize_pem().into_bytes()),
        store: "default".into(),
        rest: Default::default(),
    }
}

fn store(place: &Place, certificate: StoredCertificate) {
    let stored = Stored { certificates: vec![certificate], ..Stored::default() };
    storage::write(&place.storage(), &[("le".to_owned(), stored)].into()).unwrap();
}

#[test]
fn a_certificate_with_less_than_a_third_of_its_life_is_renewed() {
    let Some(place) = Place::new() else { return };
    let left = Duration::from_secs(26 * 24 * 60 * 60);
    let old = old_certificate("a.example", left);
    store(&place, old.clone());
    let rig = place.start(place.resolver(http()), &[&["a.example"]]);
    // The old one is served until the new one is there.
    eventually("the new one", || rig.certificate(&["a.example"]).chain_pem != old.certificate.0);
    let validity = Validity::of(&rig.certificate(&["a.example"]).chain_pem).unwrap();
    assert!(validity.not_after > SystemTime::now() + left);
    rig.settled(1);
    assert_eq!(json(&place.storage())["le"]["Certificates"].as_array().unwrap().len(), 1);
}

#[test]
fn an_old_certificate_is_served_while_its_renewal_fails_and_the_reason_is_told() {
    let Some(place) = Place::new() else { return };
    let old = old_certificate("a.example", Duration::from_secs(24 * 60 * 60));
    store(&place, old.clone());
    let mut resolver = place.resolver(http());
    resolver.ca_server = format!("https://{}/dir", free());
    let rig = place.start(resolver, &[&["a.example"]]);
    let problem = rig.problem();
    assert_eq!((problem.domains[0].as_str(), problem.failed_orders), ("a.example", 1));
    assert!(problem.last_error.unwrap().contains("Connection refused"));
    assert!(problem.not_after.is_some() && problem.next_try > Some(SystemTime::now()));
    assert!(rig.served.lock().unwrap()[0].chain_pem == old.certificate.0);
    // Neither a restart nor a change of the configuration makes the next try come earlier.
    rig.stop();
    let rig = place.start(place.resolver(http()), &[&["a.example"]]);
    rig.want(&[&["a.example"], &["b.example"]]);
    eventually("the other one", || rig.served.lock().unwrap().iter().any(|one| one.domains == ["b.example"]));
    assert!(rig.served.lock().unwrap().iter().any(|one| one.chain_pem == old.certificate.0));
    assert_eq!(rig.problem().failed_orders, 1);
}

#[test]
fn what_the_ca_cannot_check_is_told_in_its_words() {
    let Some(place) = Place::new() else { return };
    // Nobody answers tls-alpn-01 with these: the certificates go elsewhere.
    let resolver = place.resolver(Challenge::TlsAlpn { delay: Duration::ZERO });
    let rig = crate::rig::Rig::start(resolver, &[&["a.example"]], Default::default(), Default::default());
    let error = rig.problem().last_error.unwrap();
    assert!(error.starts_with("a.example: the CA could not check the tls-alpn-01 challenge: "), "{error}");
}

#[test]
fn an_external_account_is_bound() {
    let secret = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let more = [
        ("externalAccountBindingRequired", true.into()),
        ("externalAccountMACKeys", serde_json::json!({"kid-1": secret})),
    ];
    let Some(place) = Place::with(1, &more) else { return };
    let rig = place.start(place.resolver(http()), &[&["a.example"]]);
    assert!(rig.problem().last_error.unwrap().contains("expected acme.eab.kid"));
    rig.stop();
    std::fs::remove_file(place.storage()).unwrap();
    let eab = Some(ExternalAccount { kid: "kid-1".into(), hmac_encoded: secret.into() });
    let rig = place
        .start(pancake_proxy::acme::settings::Resolver { eab, ..place.resolver(http()) }, &[&["a.example"]]);
    rig.certificate(&["a.example"]);
}

#[test]
fn the_preferred_chain_is_taken() {
    let Some(place) = Place::new() else { return };
    for (n, name) in [(0, "a.example"), (1, "b.example")] {
        let root = place.pebble.issuing_root(n);
        let common_name = common_name(&root);
        let mut resolver = place.resolver(http());
        resolver.preferred_chain = Some(common_name.clone());
        let rig = place.start(resolver, &[&[name]]);
        assert!(has_issuer(&rig.certificate(&[name]).chain_pem, &common_name), "chain {n}");
    }
}

/// The subject of a self-signed certificate.
fn common_name(pem: &[u8]) -> String {
    let der = rustls::pki_types::CertificateDer::from_pem_slice(pem).unwrap();
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
    parsed.subject().iter_common_name().next().unwrap().as_str().unwrap().to_owned()
}

#[test]
fn a_corrupt_storage_file_is_told_and_left_alone() {
    let Some(place) = Place::new() else { return };
    std::fs::write(place.storage(), "{").unwrap();
    std::fs::set_permissions(place.storage(), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let rig = place.start(place.resolver(http()), &[&["a.example"]]);
    let error = rig.problem().last_error.unwrap();
    assert!(error.contains("expected the form of Traefik's acme.json"), "{error}");
    assert_eq!(std::fs::read(place.storage()).unwrap(), b"{");
    // Mended: it goes on by itself.
    std::fs::write(place.storage(), "{}").unwrap();
    eventually("a certificate", || !rig.served.lock().unwrap().is_empty());
}
