//! HTTP/3 (RFC 9114): what stands on the streams of a QUIC connection.
//!
//! Frames, field sections (QPACK, RFC 9204, without a dynamic table) and requests, with limits as arguments. Streams, flow
//! control and loss are QUIC's; what an error means for the connection is the session's.

// Integers of one to eight bytes.
pub mod varint;
// A stream to frames, piece by piece.
pub mod frame;
// Field sections to fields and back.
pub mod qpack;
// The fields of a request to what they ask.
pub mod request;
// What one side tells the other first.
pub mod settings;

/// An error as it is told to the peer (RFC 9114 section 8.1, RFC 9204 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u64);

impl Code {
    /// Nothing is wrong.
    pub const NO_ERROR: Code = Code(0x100);
    /// The peer broke the protocol in a way without a name.
    pub const GENERAL_PROTOCOL_ERROR: Code = Code(0x101);
    /// This side failed.
    pub const INTERNAL_ERROR: Code = Code(0x102);
    /// A stream that there may not be.
    pub const STREAM_CREATION_ERROR: Code = Code(0x103);
    /// A stream ended that must not.
    pub const CLOSED_CRITICAL_STREAM: Code = Code(0x104);
    /// A frame in a place where it may not stand.
    pub const FRAME_UNEXPECTED: Code = Code(0x105);
    /// A frame that is not what its kind says.
    pub const FRAME_ERROR: Code = Code(0x106);
    /// The peer behaves as if to cost much.
    pub const EXCESSIVE_LOAD: Code = Code(0x107);
    /// Settings that contradict themselves.
    pub const SETTINGS_ERROR: Code = Code(0x109);
    /// The control stream does not start with settings.
    pub const MISSING_SETTINGS: Code = Code(0x10a);
    /// The request was not looked at.
    pub const REQUEST_REJECTED: Code = Code(0x10b);
    /// The answer is given up.
    pub const REQUEST_CANCELLED: Code = Code(0x10c);
    /// The request ended before it was whole.
    pub const REQUEST_INCOMPLETE: Code = Code(0x10d);
    /// The request is malformed.
    pub const MESSAGE_ERROR: Code = Code(0x10e);
    /// A field section that cannot be decoded.
    pub const QPACK_DECOMPRESSION_FAILED: Code = Code(0x200);
    /// An instruction that this side did not allow.
    pub const QPACK_ENCODER_STREAM_ERROR: Code = Code(0x201);
}
