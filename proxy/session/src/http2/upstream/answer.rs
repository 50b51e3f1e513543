//! The head of an HTTP/2 answer as HTTP/1.1 says it.
//!
//! What comes out is read by the strict HTTP/1.1 parser like the answer of any server.

use http::response::Parts;
use http::{HeaderMap, StatusCode, header};
use pancake_wire::h1::emit;

/// What follows the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follows {
    /// Nothing.
    Nothing,
    /// A body of the length that the head says.
    Length,
    /// A body in chunks.
    Chunks,
}

/// The head of an interim answer.
pub(super) fn interim(status: StatusCode, fields: &HeaderMap) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    emit::status_line(&mut out, status.as_u16());
    lines(&mut out, fields, false);
    out.extend_from_slice(b"\r\n");
    out
}

/// The head of an answer. `ends`: no frame follows it.
pub(super) fn head(parts: &Parts, ends: bool, head_request: bool) -> (Vec<u8>, Follows) {
    let bodiless = head_request || matches!(parts.status.as_u16(), 204 | 304);
    let length = parts.headers.contains_key(header::CONTENT_LENGTH);
    let follows = match () {
        () if ends || bodiless => Follows::Nothing,
        // A trailer section has a place after chunks only.
        () if length && !parts.headers.contains_key(header::TRAILER) => Follows::Length,
        () => Follows::Chunks,
    };
    let mut out = Vec::with_capacity(512);
    emit::status_line(&mut out, parts.status.as_u16());
    lines(&mut out, &parts.headers, follows == Follows::Chunks);
    if follows == Follows::Chunks {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    } else if ends && !bodiless && !length {
        out.extend_from_slice(b"Content-Length: 0\r\n");
    }
    out.extend_from_slice(b"\r\n");
    (out, follows)
}

fn lines(out: &mut Vec<u8>, fields: &HeaderMap, chunked: bool) {
    for (name, value) in fields {
        if chunked && *name == header::CONTENT_LENGTH {
            continue;
        }
        emit::field(out, name.as_str().as_bytes(), value.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(answer: http::Response<()>, ends: bool, head_request: bool) -> (String, Follows) {
        let (out, follows) = head(&answer.into_parts().0, ends, head_request);
        (String::from_utf8(out).unwrap(), follows)
    }

    fn ok() -> http::response::Builder {
        http::Response::builder()
    }

    #[test]
    fn a_body_without_length_or_with_trailers_comes_in_chunks() {
        let (head, follows) = written(ok().header("a", "b").body(()).unwrap(), false, false);
        assert_eq!(head, "HTTP/1.1 200 OK\r\na: b\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(follows, Follows::Chunks);
        let sized = ok().header("content-length", "3");
        assert_eq!(written(sized.body(()).unwrap(), false, false).1, Follows::Length);
        let sized = ok().header("content-length", "3").header("trailer", "x");
        let (head, follows) = written(sized.body(()).unwrap(), false, false);
        assert_eq!(head, "HTTP/1.1 200 OK\r\ntrailer: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(follows, Follows::Chunks);
    }

    #[test]
    fn an_answer_that_ends_with_its_head_has_no_body() {
        let (head, follows) = written(ok().header("grpc-status", "5").body(()).unwrap(), true, false);
        assert_eq!(head, "HTTP/1.1 200 OK\r\ngrpc-status: 5\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(follows, Follows::Nothing);
        let (head, _) = written(ok().status(204).body(()).unwrap(), true, false);
        assert_eq!(head, "HTTP/1.1 204 No Content\r\n\r\n");
        let (head, follows) = written(ok().header("content-length", "9").body(()).unwrap(), true, true);
        assert_eq!((&head[..], follows), ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", Follows::Nothing));
    }
}
