//! How a message is cut out of the stream: outgoing ones are encoded, incoming ones stay bytes.
//!
//! Incoming messages are decoded off the service thread, and only after they have been weighed.

use bytes::{Buf, Bytes};
use pancake_table::proto::ProxyMessage;
use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RoutingCodec;

impl Codec for RoutingCodec {
    type Encode = ProxyMessage;
    type Decode = Bytes;
    type Encoder = RoutingCodec;
    type Decoder = RoutingCodec;

    fn encoder(&mut self) -> RoutingCodec {
        *self
    }

    fn decoder(&mut self) -> RoutingCodec {
        *self
    }
}

impl Encoder for RoutingCodec {
    type Item = ProxyMessage;
    type Error = Status;

    fn encode(&mut self, item: ProxyMessage, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(out).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for RoutingCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }
}
