//! Base64 in pieces: no panic, the same for any split, and what was decoded is the same after it was encoded again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pancake_wire::base64::{BadBase64, Decoder, encode};

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (text, cuts) = input;
    let whole = decoded(&[&text]);
    let mut pieces = Vec::new();
    let mut rest = &text[..];
    for cut in cuts {
        let (piece, more) = rest.split_at(usize::from(cut).min(rest.len()));
        pieces.push(piece);
        rest = more;
    }
    pieces.push(rest);
    assert_eq!(decoded(&pieces), whole);
    if let Ok(data) = whole {
        assert!(data.len() <= text.len() / 4 * 3);
        let mut again = Vec::new();
        encode(&data, &mut again);
        assert_eq!(decoded(&[&again]), Ok(data));
    }
});

fn decoded(pieces: &[&[u8]]) -> Result<Vec<u8>, BadBase64> {
    let (mut decoder, mut out) = (Decoder::default(), Vec::new());
    pieces.iter().try_for_each(|piece| decoder.data(piece, &mut out))?;
    decoder.end().map(|()| out)
}
