//! Paths: percent-encoding, dot segments, duplicate slashes, as Traefik 3 treats them.
//!
//! Three steps: [`normalize`] spells a path in one way without changing its meaning; [`sanitize`] also removes what a file
//! system would resolve; [`routing_path`] also decodes what is not reserved, so that a rule can be written in plain text.
//! Reserved characters stay encoded in all of them: `%2F` never becomes a slash.

use crate::h1::head::Reject;

/// What a byte of a path needs.
const PLAIN: u8 = 0;
/// A slash: depends on what follows.
const SLASH: u8 = 1;
/// `%`, or a byte that must not stand in a path unencoded.
const ENCODED: u8 = 2;

/// The class of every byte; plain are `pchar` of RFC 3986 section 3.3 and the brackets, which Go leaves alone too.
const CLASS: [u8; 256] = {
    let mut class = [ENCODED; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        if is_unreserved(b) || matches!(b, b':' | b'@' | b'[' | b']') || is_sub_delim(b) {
            class[byte] = PLAIN;
        }
        byte += 1;
    }
    class[b'/' as usize] = SLASH;
    class
};

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

const fn is_sub_delim(byte: u8) -> bool {
    matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}

/// Characters that keep their encoded form in a routing path: RFC 3986 section 2.2 and `%`.
const fn is_reserved(byte: u8) -> bool {
    is_sub_delim(byte) || matches!(byte, b':' | b'/' | b'?' | b'#' | b'[' | b']' | b'@' | b'%')
}

/// The path to forward when the entry point does not clean paths: encoded unreserved characters are decoded, hexadecimal
/// digits are upper case, bytes that must not stand in a path are encoded (RFC 3986 section 6.2.2). The empty path is `/`.
///
/// True if the result differs from `raw` and is in `out`, which is overwritten; false if `raw` is to be used as it is.
///
/// # Errors
/// [`Reject::BAD_PERCENT`], [`Reject::NUL_IN_PATH`], [`Reject::BAD_TARGET`] for a path that is neither `*` nor starts with a
/// slash, and [`Reject::BAD_TARGET_BYTE`] for bytes that [`super::parse`] leaves in no path.
pub fn normalize(raw: &[u8], out: &mut Vec<u8>) -> Result<bool, Reject> {
    out.clear();
    if raw.iter().all(|byte| CLASS[*byte as usize] != ENCODED) && is_rooted(raw)? {
        return Ok(false);
    }
    spell(raw, out)?;
    Ok(out != raw)
}

/// The path to forward: [`normalize`]d, then `.` and `..` segments and duplicate slashes are removed as Go's `path.Clean`
/// does; a slash at the end stays (but `/a/.` is `/a`, as in Traefik). The result differs and errors are as there.
///
/// # Errors
/// As [`normalize`].
pub fn sanitize(raw: &[u8], out: &mut Vec<u8>) -> Result<bool, Reject> {
    out.clear();
    if is_clean(raw) && is_rooted(raw)? {
        return Ok(false);
    }
    spell(raw, out)?;
    if out.first() == Some(&b'/') {
        clean(out);
    }
    Ok(out != raw)
}

/// The path to match routes with: [`sanitize`]d, then every encoded character that is not reserved is decoded. Bytes that
/// would not be UTF-8 stay encoded. The result differs and errors are as in [`normalize`].
///
/// # Errors
/// As [`normalize`].
pub fn routing_path(raw: &[u8], out: &mut String) -> Result<bool, Reject> {
    out.clear();
    if is_clean(raw) && is_rooted(raw)? {
        return Ok(false);
    }
    let mut path = std::mem::take(out).into_bytes();
    // Not clean, so what is said about `path` is in it, different or not.
    sanitize(raw, &mut path)?;
    let text = match String::from_utf8(decode(&path, |_| true)) {
        Ok(text) => text,
        Err(_) => {
            String::from_utf8(decode(&path, |byte| byte.is_ascii())).map_err(|_| Reject::BAD_TARGET_BYTE)?
        }
    };
    *out = text;
    Ok(out.as_bytes() != raw)
}

/// True if nothing has to be looked at closely: the fast path of nearly every request.
#[inline]
fn is_clean(raw: &[u8]) -> bool {
    let mut after_slash = false;
    for byte in raw {
        let class = CLASS[*byte as usize];
        if class == ENCODED || (after_slash && (class == SLASH || *byte == b'.')) {
            return false;
        }
        after_slash = class == SLASH;
    }
    true
}

/// False for the empty path, which stands for `/`.
fn is_rooted(raw: &[u8]) -> Result<bool, Reject> {
    match raw {
        [] => Ok(false),
        [b'/', ..] | [b'*'] => Ok(true),
        _ => Err(Reject::BAD_TARGET),
    }
}

/// Appends `raw` in its one spelling.
fn spell(raw: &[u8], out: &mut Vec<u8>) -> Result<(), Reject> {
    if !is_rooted(raw)? {
        out.push(b'/');
    }
    let mut at = 0;
    while let Some(byte) = raw.get(at) {
        if *byte == b'%' {
            match hex_pair(raw, at).ok_or(Reject::BAD_PERCENT)? {
                0 => return Err(Reject::NUL_IN_PATH),
                value if is_unreserved(value) => out.push(value),
                value => encode(value, out),
            }
            at += 3;
            continue;
        }
        match *byte {
            // Not part of a path that `target::parse` found; encoding it would make a NUL of a NUL.
            0..=b' ' | b'#' | b'?' | 0x7f => return Err(Reject::BAD_TARGET_BYTE),
            byte if CLASS[byte as usize] == ENCODED => encode(byte, out),
            byte => out.push(byte),
        }
        at += 1;
    }
    Ok(())
}

