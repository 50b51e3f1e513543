//! What a message of the control plane holds that can be used, and what is wrong with the rest. Pure; to be called off the service
//! thread, since keys are loaded to see that they belong to their certificates.
//!
//! A resolver is taken whole or not at all; answers and ticket keys likewise each for themselves. Reasons never quote a key.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use pancake_table::certificates as wire;
use pancake_tls::SharedKey;
use prost::Message as _;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use crate::acme::shared::Answer;
use crate::acme::storage::{Bytes, Stored, StoredCertificate};

/// Bytes of a shared ticket key.
const TICKET_KEY_BYTES: usize = 48;
/// The longest time from a ticket key's start to its end, in seconds: thrice the longest period of the control plane.
const MAX_TICKET_KEY_TIME: u64 = 3 * 604_800;

/// What a resolver has by the control plane.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    pub(super) version: u64,
    pub(super) stored: Arc<Stored>,
}

/// A message, taken apart.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) resolvers: Vec<(String, Remote)>,
    pub(super) answers: Option<Vec<Answer>>,
    pub(super) keys: Option<Vec<SharedKey>>,
    pub(super) refused: Vec<String>,
}

/// Takes a message apart. What is in `known` was found good before.
pub(super) fn read(update: wire::Update, known: &BTreeMap<String, Remote>) -> Taken {
    let mut taken = Taken::default();
    if update.resolvers.len() > wire::MAX_RESOLVERS {
        taken.refused.push(format!("{} resolvers, at most {}", update.resolvers.len(), wire::MAX_RESOLVERS));
    }
    for one in update.resolvers.into_iter().take(wire::MAX_RESOLVERS) {
        let name =
            one.name.chars().filter(|c| !c.is_control()).take(wire::MAX_NAME_BYTES).collect::<String>();
        match resolver(&one, known.get(&one.name)) {
            Ok(remote) => taken.resolvers.push((one.name, remote)),
            Err(why) => taken.refused.push(format!("resolver {name}, version {}: {why}", one.version)),
        }
    }
    match update.answers.map(answers).transpose() {
        Ok(answers) => taken.answers = answers,
        Err(why) => taken.refused.push(format!("answers to challenges: {why}")),
    }
    match update.ticket_keys.map(ticket_keys).transpose() {
        Ok(keys) => taken.keys = keys.flatten(),
        Err(why) => taken.refused.push(format!("ticket keys: {why}")),
    }
    taken
}

/// The state of one resolver; version 0: nothing yet.
pub(super) fn resolver(one: &wire::Resolver, known: Option<&Remote>) -> Result<Remote, String> {
    if one.version == 0 {
        return Ok(Remote { version: 0, stored: Arc::default() });
    }
    if one.document.len() > wire::MAX_DOCUMENT_BYTES {
        return Err(format!("{} bytes, at most {}", one.document.len(), wire::MAX_DOCUMENT_BYTES));
    }
    // What serde says of a value may quote it.
    let stored: Stored = serde_json::from_slice(&one.document).map_err(|error| {
        format!("it is not in the form of acme.json (line {}, column {})", error.line(), error.column())
    })?;
    let before: HashMap<_, _> = known
        .iter()
        .flat_map(|remote| &remote.stored.certificates)
        .map(|one| (one.domain.names(), one))
        .collect();
    for one in &stored.certificates {
        let names = one.domain.names();
        if before.get(&names).is_none_or(|before| *before != one) {
            usable(one).map_err(|why| format!("certificate {}: {why}", names.join(" ")))?;
        }
    }
    Ok(Remote { version: one.version, stored: Arc::new(stored) })
}

/// Whether it can serve; one without a value is left out by whoever serves.
fn usable(one: &StoredCertificate) -> Result<(), String> {
    if one.certificate.0.is_empty() || one.key.0.is_empty() {
        return Ok(());
    }
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&one.certificate.0).collect();
    let chain = chain.map_err(|_| "the chain is not PEM")?;
    let key = PrivateKeyDer::from_pem_slice(&one.key.0).map_err(|_| "the key is not PEM")?;
    belongs(&chain, &key)
}

