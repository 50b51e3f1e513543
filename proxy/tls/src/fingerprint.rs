//! Digests of settings that are the same in every process and version: SHA-256 over length-prefixed fields.

use aws_lc_rs::digest::{Context, SHA256};

/// A SHA-256 digest.
pub(crate) type Digest = [u8; 32];

pub(crate) struct Fingerprint(Context);

impl Fingerprint {
    /// `purpose` keeps digests of different things apart.
    pub(crate) fn new(purpose: &str) -> Fingerprint {
        let mut print = Fingerprint(Context::new(&SHA256));
        print.text(purpose);
        print
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Fingerprint {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
        self
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Fingerprint {
        self.bytes(text.as_bytes())
    }

    pub(crate) fn texts<'a>(&mut self, texts: impl ExactSizeIterator<Item = &'a str>) -> &mut Fingerprint {
        self.number(texts.len() as u64);
        for text in texts {
            self.text(text);
        }
        self
    }

    pub(crate) fn number(&mut self, number: u64) -> &mut Fingerprint {
        self.0.update(&number.to_be_bytes());
        self
    }

    pub(crate) fn finish(self) -> Digest {
        let mut out = [0; 32];
        out.copy_from_slice(self.0.finish().as_ref());
        out
    }
}
