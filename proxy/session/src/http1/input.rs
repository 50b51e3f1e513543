//! Bytes received and not yet used.

use pancake_engine::{Buf, OutBuf, Part};

/// Bytes of one side of a connection that were received and not yet used.
///
/// Normally one window on an engine buffer; a head that came in pieces is joined in own memory.
#[derive(Default)]
pub(crate) struct Input {
    window: Option<Buf>,
    /// In use while not empty; then `window` is none.
    joined: Vec<u8>,
}

impl Input {
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.window {
            Some(window) => window,
            None => &self.joined,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// Adds received bytes at the end.
    pub(crate) fn push(&mut self, more: Buf) {
        if self.is_empty() {
            self.joined = Vec::new();
            self.window = (!more.is_empty()).then_some(more);
            return;
        }
        if let Some(window) = self.window.take() {
            self.joined.reserve(window.len() + more.len());
            self.joined.extend_from_slice(&window);
        }
        self.joined.extend_from_slice(&more);
    }

    /// Before a wait: lets the engine's buffer go if buffers are scarce, so that those who wait do not keep them all.
    pub(crate) fn relieve(&mut self) {
        if let Some(window) = &mut self.window {
            window.relieve();
        }
    }

    /// Forgets the first `n` bytes. Gives the engine's buffer back when nothing is left.
    pub(crate) fn consume(&mut self, n: usize) {
        match &mut self.window {
            Some(window) if n < window.len() => window.advance(n),
            Some(_) => self.window = None,
            None if n < self.joined.len() => drop(self.joined.drain(..n)),
            None => self.joined = Vec::new(),
        }
    }

    /// Takes up to `max` bytes off the front, without copying where they lie in an engine buffer.
    pub(crate) fn take(&mut self, max: u64) -> Part {
        let n = usize::try_from(max).unwrap_or(usize::MAX).min(self.bytes().len());
        match &mut self.window {
            Some(window) if n < window.len() => Part::In(window.split_to(n)),
            Some(_) => Part::In(self.window.take().unwrap_or(Buf::empty())),
            None => {
                let mut out = OutBuf::new();
                out.extend_from_slice(&self.joined[..n]);
                self.consume(n);
                Part::Out(out)
            }
        }
    }
}
