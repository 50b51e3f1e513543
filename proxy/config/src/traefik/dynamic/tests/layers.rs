//! Reading `tcp`, `udp`, `tls` and the TLS of routers and transports: what is right, and every mistake with its place.

use std::time::Duration;

use pancake_table::snapshot::tcp::{
    TcpHealthCheck, TcpLoadBalancer, TcpServer, TcpServersTransport, TcpServiceKind, WeightedService,
};
use pancake_table::snapshot::tls::{
    ClientAuth, ClientAuthMode, Domain, GeneratedCertificate, Pem, RouterTls, ServersTls, TlsVersion,
};
use pancake_table::snapshot::udp::UdpServiceKind;

use super::*;

fn clean(text: &str) -> Snapshot {
    let loaded = load(text);
    assert_eq!(printed(&loaded), Vec::<String>::new());
    loaded.snapshot
}

#[test]
fn reads_the_tls_section() {
    let snapshot = clean(
        "
tls:
  certificates:
    - {certFile: /a.pem, keyFile: /a.key, stores: [default]}
    - certFile: |
        -----BEGIN CERTIFICATE-----
        MII=
      keyFile: /b.key
  options:
    default: {sniStrict: true}
    strict:
      minVersion: VersionTLS12
      maxVersion: VersionTLS12
      cipherSuites: [TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]
      curvePreferences: [X25519MLKEM768, secp384r1]
      alpnProtocols: [http/1.1]
      disableSessionTickets: true
      clientAuth: {caFiles: [/ca.pem], pancake: {crlFiles: [/ca.crl]}}
  stores:
    default:
      defaultCertificate: {certFile: /d.pem, keyFile: /d.key}
      defaultGeneratedCert: {resolver: le, domain: {main: Example.org, sans: ['*.example.org']}}
",
    );
    let [first, second] = &snapshot.tls.certificates[..] else { panic!("{:?}", snapshot.tls) };
    assert_eq!(
        (first.name.as_str(), second.name.as_str()),
        ("tls.certificates[0]@file", "tls.certificates[1]@file")
    );
    assert_eq!((&first.cert, &first.key), (&Pem::file("/a.pem"), &Pem::file("/a.key")));
    assert_eq!(second.cert, Pem::inline("-----BEGIN CERTIFICATE-----\nMII=\n"));
    let [default, strict] = &snapshot.tls.options[..] else { panic!("{:?}", snapshot.tls) };
    assert_eq!(default, &TlsOptions { sni_strict: true, ..TlsOptions::default() });
    let expected = TlsOptions {
        name: "strict@file".into(),
        max_version: TlsVersion::Tls12,
        cipher_suites: vec![
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256".into(),
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384".into(),
        ],
        curves: vec!["X25519MLKEM768".into(), "CurveP384".into()],
        alpn: vec!["http/1.1".into()],
        client_auth: Some(ClientAuth {
            authorities: vec![Pem::file("/ca.pem")],
            mode: ClientAuthMode::RequireAndVerify,
            crls: vec![Pem::file("/ca.crl")],
        }),
        disable_session_tickets: true,
        ..TlsOptions::default()
    };
    assert_eq!(strict, &expected);
    let [store] = &snapshot.tls.stores[..] else { panic!("{:?}", snapshot.tls) };
    assert_eq!(store.name, "default");
    let certificate = store.default_certificate.as_ref().unwrap();
    assert_eq!(certificate.name, "tls.stores.default.defaultCertificate@file");
    let domain = Domain { main: "example.org".into(), sans: vec!["*.example.org".into()] };
    let generated = GeneratedCertificate { resolver: "le".into(), domain };
    assert_eq!(store.default_generated, Some(generated));
}

