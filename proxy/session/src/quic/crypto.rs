//! TLS by the name that a client asks for (RFC 9001).
//!
//! `quinn-proto` wants a session at the first datagram, and rustls its configuration with it; which one that is stands in the
//! ClientHello. So a session waits for it, finds the configuration as TCP connections do, and then starts the real one.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use pancake_table::compiled::Table;
use pancake_table::lookup::EntryPointId;
use pancake_tls::TlsTable;
use pancake_wire::client_hello::{self, ClientHello, Peek};
use quinn_proto::crypto::rustls::QuicServerConfig;
use quinn_proto::crypto::{
    ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, ServerConfig, Session, UnsupportedVersion,
};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectionId, Side, TransportError, TransportErrorCode};
use rustls::quic::Suite;
use rustls::server::{ProducesTickets, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::{AlertDescription, CipherSuite};

use crate::limits::{QUIC_EARLY_SESSIONS, QUIC_HELLO_BYTES, QUIC_TLS_CONFIGS};

/// What HTTP/3 is called in ALPN (RFC 9114 section 3.1).
const ALPN: &[u8] = b"h3";

/// What is known of a client once its hello came.
#[derive(Clone, Debug)]
pub(super) struct Greeting {
    /// The name that it asks for, lower case; empty if it named none.
    pub(super) sni: Box<str>,
}

/// Finds the configuration of each client.
pub(super) struct Chooser {
    table: Arc<ArcSwap<Table>>,
    tls: Arc<ArcSwap<TlsTable>>,
    entry: EntryPointId,
    zero_rtt: bool,
    suite: Suite,
    /// For what comes before the hello.
    before: Arc<QuicServerConfig>,
    /// Configurations of the TLS table and what QUIC makes of them, the latest last. Only one thread, the worker's, ever
    /// takes the lock.
    made: Mutex<Vec<(Arc<rustls::ServerConfig>, Arc<QuicServerConfig>)>>,
}

impl Chooser {
    /// None if the cryptography here has no suite that every QUIC endpoint must have.
    pub(super) fn new(
        table: Arc<ArcSwap<Table>>,
        tls: Arc<ArcSwap<TlsTable>>,
        entry: EntryPointId,
        zero_rtt: bool,
    ) -> Option<Chooser> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut suites = provider.cipher_suites.iter();
        let suite = suites.find(|suite| suite.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256)?;
        let suite = suite.tls13()?.quic_suite()?;
        let bare = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .ok()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(NoCertificate));
        let before = Arc::new(QuicServerConfig::with_initial(Arc::new(bare), suite).ok()?);
        Some(Chooser { table, tls, entry, zero_rtt, suite, before, made: Mutex::default() })
    }

    /// The configuration for a hello, or the alert for its sender.
    fn choose(&self, hello: &ClientHello<'_>, sni: &str) -> Result<Arc<QuicServerConfig>, AlertDescription> {
        let table = self.table.load();
        let name = hello.server_name().map(|_| sni);
        let options = table.tls_options(self.entry, sni);
        let config = self.tls.load().config_for(options, name, false).map_err(|refusal| refusal.alert())?;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = made.iter().find(|(from, _)| Arc::ptr_eq(from, &config)) {
            return Ok(Arc::clone(known));
        }
        let fitted = Arc::new(self.fit(&config));
        // Options that allow no TLS 1.3 allow no QUIC.
        rustls::quic::ServerConnection::new(Arc::clone(&fitted), rustls::quic::Version::V1, Vec::new())
            .map_err(|_| AlertDescription::ProtocolVersion)?;
        let quic = QuicServerConfig::with_initial(fitted, self.suite)
            .map_err(|_| AlertDescription::InternalError)?;
        let quic = Arc::new(quic);
        if made.len() >= QUIC_TLS_CONFIGS {
            made.remove(0);
        }
        made.push((config, Arc::clone(&quic)));
        Ok(quic)
    }

    fn fit(&self, config: &rustls::ServerConfig) -> rustls::ServerConfig {
        let mut config = config.clone();
        config.alpn_protocols = vec![ALPN.to_vec()];
        if self.zero_rtt {
            // RFC 9001 section 4.6.1: no other value is allowed. Each session is good for one use, so that early data
            // cannot be sent twice (RFC 8446 section 8.1); they are kept here, by worker.
            config.max_early_data_size = u32::MAX;
            config.ticketer = Arc::new(NoTickets);
            config.session_storage = ServerSessionMemoryCache::new(QUIC_EARLY_SESSIONS);
        }
        config
    }
}

