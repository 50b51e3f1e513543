//! TLS handshakes, both sides, by rustls. What comes out is a [`TlsStream`]; rustls's state is gone by then.
//!
//! Records are given to rustls one by one, so that none but the handshake's pass through it.

use std::io;
use std::sync::Arc;

use pancake_engine::{OutBuf, Stream, Time, Want};
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, HandshakeKind, ProtocolVersion, ServerConfig};

use super::record;
use super::stream::{Secrets, TlsStream};
use crate::http1::input::Input;
use crate::limits::MAX_HANDSHAKE_BYTES;

/// What a handshake agreed on.
#[derive(Clone, Debug)]
pub(crate) struct Agreed {
    /// The application protocol (RFC 7301), empty if none was agreed on.
    pub(crate) alpn: Vec<u8>,
    /// Whether a session was resumed.
    pub(crate) resumed: bool,
}

/// Why a handshake failed.
#[derive(Debug)]
pub(crate) enum Failed {
    /// By TLS's own rules; the peer was sent an alert.
    Tls(rustls::Error),
    /// No ClientHello.
    Hello,
    /// More bytes than any sound handshake has.
    TooLong,
    /// The stream failed, ended, or took too long.
    Io(io::Error),
}

impl Failed {
    /// A stable slug for logs and metrics.
    pub(crate) fn reason(&self) -> &'static str {
        use rustls::Error;
        match self {
            Failed::Tls(Error::PeerIncompatible(_)) => "tls-incompatible",
            Failed::Tls(Error::InvalidCertificate(_) | Error::NoCertificatesPresented) => "tls-certificate",
            Failed::Tls(Error::AlertReceived(_)) => "tls-refused-by-peer",
            Failed::Tls(Error::NoApplicationProtocol) => "tls-no-common-protocol",
            Failed::Tls(_) | Failed::Hello => "tls-malformed",
            Failed::TooLong => "tls-too-long",
            Failed::Io(error) if error.kind() == io::ErrorKind::TimedOut => "tls-timeout",
            Failed::Io(_) => "tls-closed",
        }
    }
}

impl Failed {
    /// The same about a server: reason and status for the client.
    pub(crate) fn to_server(&self) -> (&'static str, u16) {
        match self.reason() {
            "tls-timeout" => ("server-tls-timeout", 504),
            "tls-certificate" => ("server-tls-certificate", 502),
            "tls-incompatible" => ("server-tls-incompatible", 502),
            "tls-closed" => ("server-tls-closed", 502),
            "tls-refused-by-peer" => ("server-tls-refused", 502),
            _ => ("server-tls-malformed", 502),
        }
    }
}

/// Either side of a handshake under way.
enum Side {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

/// What a step of rustls asks for.
enum Step {
    /// The same again.
    Again,
    /// Send what was encoded.
    Send,
    /// More bytes of the peer.
    Receive,
    /// The handshake is over.
    Done,
}

impl Side {
    fn state(&self) -> &CommonState {
        match self {
            Side::Server(connection) => connection,
            Side::Client(connection) => connection,
        }
    }

    /// One step; how many bytes of `incoming` are used, and what is next.
    fn step(&mut self, incoming: &mut [u8], out: &mut Vec<u8>) -> (usize, Result<Step, rustls::Error>) {
        match self {
            Side::Server(connection) => act(connection.process_tls_records(incoming), out),
            Side::Client(connection) => act(connection.process_tls_records(incoming), out),
        }
    }

    /// Takes keys and secrets out.
    fn into_stream<S: Stream>(
        self,
        inner: S,
        received: Vec<u8>,
        before: Vec<u8>,
    ) -> Result<TlsStream<S>, Failed> {
        let (keys, secrets) = match self {
            Side::Server(connection) => {
                let (keys, kernel) = connection.dangerous_into_kernel_connection().map_err(Failed::Tls)?;
                (keys, Secrets::Server(kernel))
            }
            Side::Client(connection) => {
                let (keys, kernel) = connection.dangerous_into_kernel_connection().map_err(Failed::Tls)?;
                (keys, Secrets::Client(kernel))
            }
        };
        let keys = (secrets.key(keys.rx).map_err(Failed::Io)?, secrets.key(keys.tx).map_err(Failed::Io)?);
        Ok(TlsStream::new(inner, secrets, keys, received, before))
    }
}

/// Does what rustls asks for.
fn act<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    out: &mut Vec<u8>,
) -> (usize, Result<Step, rustls::Error>) {
    let UnbufferedStatus { discard, state, .. } = status;
    let step = state.map(|state| match state {
        ConnectionState::EncodeTlsData(mut data) => {
            let start = out.len();
            if let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) {
                out.resize(start + size.required_size, 0);
                // It has just said how much room it needs.
                let written = data.encode(&mut out[start..]).unwrap_or(0);
                out.truncate(start + written);
            }
            Step::Again
        }
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Step::Send
        }
        ConnectionState::BlockedHandshake => Step::Receive,
        _ => Step::Done,
    });
    (discard, step)
}

