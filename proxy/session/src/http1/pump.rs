//! Moving a message body from one side to the other: bounded memory, backpressure by not receiving.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use pancake_engine::{Engine, OutBuf, Part, Parts, Stream, Time, Want};
use pancake_wire::h1::body::{Chunked, State};
use pancake_wire::h1::emit;
use pancake_wire::h1::head::{Framing, Reject};

use super::input::Input;
use crate::limits::{BULK_THRESHOLD_BYTES, MAX_COALESCED_BODY_BYTES};
use crate::middleware::grpc_web::{Filter, reencode};
use crate::pressure::{Stage, pause};
use crate::stream::Conn;
use crate::worker::Worker;

/// How a body comes in.
pub(crate) enum Inbound {
    /// None, or all of it has come.
    Done,
    /// This many bytes are missing.
    Length(u64),
    /// In chunks (RFC 9112 section 7.1).
    Chunked(Box<Chunked>),
    /// Until the sender closes (RFC 9112 section 6.3, responses only).
    UntilClose,
}

impl Inbound {
    pub(crate) fn new(framing: Framing) -> Inbound {
        match framing {
            Framing::Empty | Framing::Length(0) => Inbound::Done,
            Framing::Length(n) => Inbound::Length(n),
            Framing::Chunked => Inbound::Chunked(Box::new(Chunked::new())),
            Framing::UntilClose => Inbound::UntilClose,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Inbound::Done)
    }
}

/// Why a body did not get across.
#[derive(Debug)]
pub(crate) enum PumpError {
    /// The sender closed too early or failed.
    From(io::Error),
    /// The sender broke the framing.
    Framing(Reject),
    /// The receiver failed.
    To(io::Error),
}

/// One direction of an exchange.
pub(crate) struct Pump<'a, E: Engine> {
    pub(crate) worker: &'a Worker<E>,
    pub(crate) from: &'a Conn<E>,
    pub(crate) input: &'a mut Input,
    pub(crate) to: &'a Conn<E>,
    /// Whether the body goes out in chunks.
    pub(crate) chunked_out: bool,
    /// What it goes through; in a box, since few have any.
    pub(crate) filter: Option<Box<Filter>>,
    pub(crate) recv_until: Time,
    pub(crate) send_until: Time,
    /// How long the receiver may take for what is sent to it at a time, 64 KiB or so.
    pub(crate) send_stall: Option<Duration>,
    /// What got across so far.
    pub(crate) progress: &'a Moved,
}

/// What got across so far; can be read when the pump was dropped.
#[derive(Default)]
pub(crate) struct Moved {
    /// Whether the head, or the first of it, was sent.
    pub(crate) begun: Cell<bool>,
    /// Body bytes sent.
    pub(crate) bytes: Cell<u64>,
}