impl ServerConfig for Chooser {
    fn initial_keys(&self, version: u32, dst_cid: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        self.before.initial_keys(version, dst_cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.before.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(self: Arc<Self>, version: u32, params: &TransportParameters) -> Box<dyn Session> {
        let (params, held) = (*params, Vec::new());
        Box::new(Greeted { chooser: self, version, params, held, greeting: None, session: None })
    }
}

/// A session that starts with the hello.
struct Greeted {
    chooser: Arc<Chooser>,
    version: u32,
    params: TransportParameters,
    /// What has come of the hello.
    held: Vec<u8>,
    greeting: Option<Greeting>,
    session: Option<Box<dyn Session>>,
}

fn refused(alert: AlertDescription, reason: &str) -> TransportError {
    TransportError { code: TransportErrorCode::crypto(u8::from(alert)), frame: None, reason: reason.into() }
}

impl Session for Greeted {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        match &self.session {
            Some(session) => session.initial_keys(dst_cid, side),
            None => match self.chooser.before.initial_keys(self.version, dst_cid) {
                Ok(keys) => keys,
                Err(_) => unreachable!("the version was looked at before the session was started"),
            },
        }
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.greeting.clone().map(|greeting| Box::new(greeting) as _)
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.session.as_ref().and_then(|session| session.peer_identity())
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.session.as_ref().and_then(|session| session.early_crypto())
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.session.as_ref().and_then(|session| session.early_data_accepted())
    }

    fn is_handshaking(&self) -> bool {
        self.session.as_ref().is_none_or(|session| session.is_handshaking())
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        if let Some(session) = &mut self.session {
            return session.read_handshake(buf);
        }
        self.held.extend_from_slice(buf);
        let hello = match client_hello::peek_message(&self.held) {
            Peek::Hello(hello) => hello,
            Peek::Incomplete { needed } if needed <= QUIC_HELLO_BYTES => return Ok(false),
            _ => return Err(refused(AlertDescription::DecodeError, "no ClientHello")),
        };
        let mut sni = String::new();
        hello.server_name_for_routing(&mut sni);
        let config = self.chooser.choose(&hello, &sni);
        let config = config.map_err(|alert| refused(alert, "no TLS for this name"))?;
        self.greeting = Some(Greeting { sni: sni.into() });
        let session = self.session.insert(config.start_session(self.version, &self.params));
        let held = std::mem::take(&mut self.held);
        session.read_handshake(&held)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.session.as_ref().map_or(Ok(None), |session| session.transport_parameters())
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        self.session.as_mut().and_then(|session| session.write_handshake(buf))
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.session.as_mut().and_then(|session| session.next_1rtt_keys())
    }

    fn is_valid_retry(&self, _orig_dst_cid: &ConnectionId, _header: &[u8], _payload: &[u8]) -> bool {
        // Only clients are sent any.
        false
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        match &self.session {
            Some(session) => session.export_keying_material(output, label, context),
            None => Err(ExportKeyingMaterialError),
        }
    }
}

/// Who never shows a certificate: keys of Initial packets need none.
#[derive(Debug)]
struct NoCertificate;

impl ResolvesServerCert for NoCertificate {
    fn resolve(&self, _hello: rustls::server::ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }
}

/// No tickets that hold sessions: sessions are kept.
#[derive(Debug)]
struct NoTickets;

impl ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _plain: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _cipher: &[u8]) -> Option<Vec<u8>> {
        None
    }
}
