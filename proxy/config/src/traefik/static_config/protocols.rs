//! What an entry point speaks: PROXY, HTTP/2, HTTP/3, TLS for its routers.

use std::net::IpAddr;

use pancake_table::snapshot::tls::RouterTls;

use crate::decode::Fields;
use crate::network::IpNetwork;
use crate::problem::Problem;
use crate::traefik::tls;

/// Most streams of a connection that can be asked for.
const MAX_CONCURRENT_STREAMS: u32 = 65_535;

/// What follows the `/` of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub enum Protocol {
    /// HTTP and TCP routers; HTTP/3 too, if it is on.
    #[default]
    Tcp,
    /// UDP routers.
    Udp,
}

/// `proxyProtocol`: whose PROXY header (version 1 or 2) is believed. From others a connection that starts with one
/// is not understood.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ProxyProtocol {
    /// Everybody's.
    pub insecure: bool,
    /// These peers'.
    pub trusted_ips: Vec<IpNetwork>,
}

impl ProxyProtocol {
    /// Whether a PROXY header of the peer at `address` is believed.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.insecure || self.trusted_ips.iter().any(|network| network.contains(address))
    }
}

/// `http2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2 {
    /// `maxConcurrentStreams`: per connection. Default 250.
    pub max_concurrent_streams: u32,
}

impl Default for Http2 {
    fn default() -> Http2 {
        Http2 { max_concurrent_streams: 250 }
    }
}

/// `http3`: HTTP/3 on the UDP port of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Http3 {
    /// `advertisedPort`: what `Alt-Svc` says (RFC 7838); none means the port of the entry point.
    pub advertised_port: Option<u16>,
}

pub(super) fn proxy_protocol(section: &Fields<'_, '_>) -> ProxyProtocol {
    ProxyProtocol {
        insecure: section.boolean("insecure").unwrap_or_default(),
        trusted_ips: section.parsed_list("trustedIPs", "an IP address or a network such as 10.0.0.0/8"),
    }
}

pub(super) fn http2(section: &Fields<'_, '_>) -> Http2 {
    let why = "header tables have the size that RFC 9113 starts with, 4096 bytes";
    section.ignored(&["maxDecoderHeaderTableSize", "maxEncoderHeaderTableSize"], why);
    let expected = format!("a number from 1 to {MAX_CONCURRENT_STREAMS}");
    let in_range = |streams: &u32| (1..=MAX_CONCURRENT_STREAMS).contains(streams);
    let streams = section.number("maxConcurrentStreams", &expected, in_range);
    streams.map_or_else(Http2::default, |max_concurrent_streams| Http2 { max_concurrent_streams })
}

pub(super) fn http3(section: &Fields<'_, '_>) -> Http3 {
    let port = section.number::<u16>("advertisedPort", "a port from 1 to 65535", |_| true);
    Http3 { advertised_port: port.filter(|port| *port != 0) }
}

/// `http.tls`. The name of options stays as it is written: a router completes it with its own provider.
pub(super) fn router_tls(section: &Fields<'_, '_>) -> RouterTls {
    tls::router_tls(section, str::to_string)
}

/// Notes the settings that an entry point for UDP has no use for, or that one for TCP has not.
pub(super) fn without_effect(fields: &Fields<'_, '_>, protocol: Protocol) {
    match protocol {
        Protocol::Tcp => {
            if let Some(section) = fields.get("udp") {
                let message = format!("{}.udp has no effect: its address is not for UDP", fields.path());
                let note = Problem::new(section.span.clone(), message);
                fields.sink().push(note.scope(crate::problem::Scope::Note));
            }
        }
        Protocol::Udp => {
            let keys = ["http", "http2", "http3", "forwardedHeaders", "proxyProtocol", "transport"];
            fields.ignored(&keys, "its address is for UDP");
        }
    }
}
