//! From the handshake message to the places of what is looked for (RFC 8446 section 4.1.2).
//!
//! Every length on the way is checked, so that what is found here can be read without errors later. Extensions that are not
//! looked for are stepped over, and may be given twice.

use std::ops::Range;

use super::name;
use super::records::MESSAGE_HEADER_BYTES;
use crate::reject::Reject;

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

/// The name type of RFC 6066 section 3.
const HOST_NAME: u8 = 0;

const RANDOM_BYTES: usize = 32;
const MAX_SESSION_ID_BYTES: usize = 32;

/// Places are offsets into the message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Found {
    pub legacy_version: u16,
    /// A DNS name without trailing dot.
    pub server_name: Option<Range<usize>>,
    /// Names, each after its length in one byte.
    pub alpn: Option<Range<usize>>,
    /// Versions of two bytes.
    pub versions: Option<Range<usize>>,
}

/// Reads a whole message, its header included.
pub(super) fn read(message: &[u8]) -> Result<Found, Reject> {
    let mut cursor = Cursor { bytes: message, at: MESSAGE_HEADER_BYTES, end: message.len() };
    let legacy_version = before_extensions(&mut cursor).ok_or(Reject::TLS_BAD_HELLO)?;
    let mut found = Found { legacy_version, ..Found::default() };
    // Clients up to TLS 1.2 may leave the extensions out altogether.
    if cursor.is_empty() {
        return Ok(found);
    }
    let mut extensions = cursor.vector16().ok_or(Reject::TLS_BAD_EXTENSIONS)?;
    if !cursor.is_empty() {
        return Err(Reject::TLS_BAD_EXTENSIONS);
    }
    let mut has_server_name = false;
    while !extensions.is_empty() {
        let kind = extensions.u16().ok_or(Reject::TLS_BAD_EXTENSIONS)?;
        let data = extensions.vector16().ok_or(Reject::TLS_BAD_EXTENSIONS)?;
        let is_second = match kind {
            SERVER_NAME => {
                if !has_server_name {
                    found.server_name = server_name(data)?;
                }
                std::mem::replace(&mut has_server_name, true)
            }
            ALPN => found.alpn.replace(alpn(data)?).is_some(),
            SUPPORTED_VERSIONS => found.versions.replace(versions(data)?).is_some(),
            _ => false,
        };
        if is_second {
            return Err(Reject::TLS_TWO_EXTENSIONS);
        }
    }
    Ok(found)
}

/// Steps over everything in front of the extensions, and takes the version along.
fn before_extensions(cursor: &mut Cursor<'_>) -> Option<u16> {
    let version = cursor.u16()?;
    cursor.take(RANDOM_BYTES)?;
    let session_id = cursor.vector8()?;
    let ciphers = cursor.vector16()?;
    let compressions = cursor.vector8()?;
    let is_good = session_id.len() <= MAX_SESSION_ID_BYTES
        && ciphers.len() >= 2
        && ciphers.len().is_multiple_of(2)
        && !compressions.is_empty();
    is_good.then_some(version)
}

/// `ServerNameList` (RFC 6066 section 3). Names of other types are stepped over: all start with a length of two bytes.
fn server_name(mut data: Cursor<'_>) -> Result<Option<Range<usize>>, Reject> {
    let bytes = data.bytes;
    let mut list = data.vector16().ok_or(Reject::TLS_BAD_SERVER_NAME)?;
    if list.is_empty() || !data.is_empty() {
        return Err(Reject::TLS_BAD_SERVER_NAME);
    }
    let mut host: Option<Range<usize>> = None;
    while !list.is_empty() {
        let kind = list.u8().ok_or(Reject::TLS_BAD_SERVER_NAME)?;
        let name = list.vector16().ok_or(Reject::TLS_BAD_SERVER_NAME)?;
        if kind != HOST_NAME {
            continue;
        }
        if name.is_empty() {
            return Err(Reject::TLS_BAD_SERVER_NAME);
        }
        if host.replace(name.range()).is_some() {
            return Err(Reject::TLS_TWO_SERVER_NAMES);
        }
    }
    let Some(host) = host else { return Ok(None) };
    let name = name::check(&bytes[host.clone()])?;
    Ok(name.map(|length| host.start..host.start + length))
}

/// `ProtocolNameList` (RFC 7301 section 3.1): at least one name, none empty.
fn alpn(mut data: Cursor<'_>) -> Result<Range<usize>, Reject> {
    let mut list = data.vector16().filter(|list| !list.is_empty()).ok_or(Reject::TLS_BAD_ALPN)?;
    let place = list.range();
    while !list.is_empty() {
        list.vector8().filter(|name| !name.is_empty()).ok_or(Reject::TLS_BAD_ALPN)?;
    }
    if data.is_empty() { Ok(place) } else { Err(Reject::TLS_BAD_ALPN) }
}

/// `SupportedVersions` of a client (RFC 8446 section 4.2.1): 2 to 254 bytes.
fn versions(mut data: Cursor<'_>) -> Result<Range<usize>, Reject> {
    let list = data.vector8().ok_or(Reject::TLS_BAD_VERSIONS)?;
    let is_good = !list.is_empty() && list.len().is_multiple_of(2) && data.is_empty();
    if is_good { Ok(list.range()) } else { Err(Reject::TLS_BAD_VERSIONS) }
}

/// A part of the message that is being read.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    /// The whole message.
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl Cursor<'_> {
    fn len(&self) -> usize {
        self.end - self.at
    }

    fn is_empty(&self) -> bool {
        self.at == self.end
    }

    fn range(&self) -> Range<usize> {
        self.at..self.end
    }

    /// The next `length` bytes as a part of their own.
    fn take(&mut self, length: usize) -> Option<Self> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.end)?;
        let part = Self { end, ..*self };
        self.at = end;
        Some(part)
    }

    fn u8(&mut self) -> Option<u8> {
        let part = self.take(1)?;
        Some(self.bytes[part.at])
    }

    fn u16(&mut self) -> Option<u16> {
        let part = self.take(2)?;
        Some(u16::from_be_bytes([self.bytes[part.at], self.bytes[part.at + 1]]))
    }

    /// A vector whose length stands before it in one byte.
    fn vector8(&mut self) -> Option<Self> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    /// A vector whose length stands before it in two bytes.
    fn vector16(&mut self) -> Option<Self> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}
