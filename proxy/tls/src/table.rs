//! Everything that handshakes of servers use, built as a whole and never changed.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use foldhash::fast::RandomState;
use pancake_table::check::Problem;
use pancake_table::snapshot::tls::{Certificate, Tls, TlsOptions};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::ClientHello;
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{AlertDescription, ServerConfig};

use crate::cert_map::{CertMap, Resolver, normal};
use crate::certificate::{self, Loaded};
use crate::challenges::{ACME_ALPN, Challenges, is_challenge};
use crate::fingerprint::Digest;
use crate::generate::{GenerateError, generated_default};
use crate::limits::{MAX_CERTIFICATES, MAX_OPTIONS, MAX_TLS_PROBLEMS};
use crate::names::Found;
use crate::options::{self, Ground};
use crate::tickets::{TicketError, Tickets};

type Map<K, V> = HashMap<K, V, RandomState>;

/// The options that apply where nothing else is said.
const DEFAULT: &str = "default";

/// What a table is built from.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// The `tls` section; every [`pancake_table::snapshot::tls::Pem`] has its text.
    pub tls: &'a Tls,
    /// Host of a rule to the name of its options; `*.x` stands for one label.
    pub options_by_host: &'a BTreeMap<String, String>,
    /// Certificates from elsewhere: ACME, the control plane.
    pub further: &'a [Certificate],
    /// Seconds since 1970: what is expired.
    pub now_unix: u64,
    /// Shared by all tables of the process.
    pub tickets: &'a Arc<Tickets>,
    /// Shared by all tables of the process.
    pub challenges: &'a Arc<Challenges>,
    /// From [`crate::generated_default`], once per process.
    pub generated_default: &'a Arc<CertifiedKey>,
    /// What handshakes take the time from, for certificates of clients and ages of tickets.
    pub clock: &'a Arc<dyn TimeProvider>,
}

/// Why a client gets no handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `sniStrict`, and no certificate has the name, or there is none.
    #[error("no certificate has the name that the client asks for, and sniStrict is set")]
    UnrecognizedName,
    /// The options of the host do not exist or are faulty. Others might ask less of the client.
    #[error("the TLS options of the host cannot be used")]
    Options,
    /// A client asks for an ACME challenge that nobody waits for.
    #[error("there is no ACME challenge for the host")]
    NoChallenge,
}

impl Refusal {
    /// What the client is told (RFC 8446 section 6.2).
    pub fn alert(self) -> AlertDescription {
        match self {
            Refusal::UnrecognizedName => AlertDescription::UnrecognisedName,
            Refusal::Options => AlertDescription::InternalError,
            Refusal::NoChallenge => AlertDescription::NoApplicationProtocol,
        }
    }

    /// The alert as a record in the clear, as it goes out instead of a ServerHello.
    pub fn record(self) -> [u8; 7] {
        const ALERT: u8 = 21;
        const FATAL: u8 = 2;
        [ALERT, 3, 3, 0, 2, FATAL, u8::from(self.alert())]
    }
}

/// Why there is not even a bare table.
#[derive(Debug, thiserror::Error)]
pub enum BareError {
    /// No keys for session tickets.
    #[error("keys of session tickets: {0}")]
    Tickets(#[from] TicketError),
    /// No default certificate.
    #[error("the default certificate: {0}")]
    Certificate(#[from] GenerateError),
}

/// One set of options, ready.
struct Prepared {
    digest: Digest,
    strict: bool,
    config: Arc<ServerConfig>,
}

/// Certificates and options, ready for handshakes.
pub struct TlsTable {
    map: Arc<CertMap>,
    challenges: Arc<Challenges>,
    tickets: Arc<Tickets>,
    clock: Arc<dyn TimeProvider>,
    challenge_config: Option<Arc<ServerConfig>>,
    /// By name; none if they are faulty.
    options: Map<String, Option<Arc<Prepared>>>,
    /// Host to name of options.
    by_host: Map<String, String>,
    /// By digest, for the next build.
    loaded: Map<Digest, Arc<Loaded>>,
    /// By the path that the configuration names: what serves on while a file is broken or half written.
    by_path: Map<String, Arc<Loaded>>,
    /// Name and certificate, in order.
    certificates: Vec<(String, Arc<Loaded>)>,
    default: Option<Arc<Loaded>>,
}

impl fmt::Debug for TlsTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (certificates, options) = (self.certificates.len(), self.options.len());
        write!(f, "TlsTable({certificates} certificates, {options} options)")
    }
}