impl<E: Engine> Pump<'_, E> {
    /// Sends `head` and then the whole body.
    pub(crate) async fn run(&mut self, head: OutBuf, mut body: Inbound) -> Result<(), PumpError> {
        let mut head = Some(head);
        loop {
            let mut bytes = 0;
            let parts = self.gather(head.take(), &mut body, &mut bytes).map_err(PumpError::Framing)?;
            if parts.bytes() > 0 {
                self.to.send(parts, self.until()).await.map_err(PumpError::To)?;
                self.progress.begun.set(true);
                self.progress.bytes.set(self.progress.bytes.get() + bytes);
            }
            if body.is_done() {
                return Ok(());
            }
            let want = match &body {
                Inbound::Length(missing) if *missing < BULK_THRESHOLD_BYTES => Want::Some,
                Inbound::Chunked(_) if self.progress.bytes.get() < BULK_THRESHOLD_BYTES => Want::Some,
                _ => Want::Bulk,
            };
            if self.worker.pressure.is_at_least(Stage::Pause) {
                Box::pin(pause(self.worker)).await;
            }
            let more = self.from.recv(want, self.recv_until).await.map_err(PumpError::From)?;
            if !more.is_empty() {
                self.input.push(more);
                continue;
            }
            if !matches!(body, Inbound::UntilClose) {
                return Err(PumpError::From(io::ErrorKind::UnexpectedEof.into()));
            }
            if self.chunked_out {
                let mut out = OutBuf::new();
                emit::last_chunk(&mut out, b"");
                self.to.send(out.into(), self.until()).await.map_err(PumpError::To)?;
            }
            return Ok(());
        }
    }

    /// When the receiver must have taken what is sent now.
    fn until(&self) -> Time {
        let stalled = self.send_stall.map_or(Time::NEVER, |limit| self.worker.engine.now().after(limit));
        self.send_until.min(stalled)
    }

    /// What can go out now: the head, if not sent yet, and the body bytes at hand, `moved` of them.
    fn gather(&mut self, head: Option<OutBuf>, body: &mut Inbound, moved: &mut u64) -> Result<Parts, Reject> {
        if let Some(filter) = &mut self.filter {
            let mut out = head.unwrap_or_default();
            reencode(filter, (body, &mut *self.input), self.chunked_out, &mut out, moved)?;
            return Ok(out.into());
        }
        let limit = match body {
            Inbound::Done => 0,
            Inbound::Length(missing) => *missing,
            Inbound::UntilClose => u64::MAX,
            Inbound::Chunked(decoder) => {
                let mut out = head.unwrap_or_default();
                let done = rechunk(decoder, self.input, self.chunked_out, &mut out, moved)?;
                if done {
                    *body = Inbound::Done;
                }
                return Ok(out.into());
            }
        };
        let mut parts = Parts::new();
        let n = limit.min(self.input.bytes().len() as u64);
        let ends = limit == n && !matches!(body, Inbound::UntilClose);
        *moved = n;
        if let Inbound::Length(missing) = body {
            *missing -= n;
        }
        if ends {
            *body = Inbound::Done;
        }
        if n == 0 {
            parts.extend(head.map(Part::Out));
        } else if self.chunked_out {
            let mut out = head.unwrap_or_default();
            emit::chunk_head(&mut out, n as usize);
            parts.push(Part::Out(out));
            parts.push(self.input.take(n));
            parts.push(Part::Static(b"\r\n"));
        } else {
            match head {
                Some(mut out) if n as usize <= MAX_COALESCED_BODY_BYTES => {
                    out.extend_from_slice(&self.input.bytes()[..n as usize]);
                    self.input.consume(n as usize);
                    parts.push(Part::Out(out));
                }
                head => {
                    parts.extend(head.map(Part::Out));
                    parts.push(self.input.take(n));
                }
            }
        }
        Ok(parts)
    }
}

/// Decodes all the chunks at hand into `out`: as one chunk of our own, or bare. True once the body has ended.
fn rechunk(
    decoder: &mut Chunked,
    input: &mut Input,
    chunked_out: bool,
    out: &mut Vec<u8>,
    moved: &mut u64,
) -> Result<bool, Reject> {
    let mut used = 0;
    let mut done = false;
    // Where our chunk's size line goes: eight hex digits with leading zeros, filled in afterwards.
    const SIZE_LINE: usize = 10;
    let start = out.len();
    if chunked_out {
        out.extend_from_slice(b"00000000\r\n");
    }
    let data_start = out.len();
    loop {
        let step = decoder.step(&input.bytes()[used..])?;
        if let Some(data) = step.data {
            out.extend_from_slice(&input.bytes()[used..][data]);
        }
        used += step.consumed;
        match step.state {
            State::More => {}
            State::NeedInput => break,
            State::Done => {
                done = true;
                break;
            }
        }
    }
    input.consume(used);
    let data = out.len() - data_start;
    *moved += data as u64;
    if chunked_out {
        if data == 0 {
            out.truncate(start);
        } else {
            let digits = format_hex(data as u32);
            out[start..start + SIZE_LINE - 2].copy_from_slice(&digits);
            out.extend_from_slice(b"\r\n");
        }
        if done {
            emit::last_chunk(out, decoder.trailers());
        }
    }
    Ok(done)
}

/// Eight hex digits, as RFC 9112 section 7.1 allows leading zeros.
fn format_hex(n: u32) -> [u8; 8] {
    std::array::from_fn(|i| b"0123456789abcdef"[(n >> (28 - 4 * i)) as usize & 15])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_has_leading_zeros() {
        assert_eq!(&format_hex(0x1a2f), b"00001a2f");
    }
}
