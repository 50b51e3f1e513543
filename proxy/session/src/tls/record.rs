//! The record layer once a handshake is over (RFC 8446 section 5, RFC 5246 section 6.2): bytes in place, no allocation.
//!
//! rustls makes the handshake and keeps the secrets; its own record layer takes a fresh vector for every record, both
//! ways. This one opens a record where it was received and seals into the buffer that is sent. Pure: no sockets.

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::{ConnectionTrafficSecrets, ProtocolVersion};

/// Bytes before the payload of a record.
pub(crate) const HEADER_BYTES: usize = 5;
/// Most plaintext bytes in a record.
pub(crate) const MAX_PLAINTEXT_BYTES: usize = 16 * 1024;
/// Most payload bytes of a record: RFC 5246 allows 2,048 more than the plaintext, RFC 8446 256.
const MAX_PAYLOAD_BYTES: usize = MAX_PLAINTEXT_BYTES + 2048;
/// Bytes that sealing adds to a record at most: header, explicit nonce or inner type, tag.
pub(crate) const MAX_OVERHEAD_BYTES: usize = HEADER_BYTES + EXPLICIT_NONCE_BYTES + TAG_BYTES;
const EXPLICIT_NONCE_BYTES: usize = 8;
const TAG_BYTES: usize = 16;
/// RFC 5246 calls it 3.3; RFC 8446 keeps it on the wire.
const WIRE_VERSION: [u8; 2] = [3, 3];

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    ChangeCipherSpec,
    Alert,
    Handshake,
    Data,
}

impl Kind {
    fn of(byte: u8) -> Option<Kind> {
        Some(match byte {
            20 => Kind::ChangeCipherSpec,
            21 => Kind::Alert,
            22 => Kind::Handshake,
            23 => Kind::Data,
            _ => return None,
        })
    }

    fn byte(self) -> u8 {
        match self {
            Kind::ChangeCipherSpec => 20,
            Kind::Alert => 21,
            Kind::Handshake => 22,
            Kind::Data => 23,
        }
    }
}

/// Why a record cannot be used; the connection is over then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadRecord {
    /// No TLS record at all.
    Malformed,
    /// Longer than the RFCs allow.
    TooLong,
    /// Its tag is wrong: changed on the way, or sealed with another key.
    Forged,
    /// One key may not seal or open any more (RFC 8446 section 5.5).
    KeyExhausted,
}

/// How the whole record at the front of `bytes` is framed: kind and total length. None: more bytes are needed.
pub(crate) fn frame(bytes: &[u8]) -> Result<Option<(Kind, usize)>, BadRecord> {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let kind = Kind::of(header[0]).ok_or(BadRecord::Malformed)?;
    if header[1] != WIRE_VERSION[0] {
        return Err(BadRecord::Malformed);
    }
    let payload = usize::from(u16::from_be_bytes([header[3], header[4]]));
    if payload > MAX_PAYLOAD_BYTES {
        return Err(BadRecord::TooLong);
    }
    Ok(Some((kind, HEADER_BYTES + payload)))
}

/// One direction's key and how far it was used.
pub(crate) struct Key {
    aead: LessSafeKey,
    iv: [u8; aead::NONCE_LEN],
    sequence: u64,
    /// Records that this key may still seal or open.
    left: u64,
    form: Form,
}

/// How records are built.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// RFC 8446: the kind is inside, the header is authenticated.
    Tls13,
    /// RFC 5288: AES-GCM, eight bytes of the nonce travel with the record.
    Tls12Explicit,
    /// RFC 7905: ChaCha20-Poly1305, nothing of the nonce travels.
    Tls12Implicit,
}

