//! A look at the first message of a TLS client (RFC 8446 section 4.1.2), before anything is decided about its connection.
//!
//! Reads what routes are chosen by: the server name (RFC 6066 section 3), the application protocols (RFC 7301) and the
//! versions (RFC 8446 section 4.2.1). Nothing is consumed: a TLS stack, here or at a backend, reads the same bytes again and
//! judges everything else (ciphers, key shares, extensions that are not named here, whatever follows the hello). A second
//! hello after a HelloRetryRequest is not seen at all.

// Bytes to the handshake message: record headers, fragments, limits.
mod records;
// The message to the places of what is looked for.
mod message;
// What a host name is.
mod name;

use std::borrow::Cow;
use std::ops::Range;

pub use crate::reject::Reject;

/// The most bytes of a hello on the wire, record headers included, and so the most that a peek ever waits for. Hellos with
/// post-quantum key shares have 1.2 to 2 KB; large session tickets add some.
pub const MAX_CLIENT_HELLO_BYTES: usize = 64 * 1024;

/// The most records of a hello: each peek looks at all of their headers, so many tiny ones that drip in would cost much.
pub const MAX_CLIENT_HELLO_RECORDS: usize = 2048;

/// What the bytes received so far say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peek<'a> {
    /// A good beginning. The answer stays the same until at least `needed` bytes have come in all, which is at most
    /// [`MAX_CLIENT_HELLO_BYTES`]: with fewer there is no use in asking again.
    Incomplete {
        /// Bytes from the start of the connection.
        needed: usize,
    },
    /// No TLS: the first byte is not that of a handshake record, or the second not that of any TLS version. A hello in the
    /// form of SSL 2.0 is here too.
    NotTls,
    /// A whole hello.
    Hello(ClientHello<'a>),
    /// TLS, but no client that may be served.
    Malformed(Reject),
}

/// What is looked for in a whole hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHello<'a> {
    /// The handshake message with its header; owned only if it came in several records.
    message: Cow<'a, [u8]>,
    wire_len: usize,
    found: message::Found,
}

/// Looks at the first bytes of a connection.
///
/// Allocates only for a whole hello in more than one record (RFC 8446 section 5.1). A verdict other than
/// [`Peek::Incomplete`] stands, whatever follows.
#[must_use]
pub fn peek(bytes: &[u8]) -> Peek<'_> {
    match records::message(bytes) {
        Ok((message, wire_len)) => match message::read(&message) {
            Ok(found) => Peek::Hello(ClientHello { message, wire_len, found }),
            Err(reject) => Peek::Malformed(reject),
        },
        Err(stop) => stop.into(),
    }
}

/// Looks at a handshake message that came without records, as QUIC carries them (RFC 9001 section 4.1.3). There are no limits
/// but the message's own: who collects it has them.
#[must_use]
pub fn peek_message(bytes: &[u8]) -> Peek<'_> {
    let wire_len = match records::message_len(bytes) {
        Err(stop) => return stop.into(),
        Ok(len) if len > bytes.len() => return Peek::Incomplete { needed: len },
        Ok(len) => len,
    };
    let message = &bytes[..wire_len];
    match message::read(message) {
        Ok(found) => Peek::Hello(ClientHello { message: Cow::Borrowed(message), wire_len, found }),
        Err(reject) => Peek::Malformed(reject),
    }
}

impl<'a> From<records::Stop> for Peek<'a> {
    fn from(stop: records::Stop) -> Peek<'a> {
        match stop {
            records::Stop::Incomplete { needed } => Peek::Incomplete { needed },
            records::Stop::NotTls => Peek::NotTls,
            records::Stop::Malformed(reject) => Peek::Malformed(reject),
        }
    }
}

impl ClientHello<'_> {
    /// The host name as it was sent, without a trailing dot: labels of letters, digits, hyphens and underscores, at most 253
    /// bytes. `None` if there was no server name, or an IP address in its place: RFC 6066 section 3 does not permit that, and
    /// servers read it as no name.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.found
            .server_name
            .as_ref()
            .and_then(|place| std::str::from_utf8(&self.message[place.clone()]).ok())
    }

    /// The form of the host name that routes are looked up by: lower case. `out` is overwritten, and empty if the answer is
    /// false: there is no name.
    pub fn server_name_for_routing(&self, out: &mut String) -> bool {
        out.clear();
        let name = self.server_name();
        out.push_str(name.unwrap_or_default());
        out.make_ascii_lowercase();
        name.is_some()
    }

    /// The protocol names of ALPN in the client's order (RFC 7301 section 3.1), none if there was no ALPN.
    pub fn alpn(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.part(self.found.alpn.as_ref());
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first()?;
            let (name, next) = after.split_at_checked(usize::from(*length))?;
            rest = next;
            Some(name)
        })
    }

    /// The protocol versions that the client offers, in its order, such as `0x0304` for TLS 1.3; reserved values (RFC 8701)
    /// are left out. Without supported_versions that is the one legacy version: the highest of a client before TLS 1.3.
    pub fn versions(&self) -> impl Iterator<Item = u16> {
        let legacy = self.found.versions.is_none().then_some(self.found.legacy_version);
        let listed = self.part(self.found.versions.as_ref()).chunks_exact(2);
        let listed = listed.map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        legacy.into_iter().chain(listed.filter(|version| version & 0x0f0f != 0x0a0a))
    }

    /// The length of the hello on the wire in bytes, record headers included if there are any.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        self.wire_len
    }

    /// True if the hello came in more than one record.
    #[must_use]
    pub fn is_fragmented(&self) -> bool {
        matches!(self.message, Cow::Owned(_))
    }

    fn part(&self, place: Option<&Range<usize>>) -> &[u8] {
        place.map_or(&[], |place| &self.message[place.clone()])
    }
}