impl TlsTable {
    /// A table of nothing but the generated certificate: for who has no configuration.
    ///
    /// # Errors
    /// If the system has no randomness for keys.
    pub fn bare(now_unix: u64, clock: &Arc<dyn TimeProvider>) -> Result<TlsTable, BareError> {
        let input = Input {
            tls: &Tls::default(),
            options_by_host: &BTreeMap::new(),
            further: &[],
            now_unix,
            tickets: &Arc::new(Tickets::new(now_unix)?),
            challenges: &Arc::default(),
            generated_default: &generated_default(now_unix)?,
            clock,
        };
        Ok(TlsTable::build(&input, None).0)
    }

    /// A table of all that can be used, and what is wrong with the rest. What is equal in `previous` is taken over, so
    /// that a build costs what changed.
    pub fn build(input: &Input<'_>, previous: Option<&TlsTable>) -> (TlsTable, Vec<Problem>) {
        let (loaded, by_path) = (Map::default(), Map::default());
        let mut build = Build { input, previous, problems: Vec::new(), loaded, by_path };
        let certificates = build.certificates();
        let (map, default) = build.map(&certificates);
        let (options, challenge_config) = build.options(&map);
        build.hosts(&options);
        let table = TlsTable {
            map,
            challenges: Arc::clone(input.challenges),
            tickets: Arc::clone(input.tickets),
            clock: Arc::clone(input.clock),
            challenge_config,
            options,
            by_host: input.options_by_host.iter().map(|(h, o)| (normal(h).into_owned(), o.clone())).collect(),
            loaded: build.loaded,
            by_path: build.by_path,
            certificates,
            default,
        };
        build.problems.truncate(MAX_TLS_PROBLEMS);
        (table, build.problems)
    }

    /// The configuration for a client: [`TlsTable::server_config`], or the one that answers an ACME challenge.
    pub fn select(&self, hello: &ClientHello<'_>) -> Result<Arc<ServerConfig>, Refusal> {
        let sni = hello.server_name();
        match hello.alpn().is_some_and(is_challenge) {
            true => self.config_for(DEFAULT, sni, true),
            false => self.server_config(sni),
        }
    }

    /// The configuration for a name: that of the host's options (the exact host, then `*.`, then `default`).
    pub fn server_config(&self, sni: Option<&str>) -> Result<Arc<ServerConfig>, Refusal> {
        self.config_for(self.options_name(sni.map(normal).as_deref()), sni, false)
    }

    /// The configuration with these options, for a name. `challenge`: the client offers ACME's protocol and nothing else
    /// (RFC 8737).
    pub fn config_for(
        &self,
        options: &str,
        sni: Option<&str>,
        challenge: bool,
    ) -> Result<Arc<ServerConfig>, Refusal> {
        let host = sni.map(normal);
        if challenge {
            let waiting = host.as_deref().and_then(|host| self.challenges.get(host));
            let config = self.challenge_config.as_ref().filter(|_| waiting.is_some());
            return config.cloned().ok_or(Refusal::NoChallenge);
        }
        let prepared = self.options.get(options).and_then(Option::as_ref).ok_or(Refusal::Options)?;
        if prepared.strict && !host.is_some_and(|host| self.map.has(&host)) {
            return Err(Refusal::UnrecognizedName);
        }
        Ok(Arc::clone(&prepared.config))
    }

    /// Name and certificate, in order.
    pub(crate) fn certificates(&self) -> &[(String, Arc<Loaded>)] {
        &self.certificates
    }

    /// For names that no certificate has.
    pub(crate) fn default_certificate(&self) -> Option<&Arc<Loaded>> {
        self.default.as_ref()
    }

    /// The best certificate for a name, which may be a wildcard.
    pub(crate) fn first_choice(&self, name: &str) -> Option<&Arc<Loaded>> {
        self.map.first(name)
    }

