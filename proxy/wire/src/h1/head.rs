//! Request and response heads (RFC 9112 sections 2 to 6).
//!
//! A head is a set of offsets into the bytes it was parsed from: it borrows nothing, and one value is reused for every
//! message of a connection, so that parsing allocates nothing once its vectors have grown. The field lines themselves are
//! scanned by `httparse`; everything that decides where a message ends is checked here.

// Offsets, field names that matter, fields.
mod field;
// What Connection, Content-Length and Transfer-Encoding add up to.
mod framing;
// `httparse` results turned into fields and exact refusals.
mod lines;
// Request heads.
mod request;
// Response heads.
mod response;

pub use super::reject::Reject;
pub use field::{Field, Known, Span};
pub use framing::{Framing, MAX_CONNECTION_OPTIONS, MAX_LENGTH};
pub use lines::{FIELD_SLOTS, Limits, Version, may_be_complete};
pub(crate) use lines::{is_token_byte, is_value_byte};
pub use request::{MAX_LEADING_EMPTY_LINES, RequestHead, parse_request};
pub use response::{ResponseHead, parse_response};
