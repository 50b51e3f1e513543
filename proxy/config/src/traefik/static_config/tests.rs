use super::*;
use crate::tree::Format;

/// TLS, UDP, resolvers and limits.
mod edge;

fn read_text(text: &str) -> Result<Settings, Vec<Problem>> {
    read(Some(File { name: "static.yml", text, format: Format::Yaml }), &Overlay::default())
}

fn problems(text: &str) -> Vec<String> {
    read_text(text).expect_err("should be refused").iter().map(Problem::to_string).collect()
}

#[test]
fn nothing_gives_traefiks_defaults() {
    let settings = read(None, &Overlay::default()).unwrap();
    let [http] = &settings.entry_points[..] else { panic!("{settings:?}") };
    assert_eq!(http, &EntryPoint::new("http", Listen { host: None, port: 80 }));
    assert_eq!(http.listen.addresses()[0].to_string(), "[::]:80");
    assert_eq!(http.listen.addresses()[1].to_string(), "0.0.0.0:80");
    assert_eq!(settings.default_entry_points(), ["http"]);
    assert_eq!(settings.providers.throttle, Duration::from_secs(2));
    assert_eq!(settings.servers_transport, ServersTransport::default());
    assert_eq!(settings.log.level, LogLevel::Error);
    assert!(settings.api.is_none() && settings.ping.is_none() && settings.prometheus.is_none());
    assert!(settings.access_log.is_none() && settings.notes.is_empty());
    assert_eq!(settings.pancake, Pancake::default());
}

#[test]
fn the_internal_entry_point_is_there_when_something_uses_it() {
    for text in ["api: {insecure: true}\n", "ping: {}\n", "metrics: {prometheus: {}}\n"] {
        let settings = read_text(text).unwrap();
        let names: Vec<_> = settings.entry_points.iter().map(|e| (e.name.as_str(), e.listen.port)).collect();
        assert_eq!(names, [("http", 80), ("traefik", 8080)], "{text}");
        assert_eq!(settings.default_entry_points(), ["http"]);
    }
    for text in ["api: {}\n", "ping: {entryPoint: http}\n", "ping:\n", "ping: false\n"] {
        assert_eq!(read_text(text).unwrap().entry_points.len(), 1, "{text}");
    }
    let own = "entryPoints: {traefik: {address: '127.0.0.1:9000'}, web: {address: ':80'}}\nping: true\n";
    let settings = read_text(own).unwrap();
    assert_eq!(settings.entry_points[0].listen.addresses()[0].to_string(), "127.0.0.1:9000");
    assert_eq!(settings.entry_points.len(), 2);
}

#[test]
fn reads_every_setting_of_an_entry_point() {
    let text = "
entryPoints:
  web:
    address: '[::1]:8000/tcp'
    asDefault: true
    reusePort: true
    forwardedHeaders: {insecure: false, trustedIPs: [10.0.0.0/8, '::1'], connection: [X-A], notAppendXForwardedFor: true}
    transport:
      lifeCycle: {requestAcceptGraceTimeout: 5, graceTimeOut: 1m}
      respondingTimeouts: {readTimeout: 0, writeTimeout: 30s, idleTimeout: '90'}
      keepAliveMaxTime: 1h
      keepAliveMaxRequests: 100
    http:
      maxHeaderBytes: 65536
      sanitizePath: false
      underscoreHeadersStrategy: reject
      encodeQuerySemicolons: false
      encodedCharacters: {allowEncodedSlash: false, allowEncodedHash: true}
  other: {address: 'localhost:0'}
";
    let settings = read_text(text).unwrap();
    assert_eq!(settings.default_entry_points(), ["web"]);
    let web = settings.entry_points.into_iter().find(|entry_point| entry_point.name == "web").unwrap();
    let trusted = web.forwarded_headers.clone();
    assert!(trusted.trusts("10.1.2.3".parse().unwrap()) && !trusted.trusts("11.1.2.3".parse().unwrap()));
    let expected = EntryPoint {
        as_default: true,
        forwarded_headers: ForwardedHeaders {
            insecure: false,
            connection: vec!["X-A".into()],
            not_append_x_forwarded_for: true,
            ..trusted
        },
        request_accept_grace_timeout: Duration::from_secs(5),
        grace_timeout: Duration::from_secs(60),
        read_timeout: None,
        write_timeout: Some(Duration::from_secs(30)),
        idle_timeout: Some(Duration::from_secs(90)),
        keep_alive_max_time: Some(Duration::from_secs(3600)),
        keep_alive_max_requests: Some(100),
        max_header_bytes: 65536,
        sanitize_path: false,
        encoded_characters: EncodedCharacters { slash: false, ..EncodedCharacters::default() },
        underscore_headers: UnderscoreHeaders::Reject,
        ..EntryPoint::new("web", Listen { host: Some("::1".parse().unwrap()), port: 8000 })
    };
    assert_eq!(web, expected);
}

