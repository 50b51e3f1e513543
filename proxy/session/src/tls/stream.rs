//! A TLS stream over an engine's stream, after the handshake.
//!
//! An idle connection holds two keys and no buffer. Received records are opened where the engine put them; only a
//! record that came in pieces is joined in own memory. What post-handshake messages there are (tickets, key updates,
//! alerts) is dealt with here and never seen by sessions. What this module does not do: handshakes.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use pancake_engine::seam::Idle;
use pancake_engine::{Buf, OutBuf, Parts, Stream, Time, Want};
use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{ConnectionTrafficSecrets, ProtocolVersion};

use super::record::{self, BadRecord, HEADER_BYTES, Key, Kind, MAX_OVERHEAD_BYTES, MAX_PLAINTEXT_BYTES};
use crate::limits::{MAX_EMPTY_RECORDS, MAX_KEY_UPDATES, MAX_POST_HANDSHAKE_BYTES, MAX_SEALED_BYTES};
use crate::stream;

/// The side of the handshake that this stream was.
pub(crate) enum Secrets {
    Server(KernelConnection<ServerConnectionData>),
    Client(KernelConnection<ClientConnectionData>),
}

impl Secrets {
    fn version(&self) -> ProtocolVersion {
        match self {
            Secrets::Server(kernel) => kernel.protocol_version(),
            Secrets::Client(kernel) => kernel.protocol_version(),
        }
    }

    /// A key of the negotiated suite.
    pub(super) fn key(&self, secrets: (u64, ConnectionTrafficSecrets)) -> io::Result<Key> {
        let suite = match self {
            Secrets::Server(kernel) => kernel.negotiated_cipher_suite(),
            Secrets::Client(kernel) => kernel.negotiated_cipher_suite(),
        };
        let limit = match suite {
            rustls::SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit,
            rustls::SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit,
        };
        Key::new(self.version(), secrets, limit).ok_or_else(|| io::Error::other("unknown TLS cipher"))
    }

    fn next(&mut self, sends: bool) -> io::Result<Key> {
        let secrets = match (&mut *self, sends) {
            (Secrets::Server(kernel), true) => kernel.update_tx_secret(),
            (Secrets::Server(kernel), false) => kernel.update_rx_secret(),
            (Secrets::Client(kernel), true) => kernel.update_tx_secret(),
            (Secrets::Client(kernel), false) => kernel.update_rx_secret(),
        };
        self.key(secrets.map_err(io::Error::other)?)
    }
}

/// TLS over `S`.
pub(crate) struct TlsStream<S: Stream> {
    inner: S,
    secrets: RefCell<Secrets>,
    receiving: RefCell<Receiving>,
    sending: RefCell<Sending>,
    /// A send is outstanding, or was given up: nothing may be sent beside it.
    busy: Cell<bool>,
    resets: Cell<bool>,
}

struct Receiving {
    key: Key,
    /// Received and not opened yet.
    held: Buf,
    /// The beginning of a record that did not come whole; then `held` is what follows, or empty.
    joined: Vec<u8>,
    /// A post-handshake message that spans records.
    message: Vec<u8>,
    /// The peer said that it sends no more.
    ended: bool,
    empty_records: u8,
    key_updates: u8,
}

struct Sending {
    key: Key,
    /// Sealed already, goes out before what is sent next.
    before: Vec<u8>,
    /// We said that we send no more.
    ended: bool,
}

