//! Base64 (RFC 4648 section 4) that comes in pieces, as bodies of gRPC-Web do in text mode. Several padded texts may follow each
//! other. Letters outside the alphabet, line ends included, are refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What came is no base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not base64")]
pub struct BadBase64;

/// A decoder; it holds the letters of a group that is not whole yet. However the text is split, the bytes and the verdict are
/// the same.
#[derive(Debug, Default)]
pub struct Decoder {
    held: Vec<u8>,
}

impl Decoder {
    /// Appends what is whole to `out`.
    ///
    /// # Errors
    /// What came is no base64; some of it may be in `out`.
    pub fn data(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), BadBase64> {
        self.held.extend_from_slice(text);
        let mut used = 0;
        let whole = self.held.len() / 4 * 4;
        while used < whole {
            // Up to the first padding, which ends a text.
            let rest = &self.held[used..whole];
            let padded = rest.iter().position(|letter| *letter == b'=').map(|at| at / 4 * 4 + 4);
            let end = used + padded.unwrap_or(rest.len());
            STANDARD.decode_vec(&self.held[used..end], out).map_err(|_| BadBase64)?;
            used = end;
        }
        self.held.drain(..used);
        Ok(())
    }

    /// Whether the text may end here.
    ///
    /// # Errors
    /// It ends in the middle of a group.
    pub fn end(&self) -> Result<(), BadBase64> {
        if self.held.is_empty() { Ok(()) } else { Err(BadBase64) }
    }
}

/// Appends one padded text.
pub fn encode(data: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + data.len().div_ceil(3) * 4, 0);
    // The room is what it needs.
    let written = STANDARD.encode_slice(data, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(pieces: &[&[u8]]) -> Result<Vec<u8>, BadBase64> {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        pieces.iter().try_for_each(|piece| decoder.data(piece, &mut out))?;
        decoder.end().map(|()| out)
    }

    #[test]
    fn any_split_says_the_same() {
        let text = b"aGVsbG8=AAECAwQ=aGV5";
        for at in 0..=text.len() {
            assert_eq!(
                decoded(&[&text[..at], &text[at..]]).unwrap(),
                b"hello\x00\x01\x02\x03\x04hey",
                "{at}"
            );
        }
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        for bad in [&b"aGV"[..], b"a===", b"====", b"aG!s", b"aA==A"] {
            assert_eq!(decoded(&[bad]), Err(BadBase64), "{bad:?}");
        }
    }

    #[test]
    fn what_is_encoded_decodes() {
        for len in 0..50u8 {
            let data: Vec<u8> = (0..len).map(|n| n.wrapping_mul(37)).collect();
            let mut text = Vec::new();
            encode(&data, &mut text);
            assert_eq!(decoded(&[&text]).unwrap(), data);
        }
    }
}
