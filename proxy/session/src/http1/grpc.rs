//! gRPC over HTTP/2, as far as a proxy has a part in it: who asks for it is answered in it.

use pancake_engine::OutBuf;
use pancake_wire::h1::emit;
use pancake_wire::h1::head::{Known, RequestHead};

use crate::meter::Method;
use crate::middleware::grpc_web::Call;

/// Whether a request is a call of gRPC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Grpc {
    #[default]
    No,
    Yes,
    /// As gRPC-Web, translated here.
    Web(Box<Call>),
}

impl Grpc {
    /// By method and content type, as gRPC's `PROTOCOL-HTTP2.md` has them.
    pub(crate) fn of(method: Method, head: &RequestHead, bytes: &[u8]) -> Grpc {
        let named = |name: &[u8]| {
            let rest = name.strip_prefix(b"application/grpc");
            rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
        };
        let is_grpc = method == Method::Post
            && head.fields.iter().any(|f| f.known == Known::ContentType && named(f.value.of(bytes)));
        if is_grpc { Grpc::Yes } else { Grpc::No }
    }

    /// The call, if it is one of gRPC-Web.
    pub(crate) fn web(&self) -> Option<&Call> {
        match self {
            Grpc::Web(call) => Some(call),
            Grpc::No | Grpc::Yes => None,
        }
    }
}

/// The status of gRPC for a status of HTTP: `http-grpc-status-mapping.md` of gRPC, and Envoy.
pub(crate) fn status(http: u16) -> u8 {
    match http {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// The proxy's own answer to a call: trailers only.
pub(crate) fn reply(grpc: &Grpc, http: u16, date: &[u8; 29], close: bool) -> OutBuf {
    let mut out = OutBuf::new();
    emit::status_line(&mut out, 200);
    match grpc.web() {
        Some(call) => {
            call.own_content_type(&mut out);
            call.cors_fields([&b"Content-Type"[..], b"Vary"].into_iter(), &mut out);
        }
        None => emit::field(&mut out, b"Content-Type", b"application/grpc"),
    }
    emit::field(&mut out, b"Date", date);
    out.extend_from_slice(b"Grpc-Status: ");
    emit::decimal(&mut out, u64::from(status(http)));
    out.extend_from_slice(emit::CRLF);
    emit::field(&mut out, b"Grpc-Message", emit::reason_phrase(http).as_bytes());
    if close {
        emit::field(&mut out, b"Connection", b"close");
    }
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use pancake_wire::h1::head::{Limits, parse_request};

    fn of(method: Method, content_type: &str) -> Grpc {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\n\r\n");
        let mut head = RequestHead::default();
        let limits = Limits { max_head_bytes: 4096, max_fields: 64 };
        parse_request(request.as_bytes(), &limits, &mut head).unwrap().unwrap();
        Grpc::of(method, &head, request.as_bytes())
    }

    #[test]
    fn a_call_is_known_by_its_content_type() {
        for content_type in ["application/grpc", "application/grpc+proto", "application/grpc;x=y"] {
            assert_eq!(of(Method::Post, content_type), Grpc::Yes, "{content_type}");
            assert_eq!(of(Method::Get, content_type), Grpc::No);
        }
        for content_type in ["application/grpc-web", "application/grpcx", "application/json"] {
            assert_eq!(of(Method::Post, content_type), Grpc::No, "{content_type}");
        }
    }

    #[test]
    fn statuses_map_as_in_grpc() {
        let mapped = [400, 401, 403, 404, 408, 421, 429, 500, 502, 503, 504].map(status);
        assert_eq!(mapped, [13, 16, 7, 12, 2, 2, 14, 2, 14, 14, 14]);
    }
}
