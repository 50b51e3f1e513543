//! Reading and writing messages, strictly: what the proxy sends must be plain RFC 9112, without leniency.

use std::io;

use pancake_engine::sim::{Rng, SimStream};
use pancake_engine::{OutBuf, Part, Parts, Stream, Time, Want};

use crate::plan::{Body, sum_of};

/// Bytes of a head that the actors read at most.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Why a message was not read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The connection ended in order before the first byte.
    Nothing,
    /// The connection ended in order in the middle.
    Truncated,
    /// The connection broke.
    Reset,
    /// The deadline passed.
    TimedOut,
    /// It is not HTTP.
    Malformed(String),
    /// The reader had enough, on purpose.
    Enough,
}

/// The head of a message.
#[derive(Clone, Debug)]
pub struct Head {
    /// Request line or status line.
    pub first: String,
    /// Field lines: names in lower case.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// The value of a field; an error if it is there twice.
    pub fn one(&self, name: &str) -> Result<Option<&str>, Failed> {
        let mut found = self.fields.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str());
        let first = found.next();
        match found.next() {
            Some(_) => Err(Failed::Malformed(format!("two {name} fields: {:?}", self.fields))),
            None => Ok(first),
        }
    }

    /// The status of a response.
    pub fn status(&self) -> Result<u16, Failed> {
        let status = self.first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        status
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| Failed::Malformed(format!("status line {:?}", self.first)))
    }

    /// How the body ends. `Body::UntilClose` where no field says.
    pub fn framing(&self) -> Result<Body, Failed> {
        match (self.one("content-length")?, self.one("transfer-encoding")?) {
            (Some(_), Some(_)) => Err(Failed::Malformed("length and coding".into())),
            (Some(n), None) => {
                n.parse().map(Body::Length).map_err(|_| Failed::Malformed(format!("Content-Length {n:?}")))
            }
            (None, Some("chunked")) => Ok(Body::Chunked { bytes: 0, trailer: false }),
            (None, Some(coding)) => Err(Failed::Malformed(format!("Transfer-Encoding {coding:?}"))),
            (None, None) => Ok(Body::UntilClose(0)),
        }
    }
}

/// A body that was read whole.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// `X-Sim-Sum` of the trailer section.
    pub sum: Option<String>,
}

/// Reads messages from a stream.
pub struct Reader<'a> {
    stream: &'a SimStream,
    rest: Vec<u8>,
    /// Bytes read so far.
    pub total: usize,
    /// Gives up ([`Failed::Enough`]) after this many.
    pub enough: usize,
    /// Every call ends by then.
    pub until: Time,
    rng: Rng,
}

