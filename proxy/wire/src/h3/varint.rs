//! Integers of one to eight bytes (RFC 9000 section 16).

/// The largest value there is.
pub const MAX: u64 = (1 << 62) - 1;

/// The integer at the front of `bytes`, and how many bytes it takes; none if more are needed.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let len = 1usize << (first >> 6);
    let mut value = u64::from(first & 0x3f);
    for byte in bytes.get(1..len)? {
        value = value << 8 | u64::from(*byte);
    }
    Some((value, len))
}

/// Appends `value` in as few bytes as it needs.
///
/// # Panics
/// If it is larger than [`MAX`].
pub fn write(out: &mut Vec<u8>, value: u64) {
    assert!(value <= MAX, "{value} is too large");
    match value {
        0..=0x3f => out.push(value as u8),
        0x40..=0x3fff => out.extend_from_slice(&(value as u16 | 0x4000).to_be_bytes()),
        0x4000..=0x3fff_ffff => out.extend_from_slice(&(value as u32 | 0x8000_0000).to_be_bytes()),
        _ => out.extend_from_slice(&(value | 0xc000_0000_0000_0000).to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_come_back_from_any_prefix_that_is_whole() {
        for value in [0, 63, 64, 16_383, 16_384, (1 << 30) - 1, 1 << 30, MAX] {
            let mut out = Vec::new();
            write(&mut out, value);
            assert_eq!(read(&out), Some((value, out.len())));
            for end in 0..out.len() {
                assert_eq!(read(&out[..end]), None);
            }
        }
    }
}
