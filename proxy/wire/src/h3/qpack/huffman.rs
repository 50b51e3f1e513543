//! The Huffman code of header strings (RFC 7541 section 5.2 and appendix B, which RFC 9204 takes over).
//!
//! The code is canonical: of one length, codes follow the order of the symbols. So the lengths say it all.

use super::Malformed;

const SHORTEST: usize = 5;
const LONGEST: usize = 30;

/// Bits of the code of each byte. The 257th symbol, the end of the string, has 30.
#[rustfmt::skip]
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// By length of code: the first code of it, how many there are, and where their symbols start in `SYMBOLS`.
const FIRST: [(u32, u32, usize); LONGEST + 1] = firsts();

/// The bytes in the order of their codes.
const SYMBOLS: [u8; 256] = symbols();

const fn symbols() -> [u8; 256] {
    let mut out = [0; 256];
    let (mut at, mut length) = (0, SHORTEST);
    while length <= LONGEST {
        let mut byte = 0;
        while byte < 256 {
            if LENGTHS[byte] as usize == length {
                out[at] = byte as u8;
                at += 1;
            }
            byte += 1;
        }
        length += 1;
    }
    out
}

const fn firsts() -> [(u32, u32, usize); LONGEST + 1] {
    let mut out = [(0, 0, 0); LONGEST + 1];
    let (mut code, mut at, mut length) = (0, 0, SHORTEST);
    while length <= LONGEST {
        let mut count = 0;
        let mut byte = 0;
        while byte < 256 {
            if LENGTHS[byte] as usize == length {
                count += 1;
            }
            byte += 1;
        }
        out[length] = (code, count, at);
        at += count as usize;
        code = (code + count) << 1;
        length += 1;
    }
    out
}

/// Decodes a string and appends it to `out`. The padding must be the beginning of the end symbol, shorter than a byte.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    // Bits that are not used yet, at the low end.
    let (mut held, mut bits) = (0u64, 0usize);
    let mut rest = coded.iter();
    loop {
        while bits <= 56 {
            let Some(byte) = rest.next() else { break };
            held = held << 8 | u64::from(*byte);
            bits += 8;
        }
        let mut length = SHORTEST;
        loop {
            if length > bits || length > LONGEST {
                // Fewer bits than a code: all ones, and less than a byte of them.
                let padding = held & ((1 << bits) - 1);
                let is_end = bits < 8 && padding == (1 << bits) - 1 && rest.len() == 0;
                return if is_end { Ok(()) } else { Err(Malformed) };
            }
            let code = (held >> (bits - length)) as u32 & ((1 << length) - 1);
            let (first, count, at) = FIRST[length];
            if code >= first && code - first < count {
                out.push(SYMBOLS[at + (code - first) as usize]);
                bits -= length;
                break;
            }
            length += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(coded: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut out = Vec::new();
        decode(coded, &mut out).map(|()| out)
    }

    /// The encoder is for the test only: what this proxy sends is not compressed.
    fn encode(text: &[u8]) -> Vec<u8> {
        let mut bits = Vec::new();
        for byte in text {
            let place = SYMBOLS.iter().position(|symbol| symbol == byte).unwrap();
            let length = usize::from(LENGTHS[usize::from(*byte)]);
            let (first, _, at) = FIRST[length];
            let code = first + (place - at) as u32;
            bits.extend((0..length).rev().map(|bit| code >> bit & 1 == 1));
        }
        while !bits.len().is_multiple_of(8) {
            bits.push(true);
        }
        bits.chunks(8).map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | u8::from(*bit))).collect()
    }

    #[test]
    fn decodes_the_examples_of_rfc_7541() {
        let coded = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decoded(&coded).unwrap(), b"www.example.com");
        assert_eq!(decoded(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]).unwrap(), b"no-cache");
        assert_eq!(decoded(&[]).unwrap(), b"");
    }

    #[test]
    fn every_byte_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decoded(&encode(&all)).unwrap(), all);
        for byte in all {
            assert_eq!(decoded(&encode(&[byte])).unwrap(), [byte]);
        }
    }

    #[test]
    fn refuses_long_padding_wrong_padding_and_the_end_symbol() {
        // "0" is 00000: then three ones are padding, three zeroes are not, eleven ones are too many.
        assert_eq!(decoded(&[0b0000_0111]).unwrap(), b"0");
        assert_eq!(decoded(&[0b0000_0000]), Err(Malformed));
        assert_eq!(decoded(&[0b0000_0111, 0xff]), Err(Malformed));
        assert_eq!(decoded(&[0xff; 4]), Err(Malformed));
        assert_eq!(decoded(&[0xff]), Err(Malformed));
    }
}