#[test]
fn tells_every_mistake_in_tls() {
    let loaded = load(
        "
tls:
  certificates: [{certFile: a}, {certFil: a, keyFile: b}]
  options:
    old: {minVersion: VersionTLS10}
    typo: {maxVersion: VersionTLS31}
    upside: {minVersion: VersionTLS13, maxVersion: VersionTLS12}
    weak: {cipherSuites: [TLS_RSA_WITH_AES_128_CBC_SHA]}
    wrong: {cipherSuites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA265]}
    curve: {curvePreferences: [CurveP521, X25591]}
    open: {clientAuth: {clientAuthType: RequireAndVerifyClientCert}}
    lists: {clientAuth: {clientAuthType: RequestClientCert, pancake: {crlFiles: [a]}}}
    kind: {clientAuth: {caFiles: [a], clientAuthType: RequireAnyClientCrt}}
    only13: {cipherSuites: [TLS_AES_128_GCM_SHA256], maxVersion: VersionTLS12}
  stores:
    default: {defaultGeneratedCert: {domain: {main: 'a b'}}}
",
    );
    assert_eq!(
        printed(&loaded),
        [
            "web.yml:3:18: certificate tls.certificates[0]@file: tls.certificates[0].keyFile is missing; expected a PEM file, or its text",
            "web.yml:3:33: certificate tls.certificates[1]@file: tls.certificates[1].certFile is missing; expected a PEM file, or its text",
            "web.yml:3:34: certificate tls.certificates[1]@file: unknown key \"certFil\" in tls.certificates[1]; did you mean \"certFile\"?",
            "web.yml:5:23: tls options old@file: minVersion cannot be \"VersionTLS10\": TLS 1.0 and TLS 1.1 are not spoken; expected VersionTLS12 or VersionTLS13",
            "web.yml:6:24: tls options typo@file: maxVersion cannot be \"VersionTLS31\"; expected VersionTLS12 or VersionTLS13; did you mean \"VersionTLS13\"?",
            "web.yml:7:52: tls options upside@file: tls.options.upside.maxVersion allows no version: minVersion is higher; expected VersionTLS13",
            "web.yml:8:27: tls options weak@file: cipherSuites cannot be \"TLS_RSA_WITH_AES_128_CBC_SHA\": suites with RSA key exchange, CBC or RC4 are not spoken; expected a suite with ECDHE and AES-GCM or ChaCha20-Poly1305",
            "web.yml:9:28: tls options wrong@file: cipherSuites cannot be \"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA265\"; expected the name of a cipher suite, such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256; did you mean \"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\"?",
            "web.yml:10:32: tls options curve@file: curvePreferences cannot be \"CurveP521\": this group is not spoken; expected one of X25519, CurveP256, CurveP384, X25519MLKEM768, SecP256r1MLKEM768",
            "web.yml:10:43: tls options curve@file: curvePreferences cannot be \"X25591\"; expected one of X25519, CurveP256, CurveP384, X25519MLKEM768, SecP256r1MLKEM768; did you mean \"X25519\"?",
            "web.yml:11:24: tls options open@file: tls.options.open.clientAuth.caFiles is missing; expected the authorities that sign client certificates",
            "web.yml:12:70: tls options lists@file: tls.options.lists.clientAuth.pancake.crlFiles is for certificates that are verified; expected clientAuthType VerifyClientCertIfGiven or RequireAndVerifyClientCert",
            "web.yml:13:55: tls options kind@file: clientAuthType cannot be \"RequireAnyClientCrt\"; expected one of NoClientCert, RequestClientCert, RequireAnyClientCert, VerifyClientCertIfGiven, RequireAndVerifyClientCert; did you mean \"RequireAnyClientCert\"?",
            "web.yml:14:29: TLS_AES_128_GCM_SHA256 in tls.options.only13.cipherSuites has no effect: the suites of TLS 1.3 are always on",
            "web.yml:14:66: tls options only13@file: tls.options.only13.maxVersion allows no version: cipherSuites has only suites of TLS 1.3; expected VersionTLS13",
            "web.yml:16:37: tls store default: tls.stores.default.defaultGeneratedCert.resolver is missing; expected the name of a certificate resolver",
            "web.yml:16:53: tls store default: main cannot be \"a b\"; expected a name such as example.org or *.example.org",
        ]
    );
    assert!(loaded.is_usable());
    assert!(loaded.snapshot.tls.is_empty());
}

#[test]
fn faulty_default_options_keep_the_last_good_state() {
    let loaded =
        load("tls: {options: {default: {clientAuth: {caFiles: [a], clientAuthTyp: NoClientCert}}}}\n");
    assert_eq!(
        printed(&loaded),
        [
            "web.yml:1:54: unknown key \"clientAuthTyp\" in tls.options.default.clientAuth; did you mean \"clientAuthType\"?"
        ]
    );
    assert!(!loaded.is_usable());
}

