//! Authorities, certificates and handshakes in memory.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use pancake_table::check::Problem;
use pancake_table::snapshot::tls::{Certificate, Pem, Tls, TlsOptions};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_RSA_SHA256, SignatureAlgorithm,
};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::Acceptor;
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use crate::{Challenges, Input, Refusal, Tickets, TlsTable, generated_default};

/// The time of all tests, in seconds since 1970.
pub(super) const NOW: u64 = 1_800_000_000;
pub(super) const DAY: i64 = 86_400;

#[derive(Debug)]
pub(super) struct StoppedClock;

impl TimeProvider for StoppedClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(NOW)))
    }
}

pub(super) fn clock() -> Arc<dyn TimeProvider> {
    Arc::new(StoppedClock)
}

/// RSA keys are slow to make: one for all tests.
static RSA: LazyLock<String> =
    LazyLock::new(|| KeyPair::generate_for(&PKCS_RSA_SHA256).expect("RSA key").serialize_pem());

/// A certificate authority.
pub(super) struct Authority {
    pub(super) pem: String,
    pub(super) issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("key");
        let certificate = params.self_signed(&pair).expect("self-signed");
        Authority { pem: certificate.pem(), issuer: Issuer::new(params, pair) }
    }

    pub(super) fn root(&self) -> CertificateDer<'static> {
        crate::pem::certificates(&Pem::inline(&*self.pem)).expect("PEM").remove(0)
    }

    /// An ECDSA certificate, the authority's behind it.
    pub(super) fn ecdsa(&self, names: &[&str]) -> Certificate {
        self.sign(params(names), ecdsa_key())
    }

    pub(super) fn rsa(&self, names: &[&str]) -> Certificate {
        self.sign(params(names), KeyPair::from_pem(&RSA).expect("RSA key"))
    }

    pub(super) fn sign(&self, params: CertificateParams, pair: KeyPair) -> Certificate {
        let certificate = params.signed_by(&pair, &self.issuer).expect("signed");
        Certificate {
            name: "tls.certificates[0]@file".into(),
            cert: Pem::inline(certificate.pem() + &self.pem),
            key: Pem::inline(pair.serialize_pem()),
            ocsp: Vec::new(),
        }
    }
}

pub(super) fn ecdsa_key() -> KeyPair {
    key(&PKCS_ECDSA_P256_SHA256)
}

pub(super) fn key(algorithm: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).expect("key")
}

pub(super) fn params(names: &[&str]) -> CertificateParams {
    let mut params =
        CertificateParams::new(names.iter().map(|name| name.to_string()).collect::<Vec<_>>()).expect("names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or("nameless"));
    params
}

/// Valid from and until so many seconds from [`NOW`].
pub(super) fn valid(mut params: CertificateParams, from: i64, until: i64) -> CertificateParams {
    let at = |offset: i64| {
        let seconds = NOW.checked_add_signed(offset).expect("after 1970");
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
    };
    (params.not_before, params.not_after) = (at(from), at(until));
    params
}

/// A process: what tables share.
pub(super) struct Process {
    pub(super) tickets: Arc<Tickets>,
    pub(super) challenges: Arc<Challenges>,
    pub(super) generated: Arc<CertifiedKey>,
    pub(super) clock: Arc<dyn TimeProvider>,
    pub(super) options_by_host: BTreeMap<String, String>,
}

impl Process {
    pub(super) fn new() -> Process {
        Process::with(Tickets::new(NOW).expect("randomness"))
    }

    pub(super) fn with(tickets: Tickets) -> Process {
        Process {
            tickets: Arc::new(tickets),
            challenges: Arc::default(),
            generated: generated_default(NOW).expect("a certificate"),
            clock: clock(),
            options_by_host: BTreeMap::new(),
        }
    }

    pub(super) fn hosts(mut self, hosts: &[(&str, &str)]) -> Process {
        self.options_by_host = hosts.iter().map(|(h, o)| (h.to_string(), o.to_string())).collect();
        self
    }

    pub(super) fn build(&self, tls: &Tls, previous: Option<&TlsTable>) -> (TlsTable, Vec<Problem>) {
        let input = Input {
            tls,
            options_by_host: &self.options_by_host,
            further: &[],
            now_unix: NOW,
            tickets: &self.tickets,
            challenges: &self.challenges,
            generated_default: &self.generated,
            clock: &self.clock,
        };
        TlsTable::build(&input, previous)
    }

    /// A table about which there is nothing to say.
    pub(super) fn table(&self, tls: &Tls) -> TlsTable {
        let (table, problems) = self.build(tls, None);
        assert!(problems.is_empty(), "{problems:?}");
        table
    }
}

pub(super) fn tls(certificates: Vec<Certificate>, options: Vec<TlsOptions>) -> Tls {
    Tls { certificates, options, stores: Vec::new() }
}

/// A client that trusts `authority`.
pub(super) fn client(authority: &Authority) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.root()).expect("root");
    let builder = ClientConfig::builder_with_details(Arc::new(default_provider()), clock());
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(16);
    config
}