#[test]
fn reads_providers_logs_and_own_settings() {
    let text = "
global: {checkNewVersion: true, sendAnonymousUsage: false, notAppendXForwardedFor: true}
providers:
  providersThrottleDuration: 500ms
  file: {directory: /etc/traefik/dynamic, watch: false}
  pancake: {endpoint: 'http://127.0.0.1:7700/'}
api: {insecure: true, dashboard: false, basePath: /traefik/}
metrics: {prometheus: {buckets: [5, 0.1], addRoutersLabels: true, entryPoint: http}}
accessLog: {format: json, filePath: /var/log/access.log, bufferingSize: 100}
log: {level: info, format: json, noColor: true, filePath: /var/log/x}
serversTransport: {maxIdleConnsPerHost: 7, forwardingTimeouts: {dialTimeout: 1s, responseHeaderTimeout: 2s, idleConnTimeout: 3s}}
core: {defaultRuleSyntax: v3}
pancake: {workers: 4, engine: epoll, stateDir: /var/lib/pancake, sharing: {tokenFile: /etc/pancake/token}, limits: {maxConnections: 1000, maxConnectionsPerAddress: 0, memoryBudget: 512MiB, tlsHandshakeTimeout: 0, writeStallTimeout: 7s}}
";
    let settings = read_text(text).unwrap();
    assert!(settings.entry_points[0].forwarded_headers.not_append_x_forwarded_for);
    assert_eq!(
        settings.providers,
        Providers {
            throttle: Duration::from_millis(500),
            file: Some(FileProvider {
                source: FileSource::Directory("/etc/traefik/dynamic".into()),
                watch: false
            }),
            pancake: Some(PancakeProvider { endpoint: "http://127.0.0.1:7700".into() }),
        }
    );
    assert_eq!(settings.api, Some(Api { insecure: true, dashboard: false, base_path: "/traefik".into() }));
    let prometheus = settings.prometheus.unwrap();
    assert_eq!(prometheus.buckets, [0.1, 5.0]);
    assert!(prometheus.add_routers_labels && prometheus.add_services_labels);
    assert_eq!(
        settings.access_log,
        Some(AccessLog { file_path: Some("/var/log/access.log".into()), format: AccessLogFormat::Json })
    );
    assert_eq!(settings.log, Log { level: LogLevel::Info, format: LogFormat::Json, no_color: true });
    assert_eq!(settings.servers_transport.max_idle_conns_per_host, 7);
    assert_eq!(settings.servers_transport.response_header_timeout, Duration::from_secs(2));
    assert_eq!(
        settings.pancake,
        Pancake {
            workers: Some(4),
            engine: Engine::Epoll,
            state_dir: Some("/var/lib/pancake".into()),
            limits: Limits {
                connections: ConnectionLimits { max: Some(1000), max_per_address: None },
                memory_budget: Some(512 * 1024 * 1024),
                tls_handshake_timeout: None,
                write_stall_timeout: Some(Duration::from_secs(7)),
            },
            sharing: Some(Sharing { token_file: "/etc/pancake/token".into(), allow_plaintext: false }),
        }
    );
    let notes: Vec<String> = settings.notes.iter().map(Problem::to_string).collect();
    assert_eq!(
        notes,
        [
            "static.yml:2:27: global.checkNewVersion has no effect: Pancake never talks to the makers of anything",
            "static.yml:2:53: global.sendAnonymousUsage has no effect: Pancake never talks to the makers of anything",
            "static.yml:9:73: accessLog.bufferingSize has no effect: lines are always written from a buffer, by a thread of its own",
            "static.yml:10:59: log.filePath has no effect: the log goes to standard error",
        ]
    );
}

