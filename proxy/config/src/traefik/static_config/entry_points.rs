//! Listeners and how clients are talked to: `entryPoints.*`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use pancake_table::snapshot::tls::RouterTls;

use super::limits::{ConnectionLimits, connections};
use super::protocols::{self, Http2, Http3, Protocol, ProxyProtocol};
use super::{INTERNAL_ENTRY_POINT, limit};
use crate::decode::{Fields, bad_value, join};
use crate::network::IpNetwork;
use crate::problem::Problem;
use crate::tree::quote;

/// Most entry points of a process.
pub const MAX_ENTRY_POINTS: usize = 256;
/// Most bytes of request headers that can be asked for.
const MAX_HEADER_BYTES: usize = 16 * 1024 * 1024;
/// Go's `http.DefaultMaxHeaderBytes`.
const DEFAULT_MAX_HEADER_BYTES: usize = 1024 * 1024;

/// A listener and how its clients are talked to. `None` durations and numbers mean no limit.
#[derive(Clone, Debug, PartialEq)]
pub struct EntryPoint {
    /// The key under `entryPoints`.
    pub name: String,
    /// `address`.
    pub listen: Listen,
    /// What follows the `/` of `address`. Default TCP.
    pub protocol: Protocol,
    /// `asDefault`; see [`super::Settings::default_entry_points`].
    pub as_default: bool,
    /// `forwardedHeaders`.
    pub forwarded_headers: ForwardedHeaders,
    /// `transport.lifeCycle.requestAcceptGraceTimeout`: goes on accepting for this long after the signal to stop.
    pub request_accept_grace_timeout: Duration,
    /// `transport.lifeCycle.graceTimeOut`: exchanges in flight may take this long to end. Default 10 s.
    pub grace_timeout: Duration,
    /// `transport.respondingTimeouts.readTimeout`: for a whole request with its body. Default 60 s.
    pub read_timeout: Option<Duration>,
    /// `transport.respondingTimeouts.writeTimeout`: for a whole response. Default none.
    pub write_timeout: Option<Duration>,
    /// `transport.respondingTimeouts.idleTimeout`: between requests of a connection. Default 180 s.
    pub idle_timeout: Option<Duration>,
    /// `transport.keepAliveMaxTime`: a connection that is older is closed after its response.
    pub keep_alive_max_time: Option<Duration>,
    /// `transport.keepAliveMaxRequests`: a connection is closed after so many responses.
    pub keep_alive_max_requests: Option<u64>,
    /// `http.maxHeaderBytes`: of a request head. Default 1 MiB.
    pub max_header_bytes: usize,
    /// `http.sanitizePath`: dot segments and repeated slashes are taken out of paths. Default true.
    pub sanitize_path: bool,
    /// `http.encodedCharacters`: which percent-encoded characters a path may have.
    pub encoded_characters: EncodedCharacters,
    /// `http.underscoreHeadersStrategy`. Default keep.
    pub underscore_headers: UnderscoreHeaders,
    /// `http.tls`: for HTTP routers without `tls`; see [`super::Settings::apply_entry_point_tls`].
    pub tls: Option<RouterTls>,
    /// `http2`.
    pub http2: Http2,
    /// `http3`; none means off.
    pub http3: Option<Http3>,
    /// `proxyProtocol`; none: connections do not start with a PROXY header.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// `allowACMEByPass`: routers go before the answers to challenges of certificate resolvers.
    pub allow_acme_bypass: bool,
    /// `udp.timeout`: a UDP session that is silent for this long is over. Default 3 s.
    pub udp_timeout: Duration,
    /// `pancake.zeroRtt`: HTTP/3 requests may come before the handshake is over (RFC 8470). Default off.
    pub zero_rtt: bool,
    /// `pancake`: how many connections there may be.
    pub limits: ConnectionLimits,
}

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Listen {
    /// None means every address of the machine, IPv4 and IPv6.
    pub host: Option<IpAddr>,
    /// 0 lets the kernel choose.
    pub port: u16,
}

