//! Field sections to fields and back (RFC 9204), without a dynamic table: this side allows none and uses none.

// The code that strings may come in.
mod huffman;
// Fields that both sides know.
mod table;

use table::Match;

/// A field section that is none, or that needs a dynamic table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Why fields are not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// They cannot be decoded: an error of the connection.
    Malformed,
    /// Together they are longer than the limit (RFC 9114 section 4.2.2).
    TooLong,
}

impl From<Malformed> for Refused {
    fn from(_: Malformed) -> Refused {
        Refused::Malformed
    }
}

/// What each field counts beside its name and value.
const FIELD_OVERHEAD_BYTES: usize = 32;

/// A field: name, value.
pub type Field = (Vec<u8>, Vec<u8>);

/// Decodes a field section. `max_bytes` limits the sum of names and values, with 32 bytes for each field.
///
/// # Errors
/// See [`Refused`].
pub fn decode(section: &[u8], max_bytes: usize) -> Result<Vec<Field>, Refused> {
    let mut rest = section;
    // Section 4.5.1: without a dynamic table both are zero.
    let required = integer(&mut rest, 8)?;
    let _base = integer(&mut rest, 7)?;
    if required != 0 {
        return Err(Refused::Malformed);
    }
    let (mut fields, mut total) = (Vec::new(), 0usize);
    while let Some(&first) = rest.first() {
        let (name, value) = match first {
            // Indexed: T must say the static table.
            0b1100_0000.. => {
                let (name, value) = static_field(&mut rest, 6)?;
                (name.to_vec(), value.to_vec())
            }
            // Literal with a name of the static table.
            0b0101_0000..=0b0101_1111 | 0b0111_0000..=0b0111_1111 => {
                let (name, _) = static_field(&mut rest, 4)?;
                (name.to_vec(), string(&mut rest, 7, max_bytes)?)
            }
            // Literal with a literal name.
            0b0010_0000..=0b0011_1111 => {
                let name = string(&mut rest, 3, max_bytes)?;
                (name, string(&mut rest, 7, max_bytes)?)
            }
            // The rest refers to the dynamic table.
            _ => return Err(Refused::Malformed),
        };
        total += name.len() + value.len() + FIELD_OVERHEAD_BYTES;
        if total > max_bytes {
            return Err(Refused::TooLong);
        }
        fields.push((name, value));
    }
    Ok(fields)
}

fn static_field(rest: &mut &[u8], bits: u32) -> Result<(&'static [u8], &'static [u8]), Malformed> {
    let index = integer(rest, bits)?;
    usize::try_from(index).ok().and_then(|index| table::FIELDS.get(index)).copied().ok_or(Malformed)
}

/// An integer with a prefix of so many bits (RFC 7541 section 5.1).
fn integer(rest: &mut &[u8], bits: u32) -> Result<u64, Malformed> {
    let (first, mut after) = rest.split_first().ok_or(Malformed)?;
    let full = (1u64 << bits) - 1;
    let mut value = u64::from(*first) & full;
    if value == full {
        let mut shift = 0;
        loop {
            let (byte, next) = after.split_first().ok_or(Malformed)?;
            after = next;
            // More than any length or index that there can be.
            if shift > 28 {
                return Err(Malformed);
            }
            value += u64::from(*byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *rest = after;
    Ok(value)
}

/// A string whose length has a prefix of so many bits; the bit before them says whether it is coded.
fn string(rest: &mut &[u8], bits: u32, max_bytes: usize) -> Result<Vec<u8>, Refused> {
    let coded = rest.first().ok_or(Malformed)? & 1 << bits != 0;
    let len = usize::try_from(integer(rest, bits)?).map_err(|_| Malformed)?;
    let (bytes, after) = rest.split_at_checked(len).ok_or(Malformed)?;
    *rest = after;
    if !coded {
        return Ok(bytes.to_vec());
    }
    // A byte has five bits of code at least.
    if len.saturating_mul(8) / 5 > max_bytes.saturating_add(len) {
        return Err(Refused::TooLong);
    }
    let mut out = Vec::with_capacity(len + len / 2);
    huffman::decode(bytes, &mut out)?;
    Ok(out)
}

/// Appends the prefix of a field section (section 4.5.1).
pub fn begin(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0]);
}

/// Appends a field. Its name must be in lower case.
pub fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    match table::find(name, value) {
        Match::Field(index) => write_integer(out, 0b1100_0000, 6, index),
        Match::Name(index) => {
            write_integer(out, 0b0101_0000, 4, index);
            literal(out, 0, 7, value);
        }
        Match::None => {
            literal(out, 0b0010_0000, 3, name);
            literal(out, 0, 7, value);
        }
    }
}