impl Key {
    /// The key of one direction, after `sequence` records.
    pub(crate) fn new(
        version: ProtocolVersion,
        (sequence, secrets): (u64, ConnectionTrafficSecrets),
        limit: u64,
    ) -> Option<Key> {
        let (algorithm, key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&aead::AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&aead::AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&aead::CHACHA20_POLY1305, key, iv),
            _ => return None,
        };
        let form = match version {
            ProtocolVersion::TLSv1_3 => Form::Tls13,
            _ if matches!(secrets, ConnectionTrafficSecrets::Chacha20Poly1305 { .. }) => Form::Tls12Implicit,
            _ => Form::Tls12Explicit,
        };
        Some(Key {
            aead: LessSafeKey::new(UnboundKey::new(algorithm, key.as_ref()).ok()?),
            iv: iv.as_ref().try_into().ok()?,
            sequence,
            left: limit.saturating_sub(sequence),
            form,
        })
    }

    /// Whether the key is nearly used up and should be replaced.
    pub(crate) fn is_worn(&self) -> bool {
        self.left < 1 << 10
    }

    fn next(&mut self) -> Result<[u8; aead::NONCE_LEN], BadRecord> {
        self.left = self.left.checked_sub(1).ok_or(BadRecord::KeyExhausted)?;
        let mut nonce = self.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= number;
        }
        self.sequence += 1;
        Ok(nonce)
    }

    /// RFC 5246 section 6.2.3.3.
    fn tls12_aad(sequence: u64, kind: u8, plaintext: usize) -> [u8; 13] {
        let mut aad = [0; 13];
        aad[..8].copy_from_slice(&sequence.to_be_bytes());
        aad[8] = kind;
        aad[9..11].copy_from_slice(&WIRE_VERSION);
        aad[11..].copy_from_slice(&(plaintext as u16).to_be_bytes());
        aad
    }

    /// Opens the whole record `record` where it lies: its kind, and where in `record` the plaintext now is.
    pub(crate) fn open(&mut self, record: &mut [u8]) -> Result<(Kind, std::ops::Range<usize>), BadRecord> {
        let sequence = self.sequence;
        let mut nonce = self.next()?;
        let (header, payload) = record.split_at_mut(HEADER_BYTES);
        let start = if self.form == Form::Tls12Explicit { EXPLICIT_NONCE_BYTES } else { 0 };
        if payload.len() < start + TAG_BYTES {
            return Err(BadRecord::Malformed);
        }
        let (explicit, sealed) = payload.split_at_mut(start);
        nonce[4..4 + start].copy_from_slice(explicit);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = match self.form {
            Form::Tls13 => self.aead.open_in_place(nonce, Aad::from(&*header), sealed),
            _ => {
                let aad = Key::tls12_aad(sequence, header[0], sealed.len() - TAG_BYTES);
                self.aead.open_in_place(nonce, Aad::from(aad), sealed)
            }
        };
        let plaintext = opened.map_err(|_| BadRecord::Forged)?;
        let (kind, len) = match self.form {
            Form::Tls13 => {
                // RFC 8446 section 5.4: the kind is the last byte that is not padding.
                let at = plaintext.iter().rposition(|&b| b != 0).ok_or(BadRecord::Malformed)?;
                (plaintext[at], at)
            }
            _ => (header[0], plaintext.len()),
        };
        if len > MAX_PLAINTEXT_BYTES {
            return Err(BadRecord::TooLong);
        }
        let start = HEADER_BYTES + start;
        Ok((Kind::of(kind).ok_or(BadRecord::Malformed)?, start..start + len))
    }

    /// Seals `plaintext`, at most [`MAX_PLAINTEXT_BYTES`], as one record at the end of `out`.
    pub(crate) fn seal(&mut self, kind: Kind, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), BadRecord> {
        debug_assert!(plaintext.len() <= MAX_PLAINTEXT_BYTES);
        let sequence = self.sequence;
        let nonce = self.next()?;
        let inner: &[u8] = &[kind.byte()];
        let (outer, extra, explicit) = match self.form {
            Form::Tls13 => (Kind::Data.byte(), inner, &[][..]),
            Form::Tls12Explicit => (kind.byte(), &[][..], &nonce[4..]),
            Form::Tls12Implicit => (kind.byte(), &[][..], &[][..]),
        };
        let payload = explicit.len() + plaintext.len() + extra.len() + TAG_BYTES;
        let [high, low] = (payload as u16).to_be_bytes();
        let header = [outer, WIRE_VERSION[0], WIRE_VERSION[1], high, low];
        out.extend_from_slice(&header);
        out.extend_from_slice(explicit);
        let start = out.len();
        out.resize(start + plaintext.len() + extra.len() + TAG_BYTES, 0);
        let (ciphertext, rest) = out[start..].split_at_mut(plaintext.len());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = match self.form {
            Form::Tls13 => {
                let aad = Aad::from(header);
                self.aead.seal_out_of_place_scatter(nonce, aad, plaintext, ciphertext, extra, rest)
            }
            _ => {
                let aad = Aad::from(Key::tls12_aad(sequence, kind.byte(), plaintext.len()));
                self.aead.seal_out_of_place_scatter(nonce, aad, plaintext, ciphertext, extra, rest)
            }
        };
        sealed.map_err(|_| BadRecord::KeyExhausted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::crypto::cipher::{AeadKey, Iv};

    fn secrets(chacha: bool) -> ConnectionTrafficSecrets {
        let (key, iv) = (AeadKey::from([7; 32]), Iv::from([9; 12]));
        match chacha {
            true => ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv },
            false => ConnectionTrafficSecrets::Aes256Gcm { key, iv },
        }
    }

    fn pair(version: ProtocolVersion, chacha: bool, limit: u64) -> (Key, Key) {
        let key = || Key::new(version, (3, secrets(chacha)), limit).unwrap();
        (key(), key())
    }

    #[test]
    fn what_is_sealed_opens_in_every_form() {
        for version in [ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3] {
            for chacha in [false, true] {
                let (mut ours, mut theirs) = pair(version, chacha, 1 << 20);
                for size in [0, 1, 100, MAX_PLAINTEXT_BYTES] {
                    let mut record = Vec::new();
                    let plaintext = vec![b'x'; size];
                    ours.seal(Kind::Data, &plaintext, &mut record).unwrap();
                    assert_eq!(frame(&record).unwrap(), Some((Kind::Data, record.len())));
                    let (kind, place) = theirs.open(&mut record).unwrap();
                    assert_eq!((kind, &record[place]), (Kind::Data, &plaintext[..]));
                }
            }
        }
    }

    #[test]
    fn the_kind_is_hidden_in_tls13_only() {
        let (mut ours, mut theirs) = pair(ProtocolVersion::TLSv1_3, false, 1 << 20);
        let mut record = Vec::new();
        ours.seal(Kind::Alert, &[1, 0], &mut record).unwrap();
        assert_eq!(record[0], 23);
        assert_eq!(theirs.open(&mut record).unwrap().0, Kind::Alert);
    }

    #[test]
    fn a_changed_byte_a_repeated_and_a_lost_record_are_forged() {
        let (mut ours, mut theirs) = pair(ProtocolVersion::TLSv1_3, false, 1 << 20);
        let mut seal = || {
            let mut record = Vec::new();
            ours.seal(Kind::Data, b"hello", &mut record).unwrap();
            record
        };
        let (first, mut second) = (seal(), seal());
        let mut bad = first.clone();
        bad[8] ^= 1;
        assert_eq!(theirs.open(&mut bad), Err(BadRecord::Forged));
        assert_eq!(pair(ProtocolVersion::TLSv1_3, false, 9).1.open(&mut second), Err(BadRecord::Forged));
        let mut theirs = pair(ProtocolVersion::TLSv1_3, false, 9).1;
        assert!(theirs.open(&mut first.clone()).is_ok());
        assert_eq!(theirs.open(&mut first.clone()), Err(BadRecord::Forged));
    }

    #[test]
    fn a_key_ends_at_its_limit() {
        let (mut ours, _) = pair(ProtocolVersion::TLSv1_3, false, 4);
        assert!(ours.is_worn());
        assert!(ours.seal(Kind::Data, b"x", &mut Vec::new()).is_ok());
        assert_eq!(ours.seal(Kind::Data, b"x", &mut Vec::new()), Err(BadRecord::KeyExhausted));
    }

    #[test]
    fn what_is_no_record_is_said_so() {
        assert_eq!(frame(b"\x17\x03"), Ok(None));
        assert_eq!(frame(b"GET / HTTP/1.1"), Err(BadRecord::Malformed));
        assert_eq!(frame(b"\x17\x03\x03\xff\xff"), Err(BadRecord::TooLong));
        let (_, mut theirs) = pair(ProtocolVersion::TLSv1_3, false, 9);
        assert_eq!(theirs.open(&mut [23, 3, 3, 0, 3, 1, 2, 3]), Err(BadRecord::Malformed));
    }
}