impl Listen {
    /// What to bind, best first: `[::]` as a dual-stack socket, then `0.0.0.0` where the machine has no IPv6.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        match self.host {
            Some(host) => vec![SocketAddr::new(host, self.port)],
            None => [IpAddr::from(Ipv6Addr::UNSPECIFIED), IpAddr::from(Ipv4Addr::UNSPECIFIED)]
                .map(|host| SocketAddr::new(host, self.port))
                .to_vec(),
        }
    }
}

/// Whose `X-Forwarded-*` are believed, and what is sent on.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ForwardedHeaders {
    /// Everybody's.
    pub insecure: bool,
    /// These clients'.
    pub trusted_ips: Vec<IpNetwork>,
    /// Headers that `Connection` may name and that reach middlewares all the same.
    pub connection: Vec<String>,
    /// `X-Forwarded-For` is sent on without the client's address.
    pub not_append_x_forwarded_for: bool,
}

impl ForwardedHeaders {
    /// Whether the forwarding headers of a client at `address` are believed.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.insecure || self.trusted_ips.iter().any(|network| network.contains(address))
    }
}

/// Which percent-encoded characters a request path may have; all by default, as in Traefik. A request with
/// another one is answered 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodedCharacters {
    /// `%2F`
    pub slash: bool,
    /// `%5C`
    pub back_slash: bool,
    /// `%00`
    pub null_character: bool,
    /// `%3B`
    pub semicolon: bool,
    /// `%25`
    pub percent: bool,
    /// `%3F`
    pub question_mark: bool,
    /// `%23`
    pub hash: bool,
}

impl Default for EncodedCharacters {
    fn default() -> EncodedCharacters {
        EncodedCharacters {
            slash: true,
            back_slash: true,
            null_character: true,
            semicolon: true,
            percent: true,
            question_mark: true,
            hash: true,
        }
    }
}

/// What happens to request headers with `_` in their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum UnderscoreHeaders {
    /// They are sent on.
    #[default]
    Keep,
    /// They are taken out before routing.
    Delete,
    /// The request is refused.
    Reject,
}

impl EntryPoint {
    /// With Traefik's defaults.
    pub fn new(name: impl Into<String>, listen: Listen) -> EntryPoint {
        EntryPoint {
            name: name.into(),
            listen,
            protocol: Protocol::Tcp,
            as_default: false,
            forwarded_headers: ForwardedHeaders::default(),
            request_accept_grace_timeout: Duration::ZERO,
            grace_timeout: Duration::from_secs(10),
            read_timeout: Some(Duration::from_secs(60)),
            write_timeout: None,
            idle_timeout: Some(Duration::from_secs(180)),
            keep_alive_max_time: None,
            keep_alive_max_requests: None,
            max_header_bytes: DEFAULT_MAX_HEADER_BYTES,
            sanitize_path: true,
            encoded_characters: EncodedCharacters::default(),
            underscore_headers: UnderscoreHeaders::Keep,
            tls: None,
            http2: Http2::default(),
            http3: None,
            proxy_protocol: None,
            allow_acme_bypass: false,
            udp_timeout: Duration::from_secs(3),
            zero_rtt: false,
            limits: ConnectionLimits::default(),
        }
    }
}

/// The entry points that are written out, by name.
pub(super) fn read(root: &Fields<'_, '_>) -> Vec<EntryPoint> {
    let sink = root.sink();
    let mut entry_points: Vec<EntryPoint> = Vec::new();
    for entry in root.names("entryPoints") {
        if entry_points.len() == MAX_ENTRY_POINTS {
            let message = format!("more than {MAX_ENTRY_POINTS} entry points");
            sink.push(Problem::new(entry.span.clone(), message));
            break;
        }
        let path = join("entryPoints", &entry.key);
        let (entry_point, reuse_port) =
            sink.section(&entry.value, &path, |fields| entry_point(&entry.key, fields));
        if let Some((twin, how)) = twin(&entry_point, &entry_points).filter(|_| !reuse_port) {
            let message = format!("{path} listens where {} listens{how}", quote(&twin.name));
            sink.push(Problem::new(entry.span.clone(), message).expected("another address"));
        }
        entry_points.push(entry_point);
    }
    entry_points.sort_by(|a, b| a.name.cmp(&b.name));
    entry_points
}