/// The same, whatever certificate the server has.
pub(super) fn trusting(config: &mut ClientConfig) {
    #[derive(Debug)]
    struct Any;
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    impl ServerCertVerifier for Any {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            default_provider().signature_verification_algorithms.supported_schemes()
        }
    }
    config.dangerous().set_certificate_verifier(Arc::new(Any));
}

/// Why a handshake came to nothing.
#[derive(Debug)]
#[allow(dead_code)]
pub(super) enum Failed {
    Refused(Refusal),
    Server(rustls::Error),
    Client(rustls::Error),
}

pub(super) struct Ends {
    pub(super) client: ClientConnection,
    pub(super) server: ServerConnection,
}

impl Ends {
    pub(super) fn serial(&self) -> Vec<u8> {
        self.client.peer_certificates().expect("certificates")[0].to_vec()
    }
}

/// A handshake of `config` with whatever `table` selects.
pub(super) fn connect(table: &TlsTable, config: &Arc<ClientConfig>, name: &str) -> Result<Ends, Failed> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    handshake(config, name, |hello| table.select(hello))
}

/// A handshake with a server of one configuration.
pub(super) fn connect_to(
    server: &Arc<ServerConfig>,
    config: &Arc<ClientConfig>,
    name: ServerName<'static>,
) -> Result<Ends, Failed> {
    handshake(config, name, |_| Ok(Arc::clone(server)))
}

fn handshake(
    config: &Arc<ClientConfig>,
    name: ServerName<'static>,
    select: impl FnOnce(&rustls::server::ClientHello<'_>) -> Result<Arc<ServerConfig>, Refusal>,
) -> Result<Ends, Failed> {
    let mut client = ClientConnection::new(Arc::clone(config), name).map_err(Failed::Client)?;
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("memory");
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut Cursor::new(&bytes)).expect("memory");
    let accepted =
        acceptor.accept().map_err(|(error, _)| Failed::Server(error))?.expect("a whole ClientHello");
    let server = select(&accepted.client_hello()).map_err(Failed::Refused)?;
    let mut server = accepted.into_connection(server).map_err(|(error, _)| Failed::Server(error))?;
    // A handshake has at most six flights; the last brings tickets.
    for _ in 0..8 {
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).expect("memory");
        }
        feed(&bytes, |from| client.read_tls(from));
        client.process_new_packets().map_err(Failed::Client)?;
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).expect("memory");
        }
        feed(&bytes, |from| server.read_tls(from));
        server.process_new_packets().map_err(Failed::Server)?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(Ends { client, server })
}

fn feed(bytes: &[u8], mut read: impl FnMut(&mut dyn std::io::Read) -> std::io::Result<usize>) {
    let mut from = Cursor::new(bytes);
    while (from.position() as usize) < bytes.len() {
        read(&mut from).expect("memory");
    }
}

/// What a table would show for these.
pub(super) fn der(certificate: &Certificate) -> Vec<u8> {
    crate::pem::certificates(&certificate.cert).expect("PEM").remove(0).to_vec()
}
