//! Reading TLS, UDP, certificate resolvers and limits of static settings: what is right, and every mistake with its place.

use pancake_table::snapshot::tls::{Domain, Pem, RouterTls};
use pancake_table::snapshot::{Router, Snapshot};

use super::*;

fn notes(settings: &Settings) -> Vec<String> {
    settings.notes.iter().map(Problem::to_string).collect()
}

#[test]
fn reads_what_an_entry_point_speaks() {
    let text = "
entryPoints:
  web:
    address: ':443'
    allowACMEByPass: true
    proxyProtocol: {trustedIPs: [10.0.0.0/8]}
    http2: {maxConcurrentStreams: 10}
    http3: {advertisedPort: 8443}
    http: {tls: {options: strict, certResolver: le, domains: [{main: a.org, sans: ['*.a.org']}]}}
    pancake: {maxConnections: 100, maxConnectionsPerAddress: 10, zeroRtt: true}
  plain: {address: ':80', http3: {}, http: {tls: {}}}
  dns: {address: '127.0.0.1:80/UDP', udp: {timeout: 10s}}
certificatesResolvers: {le: {acme: {tlsChallenge: {}}}}
";
    let settings = read_text(text).unwrap();
    let [dns, plain, web] = &settings.entry_points[..] else { panic!("{settings:?}") };
    let tls = RouterTls {
        options: Some("strict".into()),
        cert_resolver: Some("le".into()),
        domains: vec![Domain { main: "a.org".into(), sans: vec!["*.a.org".into()] }],
        passthrough: false,
    };
    let expected = EntryPoint {
        allow_acme_bypass: true,
        proxy_protocol: web.proxy_protocol.clone(),
        http2: Http2 { max_concurrent_streams: 10 },
        http3: Some(Http3 { advertised_port: Some(8443) }),
        zero_rtt: true,
        tls: Some(tls),
        limits: ConnectionLimits { max: Some(100), max_per_address: Some(10) },
        ..EntryPoint::new("web", Listen { host: None, port: 443 })
    };
    assert_eq!(web, &expected);
    let proxy = web.proxy_protocol.as_ref().unwrap();
    assert!(proxy.trusts("10.1.1.1".parse().unwrap()) && !proxy.trusts("11.1.1.1".parse().unwrap()));
    assert_eq!((plain.tls.as_ref(), plain.http3), (Some(&RouterTls::default()), Some(Http3::default())));
    assert_eq!((dns.protocol, dns.udp_timeout), (Protocol::Udp, Duration::from_secs(10)));
    assert_eq!(settings.default_entry_points(), ["plain", "web"]);
    assert_eq!(settings.udp_entry_points(), ["dns"]);
    assert_eq!(notes(&settings), Vec::<String>::new());
}

#[test]
fn one_port_serves_tcp_and_udp_but_http3_needs_both() {
    let both = "entryPoints: {a: {address: ':53'}, b: {address: ':53/udp'}}\n";
    assert_eq!(read_text(both).unwrap().entry_points.len(), 2);
    for (text, expected) in [
        (
            "entryPoints: {a: {address: ':53/udp'}, b: {address: ':53/udp'}}\n",
            "static.yml:1:40: entryPoints.b listens where \"a\" listens; expected another address",
        ),
        (
            "entryPoints: {a: {address: ':53', http3: {}}, b: {address: ':53/udp'}}\n",
            "static.yml:1:47: entryPoints.b listens where \"a\" listens for HTTP/3; expected another address",
        ),
        (
            "entryPoints: {a: {address: ':53/udp'}, b: {address: ':53', http3: {}}}\n",
            "static.yml:1:40: entryPoints.b listens where \"a\" listens, which HTTP/3 needs; expected another address",
        ),
        (
            "entryPoints: {a: {address: ':53/udp'}}\nping: {entryPoint: a}\n",
            "static.yml:2:7: ping uses the entry point \"a\", which is for UDP; expected one with an address for TCP",
        ),
    ] {
        assert_eq!(problems(text), [expected], "{text}");
    }
}

