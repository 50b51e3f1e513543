//! A client: `quinn-proto` over the datagrams of the simulated network, HTTP/3 by hand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use pancake_engine::seam::{Datagrams, UdpOptions};
use pancake_engine::sim::{Sim, SimDatagrams};
use pancake_engine::{Engine, OutBuf, Outgoing, Part, Time};
use pancake_wire::h3::frame::{self, Frames, Step};
use pancake_wire::h3::{Code, qpack};
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{
    Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig, Event, ReadError, StreamId,
    VarInt, WriteError,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

/// A connection to the proxy.
pub struct Client {
    sim: Sim,
    socket: SimDatagrams,
    origin: Instant,
    endpoint: Endpoint,
    handle: ConnectionHandle,
    /// QUIC's side of it.
    pub quic: Connection,
    /// Why it ended, if it has.
    pub lost: Option<quinn_proto::ConnectionError>,
}

/// An answer: status and length, or how the stream ended.
pub type Answer = Result<(u16, usize), String>;

impl Client {
    /// Opens a connection; it is made by [`Client::turn`].
    pub fn new(sim: &Sim, to: SocketAddr) -> Client {
        let origin = Instant::now();
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, true, None);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3 is there")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody))
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h3".to_vec()];
        let crypto = QuicClientConfig::try_from(tls).expect("the suite of Initial packets is there");
        let config = quinn_proto::ClientConfig::new(Arc::new(crypto));
        let now = origin + Duration::from_nanos(sim.now().0);
        let (handle, quic) = endpoint.connect(now, config, to, "sim.test").expect("the address is good");
        let own = SocketAddr::from(([0, 0, 0, 0], 0));
        let socket = sim.bind_udp(own, &UdpOptions::default()).expect("a port is free");
        Client { sim: sim.clone(), socket, origin, endpoint, handle, quic, lost: None }
    }

    fn now(&self) -> Instant {
        self.origin + Duration::from_nanos(self.sim.now().0)
    }

    /// Takes another socket: the address is another one from now on.
    pub fn rebind(&mut self) {
        let own = SocketAddr::from(([0, 0, 0, 0], 0));
        self.socket = self.sim.bind_udp(own, &UdpOptions::default()).expect("a port is free");
        // So that the server learns of it.
        self.quic.ping();
    }

    /// Sends what is to be sent, waits for a datagram or a timer, deals with it.
    pub async fn turn(&mut self, until: Time) {
        let (now, mut bytes) = (self.now(), Vec::new());
        while let Some(transmit) = self.quic.poll_transmit(now, 1, &mut bytes) {
            let mut out = OutBuf::new();
            out.extend_from_slice(&bytes[..transmit.size]);
            bytes.clear();
            let one = Outgoing { bytes: Part::Out(out), to: Some(transmit.destination), from: None };
            let _ = self.socket.send(&[one], Time::NEVER).await;
        }
        let timeout = self.quic.poll_timeout();
        let timeout =
            timeout.map_or(Time::NEVER, |at| Time(0).after(at.saturating_duration_since(self.origin)));
        let mut batch = Vec::new();
        let _ = self.socket.recv(&mut batch, timeout.min(until)).await;
        let now = self.now();
        for datagram in batch {
            let bytes = BytesMut::from(&datagram.bytes[..]);
            let event = self.endpoint.handle(now, datagram.peer, None, None, bytes, &mut Vec::new());
            if let Some(DatagramEvent::ConnectionEvent(_, event)) = event {
                self.quic.handle_event(event);
            }
        }
        if self.quic.poll_timeout().is_some_and(|at| at <= now) {
            self.quic.handle_timeout(now);
        }
        while let Some(event) = self.quic.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(self.handle, event) {
                self.quic.handle_event(event);
            }
        }
        while let Some(event) = self.quic.poll() {
            if let Event::ConnectionLost { reason } = event {
                self.lost = Some(reason);
            }
        }
    }

    /// Turns until `holds`, the connection ends, or the time is up; whether it held.
    pub async fn until(&mut self, limit: Duration, mut holds: impl FnMut(&mut Client) -> bool) -> bool {
        let until = self.sim.now().after(limit);
        loop {
            if holds(self) {
                return true;
            }
            if self.lost.is_some() || self.sim.now() >= until {
                return false;
            }
            self.turn(until).await;
        }
    }

    /// Makes the connection and says what a client of HTTP/3 says first.
    pub async fn greet(&mut self) -> bool {
        let limit = Duration::from_secs(60);
        if !self.until(limit, |client| !client.quic.is_handshaking()).await {
            return false;
        }
        let control = self.quic.streams().open(Dir::Uni).expect("the server allows three");
        // The control stream, with empty settings.
        self.write(control, &[0x00, 0x04, 0x00]).await;
        true
    }

    /// Writes all of `bytes`, as the windows allow.
    pub async fn write(&mut self, id: StreamId, bytes: &[u8]) -> bool {
        let mut rest = [Bytes::copy_from_slice(bytes)];
        self.until(Duration::from_secs(600), |client| {
            loop {
                match client.quic.send_stream(id).write_chunks(&mut rest) {
                    Ok(_) if rest[0].is_empty() => return true,
                    Ok(_) => {}
                    Err(WriteError::Blocked) => return false,
                    Err(_) => return true,
                }
            }
        })
        .await
    }

    /// Opens a request stream.
    pub async fn open(&mut self) -> Option<StreamId> {
        let mut opened = None;
        self.until(Duration::from_secs(60), |client| {
            opened = client.quic.streams().open(Dir::Bi);
            opened.is_some()
        })
        .await;
        opened
    }

    /// Asks for something, with a body of `body` bytes if it is a `POST`.
    pub async fn ask(&mut self, path: &str, body: Option<usize>) -> Answer {
        let id = self.open().await.ok_or("no stream could be opened")?;
        let (mut section, mut out) = (Vec::new(), Vec::new());
        qpack::begin(&mut section);
        let method: &[u8] = if body.is_some() { b"POST" } else { b"GET" };
        for (name, value) in [
            (&b":method"[..], method),
            (b":scheme", b"https"),
            (b":authority", b"sim.test"),
            (b":path", path.as_bytes()),
        ] {
            qpack::field(&mut section, name, value);
        }
        if let Some(length) = body {
            qpack::field(&mut section, b"content-length", length.to_string().as_bytes());
        }
        frame::head(&mut out, frame::HEADERS, section.len());
        out.extend_from_slice(&section);
        if let Some(length) = body {
            frame::head(&mut out, frame::DATA, length);
            out.resize(out.len() + length, b'x');
        }
        self.write(id, &out).await;
        let _ = self.quic.send_stream(id).finish();
        self.answer(id).await
    }

    async fn answer(&mut self, id: StreamId) -> Answer {
        let (mut frames, mut status, mut length) = (Frames::new(1 << 20), None, 0);
        let mut end = None;
        let ended = self
            .until(Duration::from_secs(600), |client| {
                loop {
                    let taken = match client.read(id) {
                        Ok(Some(chunk)) => take(&mut frames, &chunk, &mut status, &mut length),
                        Ok(None) => {
                            end = Some(Ok(()));
                            return true;
                        }
                        Err(ReadError::Blocked) => return false,
                        Err(ReadError::Reset(code)) => Err(Code(code.into_inner())),
                    };
                    if let Err(code) = taken {
                        end = Some(Err(format!("reset {}", code.0)));
                        return true;
                    }
                }
            })
            .await;
        match (ended, end, status) {
            (true, Some(Ok(())), Some(status)) => Ok((status, length)),
            (true, Some(Err(how)), _) => Err(how),
            _ => Err(format!("never ended: {:?}", self.lost)),
        }
    }

    fn read(&mut self, id: StreamId) -> Result<Option<Bytes>, ReadError> {
        let mut stream = self.quic.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else { return Ok(None) };
        let chunk = chunks.next(usize::MAX);
        let _ = chunks.finalize();
        Ok(chunk?.map(|chunk| chunk.bytes))
    }

    /// Leaves.
    pub async fn close(&mut self) {
        self.quic.close(self.now(), VarInt::from_u32(0x100), Bytes::new());
        self.turn(self.sim.now()).await;
    }
}

fn take(
    frames: &mut Frames,
    mut bytes: &[u8],
    status: &mut Option<u16>,
    length: &mut usize,
) -> Result<(), Code> {
    loop {
        let (used, step) = frames.step(bytes)?;
        bytes = &bytes[used..];
        match step {
            Step::NeedInput => return Ok(()),
            Step::Data(count) => *length += count,
            Step::Whole(frame::HEADERS) => {
                let fields =
                    qpack::decode(frames.payload(), 1 << 20).map_err(|_| Code::QPACK_DECOMPRESSION_FAILED)?;
                let found = fields.iter().find(|(name, _)| name == b":status");
                *status = found.and_then(|(_, value)| str::from_utf8(value).ok()?.parse().ok());
            }
            Step::Whole(_) => {}
        }
    }
}

/// Believes every certificate: the proxy's is made up.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.signature_verification_algorithms.supported_schemes()
    }
}