#[test]
fn tells_everything_that_is_wrong_at_once() {
    let text = "
entryPoints:
  web: {adress: ':80'}
  dns: {address: ':53/sctp'}
  a: {address: ':81'}
  b: {address: ':81'}
  host: {address: 'example.org:80'}
providers:
  file: {}
  docker: {}
  pancake: {endpoint: 'https://x'}
ping: {entryPoint: wbe}
metrics: {prometheus: {entryPoint: nowhere}}
pancake: {workers: 0, engine: uring}
certificatesResolvers: {le: {acme: {email: a@b.c}}}
entrypoint: {}
core: {defaultRuleSyntax: v2}
";
    assert_eq!(
        problems(text),
        [
            "static.yml:3:8: entryPoints.web.address is missing; expected an address such as :80, 127.0.0.1:8080 or [::1]:8080",
            "static.yml:3:9: unknown key \"adress\" in entryPoints.web; did you mean \"address\"?",
            "static.yml:4:18: address cannot be \":53/sctp\"; expected an address such as :80, 127.0.0.1:8080 or [::1]:8080",
            "static.yml:6:3: entryPoints.b listens where \"a\" listens; expected another address",
            "static.yml:7:19: address cannot be \"example.org:80\"; expected an address such as :80, 127.0.0.1:8080 or [::1]:8080",
            "static.yml:9:9: providers.file.filename is missing; expected filename or directory",
            "static.yml:10:3: not supported yet: providers.docker",
            "static.yml:11:23: endpoint cannot be \"https://x\"; expected the address of a control plane, such as http://127.0.0.1:7700",
            "static.yml:12:7: ping uses the entry point \"wbe\", which is not there; expected one of a, b, dns, host, web; did you mean \"web\"?",
            "static.yml:13:10: metrics uses the entry point \"nowhere\", which is not there; expected one of a, b, dns, host, web",
            "static.yml:14:20: workers cannot be \"0\"; expected a number from 1 to 1024",
            "static.yml:14:31: engine cannot be \"uring\"; expected one of auto, ring, epoll; did you mean \"ring\"?",
            "static.yml:15:36: certificatesResolvers.le.acme has no challenge; expected httpChallenge, tlsChallenge or dnsChallenge",
            "static.yml:16:1: unknown key \"entrypoint\"; did you mean \"entryPoints\"?",
            "static.yml:17:27: not supported yet: core.defaultRuleSyntax \"v2\"; expected v3",
        ]
    );
}

#[test]
fn a_file_provider_names_one_source() {
    let both = "providers: {file: {filename: a.yml, directory: d}}\n";
    assert_eq!(
        problems(both),
        ["static.yml:1:30: providers.file has both filename and directory; expected one of them"]
    );
}

/// Every key of Traefik's static reference is read, refused by name, or noted; none is unknown.
#[test]
fn no_key_of_the_reference_is_unknown() {
    for (name, text, format) in [
        ("static.yml", include_str!("../../../samples/static.yml"), Format::Yaml),
        ("static.toml", include_str!("../../../samples/static.toml"), Format::Toml),
    ] {
        let problems = read(Some(File { name, text, format }), &Overlay::default()).unwrap_err();
        let other: Vec<_> = problems.iter().filter(|problem| !problem.is_not_supported()).collect();
        assert!(other.is_empty(), "{other:#?}");
        let refused: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
        for key in [
            "entryPoints.all.http.middlewares",
            "entryPoints.all.http.redirections",
            "entryPoints.all.http.encodeQuerySemicolons",
            "entryPoints.all.forwardedHeaders.addXForwardedSchemeHeaders",
            "providers.docker",
            "providers.plugin",
            "certificatesResolvers.tail.tailscale",
            "tracing",
            "serversTransport.spiffe",
            "metrics.otlp",
            "accessLog.filters",
        ] {
            assert!(refused.contains(&format!("not supported yet: {key}").as_str()), "{key}: {refused:#?}");
        }
    }
}

#[test]
fn refused_keys_are_refused_each_at_its_own_place() {
    let text = include_str!("../../../samples/static.yml");
    let problems = read_text(text).unwrap_err();
    let lines: Vec<&str> = text.lines().collect();
    let mut compared = 0;
    for problem in problems {
        let path = problem.message.trim_start_matches("not supported yet: ");
        let key = path.rsplit('.').next().unwrap();
        if key.contains(' ') {
            continue;
        }
        let line = lines[problem.span.line as usize - 1];
        let at: String = line.chars().skip(problem.span.column as usize - 1).collect();
        assert!(at.starts_with(&format!("{key}:")), "{problem} points at {at:?}");
        compared += 1;
    }
    assert!(compared >= 40, "{compared}");
}

#[test]
fn keys_are_not_sent_to_other_machines_in_plaintext_unless_asked() {
    let with = |endpoint: &str, more: &str| {
        let text = format!(
            "providers: {{pancake: {{endpoint: '{endpoint}'}}}}\npancake: {{sharing: {{tokenFile: /t{more}}}}}\n"
        );
        read_text(&text).map(|settings| settings.pancake.sharing.unwrap().allow_plaintext)
    };
    assert!(!with("http://127.0.0.1:7700", "").unwrap());
    let problem = with("http://10.0.0.5:7700", "").unwrap_err()[0].to_string();
    assert!(
        problem.contains("pancake.sharing would send private keys to http://10.0.0.5:7700 in plaintext"),
        "{problem}"
    );
    assert!(problem.contains("allowPlaintext: true") && problem.contains(":2:"), "{problem}");
    assert!(with("http://10.0.0.5:7700", ", allowPlaintext: true").unwrap());
    let alone = read_text("pancake: {sharing: {tokenFile: /t}}").unwrap_err()[0].to_string();
    assert!(
        alone.contains("pancake.sharing needs a control plane; expected providers.pancake.endpoint"),
        "{alone}"
    );
    let none = read_text("pancake: {sharing: {}}").unwrap_err()[0].to_string();
    assert!(none.contains("tokenFile"), "{none}");
}
