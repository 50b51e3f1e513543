//! The line of version 1 (`proxy-protocol.txt` section 2.1).
//!
//! One reading per line: single spaces, canonical numbers, CRLF and no other CR or LF, in UNKNOWN lines too.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::{Command, Header, Transport, Version};
use crate::reject::Reject;

/// The longest line, CRLF included.
pub const MAX_V1_BYTES: usize = 107;

pub(super) const SIGNATURE: &[u8] = b"PROXY";

/// Parses bytes that start with the signature.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Header<'_>, usize)>, Reject> {
    let Some(line) = line(&bytes[..bytes.len().min(MAX_V1_BYTES)])? else {
        return Ok(None);
    };
    let header = fields(line)?;
    Ok(Some((header, line.len() + b"\r\n".len())))
}

/// The line without its end; `None` if the end is yet to come.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, Reject> {
    let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    match end.map(|end| (end, &bytes[end..])) {
        Some((end, [b'\r', b'\n', ..])) => Ok(Some(&bytes[..end])),
        None | Some((_, [b'\r'])) if bytes.len() < MAX_V1_BYTES => Ok(None),
        None | Some((_, [b'\r'])) => Err(Reject::PROXY_LINE_TOO_LONG),
        Some(_) => Err(Reject::PROXY_BAD_LINE_END),
    }
}

fn fields(line: &[u8]) -> Result<Header<'_>, Reject> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mut next = || fields.next().ok_or(Reject::PROXY_BAD_LINE);
    let mut header = Header::bare(Version::V1, Command::Proxy);
    if next()? != SIGNATURE {
        return Err(Reject::PROXY_BAD_LINE);
    }
    let family = next()?;
    if family == b"UNKNOWN" {
        return Ok(header);
    }
    let address = match family {
        b"TCP4" => address::<std::net::Ipv4Addr>,
        b"TCP6" => address::<std::net::Ipv6Addr>,
        _ => return Err(Reject::PROXY_BAD_LINE),
    };
    let [source, destination, source_port, destination_port] = [next()?, next()?, next()?, next()?];
    if fields.next().is_some() {
        return Err(Reject::PROXY_BAD_LINE);
    }
    header.transport = Some(Transport::Stream);
    header.source = Some(SocketAddr::new(address(source)?, port(source_port)?));
    header.destination = Some(SocketAddr::new(address(destination)?, port(destination_port)?));
    Ok(header)
}

/// An address of one family, canonical: IPv4-mapped ones become IPv4.
fn address<A: FromStr + Into<IpAddr>>(text: &[u8]) -> Result<IpAddr, Reject> {
    let text = std::str::from_utf8(text).map_err(|_| Reject::PROXY_BAD_ADDRESS)?;
    let address: A = text.parse().map_err(|_| Reject::PROXY_BAD_ADDRESS)?;
    Ok(address.into().to_canonical())
}

/// A decimal number up to 65535 without sign and leading zeros.
fn port(text: &[u8]) -> Result<u16, Reject> {
    let is_canonical =
        text.iter().all(u8::is_ascii_digit) && (text.len() == 1 || text.first() != Some(&b'0'));
    let text = std::str::from_utf8(text).ok().filter(|_| is_canonical);
    text.and_then(|text| text.parse().ok()).ok_or(Reject::PROXY_BAD_PORT)
}