#[test]
fn notes_what_an_entry_point_has_no_use_for() {
    let text = "
entryPoints:
  web: {address: ':80', udp: {timeout: 1s}, http2: {maxDecoderHeaderTableSize: 1}}
  dns: {address: ':53/udp', http: {tls: {}}, http3: {}}
";
    let settings = read_text(text).unwrap();
    assert_eq!(
        notes(&settings),
        [
            "static.yml:3:30: entryPoints.web.udp has no effect: its address is not for UDP",
            "static.yml:3:80: entryPoints.web.http2.maxDecoderHeaderTableSize has no effect: header tables have the size that RFC 9113 starts with, 4096 bytes",
            "static.yml:4:35: entryPoints.dns.http has no effect: its address is for UDP",
            "static.yml:4:53: entryPoints.dns.http3 has no effect: its address is for UDP",
        ]
    );
}

#[test]
fn reads_certificate_resolvers() {
    let text = "
entryPoints: {web: {address: ':80'}}
certificatesResolvers:
  small: {acme: {tlsChallenge: true}}
  large:
    acme:
      email: a@example.org
      caServer: https://127.0.0.1:14000/dir
      storage: /var/lib/acme.json
      keyType: ec256
      certificatesDuration: 24
      preferredChain: Root
      profile: shortlived
      eab: {kid: k, hmacEncoded: c2VjcmV0}
      emailAddresses: [b@example.org]
      disableCommonName: true
      clientTimeout: 1s
      clientResponseHeaderTimeout: 2s
      certificateTimeout: 3s
      caCertificates: [/ca.pem]
      caServerName: pebble
      caSystemCertPool: true
      httpChallenge: {entryPoint: web, delay: 4s}
      tlsChallenge: {delay: 5s}
      dnsChallenge:
        provider: rfc2136
        resolvers: ['127.0.0.1:53']
        delayBeforeCheck: 1s
        disablePropagationCheck: true
        propagation: {disableANSChecks: true, requireAllRNS: true, delayBeforeChecks: 6s}
";
    let settings = read_text(text).unwrap();
    let [large, small] = &settings.certificates_resolvers[..] else { panic!("{settings:?}") };
    let expected = CertificatesResolver {
        name: "large".into(),
        email: Some("a@example.org".into()),
        ca_server: "https://127.0.0.1:14000/dir".into(),
        storage: "/var/lib/acme.json".into(),
        key_type: KeyType::Ec256,
        certificates_duration: Duration::from_secs(24 * 3600),
        preferred_chain: Some("Root".into()),
        profile: Some("shortlived".into()),
        eab: Some(ExternalAccount { kid: "k".into(), hmac_encoded: "c2VjcmV0".into() }),
        email_addresses: vec!["b@example.org".into()],
        disable_common_name: true,
        client_timeout: Duration::from_secs(1),
        client_response_header_timeout: Duration::from_secs(2),
        certificate_timeout: Duration::from_secs(3),
        ca_certificates: vec![Pem::file("/ca.pem")],
        ca_server_name: Some("pebble".into()),
        ca_system_cert_pool: true,
        http_challenge: Some(HttpChallenge { entry_point: "web".into(), delay: Duration::from_secs(4) }),
        tls_challenge: Some(TlsChallenge { delay: Duration::from_secs(5) }),
        dns_challenge: Some(DnsChallenge {
            provider: DnsProvider::Rfc2136,
            resolvers: vec!["127.0.0.1:53".into()],
            delay_before_checks: Duration::from_secs(6),
            disable_checks: true,
            disable_authoritative_checks: true,
            require_all_resolvers: true,
        }),
    };
    assert_eq!(large, &expected);
    assert!(!format!("{large:?}").contains("c2VjcmV0"));
    assert_eq!(small.ca_server, "https://acme-v02.api.letsencrypt.org/directory");
    assert_eq!((small.storage.to_str(), small.key_type), (Some("acme.json"), KeyType::Rsa4096));
    assert_eq!(small.certificates_duration, Duration::from_secs(2160 * 3600));
    assert_eq!(small.client_timeout, Duration::from_secs(120));
}

