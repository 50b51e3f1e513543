//! The request target: its form, its authority, its path as it is routed and forwarded.
//!
//! Says what a target is; which route it takes, and whether encoded reserved characters are welcome, is decided elsewhere.

// `Host` and authorities.
mod host;
// Paths: percent-encoding, dot segments, duplicate slashes.
mod path;

use super::head::{Reject, Span};

pub use host::{check_host, host_for_routing};
pub use path::{normalize, routing_path, sanitize};

/// The four forms of RFC 9112 section 3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// `/path?query`
    #[default]
    Origin,
    /// `http://authority/path?query`
    Absolute,
    /// `host:port`, with CONNECT only.
    Authority,
    /// `*`, with OPTIONS only.
    Asterisk,
}

/// A request target in parts; spans are offsets into the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Target {
    /// The form.
    pub form: Form,
    /// Host and optional port, never empty: absolute and authority form only.
    pub authority: Option<Span>,
    /// The path as it was sent. Empty in authority form, and in absolute form if the path was left out (read it as `/`);
    /// `*` in asterisk form.
    pub path: Span,
    /// What follows the first `?`, possibly empty.
    pub query: Option<Span>,
}

/// Takes a request target apart (RFC 9112 section 3.2).
///
/// # Errors
/// [`Reject`] with status 400: a control byte, a space, a `#`, a form that does not go with the method, a scheme other than
/// `http` and `https`, user information, an authority that is no host with an optional port.
pub fn parse(method: &[u8], target: &[u8]) -> Result<Target, Reject> {
    // Without an early exit the loop runs on vectors.
    let is_bad =
        target.iter().fold(false, |bad, byte| bad | (*byte <= b' ') | (*byte == 0x7f) | (*byte == b'#'));
    if is_bad {
        return Err(bad_byte(target));
    }
    let question = target.iter().position(|byte| *byte == b'?');
    let path_end = question.unwrap_or(target.len());
    let query = question.map(|at| Span::new(at + 1, target.len()));
    if method == b"CONNECT" {
        return authority_form(target);
    }
    if target.first() == Some(&b'/') {
        return Ok(Target { form: Form::Origin, authority: None, path: Span::new(0, path_end), query });
    }
    if target == b"*" && method == b"OPTIONS" {
        return Ok(Target { form: Form::Asterisk, authority: None, path: Span::new(0, 1), query: None });
    }
    let start = scheme_len(target).ok_or(Reject::BAD_TARGET)?;
    let authority_end =
        target[start..path_end].iter().position(|byte| *byte == b'/').map_or(path_end, |at| start + at);
    if authority_end <= start {
        return Err(Reject::BAD_HOST);
    }
    check_host(&target[start..authority_end])?;
    let authority = Some(Span::new(start, authority_end));
    Ok(Target { form: Form::Absolute, authority, path: Span::new(authority_end, path_end), query })
}

/// What the first bad byte of a target is.
#[cold]
fn bad_byte(target: &[u8]) -> Reject {
    match target.iter().find(|byte| matches!(byte, 0..=b' ' | b'#' | 0x7f)) {
        Some(b'#') => Reject::FRAGMENT_IN_TARGET,
        _ => Reject::BAD_TARGET_BYTE,
    }
}

/// `host:port` (RFC 9112 section 3.2.3); the port is required.
fn authority_form(target: &[u8]) -> Result<Target, Reject> {
    check_host(target)?;
    let (host, port) = host::split(target).ok_or(Reject::BAD_HOST)?;
    if host.is_empty() || port.is_none_or(<[u8]>::is_empty) {
        return Err(Reject::BAD_TARGET);
    }
    let end = target.len();
    Ok(Target {
        form: Form::Authority,
        authority: Some(Span::new(0, end)),
        path: Span::new(end, end),
        query: None,
    })
}

/// The length of `http://` or `https://` in front of an absolute form.
fn scheme_len(target: &[u8]) -> Option<usize> {
    [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
        .map(<[u8]>::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts<'a>(method: &str, target: &'a str) -> (Form, Option<&'a str>, &'a str, Option<&'a str>) {
        let parsed = parse(method.as_bytes(), target.as_bytes()).expect("a target");
        let text = |span: Span| &target[span.start as usize..span.end as usize];
        (parsed.form, parsed.authority.map(text), text(parsed.path), parsed.query.map(text))
    }

    fn refused(method: &str, target: &str) -> &'static str {
        parse(method.as_bytes(), target.as_bytes()).expect_err("refused").reason
    }

    #[test]
    fn splits_the_origin_form() {
        assert_eq!(parts("GET", "/a/b?c=d?e"), (Form::Origin, None, "/a/b", Some("c=d?e")));
        assert_eq!(parts("GET", "/?"), (Form::Origin, None, "/", Some("")));
        assert_eq!(parts("GET", "//evil/x"), (Form::Origin, None, "//evil/x", None));
    }

    #[test]
    fn case_12_splits_the_absolute_form() {
        assert_eq!(parts("GET", "http://a.b:80/c?d"), (Form::Absolute, Some("a.b:80"), "/c", Some("d")));
        assert_eq!(parts("GET", "HTTPS://a.b"), (Form::Absolute, Some("a.b"), "", None));
        assert_eq!(parts("GET", "http://a.b?d/e"), (Form::Absolute, Some("a.b"), "", Some("d/e")));
        assert_eq!(parts("GET", "http://[::1]:8/"), (Form::Absolute, Some("[::1]:8"), "/", None));
        assert_eq!(refused("GET", "http:///x"), "bad-host");
        assert_eq!(refused("GET", "http://u@h/x"), "bad-host");
        assert_eq!(refused("GET", "ftp://h/x"), "bad-target");
    }

    #[test]
    fn asterisk_goes_with_options_only() {
        assert_eq!(parts("OPTIONS", "*"), (Form::Asterisk, None, "*", None));
        assert_eq!(refused("GET", "*"), "bad-target");
    }

    #[test]
    fn authority_goes_with_connect_only() {
        assert_eq!(parts("CONNECT", "a.b:443"), (Form::Authority, Some("a.b:443"), "", None));
        assert_eq!(refused("CONNECT", "a.b"), "bad-target");
        assert_eq!(refused("CONNECT", "a.b:"), "bad-target");
        assert_eq!(refused("CONNECT", "/x"), "bad-host");
        assert_eq!(refused("GET", "a.b:443"), "bad-target");
    }

    #[test]
    fn case_12_refuses_fragments_and_control_bytes() {
        assert_eq!(refused("GET", "/a#b"), "fragment-in-target");
        assert_eq!(refused("GET", "/a?b#c"), "fragment-in-target");
        assert_eq!(refused("GET", "/a b"), "bad-target-byte");
        assert_eq!(refused("GET", "/a\0b"), "bad-target-byte");
        assert_eq!(refused("GET", "/a\x7fb"), "bad-target-byte");
        assert_eq!(refused("GET", ""), "bad-target");
    }
}