fn literal(out: &mut Vec<u8>, pattern: u8, bits: u32, text: &[u8]) {
    write_integer(out, pattern, bits, text.len());
    out.extend_from_slice(text);
}

fn write_integer(out: &mut Vec<u8>, pattern: u8, bits: u32, value: usize) {
    let full = (1usize << bits) - 1;
    if value < full {
        out.push(pattern | value as u8);
        return;
    }
    out.push(pattern | full as u8);
    let mut rest = value - full;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        begin(&mut out);
        for (name, value) in fields {
            field(&mut out, name, value);
        }
        out
    }

    #[test]
    fn fields_come_back() {
        let long = vec![b'v'; 5000];
        let fields: Vec<(&[u8], &[u8])> = vec![
            (b":status", b"200"),
            (b":status", b"418"),
            (b"content-type", b"text/css"),
            (b"x-own", b""),
            (b"x-a-name-that-takes-more-than-seven", &long),
            (b"x-frame-options", b"sameorigin"),
        ];
        let decoded = decode(&section(&fields), 10_000).unwrap();
        let decoded: Vec<(&[u8], &[u8])> = decoded.iter().map(|(n, v)| (&n[..], &v[..])).collect();
        assert_eq!(decoded, fields);
    }

    #[test]
    fn decodes_the_example_of_rfc_9204() {
        // Appendix B.1: a literal value with a name of the static table.
        let coded = [0, 0, 0x51, 0x0b, 0x2f, 0x69, 0x6e, 0x64, 0x65, 0x78, 0x2e, 0x68, 0x74, 0x6d, 0x6c];
        assert_eq!(decode(&coded, 100), Ok(vec![(b":path".to_vec(), b"/index.html".to_vec())]));
    }

    #[test]
    fn the_dynamic_table_and_what_is_cut_off_are_malformed() {
        let dynamic: [&[u8]; 5] =
            [&[2, 0], &[0, 0, 0x80], &[0, 0, 0x10], &[0, 0, 0x40, 1, 97], &[0, 0, 0, 1, 97]];
        for section in dynamic {
            assert_eq!(decode(section, 100), Err(Refused::Malformed), "{section:?}");
        }
        assert_eq!(decode(&[0, 0, 0xff, 36], 100), Err(Refused::Malformed), "index 99");
        let whole = section(&[(b"x-own", b"value"), (b":path", b"/x")]);
        for end in [0, 1, 3, 5, whole.len() - 1] {
            assert_eq!(decode(&whole[..end], 100), Err(Refused::Malformed), "{end}");
        }
        assert_eq!(decode(&[0xff; 20], 100), Err(Refused::Malformed), "an integer without end");
    }

    #[test]
    fn the_sum_of_fields_is_limited() {
        let fields: Vec<(&[u8], &[u8])> = vec![(b"age", b"0"); 10];
        let section = section(&fields);
        assert_eq!(decode(&section, 360).unwrap().len(), 10);
        assert_eq!(decode(&section, 359), Err(Refused::TooLong), "one byte each makes 36 of it");
    }
}