#[test]
fn tells_every_mistake_of_a_resolver() {
    let text = "
entryPoints:
  web: {address: ':80', http: {tls: {certResolver: lee, domains: [{}, {main: 'a..b'}]}}}
  dns: {address: ':53/udp'}
certificatesResolvers:
  le:
    acme:
      caServer: acme.example.org
      storage: ''
      keyType: RSA1024
      certificatesDuration: 0
      clientTimeout: 0s
      eab: {kid: k}
      httpChallenge: {entryPoint: dns}
      dnsChallenge: {provider: route53}
  bare: {acme: {httpChallenge: {}, dnsChallenge: {}}}
  tail: {tailscale: {}}
  none: {}
";
    assert_eq!(
        problems(text),
        [
            "static.yml:3:52: the certificate resolver \"lee\" does not exist; did you mean \"le\"?",
            "static.yml:3:67: entryPoints.web.http.tls.domains[0].main is missing; expected a name such as example.org or *.example.org",
            "static.yml:3:78: main cannot be \"a..b\"; expected a name such as example.org or *.example.org",
            "static.yml:8:17: caServer cannot be \"acme.example.org\"; expected the URL of an ACME directory, such as https://acme-v02.api.letsencrypt.org/directory",
            "static.yml:9:16: storage cannot be \"\"; expected the path of a file",
            "static.yml:10:16: keyType cannot be \"RSA1024\"; expected one of EC256, EC384, RSA2048, RSA4096, RSA8192",
            "static.yml:11:29: certificatesDuration cannot be \"0\"; expected a number of hours from 1 to 87600",
            "static.yml:12:22: clientTimeout cannot be \"0s\"; expected a duration over zero, such as 10s",
            "static.yml:13:12: certificatesResolvers.le.acme.eab.hmacEncoded is missing; expected what the authority gave out",
            "static.yml:14:35: entryPoint cannot be \"dns\"; expected one of web",
            "static.yml:15:32: not supported yet: the DNS provider \"route53\"; expected rfc2136, or exec with a program of yours in EXEC_PATH",
            "static.yml:16:32: certificatesResolvers.bare.acme.httpChallenge.entryPoint is missing; expected the name of the entry point on port 80",
            "static.yml:16:50: certificatesResolvers.bare.acme.dnsChallenge.provider is missing; expected rfc2136 or exec",
            "static.yml:17:10: not supported yet: certificatesResolvers.tail.tailscale",
            "static.yml:18:9: certificatesResolvers.none.acme is missing; expected acme with a challenge",
        ]
    );
}