    fn options_name(&self, host: Option<&str>) -> &str {
        let wildcard = |host: &str| {
            let (_, suffix) = host.split_once('.')?;
            self.by_host.get(&format!("*.{suffix}"))
        };
        let name = host.and_then(|host| self.by_host.get(host).or_else(|| wildcard(host)));
        name.map_or(DEFAULT, String::as_str)
    }
}

struct Build<'a> {
    input: &'a Input<'a>,
    previous: Option<&'a TlsTable>,
    problems: Vec<Problem>,
    loaded: Map<Digest, Arc<Loaded>>,
    by_path: Map<String, Arc<Loaded>>,
}

impl Build<'_> {
    fn certificates(&mut self) -> Vec<(String, Arc<Loaded>)> {
        let input = self.input;
        let mut all = Vec::new();
        for certificate in input.tls.certificates.iter().chain(input.further).take(MAX_CERTIFICATES) {
            if let Some(loaded) = self.load(certificate) {
                all.push((certificate.name.clone(), loaded));
            }
        }
        let found = input.tls.certificates.len() + input.further.len();
        if found > MAX_CERTIFICATES {
            let message = format!(
                "{found} certificates, at most {MAX_CERTIFICATES} are allowed; the rest does not serve"
            );
            self.problems.push(Problem::error("tls", "certificates", message));
        }
        all
    }

    /// From the previous table if it is there; and if it cannot be used now, what the same file held before.
    fn load(&mut self, certificate: &Certificate) -> Option<Arc<Loaded>> {
        let path = &certificate.cert.path;
        let loaded = match self.load_as_it_is(certificate) {
            Some(loaded) => loaded,
            None if path.is_empty() => return None,
            None => Arc::clone(self.previous?.by_path.get(path)?),
        };
        if !path.is_empty() {
            self.by_path.insert(path.clone(), Arc::clone(&loaded));
        }
        Some(loaded)
    }

    fn load_as_it_is(&mut self, certificate: &Certificate) -> Option<Arc<Loaded>> {
        let digest = certificate::digest(certificate);
        let known = self.loaded.get(&digest).or_else(|| self.previous?.loaded.get(&digest)).cloned();
        let loaded = match known {
            Some(loaded) => loaded,
            None => match Loaded::load(certificate, &default_provider()) {
                Ok(loaded) => Arc::new(loaded),
                Err((field, message)) => {
                    self.problems.push(Problem::error(&certificate.name, field, message));
                    return None;
                }
            },
        };
        self.problems.extend(loaded.warnings(&certificate.name, self.now()));
        self.loaded.insert(digest, Arc::clone(&loaded));
        Some(loaded)
    }

    fn map(&mut self, certificates: &[(String, Arc<Loaded>)]) -> (Arc<CertMap>, Option<Arc<Loaded>>) {
        let all: Vec<_> = certificates.iter().map(|(_, loaded)| Arc::clone(loaded)).collect();
        let mut map = CertMap::new(&all, self.now());
        let default = self.default(&map);
        if let Some(default) = &default {
            map.set_default(Arc::clone(default));
        }
        let same = self.previous.filter(|previous| previous.map.serves_as(&map));
        (same.map_or_else(|| Arc::new(map), |previous| Arc::clone(&previous.map)), default)
    }

    /// That of the store, else what a resolver ordered for the store, else the generated one.
    fn default(&mut self, map: &CertMap) -> Option<Arc<Loaded>> {
        let input = self.input;
        let store = input.tls.stores.iter().find(|store| store.name == DEFAULT);
        if let Some(certificate) = store.and_then(|store| store.default_certificate.as_ref())
            && let Some(loaded) = self.load(certificate)
        {
            return Some(loaded);
        }
        if let Some(ordered) = store.and_then(|store| store.default_generated.as_ref())
            && let Some(loaded) = map.candidates(&normal(&ordered.domain.main)).next()
        {
            return Some(Arc::clone(loaded));
        }
        let before = self.previous.and_then(|previous| previous.default.as_ref());
        if let Some(before) = before.filter(|before| Arc::ptr_eq(&before.key, input.generated_default)) {
            return Some(Arc::clone(before));
        }
        let loaded = Loaded::generated(Arc::clone(input.generated_default));
        let tell = |message| self.problems.push(Problem::error("tls", "generated certificate", message));
        loaded.map(Arc::new).map_err(tell).ok()
    }

    #[allow(clippy::type_complexity)]
    fn options(
        &mut self,
        map: &Arc<CertMap>,
    ) -> (Map<String, Option<Arc<Prepared>>>, Option<Arc<ServerConfig>>) {
        let input = self.input;
        let mut by_digest: Map<Digest, Option<Arc<Prepared>>> = Map::default();
        let mut by_name = Map::default();
        let fallback = TlsOptions::default();
        let written = input.tls.options.iter().take(MAX_OPTIONS);
        let missing = input.tls.options.iter().all(|options| options.name != DEFAULT);
        for options in written.chain(missing.then_some(&fallback)) {
            let digest = options::digest(options);
            let known = by_digest.get(&digest).cloned().flatten();
            let prepared = known.or_else(|| self.prepare(options, digest, map));
            by_digest.insert(digest, prepared.clone());
            by_name.insert(options.name.clone(), prepared);
        }
        if input.tls.options.len() > MAX_OPTIONS {
            let message = format!("{} sets, at most {MAX_OPTIONS} are allowed", input.tls.options.len());
            self.problems.push(Problem::error("tls", "options", message));
        }
        let challenge = TlsOptions {
            name: "acme-tls/1".into(),
            alpn: vec![String::from_utf8_lossy(ACME_ALPN).into_owned()],
            disable_session_tickets: true,
            ..TlsOptions::default()
        };
        let digest = options::digest(&challenge);
        let challenge = self.prepare(&challenge, digest, map);
        (by_name, challenge.map(|prepared| Arc::clone(&prepared.config)))
    }

    /// Taken over from the previous table if the settings are equal; with other certificates if those have changed.
    fn prepare(&mut self, options: &TlsOptions, digest: Digest, map: &Arc<CertMap>) -> Option<Arc<Prepared>> {
        let input = self.input;
        let resolver = Arc::new(Resolver {
            map: Arc::clone(map),
            challenges: Arc::clone(input.challenges),
            strict: options.sni_strict,
        });
        if let Some((known, same_map)) = self.known(digest, map) {
            if same_map {
                return Some(known);
            }
            let mut config = ServerConfig::clone(&known.config);
            config.cert_resolver = resolver;
            return Some(Arc::new(Prepared { digest, strict: known.strict, config: Arc::new(config) }));
        }
        let mut found = Found::default();
        let ground = Ground { tickets: Arc::clone(input.tickets), clock: Arc::clone(input.clock) };
        let config = options::server_config(options, &ground, resolver, &mut found);
        let object = format!("tls.options.{}", options.name);
        let errors = found.errors.into_iter().map(|(field, text)| Problem::error(&object, field, text));
        let warnings = found.warnings.into_iter().map(|(field, text)| Problem::warning(&object, field, text));
        self.problems.extend(errors.chain(warnings));
        config
            .map(|config| Arc::new(Prepared { digest, strict: options.sni_strict, config: Arc::new(config) }))
    }

    /// Equal options of the previous table, and whether they also have the same certificates.
    fn known(&self, digest: Digest, map: &Arc<CertMap>) -> Option<(Arc<Prepared>, bool)> {
        let (input, previous) = (self.input, self.previous?);
        let same_ground = Arc::ptr_eq(&previous.tickets, input.tickets)
            && Arc::ptr_eq(&previous.clock, input.clock)
            && Arc::ptr_eq(&previous.challenges, input.challenges);
        let mut all = previous.options.values().flatten().filter(|_| same_ground);
        let known = all.find(|prepared| prepared.digest == digest)?;
        Some((Arc::clone(known), Arc::ptr_eq(&previous.map, map)))
    }

    fn hosts(&mut self, options: &Map<String, Option<Arc<Prepared>>>) {
        for (host, name) in self.input.options_by_host {
            if !options.contains_key(name) {
                let message = format!(
                    "{host} uses these TLS options, but there are none of that name; handshakes for it are refused"
                );
                self.problems.push(Problem::error(format!("tls.options.{name}"), "", message));
            }
        }
    }

    fn now(&self) -> i64 {
        i64::try_from(self.input.now_unix).unwrap_or(i64::MAX)
    }
}
