//! Bodies of gRPC-Web, as they pass. Nothing is held but letters of base64 that do not make a group yet.

use pancake_wire::base64::{self, Decoder};
use pancake_wire::h1::body::State;
use pancake_wire::h1::emit;
use pancake_wire::h1::head::Reject;

use crate::http1::{Inbound, Input};

/// First byte of the frame that holds trailers.
const TRAILERS: u8 = 1 << 7;

/// A request in text mode that is no base64.
const BAD_BASE64: Reject =
    Reject { status: 400, reason: "bad-base64", detail: "the body in text mode is not base64", case: 0 };

/// What a body goes through.
#[derive(Debug)]
pub(crate) struct Filter(Kind);

#[derive(Debug)]
enum Kind {
    /// A request in text mode.
    Decode(Decoder),
    /// An answer; whether in text mode.
    Encode(bool),
}

impl Filter {
    pub(super) fn decode() -> Filter {
        Filter(Kind::Decode(Decoder::default()))
    }

    pub(super) fn encode(text: bool) -> Filter {
        Filter(Kind::Encode(text))
    }

    fn data(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Reject> {
        match &mut self.0 {
            Kind::Decode(decoder) => decoder.data(data, out).map_err(|_| BAD_BASE64)?,
            Kind::Encode(true) => base64::encode(data, out),
            Kind::Encode(false) => out.extend_from_slice(data),
        }
        Ok(())
    }

    /// After the last data: `trailers` are `name: value CRLF` lines.
    fn end(&mut self, trailers: &[u8], out: &mut Vec<u8>) -> Result<(), Reject> {
        match &mut self.0 {
            Kind::Decode(decoder) => decoder.end().map_err(|_| BAD_BASE64),
            Kind::Encode(_) => {
                let mut frame = vec![TRAILERS];
                // Trailers have a limit far below this.
                frame.extend_from_slice(&u32::try_from(trailers.len()).unwrap_or(u32::MAX).to_be_bytes());
                lower_names(trailers, &mut frame);
                self.data(&frame, out)
            }
        }
    }
}

/// Copies lines with their names in lower case, as gRPC-Web wants them.
fn lower_names(lines: &[u8], out: &mut Vec<u8>) {
    let mut in_name = true;
    for byte in lines {
        in_name = match byte {
            b':' => false,
            b'\n' => true,
            _ => in_name,
        };
        out.push(if in_name { byte.to_ascii_lowercase() } else { *byte });
    }
}

/// Takes what is there of a body through its filter into `out`, in chunks if `chunked`; how many body bytes that makes is
/// added to `moved`. `body` is done afterwards if it has ended.
pub(crate) fn reencode(
    filter: &mut Filter,
    (body, input): (&mut Inbound, &mut Input),
    chunked: bool,
    out: &mut Vec<u8>,
    moved: &mut u64,
) -> Result<(), Reject> {
    let (mut data, mut trailers) = (Vec::new(), Vec::new());
    let ends = take(body, input, &mut data, &mut trailers)?;
    let mut filtered = Vec::with_capacity(data.len());
    if !data.is_empty() {
        filter.data(&data, &mut filtered)?;
    }
    if ends {
        filter.end(&trailers, &mut filtered)?;
        *body = Inbound::Done;
    }
    *moved += filtered.len() as u64;
    if chunked && !filtered.is_empty() {
        emit::chunk_head(out, filtered.len());
        out.extend_from_slice(&filtered);
        out.extend_from_slice(emit::CRLF);
    } else {
        out.extend_from_slice(&filtered);
    }
    if chunked && ends {
        emit::last_chunk(out, b"");
    }
    Ok(())
}

/// Takes the body bytes at hand; whether they are the last.
fn take(
    body: &mut Inbound,
    input: &mut Input,
    data: &mut Vec<u8>,
    trailers: &mut Vec<u8>,
) -> Result<bool, Reject> {
    match body {
        Inbound::Done => Ok(true),
        Inbound::Length(missing) => {
            let n = usize::try_from(*missing).unwrap_or(usize::MAX).min(input.bytes().len());
            data.extend_from_slice(&input.bytes()[..n]);
            input.consume(n);
            *missing -= n as u64;
            Ok(*missing == 0)
        }
        Inbound::UntilClose => {
            data.extend_from_slice(input.bytes());
            input.consume(data.len());
            Ok(false)
        }
        Inbound::Chunked(decoder) => {
            let mut used = 0;
            let ends = loop {
                let step = decoder.step(&input.bytes()[used..])?;
                if let Some(range) = step.data {
                    data.extend_from_slice(&input.bytes()[used..][range]);
                }
                used += step.consumed;
                match step.state {
                    State::More => {}
                    State::NeedInput => break false,
                    State::Done => break true,
                }
            };
            input.consume(used);
            if ends {
                trailers.extend_from_slice(decoder.trailers());
            }
            Ok(ends)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pancake_engine::Buf;
    use pancake_wire::h1::body::Chunked;

    fn through(mut filter: Filter, mut body: Inbound, pieces: &[&[u8]]) -> Result<Vec<u8>, Reject> {
        let (mut input, mut out, mut moved) = (Input::default(), Vec::new(), 0);
        for piece in pieces {
            input.push(Buf::from_vec(piece.to_vec()));
            reencode(&mut filter, (&mut body, &mut input), false, &mut out, &mut moved)?;
        }
        assert!(body.is_done());
        assert_eq!(moved, out.len() as u64);
        Ok(out)
    }

    #[test]
    fn trailers_become_the_last_frame() {
        let chunks = b"5\r\n\0\0\0\0\0\r\n0\r\nGrpc-Status: 0\r\ngrpc-message: A: B\r\n\r\n";
        let frame = b"grpc-status: 0\r\ngrpc-message: A: B\r\n";
        let mut expected = b"\0\0\0\0\0\x80\0\0\0".to_vec();
        expected.push(frame.len() as u8);
        expected.extend_from_slice(frame);
        for at in 0..chunks.len() {
            let body = Inbound::Chunked(Box::new(Chunked::new()));
            let out = through(Filter::encode(false), body, &[&chunks[..at], &chunks[at..]]).unwrap();
            assert_eq!(out, expected, "{at}");
        }
    }

    #[test]
    fn an_answer_without_body_ends_with_an_empty_frame() {
        assert_eq!(through(Filter::encode(false), Inbound::Done, &[b""]).unwrap(), b"\x80\0\0\0\0");
        assert_eq!(through(Filter::encode(true), Inbound::Done, &[b""]).unwrap(), b"gAAAAAA=");
    }

    #[test]
    fn a_request_in_text_mode_is_decoded() {
        let out = through(Filter::decode(), Inbound::Length(8), &[b"AAA", b"AAAA="]).unwrap();
        assert_eq!(out, [0; 5]);
        let error = through(Filter::decode(), Inbound::Length(3), &[b"AAA"]).unwrap_err();
        assert_eq!((error.reason, error.status), ("bad-base64", 400));
    }
}