fn belongs(chain: &[CertificateDer<'_>], key: &PrivateKeyDer<'_>) -> Result<(), String> {
    let end = chain.first().ok_or("the chain is empty")?;
    let key = any_supported_type(key).map_err(|_| "the key cannot be used")?;
    // Not by rustls: it refuses the critical extension of a tls-alpn-01 certificate.
    let (_, end) = X509Certificate::from_der(end).map_err(|_| "the certificate cannot be read")?;
    match key.public_key() {
        Some(public) if public.as_ref() != end.tbs_certificate.subject_pki.raw => {
            Err("the key does not belong to the certificate".into())
        }
        _ => Ok(()),
    }
}

fn answers(all: wire::Answers) -> Result<Vec<Answer>, String> {
    if all.answers.len() > wire::MAX_ANSWERS {
        return Err(format!("{}, at most {}", all.answers.len(), wire::MAX_ANSWERS));
    }
    all.answers.into_iter().map(answer).collect()
}

fn answer(one: wire::Answer) -> Result<Answer, String> {
    if one.encoded_len() > wire::MAX_ANSWER_BYTES {
        return Err(format!("one has {} bytes, at most {}", one.encoded_len(), wire::MAX_ANSWER_BYTES));
    }
    match one.kind {
        None => Err("one is of a kind that is not known here".into()),
        Some(wire::answer::Kind::Http(wire::Http { token, key_authorization })) => {
            // RFC 8555 section 8.3: base64url, and so a part of a path.
            let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            match !token.is_empty() && token.bytes().all(fits) {
                true => Ok(Answer::Http { token, key_authorization }),
                false => Err("a token is not base64url".into()),
            }
        }
        Some(wire::answer::Kind::TlsAlpn(wire::TlsAlpn { host, certificate, key })) => {
            let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.clone()));
            belongs(&[CertificateDer::from(certificate.clone())], &der)
                .map_err(|why| format!("the one for {}: {why}", host.escape_debug()))?;
            Ok(Answer::TlsAlpn { host, certificate: Bytes(certificate), key: Bytes(key) })
        }
    }
}

/// An answer as it travels.
pub(super) fn to_wire(answer: &Answer) -> wire::Answer {
    let kind = match answer.clone() {
        Answer::Http { token, key_authorization } => {
            wire::answer::Kind::Http(wire::Http { token, key_authorization })
        }
        Answer::TlsAlpn { host, certificate, key } => {
            wire::answer::Kind::TlsAlpn(wire::TlsAlpn { host, certificate: certificate.0, key: key.0 })
        }
    };
    wire::Answer { kind: Some(kind) }
}

