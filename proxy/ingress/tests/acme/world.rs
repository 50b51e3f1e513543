//! What the CA finds: every name is at 127.0.0.1, where this answers http-01 and tls-alpn-01.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use hickory_proto::op::{Message, OpCode};
use hickory_proto::rr::rdata::{A, TXT};
use hickory_proto::rr::{RData, Record, RecordType};
use pancake_proxy::acme::alpn;
use pancake_proxy::acme::run::AlpnCertificate;
use pancake_session::acme_tokens::AcmeTokens;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection};

/// A DNS server: every name is 127.0.0.1; the TXT records of a name are the lines of the file `NAME` in `texts`.
pub fn dns(texts: PathBuf) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let Ok(question) = Message::from_vec(&buffer[..length]) else { continue };
            let mut answer = Message::response(question.id, OpCode::Query);
            answer.metadata.recursion_available = true;
            for query in &question.queries {
                answer.add_query(query.clone());
                let data: Vec<RData> = match query.query_type() {
                    RecordType::A => vec![RData::A(A::new(127, 0, 0, 1))],
                    RecordType::TXT => {
                        let file = texts.join(query.name().to_ascii().to_lowercase());
                        let lines = std::fs::read_to_string(file).unwrap_or_default();
                        lines.lines().map(|line| RData::TXT(TXT::new(vec![line.to_owned()]))).collect()
                    }
                    _ => vec![],
                };
                answer.add_answers(
                    data.into_iter().map(|data| Record::from_rdata(query.name().clone(), 1, data)),
                );
            }
            // The asker may be gone.
            let _ = socket.send_to(&answer.to_vec().unwrap(), from);
        }
    });
    address
}

/// Answers http-01 from any of these tables, as workers do; anything else is 404.
pub fn http(tokens: Vec<Arc<AcmeTokens>>) -> u16 {
    http_at(SocketAddr::from(([127, 0, 0, 1], 0)), tokens)
}

/// The same at this address.
pub fn http_at(address: SocketAddr, tokens: Vec<Arc<AcmeTokens>>) -> u16 {
    let listener = TcpListener::bind(address).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        // Round and round, as a balancer in front of several proxies.
        for (n, stream) in listener.incoming().enumerate() {
            let tokens = tokens[n % tokens.len()].clone();
            let Ok(mut stream) = stream else { continue };
            let mut line = String::new();
            if BufReader::new(&stream).read_line(&mut line).is_err() {
                continue;
            }
            let body = line.split(' ').nth(1).and_then(|path| tokens.for_path(path));
            let answer = match body {
                Some(body) => format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
                None => "HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n".into(),
            };
            // The CA closes as it likes.
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    port
}

/// The certificates that answer tls-alpn-01, as those who terminate TLS have them.
pub type Challenges = Arc<Mutex<Vec<AlpnCertificate>>>;

struct ByName(Challenges);

impl std::fmt::Debug for ByName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ByName")
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let all = self.0.lock().unwrap();
        let found = all.iter().find(|one| Some(one.host.as_str()) == hello.server_name())?;
        let key = PrivateKeyDer::try_from(found.key.clone()).ok()?;
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).ok()?;
        Some(Arc::new(CertifiedKey::new(vec![CertificateDer::from(found.certificate.clone())], key)))
    }
}

/// A TLS listener that answers tls-alpn-01 and nothing else.
pub fn tls(challenges: Challenges) -> u16 {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ByName(challenges)));
    config.alpn_protocols = vec![alpn::PROTOCOL.to_vec()];
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), Ok(mut tls)) = (stream, ServerConnection::new(config.clone())) else {
                continue;
            };
            while tls.is_handshaking() && tls.complete_io(&mut stream).is_ok() {}
            tls.send_close_notify();
            // The CA has what it wants.
            let _ = tls.complete_io(&mut stream);
        }
    });
    port
}
