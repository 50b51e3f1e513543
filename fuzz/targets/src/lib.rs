//! What fuzz targets share: a slow and plain second reading of HTTP/1 heads, to compare the codec with, and the way of a
//! configuration up to the table.
//!
//! The second reading is written from RFC 9112 without a look at the codec, reads only heads that the codec accepted, and panics where the
//! two disagree about where a message ends or what its fields are.

use std::sync::Arc;

use pancake_config::traefik;
use pancake_config::tree::{File, Format};
use pancake_table::check::check;
use pancake_table::compile::{EntryPointSpec, compile};
use pancake_table::snapshot::Snapshot;
use pancake_wire::h1::head::{Field, Framing};

/// A head in plain form.
pub struct Plain {
    /// Without its line end.
    pub first_line: Vec<u8>,
    /// Lower-case names, trimmed values.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Splits an accepted head. Each line must end in CRLF and hold no other CR, LF or NUL.
pub fn read(head: &[u8]) -> Plain {
    let mut rest = head;
    while let Some(after) = rest.strip_prefix(b"\r\n") {
        rest = after;
    }
    let text = rest.strip_suffix(b"\r\n\r\n").expect("a head ends in an empty line");
    let mut lines = Vec::new();
    let mut line = Vec::new();
    let mut bytes = text.iter().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\r' => {
                assert_eq!(bytes.next(), Some(&b'\n'), "a bare CR was accepted");
                lines.push(std::mem::take(&mut line));
            }
            b'\n' => panic!("a bare LF was accepted"),
            0 => panic!("a NUL was accepted"),
            _ => line.push(*byte),
        }
    }
    lines.push(line);
    let first_line = lines.remove(0);
    let fields = lines.iter().map(|line| split(line)).collect();
    Plain { first_line, fields }
}

fn split(line: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let colon = line.iter().position(|byte| *byte == b':').expect("a field line has a colon");
    let name = &line[..colon];
    assert!(!name.is_empty(), "an empty name was accepted");
    assert!(
        name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'"'),
        "{name:?} was accepted as a name"
    );
    (name.to_ascii_lowercase(), line[colon + 1..].trim_ascii().to_vec())
}

impl Plain {
    /// All values of a name.
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        self.fields.iter().filter(|(n, _)| n == name.as_bytes()).map(|(_, value)| &value[..]).collect()
    }

    /// Compares the fields with what the codec found in `bytes`.
    pub fn same_fields(&self, bytes: &[u8], fields: &[Field]) {
        assert_eq!(self.fields.len(), fields.len(), "number of fields");
        for ((name, value), field) in self.fields.iter().zip(fields) {
            assert_eq!(*name, field.name.of(bytes).to_ascii_lowercase());
            assert_eq!(value, field.value.of(bytes));
        }
    }

    /// The framing that the fields alone ask for: at most one length or exactly `chunked`. `none` stands for neither.
    pub fn framing(&self, none: Framing) -> Framing {
        let lengths = self.all("content-length");
        let codings = self.all("transfer-encoding");
        match (&lengths[..], &codings[..]) {
            ([], []) => none,
            ([length], []) => {
                assert!(
                    !length.is_empty() && length.iter().all(u8::is_ascii_digit),
                    "{length:?} was accepted"
                );
                let digits = std::str::from_utf8(length).expect("digits");
                match digits.parse::<i64>().expect("a length below 2^63") {
                    0 => Framing::Empty,
                    length => Framing::Length(length as u64),
                }
            }
            ([], [coding]) => {
                assert!(coding.eq_ignore_ascii_case(b"chunked"), "{coding:?} was accepted");
                Framing::Chunked
            }
            _ => panic!("two framings were accepted"),
        }
    }
}

/// Reads a dynamic configuration twice, then checks and compiles what it says.
pub fn dynamic(text: &str, format: Format) {
    let file = File { name: "fuzz", text, format };
    let loaded = traefik::dynamic::read(&[file]);
    let again = traefik::dynamic::read(&[file]);
    assert_eq!(loaded.snapshot, again.snapshot);
    assert_eq!(loaded.problems.len(), again.problems.len());
    if loaded.is_usable() {
        serve(loaded.snapshot);
    } else {
        assert_eq!(loaded.snapshot, Snapshot::default(), "an unusable input says nothing");
    }
}

/// Checks and compiles a snapshot, as a proxy does with each that it gets.
pub fn serve(snapshot: Snapshot) {
    let entry_points = [EntryPointSpec { name: "web".to_owned(), default: true }];
    let report = check(&snapshot, &["web".to_owned()]);
    let table = compile(Arc::new(snapshot), &report, &entry_points, None);
    assert!(table.entry_point("web").is_some());
}