#[test]
fn suites_of_tls_1_3_alone_leave_no_tls_1_2() {
    let loaded = load("tls: {options: {a: {cipherSuites: [TLS_AES_128_GCM_SHA256]}}}\n");
    assert_eq!(loaded.snapshot.tls.options[0].min_version, TlsVersion::Tls13);
    assert!(loaded.problems.iter().all(|problem| problem.scope == Scope::Note));
}

#[test]
fn routers_name_tls_options_that_are_there() {
    let loaded = load(
        "
http:
  routers:
    plain: {rule: 'Host(`a`)', service: x@p, tls: {}}
    true: {rule: 'Host(`b`)', service: x@p, tls: true}
    named: {rule: 'Host(`c`)', service: x@p, tls: {options: good, certResolver: le, domains: [{main: c}]}}
    default: {rule: 'Host(`d`)', service: x@p, tls: {options: default}}
    gone: {rule: 'Host(`e`)', service: x@p, tls: {options: goood}}
    left: {rule: 'Host(`f`)', service: x@p, tls: {options: bad}}
    other: {rule: 'Host(`g`)', service: x@p, tls: {options: bad@docker}}
    through: {rule: 'Host(`g`)', service: x@p, tls: {passthrough: true}}
tls: {options: {good: {}, bad: {minVersion: VersionTLS11}}}
",
    );
    assert_eq!(
        printed(&loaded),
        [
            "web.yml:8:60: router gone@file: the set of TLS options \"goood@file\" does not exist; did you mean \"good\"?",
            "web.yml:9:60: router left@file: the set of TLS options \"bad@file\" is left out, see web.yml:12:27",
            "web.yml:11:54: router through@file: unknown key \"passthrough\" in http.routers.through.tls; expected one of options, certResolver, domains",
            "web.yml:12:45: tls options bad@file: minVersion cannot be \"VersionTLS11\": TLS 1.0 and TLS 1.1 are not spoken; expected VersionTLS12 or VersionTLS13",
        ]
    );
    assert_eq!(
        router_names(&loaded.snapshot),
        ["default@file", "named@file", "other@file", "plain@file", "true@file"]
    );
    let tls = |at: usize| loaded.snapshot.routers[at].tls.clone().unwrap();
    assert_eq!(tls(0).options.as_deref(), Some("default"));
    let named = RouterTls {
        options: Some("good@file".into()),
        cert_resolver: Some("le".into()),
        domains: vec![Domain { main: "c".into(), sans: Vec::new() }],
        passthrough: false,
    };
    assert_eq!((tls(1), tls(3), tls(4)), (named, RouterTls::default(), RouterTls::default()));
}

#[test]
fn reads_how_tls_to_servers_is_spoken() {
    let snapshot = clean(
        "
http:
  serversTransports:
    mtls:
      serverName: a.example.org
      insecureSkipVerify: true
      rootCAs: [/ca.pem]
      certificates: [{certFile: /c.pem, keyFile: /c.key}]
      cipherSuites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
      minVersion: VersionTLS12
      maxVersion: VersionTLS13
      peerCertURI: spiffe://a
",
    );
    let tls = &snapshot.servers_transports[0].tls;
    assert_eq!(tls.certificates[0].name, "http.serversTransports.mtls.certificates[0]@file");
    let expected = ServersTls {
        server_name: Some("a.example.org".into()),
        insecure_skip_verify: true,
        root_cas: vec![Pem::file("/ca.pem")],
        certificates: tls.certificates.clone(),
        cipher_suites: vec!["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256".into()],
        min_version: Some(TlsVersion::Tls12),
        max_version: Some(TlsVersion::Tls13),
        peer_cert_uri: Some("spiffe://a".into()),
    };
    assert_eq!(tls, &expected);
}

