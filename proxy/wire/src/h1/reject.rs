//! The catalogue of refusals: one constant per reason, so that a status, a slug and a case number are decided once.
//!
//! Slugs are part of the interface (access log, metrics, `ops/manual/framing.md`): add, never rename.

/// Why a message is refused.
///
/// The sender is at fault in every case: a client for the statuses 4xx and 501/505, a backend for 502. None of them may be
/// retried on the same bytes, and none leaves the connection usable: where a message ends is no longer certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{detail} ({reason})")]
pub struct Reject {
    /// The status to answer with.
    pub status: u16,
    /// The machine slug, such as `two-content-lengths`.
    pub reason: &'static str,
    /// The same in plain words.
    pub detail: &'static str,
    /// The number of the attack case in the test catalogue (`ops/manual/framing.md`), 0 if it has none.
    pub case: u8,
}

impl Reject {
    const fn new(status: u16, case: u8, reason: &'static str, detail: &'static str) -> Self {
        Self { status, reason, detail, case }
    }

    /// The same fault in an answer of a backend: status 502 (RFC 9110 section 15.6.3).
    #[must_use]
    pub const fn from_backend(self) -> Self {
        Self { status: 502, ..self }
    }
}

/// Declares the constants and the list of all of them.
macro_rules! catalogue {
    ($($name:ident = $status:literal, $case:literal, $slug:literal, $detail:literal;)*) => {
        impl Reject {
            $(#[doc = concat!($detail, ".")] pub const $name: Reject = Reject::new($status, $case, $slug, $detail);)*

            /// Every refusal of the codec.
            pub const ALL: &'static [Reject] = &[$(Reject::$name),*];
        }
    };
}

catalogue! {
    LENGTH_AND_CODING = 400, 1, "content-length-with-transfer-encoding", "both Content-Length and Transfer-Encoding are given";
    TWO_CONTENT_LENGTHS = 400, 2, "two-content-lengths", "Content-Length is given more than once";
    EMPTY_CONTENT_LENGTH = 400, 3, "empty-content-length", "Content-Length has no value";
    BAD_CONTENT_LENGTH = 400, 4, "bad-content-length", "Content-Length is not a decimal number below 2^63";
    BAD_TRANSFER_ENCODING = 400, 5, "bad-transfer-encoding", "Transfer-Encoding is not exactly `chunked`";
    TWO_TRANSFER_ENCODINGS = 400, 5, "two-transfer-encodings", "Transfer-Encoding is given more than once";
    CODING_ON_HTTP10 = 400, 5, "transfer-encoding-on-http10", "Transfer-Encoding is given on HTTP/1.0";
    UNSUPPORTED_CODING = 501, 5, "unsupported-transfer-coding", "a transfer coding other than `chunked` is asked for";
    BAD_CHUNK_SIZE = 400, 6, "bad-chunk-size", "a chunk size is not 1 to 16 hexadecimal digits below 2^63";
    BAD_CHUNK_LINE = 400, 6, "bad-chunk-line", "a chunk size line does not end in CRLF or holds a control byte";
    BAD_CHUNK_END = 400, 6, "bad-chunk-end", "chunk data is not followed by CRLF";
    CHUNK_EXTENSION_TOO_LARGE = 400, 6, "chunk-extension-too-large", "chunk extensions are over the limit";
    BARE_LF = 400, 7, "bare-lf", "a line ends in a bare LF";
    BARE_CR = 400, 7, "bare-cr", "a CR is not followed by LF";
    NUL_IN_VALUE = 400, 7, "nul-in-field-value", "a field value holds a NUL byte";
    CONTROL_IN_VALUE = 400, 7, "control-in-field-value", "a field value holds a control byte";
    EMPTY_FIELD_NAME = 400, 8, "empty-field-name", "a field has no name";
    SPACE_BEFORE_COLON = 400, 8, "space-before-colon", "white space stands between a field name and its colon";
    FOLDED_FIELD = 400, 8, "folded-field", "a field line starts with white space (obsolete line folding)";
    BAD_FIELD_NAME = 400, 8, "bad-field-name", "a field name is not a token followed by a colon";
    BAD_REQUEST_LINE = 400, 8, "bad-request-line", "the request line is not `method SP target SP version`";
    BAD_EXPECTATION = 417, 10, "unsupported-expectation", "Expect is something other than `100-continue`";
    MISSING_HOST = 400, 12, "missing-host", "an HTTP/1.1 request has no Host";
    TWO_HOSTS = 400, 12, "two-hosts", "Host is given more than once";
    BAD_HOST = 400, 12, "bad-host", "the host is not a name or an address with an optional port";
    FRAGMENT_IN_TARGET = 400, 12, "fragment-in-target", "the request target holds `#`";
    BAD_TARGET = 400, 12, "bad-target", "the request target is in none of the four forms";
    BAD_TARGET_BYTE = 400, 12, "bad-target-byte", "the request target holds a control byte, a space or invalid UTF-8";
    BAD_PERCENT = 400, 12, "bad-percent-encoding", "the path holds `%` without two hexadecimal digits";
    NUL_IN_PATH = 400, 12, "nul-in-path", "the path holds `%00`";
    UNSUPPORTED_VERSION = 505, 0, "unsupported-version", "the HTTP version is not 1.0 or 1.1";
    HEAD_TOO_LARGE = 431, 0, "head-too-large", "the head is over the byte limit";
    TARGET_TOO_LONG = 414, 0, "target-too-long", "the request line alone is over the byte limit";
    TOO_MANY_FIELDS = 431, 0, "too-many-fields", "the head has more fields than the limit";
    TOO_MANY_OPTIONS = 400, 0, "too-many-connection-options", "Connection lists more options than the limit";
    TRAILERS_TOO_LARGE = 431, 0, "trailers-too-large", "the trailer section is over the limit";
    BAD_STATUS_LINE = 502, 0, "bad-status-line", "the status line is not `version SP status SP reason`";
}
