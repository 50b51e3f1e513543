//! The request head as the server gets it: hop-by-hop fields removed, `X-Forwarded-*` set, as Traefik does.

use pancake_engine::{OutBuf, Stream};
use pancake_table::compiled::Server;
use pancake_wire::h1::emit;
use pancake_wire::h1::head::{Framing, Known, RequestHead};

use super::Client;
use crate::middleware::grpc_web::Call;
use crate::settings::Underscores;

/// A request head ready to be sent, with marks so that it can be pointed at another server.
pub(crate) struct Outgoing {
    bytes: OutBuf,
    /// Length of `METHOD `.
    target_at: usize,
    /// Length of the server's path prefix, which follows.
    prefix_len: usize,
    /// Where the `Host` value starts and ends.
    host: std::ops::Range<usize>,
    pass_host: bool,
}

/// What a head is written from.
pub(crate) struct Source<'a> {
    pub(crate) head: &'a RequestHead,
    /// What the spans of `head` point into.
    pub(crate) bytes: &'a [u8],
    /// The client's host; empty if it sent none.
    pub(crate) host: &'a [u8],
    /// The path to forward.
    pub(crate) path: &'a [u8],
    /// The query, without `?`.
    pub(crate) query: Option<&'a [u8]>,
    /// Whether the request goes on asking for an upgrade.
    pub(crate) keep_upgrade: bool,
    /// What of it is translated, if it is a call of gRPC-Web.
    pub(crate) grpc_web: Option<&'a Call>,
}

impl Outgoing {
    /// Writes the head for `server`.
    pub(crate) fn write<S: Stream>(
        source: &Source<'_>,
        server: &Server,
        pass_host: bool,
        client: &Client<S>,
        hostname: &str,
    ) -> Outgoing {
        let mut out = OutBuf::new();
        out.extend_from_slice(source.head.method.of(source.bytes));
        out.push(b' ');
        let target_at = out.len();
        out.extend_from_slice(server.path_prefix.as_bytes());
        let prefix_len = server.path_prefix.len();
        out.extend_from_slice(source.path);
        if let Some(query) = source.query {
            out.push(b'?');
            out.extend_from_slice(query);
        }
        out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        let host_at = out.len();
        let pass_host = pass_host && !source.host.is_empty();
        out.extend_from_slice(if pass_host { source.host } else { server.authority.as_bytes() });
        let host = host_at..out.len();
        out.extend_from_slice(b"\r\n");
        fields(&mut out, source, client, hostname);
        out.extend_from_slice(b"\r\n");
        Outgoing { bytes: out, target_at, prefix_len, host, pass_host }
    }

    /// Points the head at another server: its path prefix and, unless the client's is passed, its `Host`.
    pub(crate) fn retarget(&mut self, server: &Server) {
        // The later mark first, so that the earlier one stays right.
        if !self.pass_host {
            self.bytes.splice(self.host.clone(), server.authority.bytes());
            self.host.end = self.host.start + server.authority.len();
        }
        let prefix = self.target_at..self.target_at + self.prefix_len;
        self.bytes.splice(prefix, server.path_prefix.bytes());
        let start = self.host.start - self.prefix_len + server.path_prefix.len();
        self.host = start..start + self.host.len();
        self.prefix_len = server.path_prefix.len();
    }

    /// A copy of the bytes, for a second try.
    pub(crate) fn copy(&self) -> OutBuf {
        let mut copy = OutBuf::new();
        copy.extend_from_slice(&self.bytes);
        copy
    }

    /// The bytes to send.
    pub(crate) fn into_bytes(self) -> OutBuf {
        self.bytes
    }
}

/// Values that came from a trusted client and stay as they are.
#[derive(Default)]
struct Kept {
    proto: bool,
    host: bool,
    port: bool,
    /// The client speaks TLS, to this proxy or to the one before it.
    secure: bool,
    real_ip: bool,
    te_trailers: bool,
}

