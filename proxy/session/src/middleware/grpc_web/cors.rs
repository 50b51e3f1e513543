//! CORS as rs/cors 1.7 answers it with the options that Traefik gives: credentials are allowed, any method that a form may
//! send and any header.

use pancake_table::snapshot::middlewares::GrpcWeb;
use pancake_wire::h1::emit;
use pancake_wire::h1::head::RequestHead;

use super::value;

/// How long a browser may keep the answer to a preflight, in seconds.
const MAX_AGE: &[u8] = b"600";

/// Fields of the answer to a preflight for gRPC-Web; none if the request is no such thing.
pub(super) fn preflight(settings: &GrpcWeb, head: &RequestHead, bytes: &[u8]) -> Option<Vec<u8>> {
    let headers = value(head, bytes, b"access-control-request-headers")?;
    let method = value(head, bytes, b"access-control-request-method").filter(|method| !method.is_empty())?;
    let marks = b"x-grpc-web";
    if !headers.windows(marks.len()).any(|name| name.eq_ignore_ascii_case(marks)) {
        return None;
    }
    let mut out = Vec::with_capacity(512);
    emit::field(&mut out, b"Vary", b"Origin");
    emit::field(&mut out, b"Vary", b"Access-Control-Request-Method");
    emit::field(&mut out, b"Vary", b"Access-Control-Request-Headers");
    let allowed = [&b"GET"[..], b"POST", b"HEAD", b"OPTIONS"].iter().any(|m| method.eq_ignore_ascii_case(m));
    let origin = value(head, bytes, b"origin").filter(|origin| allowed && is_allowed(settings, origin));
    if let Some(origin) = origin {
        emit::field(&mut out, b"Access-Control-Allow-Origin", origin);
        emit::field(&mut out, b"Access-Control-Allow-Methods", &method.to_ascii_uppercase());
        emit::field(&mut out, b"Access-Control-Allow-Headers", headers);
        emit::field(&mut out, b"Access-Control-Allow-Credentials", b"true");
        emit::field(&mut out, b"Access-Control-Max-Age", MAX_AGE);
    }
    Some(out)
}

/// Fields of the answer to a call. Who may not read it may still make the call: that is for the browser to keep.
pub(super) fn answer(settings: &GrpcWeb, origin: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    emit::field(&mut out, b"Vary", b"Origin");
    if let Some(origin) = origin.filter(|origin| is_allowed(settings, origin)) {
        emit::field(&mut out, b"Access-Control-Allow-Origin", origin);
        emit::field(&mut out, b"Access-Control-Allow-Credentials", b"true");
    }
    out
}

fn is_allowed(settings: &GrpcWeb, origin: &[u8]) -> bool {
    let allows = |allowed: &String| allowed == "*" || allowed.as_bytes() == origin;
    !origin.is_empty() && settings.allow_origins.iter().any(allows)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parsed, settings};
    use super::*;

    fn asked(origin: &str, method: &str, headers: &str, origins: &[&str]) -> Option<String> {
        let request = format!(
            "OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: {method}\r\n\
             Access-Control-Request-Headers: {headers}\r\n\r\n"
        );
        let fields = preflight(&settings(origins), &parsed(&request), request.as_bytes());
        fields.map(|fields| String::from_utf8(fields).unwrap())
    }

    #[test]
    fn a_preflight_of_an_allowed_origin_is_granted() {
        let fields = asked("https://a", "POST", "X-Grpc-Web, content-type", &["https://a"]).unwrap();
        for field in [
            "Access-Control-Allow-Origin: https://a\r\n",
            "Access-Control-Allow-Methods: POST\r\n",
            "Access-Control-Allow-Headers: X-Grpc-Web, content-type\r\n",
            "Access-Control-Max-Age: 600\r\n",
        ] {
            assert!(fields.contains(field), "{field}: {fields}");
        }
    }

    #[test]
    fn other_origins_and_methods_are_granted_nothing() {
        for (origin, method) in [("https://b", "POST"), ("https://a", "DELETE")] {
            let fields = asked(origin, method, "x-grpc-web", &["https://a"]).unwrap();
            assert!(!fields.contains("Allow"), "{fields}");
        }
        assert!(asked("https://b", "POST", "x-grpc-web", &["*"]).unwrap().contains("Origin: https://b\r\n"));
    }

    #[test]
    fn other_preflights_go_to_the_service() {
        assert_eq!(asked("https://a", "POST", "content-type", &["*"]), None);
    }
}
