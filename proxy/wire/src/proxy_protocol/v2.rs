//! The binary header of version 2 (`proxy-protocol.txt` section 2.2).
//!
//! Paths of Unix sockets are stepped over: they name a file on another machine.

use std::net::{IpAddr, SocketAddr};

use super::{Command, Header, Transport, Version, crc32c, tlv};
use crate::reject::Reject;

/// The longest header that is accepted or written. The addresses take at most 232 bytes; the rest has room for a client
/// certificate of usual size.
pub const MAX_V2_BYTES: usize = 4096;

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family and transport, length.
pub(super) const FIXED_BYTES: usize = 16;

pub(super) const VERSION_2: u8 = 0x20;
pub(super) const LOCAL: u8 = 0;
pub(super) const PROXY: u8 = 1;

pub(super) const INET: u8 = 0x10;
pub(super) const INET6: u8 = 0x20;
const UNIX: u8 = 0x30;
pub(super) const STREAM: u8 = 1;
pub(super) const DATAGRAM: u8 = 2;

/// Two paths of 108 bytes.
const UNIX_BYTES: usize = 216;

/// Parses bytes that start with the signature.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Header<'_>, usize)>, Reject> {
    let Some(command) = bytes.get(SIGNATURE.len()) else { return Ok(None) };
    let command = self::command(*command)?;
    let Some(family) = bytes.get(SIGNATURE.len() + 1) else { return Ok(None) };
    // What a LOCAL header says about addresses is to be ignored, whatever it is.
    let addresses = if command == Command::Local { None } else { Addresses::new(*family)? };
    let Some(length) = bytes.get(SIGNATURE.len() + 2..FIXED_BYTES) else { return Ok(None) };
    let total = FIXED_BYTES + usize::from(u16::from_be_bytes([length[0], length[1]]));
    if total > MAX_V2_BYTES {
        return Err(Reject::PROXY_HEADER_TOO_LARGE);
    }
    let tlvs_start = FIXED_BYTES + addresses.as_ref().map_or(0, |addresses| 2 * addresses.each);
    if tlvs_start > total {
        return Err(Reject::PROXY_SHORT_ADDRESSES);
    }
    let Some(whole) = bytes.get(..total) else { return Ok(None) };
    let mut header = Header::bare(Version::V2, command);
    if let Some(addresses) = addresses {
        let (block, tlvs) = whole[FIXED_BYTES..].split_at(2 * addresses.each);
        tlv::check(tlvs)?;
        crc32c::check(whole, tlvs_start)?;
        header.transport = Some(addresses.transport);
        (header.source, header.destination) = addresses.read(block);
        header.tlvs = tlvs;
    }
    Ok(Some((header, total)))
}

fn command(byte: u8) -> Result<Command, Reject> {
    match (byte & 0xf0, byte & 0x0f) {
        (VERSION_2, LOCAL) => Ok(Command::Local),
        (VERSION_2, PROXY) => Ok(Command::Proxy),
        (VERSION_2, _) => Err(Reject::PROXY_BAD_COMMAND),
        _ => Err(Reject::PROXY_BAD_VERSION),
    }
}

/// The form of the address block.
struct Addresses {
    transport: Transport,
    /// Bytes per side, ports included.
    each: usize,
}

impl Addresses {
    /// `None` for an assigned but unspecified family or transport: there the whole block is stepped over.
    fn new(byte: u8) -> Result<Option<Self>, Reject> {
        let each = match byte & 0xf0 {
            0 => 0,
            INET => 4 + 2,
            INET6 => 16 + 2,
            UNIX => UNIX_BYTES / 2,
            _ => return Err(Reject::PROXY_BAD_FAMILY),
        };
        let transport = match byte & 0x0f {
            0 => return Ok(None),
            STREAM => Transport::Stream,
            DATAGRAM => Transport::Datagram,
            _ => return Err(Reject::PROXY_BAD_FAMILY),
        };
        Ok((each > 0).then_some(Self { transport, each }))
    }

    /// Source and destination address, then source and destination port.
    fn read(&self, block: &[u8]) -> (Option<SocketAddr>, Option<SocketAddr>) {
        let (addresses, ports) = block.split_at(block.len() - 4);
        let (source, destination) = addresses.split_at(addresses.len() / 2);
        let side = |address: &[u8], port: &[u8]| {
            let address = match address.len() {
                4 => IpAddr::from(<[u8; 4]>::try_from(address).ok()?),
                16 => IpAddr::from(<[u8; 16]>::try_from(address).ok()?).to_canonical(),
                _ => return None,
            };
            Some(SocketAddr::new(address, u16::from_be_bytes([port[0], port[1]])))
        };
        (side(source, &ports[..2]), side(destination, &ports[2..]))
    }
}
