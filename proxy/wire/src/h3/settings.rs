//! What one side tells the other first (RFC 9114 section 7.2.4).

use super::{Code, frame, varint};

/// `SETTINGS_QPACK_MAX_TABLE_CAPACITY` (RFC 9204 section 5).
const QPACK_MAX_TABLE_CAPACITY: u64 = 0x01;
/// `SETTINGS_MAX_FIELD_SECTION_SIZE`
const MAX_FIELD_SECTION_SIZE: u64 = 0x06;
/// `SETTINGS_QPACK_BLOCKED_STREAMS`
const QPACK_BLOCKED_STREAMS: u64 = 0x07;
/// `SETTINGS_ENABLE_CONNECT_PROTOCOL` (RFC 9220 section 5).
const ENABLE_CONNECT_PROTOCOL: u64 = 0x08;

/// Appends the settings of a server without a dynamic table, as a frame.
pub fn write(out: &mut Vec<u8>, max_field_section_bytes: u64) {
    let mut payload = Vec::new();
    for (setting, value) in [
        (QPACK_MAX_TABLE_CAPACITY, 0),
        (MAX_FIELD_SECTION_SIZE, max_field_section_bytes),
        (QPACK_BLOCKED_STREAMS, 0),
        (ENABLE_CONNECT_PROTOCOL, 1),
    ] {
        varint::write(&mut payload, setting);
        varint::write(&mut payload, value);
    }
    frame::head(out, frame::SETTINGS, payload.len());
    out.extend_from_slice(&payload);
}

/// Reads what a client says of itself: the largest field section that it takes, if it says so.
///
/// # Errors
/// [`Code::FRAME_ERROR`] for what is cut off; [`Code::SETTINGS_ERROR`] for settings of HTTP/2 or one that is there twice.
pub fn read(mut payload: &[u8]) -> Result<Option<u64>, Code> {
    let mut seen = Vec::new();
    let mut max_field_section_bytes = None;
    while !payload.is_empty() {
        let (setting, first) = varint::read(payload).ok_or(Code::FRAME_ERROR)?;
        let (value, second) = varint::read(&payload[first..]).ok_or(Code::FRAME_ERROR)?;
        payload = &payload[first + second..];
        if matches!(setting, 0x02..=0x05) || seen.contains(&setting) {
            return Err(Code::SETTINGS_ERROR);
        }
        seen.push(setting);
        if setting == MAX_FIELD_SECTION_SIZE {
            max_field_section_bytes = Some(value);
        }
    }
    Ok(max_field_section_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_back() {
        let mut out = Vec::new();
        write(&mut out, 70_000);
        assert_eq!(out[0], frame::SETTINGS as u8);
        assert_eq!(read(&out[2..]), Ok(Some(70_000)));
        assert_eq!(read(&[]), Ok(None));
    }

    #[test]
    fn settings_of_http2_twins_and_halves_are_refused() {
        assert_eq!(read(&[0x03, 1]), Err(Code::SETTINGS_ERROR));
        assert_eq!(read(&[0x01, 0, 0x01, 0]), Err(Code::SETTINGS_ERROR));
        assert_eq!(read(&[0x06]), Err(Code::FRAME_ERROR));
    }
}
