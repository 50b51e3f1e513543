//! `http.serversTransports` and `tcp.serversTransports`, and the default ones of the static configuration.

use std::time::Duration;

use pancake_table::snapshot::ServersTransport;
use pancake_table::snapshot::tcp::TcpServersTransport;
use pancake_table::snapshot::tls::ServersTls;

use crate::decode::Fields;
use crate::traefik::tls;

/// What Go keeps when the setting is 0: `http.DefaultMaxIdleConnsPerHost`.
const GO_MAX_IDLE_CONNS_PER_HOST: u32 = 2;

/// What stands for a `terminationDelay` of zero, which means "at once" in Traefik and "no limit" in a snapshot.
const AT_ONCE: Duration = Duration::from_millis(1);

/// What completes the names of client certificates.
const PROVIDER: &str = "@file";

pub(super) fn read(name: String, fields: &Fields<'_, '_>) -> ServersTransport {
    transport(fields, name, PROVIDER)
}

pub(super) fn read_tcp(name: String, fields: &Fields<'_, '_>) -> TcpServersTransport {
    let transport = tcp_transport(fields, name, PROVIDER);
    TcpServersTransport {
        proxy_protocol: fields.section("proxyProtocol", super::tcp::proxy_protocol),
        ..transport
    }
}

/// A transport for HTTP. `provider` (`@file`, or nothing) completes the names of client certificates.
pub(crate) fn transport(fields: &Fields<'_, '_>, name: String, provider: &str) -> ServersTransport {
    let default = ServersTransport::default();
    let expected = "a number of connections; a negative one keeps none";
    let max_idle = fields.number::<i64>("maxIdleConnsPerHost", expected, |n| *n <= i64::from(u32::MAX));
    let protocol = tls::protocol(fields);
    let mut transport = ServersTransport {
        name,
        disable_http2: fields.boolean("disableHTTP2").unwrap_or_default(),
        tls: ServersTls {
            cipher_suites: protocol.cipher_suites,
            min_version: protocol.min_version,
            max_version: protocol.max_version,
            ..tls::servers_tls(fields, provider)
        },
        max_idle_conns_per_host: match max_idle {
            None => default.max_idle_conns_per_host,
            Some(0) => GO_MAX_IDLE_CONNS_PER_HOST,
            Some(number) => u32::try_from(number).unwrap_or(0),
        },
        ..default
    };
    fields.section("forwardingTimeouts", |timeouts| {
        let read = |key, timeout: &mut Duration| *timeout = timeouts.duration(key).unwrap_or(*timeout);
        read("dialTimeout", &mut transport.dial_timeout);
        read("responseHeaderTimeout", &mut transport.response_header_timeout);
        read("idleConnTimeout", &mut transport.idle_conn_timeout);
        read("readIdleTimeout", &mut transport.read_idle_timeout);
        read("pingTimeout", &mut transport.ping_timeout);
    });
    transport
}

/// A transport for TCP, but for `proxyProtocol`, which the static configuration has not.
pub(crate) fn tcp_transport(fields: &Fields<'_, '_>, name: String, provider: &str) -> TcpServersTransport {
    let default = TcpServersTransport::default();
    let termination_delay = match fields.signed_duration("terminationDelay") {
        None => default.termination_delay,
        Some(Some(delay)) if delay.is_zero() => AT_ONCE,
        Some(delay) => delay.unwrap_or(Duration::ZERO),
    };
    let secure = |section: &Fields<'_, '_>| tls::servers_tls(section, provider);
    TcpServersTransport {
        name,
        dial_timeout: fields.duration("dialTimeout").unwrap_or(default.dial_timeout),
        dial_keep_alive: fields.signed_duration("dialKeepAlive").unwrap_or(default.dial_keep_alive),
        termination_delay,
        proxy_protocol: None,
        tls: fields.section("tls", secure).unwrap_or_default(),
    }
}