impl<'a> Reader<'a> {
    /// A reader that never has enough.
    pub fn new(stream: &'a SimStream, until: Time, rng: Rng) -> Reader<'a> {
        Reader { stream, rest: Vec::new(), total: 0, enough: usize::MAX, until, rng }
    }

    async fn more(&mut self) -> Result<(), Failed> {
        if self.total >= self.enough {
            return Err(Failed::Enough);
        }
        let want = *self.rng.pick(&[Want::Some, Want::Bulk]);
        match self.stream.recv(want, self.until).await {
            Ok(bytes) if bytes.is_empty() && self.rest.is_empty() => Err(Failed::Nothing),
            Ok(bytes) if bytes.is_empty() => Err(Failed::Truncated),
            Ok(bytes) => {
                self.total += bytes.len();
                self.rest.extend_from_slice(&bytes);
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::TimedOut => Err(Failed::TimedOut),
            Err(_) => Err(Failed::Reset),
        }
    }

    /// What was read beyond the last message.
    pub fn rest(&self) -> &[u8] {
        &self.rest
    }

    async fn line(&mut self) -> Result<String, Failed> {
        let mut seen = 0;
        loop {
            if let Some(at) = self.rest[seen..].windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.rest.drain(..seen + at + 2).collect();
                let line = &line[..line.len() - 2];
                if line.iter().any(|&byte| byte != b'\t' && (byte < b' ' || byte == 0x7f)) {
                    return Err(Failed::Malformed(format!("control bytes in {line:?}")));
                }
                return Ok(String::from_utf8_lossy(line).into_owned());
            }
            if self.rest.len() > MAX_HEAD_BYTES {
                return Err(Failed::Malformed("endless line".into()));
            }
            seen = self.rest.len().saturating_sub(1);
            self.more().await?;
        }
    }

    async fn field(&mut self) -> Result<Option<(String, String)>, Failed> {
        // The end of the connection is no clean end any more.
        let line = self.line().await.map_err(in_the_middle)?;
        if line.is_empty() {
            return Ok(None);
        }
        match line.split_once(':') {
            Some((name, value)) if !name.is_empty() && !name.contains([' ', '\t']) => {
                Ok(Some((name.to_ascii_lowercase(), value.trim().to_owned())))
            }
            _ => Err(Failed::Malformed(format!("field line {line:?}"))),
        }
    }

    /// The next head.
    pub async fn head(&mut self) -> Result<Head, Failed> {
        let first = self.line().await?;
        let mut fields = Vec::new();
        while let Some(field) = self.field().await? {
            fields.push(field);
        }
        Ok(Head { first, fields })
    }

    /// The body that follows a head.
    pub async fn body(&mut self, framing: Body) -> Result<Received, Failed> {
        let mut received = Received::default();
        match framing {
            Body::Empty => {}
            Body::Length(n) => self.exactly(n, &mut received.bytes).await?,
            Body::UntilClose(_) => loop {
                received.bytes.append(&mut self.rest);
                match self.more().await {
                    Ok(()) => {}
                    Err(Failed::Nothing) => break,
                    Err(failed) => return Err(failed),
                }
            },
            Body::Chunked { .. } => loop {
                let line = self.line().await.map_err(in_the_middle)?;
                let size = usize::from_str_radix(&line, 16)
                    .map_err(|_| Failed::Malformed(format!("chunk size {line:?}")))?;
                if size == 0 {
                    while let Some((name, value)) = self.field().await? {
                        if name == "x-sim-sum" {
                            received.sum = Some(value);
                        }
                    }
                    break;
                }
                self.exactly(size, &mut received.bytes).await?;
                if !self.line().await.map_err(in_the_middle)?.is_empty() {
                    return Err(Failed::Malformed("no CRLF after a chunk".into()));
                }
            },
        }
        Ok(received)
    }

    async fn exactly(&mut self, n: usize, into: &mut Vec<u8>) -> Result<(), Failed> {
        let mut missing = n;
        loop {
            let taken = missing.min(self.rest.len());
            into.extend(self.rest.drain(..taken));
            missing -= taken;
            if missing == 0 {
                return Ok(());
            }
            self.more().await.map_err(in_the_middle)?;
        }
    }
}

fn in_the_middle(failed: Failed) -> Failed {
    if failed == Failed::Nothing { Failed::Truncated } else { failed }
}

/// A body as it goes over the wire: in chunks of random sizes where chunked.
pub fn framed(body: Body, bytes: &[u8], rng: &mut Rng) -> Vec<u8> {
    let Body::Chunked { trailer, .. } = body else { return bytes.to_vec() };
    let mut out = Vec::with_capacity(bytes.len() + 64);
    let mut rest = bytes;
    while !rest.is_empty() {
        let most = *rng.pick(&[1, 10, 100, 4000, 70_000]);
        let (chunk, after) = rest.split_at(rng.within(1..=most).min(rest.len()));
        let extension = if rng.happens(300) { ";sim=1" } else { "" };
        out.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
        rest = after;
    }
    out.extend_from_slice(b"0\r\n");
    if trailer {
        out.extend_from_slice(format!("X-Sim-Sum: {}\r\n", sum_of(bytes)).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// The field lines that say how a body is framed.
pub fn framing_fields(body: Body) -> String {
    match body {
        Body::Empty | Body::UntilClose(_) => String::new(),
        Body::Length(n) => format!("Content-Length: {n}\r\n"),
        Body::Chunked { trailer: false, .. } => "Transfer-Encoding: chunked\r\n".into(),
        Body::Chunked { trailer: true, .. } => "Transfer-Encoding: chunked\r\nTrailer: X-Sim-Sum\r\n".into(),
    }
}

/// Sends bytes in pieces of random sizes.
pub async fn send(stream: &SimStream, mut bytes: &[u8], until: Time, rng: &mut Rng) -> io::Result<()> {
    while !bytes.is_empty() {
        let most = *rng.pick(&[3, 200, 5_000, 100_000, 100_000]);
        let (piece, rest) = bytes.split_at(rng.within(1..=most).min(bytes.len()));
        let mut out = OutBuf::new();
        out.extend_from_slice(piece);
        let mut parts = Parts::new();
        parts.push(Part::Out(out));
        stream.send(parts, until).await?;
        bytes = rest;
    }
    Ok(())
}
