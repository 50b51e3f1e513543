//! One HTTP/1.1 message over a blocking stream, bounded: what the load client, the backend and the tests need.
//!
//! Deliberately not a codec: it is lenient, allocates per message, and is written without the proxy's own parser, so
//! that a mistake there cannot hide itself here.

use std::io::{self, BufRead, Read};

/// Longest head that is read, in bytes.
pub const MAX_HEAD_BYTES: usize = 256 * 1024;
/// Longest body that is kept, in bytes; a longer one is an error.
pub const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// The head of a request or an answer, as received.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// Request line or status line, without the line end.
    pub first: String,
    /// Fields in the order received, names as received.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// Value of the first field with that name, compared without case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// Status code of an answer; 0 if the first line is none.
    pub fn status(&self) -> u16 {
        let mut words = self.first.split(' ');
        match words.next() {
            Some(v) if v.starts_with("HTTP/1.") => words.next().and_then(|s| s.parse().ok()).unwrap_or(0),
            _ => 0,
        }
    }

    /// Whether the connection may carry another message after this one (RFC 9112 9.3).
    pub fn keep_alive(&self) -> bool {
        let connection = self.get("connection").unwrap_or("").to_ascii_lowercase();
        if self.first.contains("HTTP/1.0") {
            connection.contains("keep-alive")
        } else {
            !connection.contains("close")
        }
    }
}

/// One answer, body decoded.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// Head of the final (not 1xx) answer.
    pub head: Head,
    /// Body without its chunked framing.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text, lossy.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Reads one head. `Ok(None)`: the peer closed before its first byte.
///
/// # Errors
/// `UnexpectedEof` inside a head, `InvalidData` over [`MAX_HEAD_BYTES`] or for a line without a colon.
pub fn read_head(from: &mut impl BufRead) -> io::Result<Option<Head>> {
    let mut head = Head::default();
    let mut total = 0;
    loop {
        let mut line = Vec::new();
        let budget = (MAX_HEAD_BYTES - total) as u64;
        let n = from.by_ref().take(budget).read_until(b'\n', &mut line)?;
        total += n;
        if n == 0 && total == 0 {
            return Ok(None);
        }
        if line.last() != Some(&b'\n') {
            let kind = if total >= MAX_HEAD_BYTES {
                io::ErrorKind::InvalidData
            } else {
                io::ErrorKind::UnexpectedEof
            };
            return Err(io::Error::new(kind, "head not complete"));
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\r', '\n']);
        if head.first.is_empty() {
            if !text.is_empty() {
                head.first = text.to_owned();
            }
        } else if text.is_empty() {
            return Ok(Some(head));
        } else {
            let Some((name, value)) = text.split_once(':') else {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "field without a colon"));
            };
            head.fields.push((name.to_owned(), value.trim().to_owned()));
        }
    }
}

/// Reads the body that `head` announces. `until_close`: an answer without a length runs to the end of the stream.
///
/// # Errors
/// Those of the stream; `InvalidData` for broken framing or over [`MAX_BODY_BYTES`]; `UnexpectedEof` if cut short.
pub fn read_body(from: &mut impl BufRead, head: &Head, until_close: bool) -> io::Result<Vec<u8>> {
    let too_long = || io::Error::new(io::ErrorKind::InvalidData, "body over the limit");
    if head.get("transfer-encoding").is_some_and(|v| v.to_ascii_lowercase().ends_with("chunked")) {
        return read_chunked(from);
    }
    let mut body = Vec::new();
    match head.get("content-length") {
        Some(text) => {
            let bad = |_| io::Error::new(io::ErrorKind::InvalidData, "content-length is no number");
            let length: usize = text.parse().map_err(bad)?;
            if length > MAX_BODY_BYTES {
                return Err(too_long());
            }
            body.resize(length, 0);
            from.read_exact(&mut body)?;
        }
        None if until_close => {
            from.by_ref().take(MAX_BODY_BYTES as u64 + 1).read_to_end(&mut body)?;
            if body.len() > MAX_BODY_BYTES {
                return Err(too_long());
            }
        }
        None => {}
    }
    Ok(body)
}

fn read_chunked(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let broken = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        if from.by_ref().take(4096).read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let digits = line.trim_end().split(';').next().unwrap_or("");
        let size = usize::from_str_radix(digits, 16).map_err(|_| broken("chunk size"))?;
        if body.len().saturating_add(size) > MAX_BODY_BYTES {
            return Err(broken("body over the limit"));
        }
        let start = body.len();
        body.resize(start + size, 0);
        from.read_exact(&mut body[start..])?;
        if size == 0 {
            while from.by_ref().take(4096).read_line(&mut line)? > 2 {
                line.clear();
            }
            return Ok(body);
        }
        let mut end = [0; 2];
        from.read_exact(&mut end)?;
        if end != *b"\r\n" {
            return Err(broken("chunk without its line end"));
        }
    }
}

/// Reads one final answer to a request with `method`, skipping 1xx ones. `Ok(None)`: closed before its first byte.
///
/// # Errors
/// Those of [`read_head`] and [`read_body`].
pub fn read_answer(from: &mut impl BufRead, method: &str) -> io::Result<Option<Answer>> {
    loop {
        let Some(head) = read_head(from)? else { return Ok(None) };
        let status = head.status();
        if (100..200).contains(&status) && status != 101 {
            continue;
        }
        let bodiless = method == "HEAD" || matches!(status, 101 | 204 | 304);
        let body = if bodiless { Vec::new() } else { read_body(from, &head, true)? };
        return Ok(Some(Answer { head, body }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn reads_length_chunked_and_close_delimited_answers() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\
            Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\nrest";
        let mut from = Cursor::new(&bytes[..]);
        for (status, body) in [(200, "abc"), (200, "de"), (404, "rest")] {
            let answer = read_answer(&mut from, "GET").unwrap().unwrap();
            assert_eq!((answer.head.status(), answer.text().as_str()), (status, body));
        }
        assert!(read_answer(&mut from, "GET").unwrap().is_none());
    }

    #[test]
    fn an_answer_cut_short_is_an_error() {
        for bytes in ["HTTP/1.1 200 OK\r\nConte", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"] {
            assert!(read_answer(&mut Cursor::new(bytes), "GET").is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_head_without_end_stops_at_its_limit() {
        let bytes = vec![b'a'; MAX_HEAD_BYTES * 2];
        let error = read_head(&mut Cursor::new(bytes)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
