//! The HTTP/1.1 codec (RFC 9112): heads as offsets into the received bytes, bodies as ranges of them.
//!
//! The parser is strict on purpose. A proxy that guesses what a malformed message meant is the front half of a request
//! smuggling pair, so everything that two implementations are known to read differently is refused, each with its own
//! [`head::Reject`]. It does not repair messages and does not decide header policy.

// Every way a message can be refused: status, slug, words, case number.
mod reject;
// Request and response heads: lines, fields, framing.
pub mod head;
// The request target: its form, its authority, its path as it is routed and forwarded.
pub mod target;
// Message bodies in the chunked coding.
pub mod body;
// What Pancake writes: copied fields, status lines, chunks, dates, error answers.
pub mod emit;