#[test]
fn reads_tcp() {
    let snapshot = clean(
        "
tcp:
  routers:
    through: {entryPoints: [db], rule: 'HostSNI(`a`)', priority: 3, service: w, tls: {passthrough: true}}
    plain: {rule: 'HostSNI(`*`)', service: s}
  services:
    s:
      loadBalancer:
        servers: [{address: '127.0.0.1:1'}, {address: '127.0.0.1:2', tls: true, weight: 4}]
        serversTransport: t
        proxyProtocol: {}
        healthCheck: {port: 9, send: PING, expect: PONG, interval: 1s, timeout: 2s}
    w: {weighted: {services: [{name: s, weight: 3}, {name: x@p}]}}
  serversTransports:
    t: {dialTimeout: 1s, dialKeepAlive: -1s, terminationDelay: 0, proxyProtocol: {version: 1}, tls: {serverName: a}}
    endless: {terminationDelay: -1ms}
",
    );
    let [plain, through] = &snapshot.tcp.routers[..] else { panic!("{:?}", snapshot.tcp) };
    assert_eq!((plain.tls.as_ref(), plain.service.as_str()), (None, "s@file"));
    assert!(through.tls.as_ref().is_some_and(|tls| tls.passthrough));
    assert_eq!((through.priority, &through.entry_points[..]), (3, &["db".to_string()][..]));
    let server = |address: &str, tls, weight| TcpServer {
        address: address.into(),
        tls,
        weight,
        draining: false,
        id: String::new(),
    };
    let balancer = TcpLoadBalancer {
        servers: vec![server("127.0.0.1:1", false, 1), server("127.0.0.1:2", true, 4)],
        servers_transport: Some("t@file".into()),
        health_check: Some(TcpHealthCheck {
            port: Some(9),
            send: Some("PING".into()),
            expect: Some("PONG".into()),
            interval: Duration::from_secs(1),
            unhealthy_interval: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
        }),
        proxy_protocol: Some(2),
    };
    assert_eq!(snapshot.tcp.services[0].kind, TcpServiceKind::LoadBalancer(balancer));
    let part = |name: &str, weight| WeightedService { name: name.into(), weight };
    assert_eq!(
        snapshot.tcp.services[1].kind,
        TcpServiceKind::Weighted(vec![part("s@file", 3), part("x@p", 1)])
    );
    let [endless, t] = &snapshot.tcp.servers_transports[..] else { panic!("{:?}", snapshot.tcp) };
    let expected = TcpServersTransport {
        name: "t@file".into(),
        dial_timeout: Duration::from_secs(1),
        dial_keep_alive: None,
        termination_delay: Duration::from_millis(1),
        proxy_protocol: Some(1),
        tls: ServersTls { server_name: Some("a".into()), ..ServersTls::default() },
    };
    assert_eq!(t, &expected);
    assert_eq!(endless.termination_delay, Duration::ZERO);
}

#[test]
fn reads_udp() {
    let snapshot = clean(
        "
udp:
  routers: {r: {entryPoints: [dns], service: w}}
  services:
    s: {loadBalancer: {servers: [{address: '127.0.0.1:53'}]}}
    w: {weighted: {services: [{name: s, weight: 0}]}}
",
    );
    assert_eq!(snapshot.udp.routers[0].service, "w@file");
    assert_eq!(snapshot.udp.services[0].kind, UdpServiceKind::LoadBalancer(vec!["127.0.0.1:53".into()]));
    let part = WeightedService { name: "s@file".into(), weight: 0 };
    assert_eq!(snapshot.udp.services[1].kind, UdpServiceKind::Weighted(vec![part]));
}

