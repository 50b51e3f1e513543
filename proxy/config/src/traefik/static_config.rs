//! Process settings: entry points, providers, logs, ….
//!
//! In: the static file and the settings of flags and environment over it. Out: `Settings` with Traefik's
//! defaults, or every problem. It does not look at the machine: whether an address can be bound or a file
//! exists is found out by whoever uses it.

use std::path::PathBuf;
use std::time::Duration;

use pancake_table::snapshot::ServersTransport;
use pancake_table::snapshot::tcp::TcpServersTransport;

use crate::decode::{Fields, Sink};
use crate::problem::{Problem, Scope, Span};
use crate::tree::overlay::Overlay;
use crate::tree::{self, File, Node};

/// Listeners and how clients are talked to.
mod entry_points;
/// Limits of an edge.
mod limits;
/// API, ping, metrics and logs.
mod observe;
/// What an entry point speaks: PROXY, HTTP/2, HTTP/3, TLS for its routers.
mod protocols;
/// Where dynamic configuration comes from.
mod providers;
/// Where certificates are ordered.
mod resolvers;
/// The `http.tls` of entry points, applied to routers.
mod router_tls;
/// What proxies share through the control plane.
mod sharing;

pub use entry_points::{EncodedCharacters, EntryPoint, ForwardedHeaders, Listen, UnderscoreHeaders};
pub use limits::{ConnectionLimits, Limits};
pub use observe::{AccessLog, AccessLogFormat, Api, Log, LogFormat, LogLevel, Ping, Prometheus};
pub use protocols::{Http2, Http3, Protocol, ProxyProtocol};
pub use providers::{FileProvider, FileSource, PancakeProvider, Providers};
pub use resolvers::{
    CertificatesResolver, DnsChallenge, DnsProvider, ExternalAccount, HttpChallenge, KeyType, TlsChallenge,
};
pub use sharing::Sharing;

/// The entry point that API, ping and metrics use unless they name another.
pub const INTERNAL_ENTRY_POINT: &str = "traefik";

/// Most workers that can be asked for.
pub const MAX_WORKERS: u32 = 1024;

/// Everything that is fixed when the process starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// By name; never empty.
    pub entry_points: Vec<EntryPoint>,
    /// Where dynamic configuration comes from.
    pub providers: Providers,
    /// `api`; none means off.
    pub api: Option<Api>,
    /// `ping`; none means off.
    pub ping: Option<Ping>,
    /// `metrics.prometheus`; none means off.
    pub prometheus: Option<Prometheus>,
    /// `accessLog`; none means off.
    pub access_log: Option<AccessLog>,
    /// `log`.
    pub log: Log,
    /// `serversTransport`: what services without a transport of their own use. Its name is `default`.
    pub servers_transport: ServersTransport,
    /// `tcpServersTransport`: the same for TCP services.
    pub tcp_servers_transport: TcpServersTransport,
    /// `certificatesResolvers`, by name.
    pub certificates_resolvers: Vec<CertificatesResolver>,
    /// `pancake`: what Traefik has no key for.
    pub pancake: Pancake,
    /// Settings that were accepted and have no effect.
    pub notes: Vec<Problem>,
}

impl Settings {
    /// The entry points of HTTP and TCP routers that name none: the ones with `asDefault`; without any, all but
    /// [`INTERNAL_ENTRY_POINT`]; never those for UDP.
    pub fn default_entry_points(&self) -> Vec<&str> {
        let marked = self.entry_points.iter().any(|entry_point| entry_point.as_default);
        let serves = |entry_point: &&EntryPoint| match marked {
            _ if entry_point.protocol == Protocol::Udp => false,
            true => entry_point.as_default,
            false => entry_point.name != INTERNAL_ENTRY_POINT,
        };
        self.entry_points.iter().filter(serves).map(|entry_point| entry_point.name.as_str()).collect()
    }

    /// The entry points for UDP, which are those of UDP routers that name none.
    pub fn udp_entry_points(&self) -> Vec<&str> {
        let udp = self.entry_points.iter().filter(|entry_point| entry_point.protocol == Protocol::Udp);
        udp.map(|entry_point| entry_point.name.as_str()).collect()
    }
}

