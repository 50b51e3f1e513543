//! `http.serversTransports`, and the default one of the static configuration.

use std::time::Duration;

use pancake_table::snapshot::ServersTransport;

use crate::decode::Fields;

/// What Go keeps when the setting is 0: `http.DefaultMaxIdleConnsPerHost`.
const GO_MAX_IDLE_CONNS_PER_HOST: u32 = 2;

pub(super) fn read(name: String, fields: &Fields<'_, '_>) -> ServersTransport {
    fields.not_supported(&[
        "serverName",
        "insecureSkipVerify",
        "rootCAs",
        "certificates",
        "cipherSuites",
        "minVersion",
        "maxVersion",
        "peerCertURI",
        "peerCertSANs",
        "spiffe",
    ]);
    fields.ignored(&["disableHTTP2"], "servers are always spoken to in HTTP/1.1");
    transport(fields, name)
}

/// The settings that have nothing to do with TLS.
pub(crate) fn transport(fields: &Fields<'_, '_>, name: String) -> ServersTransport {
    let default = ServersTransport::default();
    let expected = "a number of connections; a negative one keeps none";
    let max_idle = fields.number::<i64>("maxIdleConnsPerHost", expected, |n| *n <= i64::from(u32::MAX));
    let mut transport = ServersTransport {
        name,
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
        timeouts.ignored(&["readIdleTimeout", "pingTimeout"], "servers are always spoken to in HTTP/1.1");
    });
    transport
}
