//! The checksum of version 2 (`proxy-protocol.txt` section 2.2.3): CRC32C (RFC 4960 appendix B) over the whole header with
//! the checksum itself as zeros.

use super::tlv::{Tlvs, kind};
use crate::reject::Reject;

/// The bytes of a checksum.
pub(super) const CHECKSUM_BYTES: usize = 4;

/// The Castagnoli polynomial, bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
};

/// The checksum of these bytes, read one after the other.
pub(super) fn checksum<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    !parts.into_iter().flatten().fold(!0, |sum, byte| (sum >> 8) ^ TABLE[usize::from(sum as u8 ^ *byte)])
}

/// Checks a whole header whose well-formed TLVs start at `tlvs_start`. Without a checksum every header is good.
pub(super) fn check(header: &[u8], tlvs_start: usize) -> Result<(), Reject> {
    let mut tlvs = Tlvs::new(&header[tlvs_start..]);
    let Some(found) = tlvs.find(|tlv| tlv.kind == kind::CRC32C) else { return Ok(()) };
    let end = header.len() - tlvs.rest().len();
    if tlvs.any(|tlv| tlv.kind == kind::CRC32C) {
        return Err(Reject::PROXY_BAD_CHECKSUM);
    }
    let sum = checksum([&header[..end - CHECKSUM_BYTES], &[0; CHECKSUM_BYTES], &header[end..]]);
    if found.value == sum.to_be_bytes() { Ok(()) } else { Err(Reject::PROXY_BAD_CHECKSUM) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_published_values() {
        // RFC 3720 appendix B.4, and the check value of the usual catalogues.
        assert_eq!(checksum([&b"123456789"[..]]), 0xe306_9283);
        assert_eq!(checksum([&[0; 32][..]]), 0x8a91_36aa);
        assert_eq!(checksum([&[0xff; 30][..], &[0xff; 2]]), 0x62a8_ab43);
    }
}