fn bad(record: BadRecord) -> io::Error {
    let what = match record {
        BadRecord::Malformed => "malformed TLS record",
        BadRecord::TooLong => "TLS record is too long",
        BadRecord::Forged => "TLS record does not decrypt",
        BadRecord::KeyExhausted => "TLS key is used up",
    };
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn unexpected(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl<S: Stream> TlsStream<S> {
    /// `received` is what came after the handshake; `before` is sealed and goes out with the first send.
    pub(super) fn new(
        inner: S,
        secrets: Secrets,
        keys: (Key, Key),
        received: Vec<u8>,
        before: Vec<u8>,
    ) -> TlsStream<S> {
        let (receives, sends) = keys;
        let held = if received.is_empty() { Buf::empty() } else { Buf::from_vec(received) };
        TlsStream {
            inner,
            secrets: RefCell::new(secrets),
            receiving: RefCell::new(Receiving {
                key: receives,
                held,
                joined: Vec::new(),
                message: Vec::new(),
                ended: false,
                empty_records: 0,
                key_updates: 0,
            }),
            sending: RefCell::new(Sending { key: sends, before, ended: false }),
            busy: Cell::new(false),
            resets: Cell::new(false),
        }
    }

    /// Opens records until one has data: that; empty at the end of the stream. None: more bytes are needed.
    fn open_next(&self) -> io::Result<Option<Buf>> {
        let receiving = &mut *self.receiving.borrow_mut();
        loop {
            if receiving.ended {
                return Ok(Some(Buf::empty()));
            }
            let Some(mut record) = receiving.take_record()? else { return Ok(None) };
            let (kind, place) = receiving.key.open(&mut record).map_err(bad)?;
            match kind {
                Kind::Data if place.is_empty() => {
                    receiving.empty_records += 1;
                    if receiving.empty_records > MAX_EMPTY_RECORDS {
                        return Err(unexpected("too many empty TLS records"));
                    }
                }
                Kind::Data => {
                    receiving.empty_records = 0;
                    record.truncate(place.end);
                    record.advance(place.start);
                    return Ok(Some(record));
                }
                Kind::Alert => {
                    // RFC 8446 section 6.1: close_notify and user_canceled are no errors.
                    match record[place] {
                        [_, 0] => receiving.ended = true,
                        [_, 90] => {}
                        _ => return Err(io::ErrorKind::ConnectionAborted.into()),
                    }
                }
                Kind::Handshake => {
                    receiving.message.extend_from_slice(&record[place]);
                    self.post_handshake(receiving)?;
                }
                Kind::ChangeCipherSpec => return Err(unexpected("unexpected change_cipher_spec")),
            }
        }
    }

    /// Post-handshake messages (RFC 8446 section 4.6).
    fn post_handshake(&self, receiving: &mut Receiving) -> io::Result<()> {
        const NEW_SESSION_TICKET: u8 = 4;
        const KEY_UPDATE: u8 = 24;
        while let Some(&[kind, a, b, c]) = receiving.message.first_chunk() {
            let end = 4 + u32::from_be_bytes([0, a, b, c]) as usize;
            if end > MAX_POST_HANDSHAKE_BYTES {
                return Err(unexpected("TLS message is too long"));
            }
            let Some(body) = receiving.message.get(4..end) else { return Ok(()) };
            let mut secrets = self.secrets.borrow_mut();
            if secrets.version() != ProtocolVersion::TLSv1_3 {
                return Err(unexpected("TLS renegotiation is refused"));
            }
            match (kind, &mut *secrets, body) {
                (NEW_SESSION_TICKET, Secrets::Client(kernel), ticket) => {
                    kernel.handle_new_session_ticket(ticket).map_err(io::Error::other)?;
                }
                // A key changes at the end of a record (RFC 8446 section 5.1).
                (KEY_UPDATE, secrets, &[asked @ (0 | 1)]) if receiving.message.len() == end => {
                    receiving.key_updates += 1;
                    if receiving.key_updates > MAX_KEY_UPDATES {
                        return Err(unexpected("too many TLS key updates"));
                    }
                    receiving.key = secrets.next(false)?;
                    if asked == 1 {
                        self.sending.borrow_mut().update_key(secrets)?;
                    }
                }
                _ => return Err(unexpected("unexpected TLS message")),
            }
            receiving.message.drain(..end);
        }
        receiving.message.shrink_to_fit();
        Ok(())
    }

    /// Says that nothing more will be sent (RFC 8446 section 6.1), if the socket takes it at once.
    fn notify_close(&self) {
        let sending = &mut *self.sending.borrow_mut();
        if std::mem::replace(&mut sending.ended, true) || self.busy.get() {
            return;
        }
        let mut out = OutBuf::new();
        out.append(&mut sending.before);
        if sending.key.seal(Kind::Alert, &[1, 0], &mut out).is_ok() {
            let _ = self.inner.try_send(&out);
        }
    }
}

impl Receiving {
    /// The whole record at the front, if it has come.
    fn take_record(&mut self) -> io::Result<Option<Buf>> {
        if !self.joined.is_empty() {
            return self.complete_joined();
        }
        match record::frame(&self.held).map_err(bad)? {
            Some((_, len)) if len <= self.held.len() => {
                let rest = &mut self.held;
                let whole = if len == rest.len() {
                    std::mem::replace(rest, Buf::empty())
                } else {
                    rest.split_to(len)
                };
                Ok(Some(whole))
            }
            framed => {
                if !self.held.is_empty() {
                    self.joined.reserve(framed.map_or(HEADER_BYTES, |(_, len)| len));
                    self.joined.extend_from_slice(&self.held);
                    self.held = Buf::empty();
                }
                Ok(None)
            }
        }
    }

    /// Moves bytes from `held` to the record in `joined` until it is whole.
    fn complete_joined(&mut self) -> io::Result<Option<Buf>> {
        loop {
            let len = record::frame(&self.joined).map_err(bad)?.map_or(HEADER_BYTES, |(_, len)| len);
            if self.joined.len() == len && len > HEADER_BYTES {
                return Ok(Some(Buf::from_vec(std::mem::take(&mut self.joined))));
            }
            let missing = len.saturating_sub(self.joined.len()).min(self.held.len());
            if missing == 0 {
                // A record without payload is none that a cipher makes; `open` would refuse it.
                return if self.joined.len() == len { Err(bad(BadRecord::Malformed)) } else { Ok(None) };
            }
            self.joined.reserve_exact(len - self.joined.len());
            self.joined.extend_from_slice(&self.held[..missing]);
            self.held.advance(missing);
            if self.held.is_empty() {
                self.held = Buf::empty();
            }
        }
    }

    /// Takes over received bytes; to be called when [`Receiving::take_record`] had none left.
    fn push(&mut self, more: Buf) {
        self.held = more;
    }

    /// A record that is missing much is better received at once.
    fn want(&self, asked: Want) -> Want {
        let missing = match record::frame(&self.joined) {
            Ok(Some((_, len))) => len - self.joined.len(),
            _ => 0,
        };
        if missing > 4096 { Want::Bulk } else { asked }
    }
}

impl Sending {
    /// Seals as much as fits one send; what is left stays in `parts`.
    fn seal(&mut self, parts: &mut Parts, secrets: &RefCell<Secrets>) -> io::Result<OutBuf> {
        if self.ended {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let total = parts.bytes().min(MAX_SEALED_BYTES);
        let mut out = OutBuf::new();
        out.reserve(self.before.len() + total + (total / MAX_PLAINTEXT_BYTES + 2) * MAX_OVERHEAD_BYTES);
        // With its memory: an idle connection keeps none.
        out.extend_from_slice(&std::mem::take(&mut self.before));
        let mut left = total;
        while left > 0 {
            if self.key.is_worn() && secrets.borrow().version() == ProtocolVersion::TLSv1_3 {
                self.update_key(&mut secrets.borrow_mut())?;
                out.append(&mut self.before);
            }
            let len = left.min(MAX_PLAINTEXT_BYTES);
            let front = parts.iter().next().unwrap_or_default();
            if front.len() >= len {
                self.key.seal(Kind::Data, &front[..len], &mut out).map_err(bad)?;
            } else {
                // Small pieces share a record.
                let mut joined = OutBuf::new();
                for piece in parts.iter() {
                    let room = len - joined.len();
                    joined.extend_from_slice(&piece[..piece.len().min(room)]);
                }
                self.key.seal(Kind::Data, &joined, &mut out).map_err(bad)?;
            }
            parts.advance(len);
            left -= len;
        }
        Ok(out)
    }

    /// Announces a new key and takes it (RFC 8446 section 4.6.3).
    fn update_key(&mut self, secrets: &mut Secrets) -> io::Result<()> {
        self.key.seal(Kind::Handshake, &[24, 0, 0, 1, 0], &mut self.before).map_err(bad)?;
        self.key = secrets.next(true)?;
        Ok(())
    }
}

impl<S: Stream> Stream for TlsStream<S> {
    async fn recv(&self, want: Want, until: Time) -> io::Result<Buf> {
        loop {
            if let Some(opened) = self.open_next()? {
                return Ok(opened);
            }
            let want = self.receiving.borrow().want(want);
            let more = self.inner.recv(want, until).await?;
            if more.is_empty() {
                // Without close_notify nobody knows whether that was all.
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.receiving.borrow_mut().push(more);
        }
    }

    fn is_quiet(&self) -> bool {
        let receiving = self.receiving.borrow();
        !receiving.ended && receiving.held.is_empty() && receiving.joined.is_empty() && self.inner.is_quiet()
    }

    async fn send(&self, mut parts: Parts, until: Time) -> io::Result<()> {
        loop {
            let sealed = self.sending.borrow_mut().seal(&mut parts, &self.secrets)?;
            self.busy.set(true);
            self.inner.send(sealed.into(), until).await?;
            self.busy.set(false);
            if parts.bytes() == 0 {
                return Ok(());
            }
        }
    }

    fn try_send(&self, _bytes: &[u8]) -> io::Result<usize> {
        // Nobody speaks TLS through TLS.
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn splice(&self, to: &Self, limit: u64, idle: &Idle, moved: &Cell<u64>) -> io::Result<u64> {
        stream::copy(self, to, limit, idle, moved).await
    }

    fn shutdown(&self) -> io::Result<()> {
        self.notify_close();
        self.inner.shutdown()
    }

    fn reset_on_drop(&self) {
        self.resets.set(true);
        self.inner.reset_on_drop();
    }

    fn set_keepalive(&self, period: Option<Duration>) -> io::Result<()> {
        self.inner.set_keepalive(period)
    }

    fn peer_addr(&self) -> SocketAddr {
        self.inner.peer_addr()
    }

    fn local_addr(&self) -> SocketAddr {
        self.inner.local_addr()
    }
}

impl<S: Stream> Drop for TlsStream<S> {
    fn drop(&mut self) {
        if !self.resets.get() {
            self.notify_close();
        }
    }
}