#[test]
fn tells_every_mistake_of_protocols_and_limits() {
    let text = "
entryPoints:
  web:
    address: ':80'
    http2: {maxConcurrentStreams: 0}
    http3: {advertisedPort: 70000}
    proxyProtocol: {trustedIPs: [localhost]}
    udp: {timeout: 0s}
    pancake: {maxConnections: many}
serversTransport: {minVersion: VersionTLS11, certificates: [{certFile: a}]}
tcpServersTransport: {dialKeepAlive: soon, proxyProtocol: {}}
pancake: {limits: {memoryBudget: 1MB, tlsHandshakeTimeout: x, maxConnectionsPerAddress: -1}}
";
    assert_eq!(
        problems(text),
        [
            "static.yml:5:35: maxConcurrentStreams cannot be \"0\"; expected a number from 1 to 65535",
            "static.yml:6:29: advertisedPort cannot be \"70000\"; expected a port from 1 to 65535",
            "static.yml:7:34: trustedIPs cannot be \"localhost\"; expected an IP address or a network such as 10.0.0.0/8",
            "static.yml:8:20: timeout cannot be \"0s\"; expected a duration over zero, such as 10s",
            "static.yml:9:31: maxConnections cannot be \"many\"; expected a number of connections; 0 means no limit",
            "static.yml:10:32: minVersion cannot be \"VersionTLS11\": TLS 1.0 and TLS 1.1 are not spoken; expected VersionTLS12 or VersionTLS13",
            "static.yml:10:61: serversTransport.certificates[0].keyFile is missing; expected a PEM file, or its text",
            "static.yml:11:38: dialKeepAlive cannot be \"soon\"; expected a duration such as 10s, 1m30s or 500ms, or a number of seconds",
            "static.yml:11:44: unknown key \"proxyProtocol\" in tcpServersTransport; expected one of terminationDelay, dialTimeout, dialKeepAlive, tls",
            "static.yml:12:34: memoryBudget cannot be \"1MB\"; expected a number of bytes from 16MiB, such as 512MiB or 2GiB; 0 means no limit",
            "static.yml:12:60: tlsHandshakeTimeout cannot be \"x\"; expected a duration such as 10s, 1m30s or 500ms, or a number of seconds",
            "static.yml:12:89: maxConnectionsPerAddress cannot be \"-1\"; expected a number of connections; 0 means no limit",
        ]
    );
}

#[test]
fn transports_of_tcp_services_have_defaults_of_their_own() {
    let text = "tcpServersTransport: {dialTimeout: 1s, dialKeepAlive: 0, tls: {insecureSkipVerify: true, rootCAs: [/ca.pem]}}\n";
    let transport = read_text(text).unwrap().tcp_servers_transport;
    assert_eq!(transport.name, "default");
    assert_eq!(
        (transport.dial_timeout, transport.dial_keep_alive),
        (Duration::from_secs(1), Some(Duration::ZERO))
    );
    assert!(transport.tls.insecure_skip_verify);
    assert_eq!(transport.tls.root_cas, [Pem::file("/ca.pem")]);
}

fn router(name: &str, entry_points: &[&str], tls: Option<RouterTls>) -> Router {
    Router {
        name: name.into(),
        entry_points: entry_points.iter().map(|name| (*name).to_string()).collect(),
        tls,
        ..Router::default()
    }
}

#[test]
fn routers_get_the_tls_of_their_entry_points() {
    let text = "
entryPoints:
  web: {address: ':80'}
  secure: {address: ':443', http: {tls: {options: strict}}}
  other: {address: ':444', http: {tls: {options: o@docker}}}
  traefik: {address: ':8080'}
";
    let settings = read_text(text).unwrap();
    let options = |name: &str| Some(RouterTls { options: Some(name.into()), ..RouterTls::default() });
    let mut snapshot = Snapshot {
        routers: vec![
            router("plain@file", &["web"], None),
            router("own@file", &["secure"], Some(RouterTls::default())),
            router("one@file", &["secure"], None),
            router("two@docker", &["web", "secure"], None),
            router("secure-two@docker", &["web"], None),
            router("every@file", &[], None),
        ],
        ..Snapshot::default()
    };
    settings.apply_entry_point_tls(&mut snapshot);
    assert_eq!(
        snapshot.routers,
        [
            router("plain@file", &["web"], None),
            router("own@file", &["secure"], Some(RouterTls::default())),
            router("one@file", &["secure"], options("strict@file")),
            router("secure-secure-two@docker", &["secure"], options("strict@docker")),
            router("two@docker", &["web"], None),
            router("secure-two@docker", &["web"], None),
            router("other-every@file", &["other"], options("o@docker")),
            router("secure-every@file", &["secure"], options("strict@file")),
            router("every@file", &["web"], None),
        ]
    );
    let before = Snapshot { routers: vec![router("every@file", &[], None)], ..Snapshot::default() };
    let mut after = before.clone();
    read_text("entryPoints: {web: {address: ':80'}}\n").unwrap().apply_entry_point_tls(&mut after);
    assert_eq!(after, before);
}