/// None: the control plane has none yet.
fn ticket_keys(all: wire::TicketKeys) -> Result<Option<Vec<SharedKey>>, String> {
    if all.keys.len() > wire::MAX_TICKET_KEYS {
        return Err(format!("{}, at most {}", all.keys.len(), wire::MAX_TICKET_KEYS));
    }
    let key = |(n, one): (usize, wire::TicketKey)| {
        let in_order = one.encrypts_from < one.encrypts_until && one.encrypts_until <= one.decrypts_until;
        if one.key.len() != TICKET_KEY_BYTES {
            return Err(format!("key {n} has {} bytes, expected {TICKET_KEY_BYTES}", one.key.len()));
        }
        if !in_order || one.decrypts_until - one.encrypts_from > MAX_TICKET_KEY_TIME {
            return Err(format!("the times of key {n} are out of order or too long"));
        }
        Ok(SharedKey {
            key: one.key,
            encrypts_from: one.encrypts_from,
            encrypts_until: one.encrypts_until,
            decrypts_until: one.decrypts_until,
        })
    };
    let keys: Result<Vec<_>, _> = all.keys.into_iter().enumerate().map(key).collect();
    keys.map(|keys| Some(keys).filter(|keys| !keys.is_empty()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::acme::storage::Domain;

    /// A certificate that ends with March of this year.
    pub(crate) fn certificate(name: &str, year: i32) -> StoredCertificate {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(year, 1, 1), rcgen::date_time_ymd(year, 4, 1));
        StoredCertificate {
            domain: Domain { main: name.into(), sans: vec![] },
            certificate: Bytes(params.self_signed(&key).unwrap().pem().into_bytes()),
            key: Bytes(key.serialize_pem().into_bytes()),
            store: "default".into(),
            rest: Default::default(),
        }
    }

    fn resolver_of(certificates: Vec<StoredCertificate>) -> wire::Resolver {
        let stored = Stored { certificates, ..Stored::default() };
        wire::Resolver { name: "le".into(), version: 3, document: serde_json::to_vec(&stored).unwrap() }
    }

    fn refused(update: wire::Update) -> String {
        let taken = read(update, &BTreeMap::new());
        assert!(taken.resolvers.is_empty() && taken.keys.is_none());
        assert_eq!(taken.refused.len(), 1, "{:?}", taken.refused);
        taken.refused[0].clone()
    }

    fn of_resolver(one: wire::Resolver) -> wire::Update {
        wire::Update { revision: 1, resolvers: vec![one], ..wire::Update::default() }
    }

    #[test]
    fn a_good_resolver_is_taken() {
        let one = certificate("a.example", 2030);
        let taken = read(of_resolver(resolver_of(vec![one.clone()])), &BTreeMap::new());
        assert!(taken.refused.is_empty());
        assert_eq!((taken.resolvers[0].1.version, &taken.resolvers[0].1.stored.certificates[0]), (3, &one));
    }

    #[test]
    fn refuses_what_is_no_document_and_what_is_too_large() {
        let broken = wire::Resolver { document: b"{\"Certificates\": 3}".to_vec(), ..resolver_of(vec![]) };
        let why = refused(of_resolver(broken));
        assert!(why.starts_with("resolver le, version 3: it is not in the form of acme.json"), "{why}");
        let large =
            wire::Resolver { document: vec![b' '; wire::MAX_DOCUMENT_BYTES + 1], ..resolver_of(vec![]) };
        assert!(refused(of_resolver(large)).contains("at most"));
    }

    #[test]
    fn refuses_bad_pem_and_a_key_of_another_certificate_without_quoting_it() {
        let (good, other) = (certificate("a.example", 2030), certificate("b.example", 2030));
        let with = |change: &dyn Fn(&mut StoredCertificate)| {
            let mut one = good.clone();
            change(&mut one);
            refused(of_resolver(resolver_of(vec![other.clone(), one])))
        };
        let mismatch = with(&|one| one.key = other.key.clone());
        assert!(mismatch.contains("a.example: the key does not belong"), "{mismatch}");
        let broken = with(&|one| one.key = Bytes(b"-----BEGIN PRIVATE KEY-----\nsecret".to_vec()));
        assert!(broken.contains("the key is not PEM") && !broken.contains("secret"), "{broken}");
        assert!(with(&|one| one.certificate = Bytes(b"x".to_vec())).contains("the chain is empty"));
    }

    #[test]
    fn refuses_answers_and_ticket_keys_that_are_out_of_bounds() {
        let of = |token: &str| {
            let http = wire::Http { token: token.into(), key_authorization: "x".into() };
            let answers = vec![wire::Answer { kind: Some(wire::answer::Kind::Http(http)) }];
            wire::Update { answers: Some(wire::Answers { answers }), ..wire::Update::default() }
        };
        assert_eq!(read(of("a_-9"), &BTreeMap::new()).answers.map(|all| all.len()), Some(1));
        assert!(refused(of("../x")).contains("not base64url"));
        assert!(refused(of(&"x".repeat(9_000))).contains("at most"));
        let alpn = wire::TlsAlpn { host: "a".into(), certificate: vec![1], key: vec![2] };
        let alpn = vec![wire::Answer { kind: Some(wire::answer::Kind::TlsAlpn(alpn)) }];
        let alpn = wire::Update { answers: Some(wire::Answers { answers: alpn }), ..wire::Update::default() };
        assert!(refused(alpn).contains("the key cannot be used"));
        let good = to_wire(&crate::acme::alpn::certificate("a.example", "x.y").unwrap());
        let good = wire::Answers { answers: vec![good] };
        let good = wire::Update { answers: Some(good), ..wire::Update::default() };
        assert_eq!(read(good, &BTreeMap::new()).answers.map(|all| all.len()), Some(1));
        let keys = |length: usize, until: u64, number: usize| {
            let key = wire::TicketKey {
                key: vec![1; length],
                encrypts_from: 5,
                encrypts_until: until,
                decrypts_until: 9,
            };
            let keys = wire::TicketKeys { keys: vec![key; number] };
            wire::Update { ticket_keys: Some(keys), ..wire::Update::default() }
        };
        assert!(read(keys(48, 7, 2), &BTreeMap::new()).keys.is_some());
        assert!(refused(keys(32, 7, 1)).contains("expected 48"));
        assert!(refused(keys(48, 4, 1)).contains("out of order"));
        assert!(refused(keys(48, 7, 9)).contains("at most 8"));
        assert!(read(keys(48, 7, 0), &BTreeMap::new()).keys.is_none(), "none yet");
    }
}