/// As the server; `input` is what was received already. Ends by `until`.
pub(crate) async fn accept<S: Stream>(
    inner: S,
    config: Arc<ServerConfig>,
    input: Input,
    until: Time,
) -> Result<(TlsStream<S>, Agreed), Failed> {
    let connection = UnbufferedServerConnection::new(config).map_err(Failed::Tls)?;
    drive(Side::Server(Box::new(connection)), inner, input.bytes().to_vec(), until).await
}

/// As the client, of a server with this name. Ends by `until`.
pub(crate) async fn connect<S: Stream>(
    inner: S,
    config: Arc<ClientConfig>,
    name: rustls::pki_types::ServerName<'static>,
    until: Time,
) -> Result<(TlsStream<S>, Agreed), Failed> {
    let connection = UnbufferedClientConnection::new(config, name).map_err(Failed::Tls)?;
    drive(Side::Client(Box::new(connection)), inner, Vec::new(), until).await
}

async fn drive<S: Stream>(
    mut side: Side,
    inner: S,
    mut incoming: Vec<u8>,
    until: Time,
) -> Result<(TlsStream<S>, Agreed), Failed> {
    let mut out = OutBuf::new();
    // How much of `incoming` rustls may see: whole records, as few as it needs.
    let mut shown = 0;
    let mut received = incoming.len();
    loop {
        let (used, step) = side.step(&mut incoming[..shown], &mut out);
        incoming.drain(..used);
        shown -= used;
        match step {
            Ok(Step::Again) => {}
            Ok(Step::Send) if may_wait(&side) => {}
            Ok(Step::Send) => {
                inner.send(std::mem::take(&mut out).into(), until).await.map_err(Failed::Io)?;
            }
            Ok(Step::Done) if !side.state().is_handshaking() => {
                let agreed = agreed(side.state());
                let before = std::mem::take::<Vec<u8>>(&mut out);
                return Ok((side.into_stream(inner, incoming, before)?, agreed));
            }
            Ok(Step::Receive | Step::Done) => loop {
                match record::frame(&incoming[shown..]) {
                    Ok(Some((_, len))) if shown + len <= incoming.len() => {
                        shown += len;
                        break;
                    }
                    Ok(_) => {}
                    // rustls says what is wrong with it, to the peer too.
                    Err(_) => {
                        shown = incoming.len();
                        break;
                    }
                }
                let more = inner.recv(Want::Some, until).await.map_err(Failed::Io)?;
                if more.is_empty() {
                    return Err(Failed::Io(io::ErrorKind::UnexpectedEof.into()));
                }
                received += more.len();
                if received > MAX_HANDSHAKE_BYTES {
                    return Err(Failed::TooLong);
                }
                incoming.extend_from_slice(&more);
            },
            Err(error) => {
                // What it tells the peer. It still looks into the bytes that it was shown.
                while let (0, Ok(Step::Again)) = side.step(&mut incoming[..shown], &mut out) {}
                if !out.is_empty() {
                    let _ = inner.send(out.into(), until).await;
                    let _ = inner.shutdown();
                }
                return Err(Failed::Tls(error));
            }
        }
    }
}

/// Whether what rustls wants sent may go out with the first data: a TLS 1.3 handshake is over for this side then, and
/// the rest of it (the client's Finished, the server's tickets) waits for no answer.
fn may_wait(side: &Side) -> bool {
    let state = side.state();
    !state.is_handshaking() && state.protocol_version() == Some(ProtocolVersion::TLSv1_3)
}

fn agreed(state: &CommonState) -> Agreed {
    Agreed {
        alpn: state.alpn_protocol().unwrap_or_default().to_vec(),
        resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
    }
}
