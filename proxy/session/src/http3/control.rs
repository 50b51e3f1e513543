//! The streams that clients open for the connection's sake (RFC 9114 section 6.2, RFC 9204 section 4.2).

use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use pancake_engine::Engine;
use pancake_wire::h3::frame::{self, Frames, Step};
use pancake_wire::h3::{Code, settings, varint};
use quinn_proto::{Dir, StreamId};

use super::{CONTROL_STREAM, DECODER_STREAM, ENCODER_STREAM};
use crate::limits::H3_CONTROL_FRAME_BYTES;
use crate::quic::connection::{Broken, Connection};

/// The instruction that sets the capacity of the dynamic table to what this side allows: none (RFC 9204 section 4.3.1).
const SET_NO_CAPACITY: u8 = 0x20;

enum Kind {
    /// Its kind did not come whole.
    Unknown(Vec<u8>),
    Control {
        frames: Frames,
        greeted: bool,
    },
    Encoder,
    Decoder,
}

/// All of a connection.
#[derive(Default)]
pub(super) struct Incoming {
    streams: Vec<(StreamId, Kind)>,
}

impl Incoming {
    /// Reads what has come.
    pub(super) fn poll<E: Engine>(
        &mut self,
        connection: &Rc<Connection<E>>,
        cx: &Context<'_>,
    ) -> Result<(), Code> {
        while let Some(id) = connection.accept(Dir::Uni) {
            self.streams.push((id, Kind::Unknown(Vec::new())));
        }
        let mut at = 0;
        while at < self.streams.len() {
            match self.poll_stream(at, connection, cx)? {
                true => at += 1,
                false => {
                    let (id, _) = self.streams.swap_remove(at);
                    connection.forget(id);
                }
            }
        }
        Ok(())
    }

    /// Reads one stream as far as it goes; false if it is of no more interest.
    fn poll_stream<E: Engine>(
        &mut self,
        at: usize,
        connection: &Rc<Connection<E>>,
        cx: &Context<'_>,
    ) -> Result<bool, Code> {
        loop {
            let (id, kind) = &mut self.streams[at];
            let id = *id;
            let ended = || match kind {
                Kind::Unknown(_) => Ok(false),
                _ => Err(Code::CLOSED_CRITICAL_STREAM),
            };
            let mut bytes = match connection.poll_read(id, cx) {
                Poll::Pending => return Ok(true),
                Poll::Ready(Ok(Some(bytes))) => bytes,
                Poll::Ready(Ok(None) | Err(Broken::ByPeer)) => return ended(),
                Poll::Ready(Err(Broken::Gone)) => return Ok(false),
            };
            if let Kind::Unknown(held) = kind {
                held.extend_from_slice(&bytes);
                let Some((number, used)) = varint::read(held) else { continue };
                bytes = Bytes::from(held.split_off(used));
                let Some(known) = self.known(number)? else {
                    // RFC 9114 section 9: what is not known is let be.
                    connection.stop(id, Code::STREAM_CREATION_ERROR);
                    return Ok(false);
                };
                self.streams[at].1 = known;
            }
            self.streams[at].1.take(&bytes)?;
        }
    }

    fn known(&self, number: u64) -> Result<Option<Kind>, Code> {
        let has = |is: fn(&Kind) -> bool| self.streams.iter().any(|(_, kind)| is(kind));
        let (twin, kind) = match number {
            CONTROL_STREAM => {
                let frames = Frames::new(H3_CONTROL_FRAME_BYTES);
                (has(|kind| matches!(kind, Kind::Control { .. })), Kind::Control { frames, greeted: false })
            }
            ENCODER_STREAM => (has(|kind| matches!(kind, Kind::Encoder)), Kind::Encoder),
            DECODER_STREAM => (has(|kind| matches!(kind, Kind::Decoder)), Kind::Decoder),
            // Only servers push.
            0x01 => return Err(Code::STREAM_CREATION_ERROR),
            _ => return Ok(None),
        };
        if twin { Err(Code::STREAM_CREATION_ERROR) } else { Ok(Some(kind)) }
    }
}

impl Kind {
    fn take(&mut self, mut bytes: &[u8]) -> Result<(), Code> {
        match self {
            Kind::Unknown(_) | Kind::Decoder => Ok(()),
            Kind::Encoder if bytes.iter().all(|byte| *byte == SET_NO_CAPACITY) => Ok(()),
            Kind::Encoder => Err(Code::QPACK_ENCODER_STREAM_ERROR),
            Kind::Control { frames, greeted } => loop {
                let (used, step) = frames.step(bytes)?;
                bytes = &bytes[used..];
                match step {
                    Step::NeedInput => return Ok(()),
                    Step::Whole(frame::SETTINGS) if !*greeted => {
                        settings::read(frames.payload())?;
                        *greeted = true;
                    }
                    _ if !*greeted => return Err(Code::MISSING_SETTINGS),
                    // Pushes are not made, so nothing depends on these.
                    Step::Whole(frame::GOAWAY | frame::MAX_PUSH_ID | frame::CANCEL_PUSH) => {}
                    Step::Data(_) | Step::Whole(_) => return Err(Code::FRAME_UNEXPECTED),
                }
            },
        }
    }
}