/// Another entry point that listens where this one does, and for what.
fn twin<'e>(this: &EntryPoint, others: &'e [EntryPoint]) -> Option<(&'e EntryPoint, &'static str)> {
    let same = |other: &&EntryPoint| other.listen == this.listen && this.listen.port != 0;
    others.iter().filter(same).find_map(|other| match other.protocol == this.protocol {
        true => Some((other, "")),
        false if other.http3.is_some() => Some((other, " for HTTP/3")),
        false if this.http3.is_some() => Some((other, ", which HTTP/3 needs")),
        false => None,
    })
}

/// The entry points that Traefik adds: `http` on :80 if there is none, and [`INTERNAL_ENTRY_POINT`] on :8080 if
/// something uses it.
pub(super) fn add_defaults(entry_points: &mut Vec<EntryPoint>, needs_internal: bool) {
    let has_internal = entry_points.iter().any(|entry_point| entry_point.name == INTERNAL_ENTRY_POINT);
    let has_any = !entry_points.is_empty();
    let mut add = |name: &str, port| {
        let at = entry_points.partition_point(|entry_point| entry_point.name.as_str() < name);
        entry_points.insert(at, EntryPoint::new(name, Listen { host: None, port }));
    };
    if !has_any {
        add("http", 80);
    }
    if needs_internal && !has_internal {
        add(INTERNAL_ENTRY_POINT, 8080);
    }
}

fn entry_point(name: &str, fields: &Fields<'_, '_>) -> (EntryPoint, bool) {
    let (listen, protocol) = listen(fields).unwrap_or((Listen { host: None, port: 0 }, Protocol::Tcp));
    let mut entry_point = EntryPoint { protocol, ..EntryPoint::new(name, listen) };
    let reuse_port = fields.boolean("reusePort").unwrap_or_default();
    entry_point.as_default = fields.boolean("asDefault").unwrap_or_default();
    entry_point.allow_acme_bypass = fields.boolean("allowACMEByPass").unwrap_or_default();
    entry_point.proxy_protocol = fields.section("proxyProtocol", protocols::proxy_protocol);
    entry_point.http2 = fields.section("http2", protocols::http2).unwrap_or_default();
    entry_point.http3 = fields.section("http3", protocols::http3).filter(|_| protocol == Protocol::Tcp);
    let ours = |section: &Fields<'_, '_>| (connections(section), section.boolean("zeroRtt"));
    let (limits, zero_rtt) = fields.section("pancake", ours).unwrap_or_default();
    entry_point.limits = limits;
    entry_point.zero_rtt = zero_rtt.unwrap_or_default();
    fields.section("udp", |udp| {
        entry_point.udp_timeout = udp.duration_over_zero("timeout").unwrap_or(entry_point.udp_timeout);
    });
    protocols::without_effect(fields, protocol);
    fields.section("observability", |observability| {
        for key in ["accessLogs", "metrics", "tracing"] {
            if observability.boolean(key) == Some(false)
                && let Some(node) = observability.get(key)
            {
                let what = format!("{} false", join(observability.path(), key));
                observability.sink().push(Problem::not_supported(node.span.clone(), what));
            }
        }
        observability.ignored(&["traceVerbosity"], "tracing is not supported yet");
    });
    if let Some(forwarded_headers) = fields.section("forwardedHeaders", forwarded_headers) {
        entry_point.forwarded_headers = forwarded_headers;
    }
    fields.section("transport", |section| transport(section, &mut entry_point));
    fields.section("http", |section| http(section, &mut entry_point));
    (entry_point, reuse_port)
}

fn listen(fields: &Fields<'_, '_>) -> Option<(Listen, Protocol)> {
    const EXPECTED: &str = "an address such as :80, 127.0.0.1:8080 or [::1]:8080";
    let Some((text, node)) = fields.scalar("address") else {
        fields.missing("address", EXPECTED);
        return None;
    };
    let (address, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        _ => None,
    };
    let parsed = parse_listen(address).zip(protocol);
    if parsed.is_none() {
        fields.sink().push(bad_value("address", text, &node.span).expected(EXPECTED));
    }
    parsed
}