fn fields<S: Stream>(out: &mut Vec<u8>, source: &Source<'_>, client: &Client<S>, hostname: &str) {
    let (head, bytes) = (source.head, source.bytes);
    let trusted = client.entry.forwarded.trusts(client.peer.ip());
    let bodiless = matches!(head.framing, Framing::Empty | Framing::Length(0));
    let rewritten = !bodiless && source.grpc_web.is_some_and(Call::changes_request_body);
    let chunked = rewritten || matches!(head.framing, Framing::Chunked);
    let delete_underscores = client.entry.underscores == Underscores::Delete;
    let mut kept = Kept { secure: client.secured.is_some(), ..Kept::default() };
    emit::fields(out, bytes, &head.fields, |field| {
        let seen = match field.known {
            Known::Other if delete_underscores && field.name.of(bytes).contains(&b'_') => return false,
            Known::Other => return !head.is_connection_option(bytes, field),
            Known::Host | Known::Connection | Known::KeepAlive | Known::ProxyConnection => return false,
            Known::ProxyAuthenticate | Known::ProxyAuthorization | Known::TransferEncoding => return false,
            Known::Upgrade | Known::XForwardedFor | Known::UnderscoreTwin => return false,
            Known::ContentLength => return !chunked,
            Known::ContentType if source.grpc_web.is_some() => return false,
            Known::Trailer => return chunked,
            // RFC 9110 section 10.1.1: an expectation of an HTTP/1.0 client means nothing.
            Known::Expect => return head.expect_continue,
            Known::Te => {
                kept.te_trailers |= lists(field.value.of(bytes), b"trailers");
                return false;
            }
            Known::XForwardedOther => return trusted,
            Known::XForwardedServer => return false,
            Known::XForwardedProto => {
                let value = field.value.of(bytes);
                kept.secure |=
                    trusted && [&b"https"[..], b"wss"].iter().any(|p| value.eq_ignore_ascii_case(p));
                &mut kept.proto
            }
            Known::XForwardedHost => &mut kept.host,
            Known::XForwardedPort => &mut kept.port,
            Known::XRealIp => &mut kept.real_ip,
            _ => return !head.is_connection_option(bytes, field),
        };
        *seen |= trusted && !field.value.of(bytes).is_empty();
        trusted && *seen
    });
    if let Some(call) = source.grpc_web {
        call.request_fields(out);
        // gRPC asks for it; browsers cannot.
        kept.te_trailers = true;
    }
    if kept.te_trailers {
        out.extend_from_slice(b"Te: trailers\r\n");
    }
    if chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    if source.keep_upgrade
        && let Some(upgrade) = head.upgrade
    {
        emit::field(out, b"Connection", b"Upgrade");
        emit::field(out, b"Upgrade", upgrade.of(bytes));
    }
    forwarded(out, source, client, hostname, trusted, &kept);
}

/// Adds the `X-Forwarded-*` fields and `X-Real-Ip` that are not there already.
fn forwarded<S: Stream>(
    out: &mut Vec<u8>,
    source: &Source<'_>,
    client: &Client<S>,
    hostname: &str,
    trusted: bool,
    kept: &Kept,
) {
    let ip = client.peer_ip.as_bytes();
    let came = source.head.fields.iter().filter(|field| trusted && field.known == Known::XForwardedFor);
    let mut addresses = came.map(|field| field.value.of(source.bytes)).peekable();
    if addresses.peek().is_some() || !client.entry.forwarded.not_append_for {
        out.extend_from_slice(b"X-Forwarded-For: ");
        let own = (!client.entry.forwarded.not_append_for).then_some(ip);
        for (n, address) in addresses.chain(own).enumerate() {
            out.extend_from_slice(if n == 0 { b"" } else { b", " });
            out.extend_from_slice(address);
        }
        out.extend_from_slice(b"\r\n");
    }
    if !kept.host && !source.host.is_empty() {
        emit::field(out, b"X-Forwarded-Host", source.host);
    }
    if !kept.port {
        let usual = if kept.secure { b"443" } else { b"80".as_slice() };
        emit::field(out, b"X-Forwarded-Port", port_of(source.host).unwrap_or(usual));
    }
    if !kept.proto {
        // Traefik names the protocol of the upgrade, as clients of web sockets expect.
        let proto = match (is_web_socket(source), client.secured.is_some()) {
            (false, false) => &b"http"[..],
            (false, true) => b"https",
            (true, false) => b"ws",
            (true, true) => b"wss",
        };
        emit::field(out, b"X-Forwarded-Proto", proto);
    }
    emit::field(out, b"X-Forwarded-Server", hostname.as_bytes());
    if !kept.real_ip {
        emit::field(out, b"X-Real-Ip", ip);
    }
}

fn is_web_socket(source: &Source<'_>) -> bool {
    source.keep_upgrade && source.head.upgrade.is_some_and(|u| lists(u.of(source.bytes), b"websocket"))
}

/// Whether a comma-separated list has this item.
fn lists(value: &[u8], item: &[u8]) -> bool {
    value.split(|&b| b == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(item))
}

/// The port of a `Host` value, if it has one.
fn port_of(host: &[u8]) -> Option<&[u8]> {
    let at = host.iter().rposition(|&b| b == b':')?;
    let port = &host[at + 1..];
    (!port.is_empty() && port.iter().all(u8::is_ascii_digit)).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_port_of_a_host() {
        assert_eq!(port_of(b"a.example:8443"), Some(&b"8443"[..]));
        assert_eq!(port_of(b"a.example"), None);
        assert_eq!(port_of(b"[::1]"), None);
        assert_eq!(port_of(b"[::1]:80"), Some(&b"80"[..]));
    }

    #[test]
    fn keeps_only_trailers_of_te() {
        assert!(lists(b"gzip, Trailers", b"trailers"));
        assert!(!lists(b"gzip", b"trailers"));
    }
}
