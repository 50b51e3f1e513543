//! Why the first bytes of a connection are refused: one constant per reason, for `client_hello` and `proxy_protocol`.
//!
//! Slugs are part of the interface (access log, metrics): add, never rename. HTTP/1 has its own catalogue, with statuses
//! (`h1::head::Reject`); here nothing can be answered, the connection is closed.

/// Why the first bytes of a connection are refused.
///
/// The sender is at fault in every case. Whatever follows on the connection is of no use: the verdict on the first bytes
/// stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{detail} ({reason})")]
pub struct Reject {
    /// The machine slug, such as `proxy-bad-port`.
    pub reason: &'static str,
    /// What is wrong, in plain words.
    pub detail: &'static str,
}

/// Declares the constants and the list of all of them.
macro_rules! catalogue {
    ($($name:ident = $slug:literal, $detail:literal;)*) => {
        impl Reject {
            $(#[doc = concat!($detail, ".")] pub const $name: Reject = Reject { reason: $slug, detail: $detail };)*

            /// Every refusal of first bytes.
            pub const ALL: &'static [Reject] = &[$(Reject::$name),*];
        }
    };
}

catalogue! {
    TLS_HELLO_TOO_LARGE = "tls-client-hello-too-large", "the ClientHello with its record headers is over the byte limit";
    TLS_BAD_RECORD_LENGTH = "tls-bad-record-length", "a TLS record of the ClientHello is empty or longer than 2^14 bytes";
    TLS_HELLO_INTERRUPTED = "tls-client-hello-interrupted", "a record that is no handshake record stands inside the ClientHello";
    TLS_NO_HELLO = "tls-no-client-hello", "the first handshake message is not a ClientHello";
    TLS_BAD_HELLO = "tls-bad-client-hello", "a length before the extensions of the ClientHello does not fit";
    TLS_BAD_EXTENSIONS = "tls-bad-extensions", "the extensions do not fill the rest of the ClientHello exactly";
    TLS_TWO_EXTENSIONS = "tls-two-extensions", "server_name, ALPN or supported_versions is given more than once";
    TLS_BAD_SERVER_NAME = "tls-bad-server-name", "the server_name extension is not a list of names of 1 to 65535 bytes";
    TLS_TWO_SERVER_NAMES = "tls-two-server-names", "the server_name extension holds more than one host name";
    TLS_NO_DNS_NAME = "tls-no-dns-name", "the host name in server_name is not a DNS name in ASCII";
    TLS_BAD_ALPN = "tls-bad-alpn", "the ALPN extension is not a list of protocol names of 1 to 255 bytes";
    TLS_BAD_VERSIONS = "tls-bad-supported-versions", "the supported_versions extension is not a list of 1 to 127 versions";

    PROXY_NO_HEADER = "proxy-no-header", "the connection does not start with a PROXY protocol header";
    PROXY_BAD_LINE = "proxy-bad-line", "a PROXY v1 line is not `PROXY TCP4|TCP6 source destination port port` with single spaces";
    PROXY_LINE_TOO_LONG = "proxy-line-too-long", "a PROXY v1 line has no CRLF in its first 107 bytes";
    PROXY_BAD_LINE_END = "proxy-bad-line-end", "a PROXY v1 line holds a CR without LF or an LF without CR";
    PROXY_BAD_ADDRESS = "proxy-bad-address", "an address of a PROXY v1 line is not an address of the family that it names";
    PROXY_BAD_PORT = "proxy-bad-port", "a port of a PROXY v1 line is not a decimal number up to 65535 without leading zeros";
    PROXY_BAD_VERSION = "proxy-bad-version", "the version after the PROXY v2 signature is not 2";
    PROXY_BAD_COMMAND = "proxy-bad-command", "the command of a PROXY v2 header is neither LOCAL nor PROXY";
    PROXY_BAD_FAMILY = "proxy-bad-family", "the family or the transport of a PROXY v2 header is not an assigned one";
    PROXY_HEADER_TOO_LARGE = "proxy-header-too-large", "a PROXY v2 header is over the byte limit";
    PROXY_SHORT_ADDRESSES = "proxy-short-addresses", "the length of a PROXY v2 header has no room for the addresses of its family";
    PROXY_BAD_TLV = "proxy-bad-tlv", "the TLVs of a PROXY v2 header do not fill its length, or one has an impossible length";
    PROXY_BAD_CHECKSUM = "proxy-bad-checksum", "the CRC32C of a PROXY v2 header is not that of its bytes, or is given twice";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_distinct() {
        let mut slugs: Vec<_> = Reject::ALL.iter().map(|reject| reject.reason).collect();
        slugs.sort_unstable();
        slugs.dedup();
        assert_eq!(slugs.len(), Reject::ALL.len());
    }
}