fn parse_listen(address: &str) -> Option<Listen> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let host = match host {
        "" => None,
        "localhost" => Some(IpAddr::from(Ipv4Addr::LOCALHOST)),
        _ => match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(host) => Some(IpAddr::V6(host.parse().ok()?)),
            None => Some(IpAddr::V4(host.parse().ok()?)),
        },
    };
    Some(Listen { host, port })
}

fn forwarded_headers(section: &Fields<'_, '_>) -> ForwardedHeaders {
    section.not_supported(&["addXForwardedSchemeHeaders"]);
    ForwardedHeaders {
        insecure: section.boolean("insecure").unwrap_or_default(),
        trusted_ips: section.parsed_list("trustedIPs", "an IP address or a network such as 10.0.0.0/8"),
        connection: section.list("connection").into_iter().map(|(name, _)| name.to_string()).collect(),
        not_append_x_forwarded_for: section.boolean("notAppendXForwardedFor").unwrap_or_default(),
    }
}

fn transport(section: &Fields<'_, '_>, entry_point: &mut EntryPoint) {
    section.section("lifeCycle", |life_cycle| {
        let timeout = |key, default: &mut Duration| {
            *default = life_cycle.duration(key).unwrap_or(*default);
        };
        timeout("requestAcceptGraceTimeout", &mut entry_point.request_accept_grace_timeout);
        timeout("graceTimeOut", &mut entry_point.grace_timeout);
    });
    section.section("respondingTimeouts", |timeouts| {
        let timeout = |key, default: &mut Option<Duration>| {
            *default = timeouts.duration(key).map_or(*default, limit);
        };
        timeout("readTimeout", &mut entry_point.read_timeout);
        timeout("writeTimeout", &mut entry_point.write_timeout);
        timeout("idleTimeout", &mut entry_point.idle_timeout);
    });
    entry_point.keep_alive_max_time = section.duration("keepAliveMaxTime").and_then(limit);
    let expected = "a number of requests; 0 means no limit";
    let requests = section.number::<u64>("keepAliveMaxRequests", expected, |_| true);
    entry_point.keep_alive_max_requests = requests.filter(|requests| *requests > 0);
}

fn http(section: &Fields<'_, '_>, entry_point: &mut EntryPoint) {
    section.not_supported(&["redirections", "middlewares", "encodeQuerySemicolons"]);
    entry_point.tls = section.section("tls", protocols::router_tls);
    entry_point.sanitize_path = section.boolean("sanitizePath").unwrap_or(true);
    let expected = format!("a number of bytes from 1 to {MAX_HEADER_BYTES}");
    let in_range = |bytes: &usize| (1..=MAX_HEADER_BYTES).contains(bytes);
    if let Some(bytes) = section.number("maxHeaderBytes", &expected, in_range) {
        entry_point.max_header_bytes = bytes;
    }
    let strategies = [
        ("keep", UnderscoreHeaders::Keep),
        ("delete", UnderscoreHeaders::Delete),
        ("reject", UnderscoreHeaders::Reject),
    ];
    entry_point.underscore_headers =
        section.word("underscoreHeadersStrategy", &strategies).unwrap_or_default();
    section.section("encodedCharacters", |allowed| {
        let characters = &mut entry_point.encoded_characters;
        let read = |key, allow: &mut bool| *allow = allowed.boolean(key).unwrap_or(true);
        read("allowEncodedSlash", &mut characters.slash);
        read("allowEncodedBackSlash", &mut characters.back_slash);
        read("allowEncodedNullCharacter", &mut characters.null_character);
        read("allowEncodedSemicolon", &mut characters.semicolon);
        read("allowEncodedPercent", &mut characters.percent);
        read("allowEncodedQuestionMark", &mut characters.question_mark);
        read("allowEncodedHash", &mut characters.hash);
    });
}
