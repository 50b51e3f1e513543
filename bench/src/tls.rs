//! TLS from the client's side: the certificate of a run, and connections that check it.
//!
//! Every client of the scenarios offers TLS 1.3, AES-128-GCM and X25519 and nothing else, so that all proxies do the
//! same cryptographic work, whatever they would choose themselves.

use std::fs;
use std::io::{self, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// The name in the certificate, in SNI and in `Host`; it resolves everywhere.
pub const NAME: &str = "localhost";
/// Tickets that one client keeps; servers give one or two per connection.
const MAX_TICKETS: usize = 8;

/// What wrk and other programs with OpenSSL read through `OPENSSL_CONF`.
const OPENSSL: &str = "openssl_conf = init\n[init]\nssl_conf = ssl\n[ssl]\nsystem_default = client\n[client]\n\
    MinProtocol = TLSv1.3\nCiphersuites = TLS_AES_128_GCM_SHA256\nGroups = X25519\n";

/// A self-signed ECDSA P-256 certificate for [`NAME`], in files as the proxies want them.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate, PEM.
    pub chain: PathBuf,
    /// Its private key, PKCS #8 in PEM.
    pub key: PathBuf,
    /// Both in one file, for HAProxy.
    pub joined: PathBuf,
    /// Configuration for clients with OpenSSL.
    pub openssl: PathBuf,
    der: CertificateDer<'static>,
}

impl Certificate {
    /// Makes a new one with its files in `dir`.
    ///
    /// # Errors
    /// When it cannot be made or a file cannot be written.
    pub fn make(dir: &Path) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).context("no certificate")?;
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let joined = format!("{chain}{key}");
        let write = |name: &str, text: &str| -> Result<PathBuf> {
            let file = dir.join(name);
            fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
            Ok(file)
        };
        Ok(Self {
            chain: write("bench.crt", &chain)?,
            key: write("bench.key", &key)?,
            joined: write("bench.pem", &joined)?,
            openssl: write("openssl.cnf", OPENSSL)?,
            der: made.cert.der().clone(),
        })
    }

    /// A client that trusts this certificate alone; with `resume`, it uses each ticket that it gets once.
    ///
    /// # Errors
    /// When the TLS library refuses the certificate.
    pub fn client(&self, resume: bool) -> Result<Arc<ClientConfig>> {
        let mut provider = default_provider();
        provider.cipher_suites = vec![cipher_suite::TLS13_AES_128_GCM_SHA256];
        provider.kx_groups = vec![kx_group::X25519];
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone())?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption =
            if resume { Resumption::in_memory_sessions(MAX_TICKETS) } else { Resumption::disabled() };
        Ok(Arc::new(config))
    }
}

/// A connection after its handshake.
pub type Connection = BufReader<StreamOwned<ClientConnection, TcpStream>>;

/// Connects and completes the handshake, with `timeout` for the connection itself and for each read and write.
///
/// # Errors
/// Those of the socket; `InvalidData` when the handshake fails or another certificate is shown.
pub fn connect(addr: SocketAddr, client: &Arc<ClientConfig>, timeout: Duration) -> io::Result<Connection> {
    let mut stream = TcpStream::connect_timeout(&addr, timeout)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
    let mut session = ClientConnection::new(Arc::clone(client), name).map_err(io::Error::other)?;
    while session.is_handshaking() {
        session.complete_io(&mut stream)?;
    }
    Ok(BufReader::new(StreamOwned::new(session, stream)))
}