#[test]
fn tells_every_mistake_in_tcp_and_udp() {
    let loaded = load(
        "
tcp:
  routers:
    empty: {}
    lost: {rule: 'HostSNI(`*`)', service: t}
    limited: {rule: 'HostSNI(`*`)', service: s, middlewares: [m]}
    bound: {rule: 'HostSNI(`*`)', service: behind, tls: {passthrough: true, options: x}}
  services:
    s: {loadBalancer: {servers: [{address: '127.0.0.1:1'}], terminationDelay: 100}}
    bad: {loadBalancer: {servers: [{addres: a}], proxyProtocol: {version: 3}, serversTransport: none}}
    both: {loadBalancer: {}, weighted: {}}
    none: {}
    behind: {weighted: {services: [{name: s}, {name: bad}, {name: gone, weight: -1}]}}
    one: {weighted: {services: [{name: two}]}}
    two: {weighted: {services: [{name: one}]}}
    over: {weighted: {services: [{name: s}, {name: two}]}}
  middlewares:
    m: {ipAllowList: {sourceRange: [10.0.0.0/8]}}
udp:
  routers: {r: {service: q, rule: a}}
  services:
    q: {loadBalancer: {servers: [{adress: a}]}}
",
    );
    assert_eq!(
        printed(&loaded),
        [
            "web.yml:4:12: tcp router empty@file: tcp.routers.empty.rule is missing; expected a rule such as HostSNI(`example.org`) or HostSNI(`*`)",
            "web.yml:4:12: tcp router empty@file: tcp.routers.empty.service is missing; expected the name of a service",
            "web.yml:5:43: tcp router lost@file: the service \"t@file\" does not exist; did you mean \"s\"?",
            "web.yml:6:63: tcp router limited@file: not supported yet: the middleware \"m@file\" is a ipAllowList",
            "web.yml:7:44: tcp router bound@file: the service \"behind@file\" is left out, see web.yml:13:5",
            "web.yml:7:86: tcp.routers.bound.tls.options has no effect: the connection is passed through, its TLS ends at the server",
            "web.yml:9:79: tcp.services.s.loadBalancer.terminationDelay has no effect: it belongs to a serversTransport",
            "web.yml:10:36: tcp service bad@file: tcp.services.bad.loadBalancer.servers[0].address is missing; expected an address such as 127.0.0.1:5432",
            "web.yml:10:37: tcp service bad@file: unknown key \"addres\" in tcp.services.bad.loadBalancer.servers[0]; did you mean \"address\"?",
            "web.yml:10:75: tcp service bad@file: version cannot be \"3\"; expected 1 or 2",
            "web.yml:10:97: tcp service bad@file: the servers transport \"none@file\" does not exist",
            "web.yml:11:40: tcp service both@file: tcp.services.both is both a loadBalancer and weighted; expected one of them",
            "web.yml:12:11: tcp service none@file: tcp.services.none.loadBalancer is missing; expected a loadBalancer with servers, or weighted services",
            "web.yml:13:54: tcp service behind@file: the service \"bad@file\" is left out, see web.yml:10:5",
            "web.yml:13:67: tcp service behind@file: the service \"gone@file\" does not exist; did you mean \"none\"?",
            "web.yml:13:81: tcp service behind@file: weight cannot be \"-1\"; expected a whole number; 0 takes nothing",
            "web.yml:14:40: tcp service one@file: the service \"two@file\" leads back to itself",
            "web.yml:15:40: tcp service two@file: the service \"one@file\" leads back to itself",
            "web.yml:16:52: tcp service over@file: the service \"two@file\" leads back to itself",
            "web.yml:18:9: tcp middleware m@file: not supported yet: the middleware ipAllowList",
            "web.yml:20:26: udp router r@file: the service \"q@file\" is left out, see web.yml:22:5",
            "web.yml:20:29: udp router r@file: unknown key \"rule\" in udp.routers.r; expected one of service, entryPoints",
            "web.yml:22:34: udp service q@file: udp.services.q.loadBalancer.servers[0].address is missing; expected an address such as 127.0.0.1:53",
            "web.yml:22:35: udp service q@file: unknown key \"adress\" in udp.services.q.loadBalancer.servers[0]; did you mean \"address\"?",
        ]
    );
    assert!(loaded.is_usable());
    assert!(loaded.snapshot.tcp.routers.is_empty() && loaded.snapshot.udp.is_empty());
    assert_eq!(loaded.snapshot.tcp.services.len(), 1);
}

#[test]
fn problems_of_all_layers_have_a_place() {
    let loaded = read(&[
        yaml("a.yml", "tls: {certificates: [{certFile: a, keyFile: b}], options: {default: {}}}\n"),
        yaml(
            "b.yml",
            "tls: {certificates: [{certFile: c, keyFile: d}]}\ntcp: {routers: {r: {rule: x, service: s@p}}}\n",
        ),
    ]);
    let place =
        |object: &str, field: &str| loaded.sources.place(object, field, None).map(|span| span.to_string());
    assert_eq!(place("certificate tls.certificates[0]@file", "keyFile").as_deref(), Some("a.yml:1:45"));
    assert_eq!(place("certificate tls.certificates[1]@file", "certFile").as_deref(), Some("b.yml:1:33"));
    assert_eq!(place("tls options default", "").as_deref(), Some("a.yml:1:60"));
    assert_eq!(place("tcp router r@file", "rule").as_deref(), Some("b.yml:2:27"));
    assert_eq!(place("router r@file", "rule"), None);
}