fn encode(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

/// The value of the `%XX` at `at`.
fn hex_pair(raw: &[u8], at: usize) -> Option<u8> {
    let digit = |offset: usize| (*raw.get(at + offset)? as char).to_digit(16);
    Some((digit(1)? * 16 + digit(2)?) as u8)
}

/// Removes `.`, `..` and empty segments of a rooted path in place.
fn clean(path: &mut Vec<u8>) {
    let ends_in_slash = path.last() == Some(&b'/');
    let (mut read, mut written) = (0, 0);
    while read < path.len() {
        if path[read] == b'/' {
            read += 1;
            continue;
        }
        let end = path[read..].iter().position(|byte| *byte == b'/').map_or(path.len(), |at| read + at);
        match &path[read..end] {
            b"." => {}
            b".." => written = path[..written].iter().rposition(|byte| *byte == b'/').unwrap_or(0),
            segment => {
                let length = segment.len();
                path[written] = b'/';
                path.copy_within(read..end, written + 1);
                written += 1 + length;
            }
        }
        read = end;
    }
    if written == 0 || ends_in_slash {
        path[written] = b'/';
        written += 1;
    }
    path.truncate(written);
}

/// Decodes the encoded bytes of a normalized path that are not reserved and that `may` be.
fn decode(path: &[u8], may: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut at = 0;
    while let Some(byte) = path.get(at) {
        match hex_pair(path, at).filter(|value| *byte == b'%' && !is_reserved(*value) && may(*value)) {
            Some(value) => {
                out.push(value);
                at += 3;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sanitized(raw: &str) -> String {
        let mut out = b"old".to_vec();
        let differs = sanitize(raw.as_bytes(), &mut out).expect("a path");
        let text = if differs { String::from_utf8(out).expect("ascii") } else { raw.to_owned() };
        assert_eq!(differs, text != raw);
        text
    }

    fn routed(raw: &str) -> String {
        let mut out = String::from("old");
        if routing_path(raw.as_bytes(), &mut out).expect("a path") { out } else { raw.to_owned() }
    }

    #[test]
    fn leaves_clean_paths_alone() {
        for path in ["/", "/a", "/a/b/", "/a.b/c..d/e:f@g;h=i", "*", "/[x]"] {
            assert_eq!(sanitized(path), path);
            assert_eq!(routed(path), path);
        }
    }

    #[test]
    fn removes_dot_segments_and_duplicate_slashes_as_go_does() {
        for (raw, want) in [
            ("", "/"),
            ("//", "/"),
            ("/.", "/"),
            ("/..", "/"),
            ("/../..", "/"),
            ("/a//b", "/a/b"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/b/../..", "/"),
            ("/a/b/../../", "/"),
            ("/a/.", "/a"),
            ("/a/..", "/"),
            ("/a/./", "/a/"),
            ("/a/../b/", "/b/"),
            ("//a///b//", "/a/b/"),
            ("/...", "/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/a/..b", "/a/..b"),
        ] {
            assert_eq!(sanitized(raw), want, "{raw:?}");
        }
    }

    #[test]
    fn case_12_resolves_encoded_dots_but_no_encoded_slash() {
        assert_eq!(sanitized("/a/%2e%2E/b"), "/b");
        assert_eq!(sanitized("/a/..%2fb"), "/a/..%2Fb");
        assert_eq!(sanitized("/a/%2e%2e%2fb"), "/a/..%2Fb");
        assert_eq!(sanitized("/a%5c..%5cb"), "/a%5C..%5Cb");
        assert_eq!(routed("/a/..%2fb"), "/a/..%2Fb");
    }

    #[test]
    fn case_12_refuses_nul_and_broken_encoding() {
        let refused = |raw: &str| {
            let reject = sanitize(raw.as_bytes(), &mut Vec::new()).expect_err("refused");
            assert_eq!(routing_path(raw.as_bytes(), &mut String::new()), Err(reject));
            assert_eq!(normalize(raw.as_bytes(), &mut Vec::new()), Err(reject));
            reject.reason
        };
        assert_eq!(refused("/a%00b"), "nul-in-path");
        assert_eq!(refused("/a%"), "bad-percent-encoding");
        assert_eq!(refused("/a%4"), "bad-percent-encoding");
        assert_eq!(refused("/a%+1"), "bad-percent-encoding");
        assert_eq!(refused("/a%zz"), "bad-percent-encoding");
        assert_eq!(refused("a"), "bad-target");
        for raw in ["/\0", "/ ", "/a\x1f", "/a?", "/a#", "/\x7f"] {
            assert_eq!(refused(raw), "bad-target-byte");
        }
    }

    #[test]
    fn spells_a_path_in_one_way() {
        assert_eq!(sanitized("/%7euser/%41"), "/~user/A");
        assert_eq!(sanitized("/a%2fb%3a"), "/a%2Fb%3A");
        assert_eq!(sanitized("/caf\u{e9}\"{"), "/caf%C3%A9%22%7B");
        let mut out = Vec::new();
        assert_eq!(normalize(b"/a/../%62", &mut out), Ok(true));
        assert_eq!(out, b"/a/../b");
        assert_eq!(normalize(b"/a//../b", &mut out), Ok(false));
    }

    #[test]
    fn routes_by_plain_text_with_reserved_characters_encoded() {
        assert_eq!(routed("/foo%20bar"), "/foo bar");
        assert_eq!(routed("/caf%c3%a9"), "/caf\u{e9}");
        assert_eq!(routed("/caf\u{e9}"), "/caf\u{e9}");
        assert_eq!(routed("/%ff%20"), "/%FF ");
        assert_eq!(routed("/a%2Fb%25%3F"), "/a%2Fb%25%3F");
        assert_eq!(routed("/%2541"), "/%2541");
    }
}
