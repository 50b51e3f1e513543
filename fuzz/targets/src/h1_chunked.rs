//! Chunked bodies: however the input is split, data, trailers and verdict are the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pancake_wire::h1::body::{Chunked, State};
use pancake_wire::h1::emit;
use pancake_wire::h1::head::Reject;

#[derive(Debug, PartialEq)]
struct Decoded {
    data: Vec<u8>,
    trailers: Vec<u8>,
    /// Bytes used if the body is complete.
    end: Result<Option<usize>, Reject>,
}

// The first byte says how the rest is split.
fuzz_target!(|bytes: &[u8]| {
    let Some((split, body)) = bytes.split_first() else { return };
    let whole = decode(std::iter::once(body));
    assert_eq!(whole, decode(body.chunks(1)), "one byte at a time");
    assert_eq!(whole, decode(body.chunks(usize::from(*split % 16) + 1)));
    let at = usize::from(*split).min(body.len());
    assert_eq!(whole, decode([&body[..at], &body[at..]].into_iter()), "in two parts");
    if let Decoded { data, trailers, end: Ok(Some(_)) } = &whole {
        rewritten(data, trailers);
    }
});

/// A body that was accepted reads the same after it was written again.
fn rewritten(data: &[u8], trailers: &[u8]) {
    let mut bytes = Vec::new();
    for chunk in data.chunks(7) {
        emit::chunk_head(&mut bytes, chunk.len());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(emit::CRLF);
    }
    emit::last_chunk(&mut bytes, trailers);
    let again = decode(std::iter::once(&bytes[..]));
    assert_eq!((&again.data[..], &again.trailers[..], again.end), (data, trailers, Ok(Some(bytes.len()))));
}

fn decode<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Decoded {
    let mut decoder = Chunked::new();
    let (mut data, mut total, mut end) = (Vec::new(), 0, Ok(None));
    'parts: for part in parts {
        let mut rest = part;
        while !rest.is_empty() {
            let step = match decoder.step(rest) {
                Ok(step) => step,
                Err(reject) => {
                    end = Err(reject);
                    break 'parts;
                }
            };
            data.extend_from_slice(step.data.map_or(&[][..], |range| &rest[range]));
            assert!(step.consumed > 0, "a step makes progress");
            total += step.consumed;
            rest = &rest[step.consumed..];
            match step.state {
                State::Done => {
                    assert!(decoder.is_done());
                    end = Ok(Some(total));
                    break 'parts;
                }
                State::NeedInput => assert!(rest.is_empty()),
                State::More => assert!(!rest.is_empty()),
            }
        }
    }
    Decoded { data, trailers: decoder.trailers().to_vec(), end }
}
