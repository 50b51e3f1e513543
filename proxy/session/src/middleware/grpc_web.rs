//! gRPC-Web (`PROTOCOL-WEB.md` of gRPC): what browsers can say of gRPC, to gRPC and back.
//!
//! As in Traefik, whose library is traefik/grpc-web: the content type changes, trailers become the last frame of the
//! body, and in text mode bodies are base64. CORS (the Fetch standard) is answered here. Its web socket transport is
//! not built. Unlike there, an answer that is no gRPC passes as it is.

/// Bodies.
mod body;
/// What browsers ask before a call, and what they are told with its answer.
mod cors;

use pancake_table::snapshot::middlewares::GrpcWeb;
use pancake_wire::h1::emit;
use pancake_wire::h1::head::{Known, RequestHead, ResponseHead};

use super::{OwnAnswer, Verdict};
use crate::meter::Method;
pub(crate) use body::{Filter, reencode};

/// Content type of gRPC-Web, before `+proto` and the like.
const BINARY: &[u8] = b"application/grpc-web";
const TEXT: &[u8] = b"application/grpc-web-text";
const GRPC: &[u8] = b"application/grpc";

/// A call under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// Whether bodies are base64.
    text: bool,
    /// The content type without what stands for gRPC-Web: `+proto`, or nothing.
    suffix: Box<[u8]>,
    /// CORS fields of the answer, as lines.
    cors: Vec<u8>,
}

/// What is to be done with a request on a route with this middleware.
pub(super) fn judge(settings: &GrpcWeb, method: Method, head: &RequestHead, bytes: &[u8]) -> Verdict {
    match method {
        Method::Options => match cors::preflight(settings, head, bytes) {
            Some(fields) => Verdict::Answer(OwnAnswer { status: 200, fields }),
            None => Verdict::Pass,
        },
        Method::Post => {
            let Some(content_type) = value(head, bytes, b"content-type") else { return Verdict::Pass };
            let (text, rest) = match (strip(content_type, TEXT), strip(content_type, BINARY)) {
                (Some(rest), _) => (true, rest),
                (None, Some(rest)) => (false, rest),
                (None, None) => return Verdict::Pass,
            };
            let origin = value(head, bytes, b"origin");
            let cors = cors::answer(settings, origin);
            Verdict::GrpcWeb(Box::new(Call { text, suffix: rest.into(), cors }))
        }
        _ => Verdict::Pass,
    }
}

/// The first value of a field.
fn value<'b>(head: &RequestHead, bytes: &'b [u8], name: &[u8]) -> Option<&'b [u8]> {
    let found = head.fields.iter().find(|field| field.name.of(bytes).eq_ignore_ascii_case(name));
    found.map(|field| field.value.of(bytes))
}

/// What follows `prefix`, letters of either case.
fn strip<'b>(value: &'b [u8], prefix: &[u8]) -> Option<&'b [u8]> {
    let (start, rest) = value.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

impl Call {
    /// Appends the request's fields that differ from what the client sent: its `Content-Type` is not copied.
    pub(crate) fn request_fields(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"Content-Type: ");
        out.extend_from_slice(GRPC);
        out.extend_from_slice(&self.suffix);
        out.extend_from_slice(b"\r\n");
    }

    /// Whether the request's body is sent on in another form, so that its length says nothing.
    pub(crate) fn changes_request_body(&self) -> bool {
        self.text
    }

    /// What makes gRPC of the request's body.
    pub(crate) fn request_filter(&self) -> Option<Filter> {
        self.text.then(Filter::decode)
    }

    /// What makes gRPC-Web of the answer's body.
    pub(crate) fn answer_filter(&self) -> Filter {
        Filter::encode(self.text)
    }

    /// Whether this answer of a server is gRPC.
    pub(crate) fn answers(&self, head: &ResponseHead, bytes: &[u8]) -> bool {
        head.fields
            .iter()
            .any(|field| field.known == Known::ContentType && strip(field.value.of(bytes), GRPC).is_some())
    }

    /// Appends the content type of the answer, in which `content_type` is the server's.
    pub(crate) fn content_type(&self, content_type: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"Content-Type: ");
        match strip(content_type, GRPC) {
            None => out.extend_from_slice(content_type),
            Some(rest) => {
                out.extend_from_slice(if self.text { TEXT } else { BINARY });
                out.extend_from_slice(rest);
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    /// The content type of an answer that the proxy gives itself.
    pub(crate) fn own_content_type(&self, out: &mut Vec<u8>) {
        let content_type = [GRPC, &self.suffix].concat();
        self.content_type(&content_type, out);
    }

    /// Appends what the browser is told about the answer, whose fields have these names besides `grpc-status` and
    /// `grpc-message`.
    pub(crate) fn cors_fields<'n>(&self, names: impl Iterator<Item = &'n [u8]>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.cors);
        out.extend_from_slice(b"Access-Control-Expose-Headers: ");
        for name in names {
            out.extend_from_slice(name);
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(b"grpc-status, grpc-message");
        out.extend_from_slice(emit::CRLF);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pancake_wire::h1::head::{Limits, parse_request};

    pub(super) fn settings(origins: &[&str]) -> GrpcWeb {
        GrpcWeb { allow_origins: origins.iter().map(|origin| (*origin).to_string()).collect() }
    }

    pub(super) fn parsed(request: &str) -> RequestHead {
        let mut head = RequestHead::default();
        let limits = Limits { max_head_bytes: 4096, max_fields: 64 };
        parse_request(request.as_bytes(), &limits, &mut head).unwrap().unwrap();
        head
    }

    fn call(content_type: &str) -> Option<Call> {
        let request = format!(
            "POST /a.B/C HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\nOrigin: https://o\r\n\r\n"
        );
        match judge(&settings(&["*"]), Method::Post, &parsed(&request), request.as_bytes()) {
            Verdict::GrpcWeb(call) => Some(*call),
            _ => None,
        }
    }

    #[test]
    fn content_types_are_translated_both_ways() {
        for (content_type, to_server, to_client) in [
            ("application/grpc-web", "application/grpc", "application/grpc-web"),
            ("application/grpc-web+proto", "application/grpc+proto", "application/grpc-web+proto"),
            ("application/grpc-web-text+proto", "application/grpc+proto", "application/grpc-web-text+proto"),
            ("Application/gRPC-Web-Text", "application/grpc", "application/grpc-web-text"),
        ] {
            let call = call(content_type).unwrap();
            let (mut request, mut answer) = (Vec::new(), Vec::new());
            call.request_fields(&mut request);
            assert_eq!(String::from_utf8(request).unwrap(), format!("Content-Type: {to_server}\r\n"));
            call.own_content_type(&mut answer);
            assert_eq!(String::from_utf8(answer).unwrap(), format!("Content-Type: {to_client}\r\n"));
        }
        for other in ["application/grpc", "application/json", "text/plain"] {
            assert_eq!(call(other), None, "{other}");
        }
    }
}