/// Own settings: `pancake.*`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Pancake {
    /// `workers`: threads that serve; none means one per core.
    pub workers: Option<u32>,
    /// `engine`.
    pub engine: Engine,
    /// `stateDir`: where the last good snapshot is kept; none keeps nothing on disk.
    pub state_dir: Option<PathBuf>,
    /// `limits`.
    pub limits: Limits,
    /// `sharing`.
    pub sharing: Option<Sharing>,
}

/// How workers talk to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Engine {
    /// io_uring where the kernel allows it, epoll elsewhere.
    #[default]
    Auto,
    /// io_uring, or no start.
    Ring,
    /// epoll.
    Epoll,
}

/// Reads the file, if there is one, and puts `overlay` over it.
///
/// Errors: every problem, in the order of places. Notes are not problems: see [`Settings::notes`].
pub fn read(file: Option<File<'_>>, overlay: &Overlay) -> Result<Settings, Vec<Problem>> {
    let base = match file {
        Some(file) => tree::parse(file)?,
        None => Node::empty(Span::whole("command line")),
    };
    let root = overlay.over(base);
    let sink = Sink::default();
    let mut settings = sink.section(&root, "", settings);
    let problems = sink.into_problems();
    let (notes, problems) = problems.into_iter().partition(|problem| problem.scope == Scope::Note);
    settings.notes = notes;
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

/// The first keys of static settings, as an environment variable may name them.
pub(crate) const ROOT_KEYS: [&str; 19] = [
    "global",
    "serversTransport",
    "tcpServersTransport",
    "entryPoints",
    "providers",
    "api",
    "metrics",
    "ping",
    "log",
    "accessLog",
    "tracing",
    "hostResolver",
    "certificatesResolvers",
    "experimental",
    "core",
    "spiffe",
    "ocsp",
    "pancake",
    "configFile",
];

fn settings(root: &Fields<'_, '_>) -> Settings {
    let mut entry_points = entry_points::read(root);
    let not_append = root.section("global", global).unwrap_or_default();
    let api = root.section("api", observe::api);
    let ping = root.section("ping", observe::ping);
    let prometheus = root.section("metrics", observe::metrics).flatten();
    let internal = [
        api.as_ref().filter(|api| api.insecure).map(|_| INTERNAL_ENTRY_POINT),
        ping.as_ref().map(|ping| ping.entry_point.as_str()),
        prometheus.as_ref().map(|prometheus| prometheus.entry_point.as_str()),
    ];
    entry_points::add_defaults(&mut entry_points, internal.contains(&Some(INTERNAL_ENTRY_POINT)));
    for entry_point in &mut entry_points {
        entry_point.forwarded_headers.not_append_x_forwarded_for |= not_append;
    }
    known_entry_point(root, "ping", internal[1], &entry_points);
    known_entry_point(root, "metrics", internal[2], &entry_points);
    root.section("core", |core| {
        if let Some((syntax, node)) = core.scalar("defaultRuleSyntax")
            && syntax != "v3"
        {
            let what = format!("core.defaultRuleSyntax {}", tree::quote(syntax));
            core.sink().push(Problem::not_supported(node.span.clone(), what).expected("v3"));
        }
    });
    root.not_supported(&["tracing", "hostResolver", "experimental", "spiffe", "ocsp"]);
    let certificates_resolvers = resolvers::read(root, &entry_points);
    known_resolvers(root, &entry_points, &certificates_resolvers);
    let providers = providers::read(root);
    let control = providers.pancake.clone();
    Settings {
        entry_points,
        certificates_resolvers,
        providers,
        api,
        ping,
        prometheus,
        access_log: root.section("accessLog", observe::access_log),
        log: root.section("log", observe::log).unwrap_or_default(),
        servers_transport: root.section("serversTransport", servers_transport).unwrap_or_default(),
        tcp_servers_transport: root
            .section("tcpServersTransport", |section| {
                super::dynamic::tcp_transport(section, "default".into(), "")
            })
            .unwrap_or_default(),
        pancake: root.section("pancake", |own| pancake(own, control.as_ref())).unwrap_or_default(),
        notes: Vec::new(),
    }
}

/// Whether all entry points leave `X-Forwarded-For` as it came.
fn global(global: &Fields<'_, '_>) -> bool {
    let why = "Pancake never talks to the makers of anything";
    global.ignored(&["checkNewVersion", "sendAnonymousUsage"], why);
    global.boolean("notAppendXForwardedFor").unwrap_or_default()
}

/// Reports that `section` names an entry point that is not there, or that is for UDP.
fn known_entry_point(root: &Fields<'_, '_>, section: &'static str, named: Option<&str>, all: &[EntryPoint]) {
    let (Some(named), Some(node)) = (named, root.get(section)) else { return };
    let tcp = || all.iter().filter(|entry_point| entry_point.protocol == Protocol::Tcp);
    let names = || tcp().map(|entry_point| entry_point.name.as_str());
    if !names().any(|name| name == named) {
        let why = match all.iter().any(|entry_point| entry_point.name == named) {
            true => "is for UDP",
            false => "is not there",
        };
        let message = format!("{section} uses the entry point {}, which {why}", tree::quote(named));
        let expected = match names().next() {
            Some(_) => format!("one of {}", names().collect::<Vec<_>>().join(", ")),
            None => "one with an address for TCP".to_string(),
        };
        let suggestion = crate::suggest::nearest(named, names()).map(tree::quote);
        root.sink().push(Problem::new(node.span.clone(), message).expected(expected).suggest(suggestion));
    }
}

/// Reports entry points whose `http.tls` names a resolver that is not there.
fn known_resolvers(root: &Fields<'_, '_>, entry_points: &[EntryPoint], all: &[CertificatesResolver]) {
    for entry_point in entry_points {
        let Some(named) = entry_point.tls.as_ref().and_then(|tls| tls.cert_resolver.as_ref()) else {
            continue;
        };
        let names = || all.iter().map(|resolver| resolver.name.as_str());
        let resolvers = root.get("certificatesResolvers");
        if resolvers.is_some_and(|node| super::source_map::child(node, named).is_some()) {
            continue;
        }
        let entry = root.names("entryPoints").iter().find(|entry| entry.key == entry_point.name);
        let node = entry.and_then(|entry| {
            ["http", "tls", "certResolver"]
                .iter()
                .try_fold(&entry.value, |at, step| super::source_map::child(at, step).map(|(_, value)| value))
        });
        let span = node.map_or_else(|| root.span().clone(), |node| node.span.clone());
        let message = format!("the certificate resolver {} does not exist", tree::quote(named));
        let suggestion = crate::suggest::nearest(named, names()).map(tree::quote);
        root.sink().push(Problem::new(span, message).suggest(suggestion));
    }
}

fn servers_transport(section: &Fields<'_, '_>) -> ServersTransport {
    super::dynamic::transport(section, "default".into(), "")
}

fn pancake(pancake: &Fields<'_, '_>, control: Option<&PancakeProvider>) -> Pancake {
    let expected = format!("a number from 1 to {MAX_WORKERS}");
    let engines = [("auto", Engine::Auto), ("ring", Engine::Ring), ("epoll", Engine::Epoll)];
    Pancake {
        workers: pancake.number("workers", &expected, |n| (1..=MAX_WORKERS).contains(n)),
        engine: pancake.word("engine", &engines).unwrap_or_default(),
        limits: pancake.section("limits", limits::limits).unwrap_or_default(),
        sharing: pancake.section("sharing", |section| sharing::sharing(section, control)).flatten(),
        state_dir: pancake.string("stateDir").filter(|dir| !dir.is_empty()).map(PathBuf::from),
    }
}

/// A duration that means "no limit" when it is zero.
pub(crate) fn limit(duration: Duration) -> Option<Duration> {
    (!duration.is_zero()).then_some(duration)
}

#[cfg(test)]
mod tests;
