//! Where Pancake answers otherwise than Traefik on purpose, and why. An entry that is not needed any more must go.

/// A difference that is meant.
pub struct Intended {
    /// Names of cases; empty: all.
    pub cases: &'static [&'static str],
    /// What differs: `status`, `body`, `date to the client`, …; empty: all of the case.
    pub what: &'static [&'static str],
    /// Why.
    pub reason: &'static str,
}

/// What an answer that the proxy made itself says besides its status.
const FORM: &[&str] =
    &["body", "content-length to the client", "content-type to the client", "date to the client"];

/// All of them.
pub const INTENDED: &[Intended] = &[
    Intended {
        cases: &[],
        what: &["accept-encoding to the backend"],
        reason: "Go's client asks for gzip where the client did not, and unpacks the answer; Pancake passes on what was asked",
    },
    Intended {
        cases: &[
            "path with a bad escape",
            "no host",
            "two hosts",
            "bad host",
            "two lengths",
            "length with a sign",
            "empty length",
            "unknown transfer encoding",
            "space before colon",
            "empty name",
            "NUL in a value",
            "http 2.0 in the line",
            "no version",
            "expect something else",
            "server refuses",
            "service without servers",
        ],
        what: FORM,
        reason: "the same status; the body names the reason in a word that log and manual use too, with its length and type",
    },
    Intended {
        cases: &["service without servers"],
        what: &["x-content-type-options to the client"],
        reason: "comes with Go's http.Error; the answer is text/plain and has nothing to sniff",
    },
    Intended {
        cases: &[
            "length and chunks",
            "the same length twice",
            "chunks on http 1.0",
            "folded line",
            "bare line feeds",
        ],
        what: &[],
        reason: "framing that two parsers may read differently is refused; Go repairs it and goes on",
    },
    Intended {
        cases: &["path with encoded NUL"],
        what: &[],
        reason: "a NUL in a path cuts it short in many backends; it is refused",
    },
    Intended {
        cases: &["odd transfer encoding"],
        what: &[],
        reason: "an empty element is broken framing, 400; 501 is for codings that are not supported",
    },
    Intended {
        cases: &["bad chunk size"],
        what: &[],
        reason: "the client's fault, 400; Traefik says 500 because its backend request broke",
    },
    Intended {
        cases: &["fragment in the path"],
        what: &[],
        reason: "refused with a reason and closed; Traefik says 400 and reads on",
    },
    Intended {
        cases: &["leading empty line"],
        what: &[],
        reason: "RFC 9112 2.2: a server should ignore an empty line before the request line",
    },
    Intended {
        cases: &["http 1.0", "http 1.0 without host"],
        what: &["connection to the client"],
        reason: "the close is said, not only done",
    },
    Intended {
        cases: &["query with semicolon"],
        what: &["request line to the backend"],
        reason: "Traefik writes `;` as `&` unless told otherwise; Pancake forwards the query as it was sent",
    },
    Intended {
        cases: &["post without length"],
        what: &["content-length to the backend"],
        reason: "forwarded as it was sent; without a length there is no body (RFC 9112 6.3)",
    },
    Intended {
        cases: &["asterisk"],
        what: &[],
        reason: "Go answers OPTIONS * itself; Pancake asks the backend that the Host leads to",
    },
    Intended {
        cases: &["connect"],
        what: &[],
        reason: "405: the method is known and not offered; Traefik says 501",
    },
];
