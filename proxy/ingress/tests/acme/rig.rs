//! A running ACME service on a thread of its own, and what tests ask of it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use pancake_proxy::acme::certificate::Validity;
use pancake_proxy::acme::plan::Pace;
use pancake_proxy::acme::run::{self, AlpnCertificate, Parts, Served, Sink};
use pancake_proxy::acme::settings::{Challenge, KeyType, Resolver, Wanted};
use pancake_proxy::acme::status::{State, Status};
use pancake_session::acme_tokens::AcmeTokens;
use tokio::sync::{oneshot, watch};

use crate::harness::eventually;
use crate::pebble::{Pebble, Ports};
use crate::world::{self, Challenges};

/// The CA, what it finds, and a place for the storage file.
pub struct Place {
    pub pebble: Pebble,
    /// As workers of the first and of the second proxy have them.
    pub tokens: Vec<Arc<AcmeTokens>>,
    pub challenges: Challenges,
    /// TXT records: a file per name.
    pub texts: PathBuf,
    pub dns: std::net::SocketAddr,
    pub dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Option<Place> {
        Place::with(1, &[])
    }

    /// With so many proxies, whose ports the CA reaches in turn.
    pub fn with(proxies: usize, more: &[(&str, serde_json::Value)]) -> Option<Place> {
        let dir = tempfile::tempdir().unwrap();
        let texts = dir.path().join("texts");
        std::fs::create_dir(&texts).unwrap();
        let tokens: Vec<Arc<AcmeTokens>> = (0..proxies).map(|_| Arc::default()).collect();
        let challenges = Challenges::default();
        let ports = Ports { http: world::http(tokens.clone()), tls: world::tls(challenges.clone()) };
        let dns = world::dns(texts.clone());
        let pebble = Pebble::start(dns, ports, more)?;
        Some(Place { pebble, tokens, challenges, texts, dns, dir })
    }

    /// A resolver of this CA. Its keys are quick to make.
    pub fn resolver(&self, challenge: Challenge) -> Resolver {
        Resolver {
            email: "a@example.com".into(),
            ca_server: self.pebble.directory.clone(),
            storage: self.storage(),
            key_type: KeyType::Ec256,
            ca_certificates: vec![self.pebble.root.clone()],
            ..Resolver::new("le", challenge)
        }
    }

    pub fn storage(&self) -> PathBuf {
        self.dir.path().join("acme.json")
    }

    /// The first proxy, with this resolver and these wanted certificates.
    pub fn start(&self, resolver: Resolver, wanted: &[&[&str]]) -> Rig {
        Rig::start(resolver, wanted, self.tokens[0].clone(), self.challenges.clone())
    }
}

/// A running service.
pub struct Rig {
    pub status: Arc<Status>,
    pub served: Arc<Mutex<Vec<Served>>>,
    wanted: watch::Sender<Arc<Vec<Wanted>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Sinks {
    served: Arc<Mutex<Vec<Served>>>,
    challenges: Challenges,
}

impl Sink for Sinks {
    fn certificates(&self, all: &[Served]) {
        *self.served.lock().unwrap() = all.to_vec();
    }

    fn challenges(&self, all: &[AlpnCertificate]) {
        *self.challenges.lock().unwrap() = all.to_vec();
    }
}

impl Rig {
    pub fn start(
        resolver: Resolver,
        wanted: &[&[&str]],
        tokens: Arc<AcmeTokens>,
        challenges: Challenges,
    ) -> Rig {
        let (want, wanted) = watch::channel(Arc::new(wants(&resolver.name, wanted)));
        let (stop, stopped) = oneshot::channel();
        let (status, served) = (Arc::new(Status::default()), Arc::new(Mutex::new(Vec::new())));
        let parts = (status.clone(), served.clone());
        let thread = std::thread::spawn(move || {
            let (status, served) = parts;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, async move {
                run::spawn(Parts {
                    resolvers: vec![resolver],
                    wanted,
                    tokens,
                    sink: Rc::new(Sinks { served, challenges }),
                    status,
                    sharing: None,
                    pace: Pace::default(),
                });
                // The test may be over already.
                let _ = stopped.await;
            });
        });
        Rig { status, served, wanted: want, stop: Some(stop), thread: Some(thread) }
    }

    /// From now on these certificates are wanted.
    pub fn want(&self, wanted: &[&[&str]]) {
        self.wanted.send_replace(Arc::new(wants("le", wanted)));
    }

    /// Waits until a certificate for exactly these names is served.
    pub fn certificate(&self, names: &[&str]) -> Served {
        let mut found = None;
        eventually(&format!("a certificate for {names:?} ({:?})", self.status.all()), || {
            let problems = self.status.problems();
            assert!(problems.is_empty(), "{problems:#?}");
            found = self.served.lock().unwrap().iter().find(|one| one.domains == names).cloned();
            found.is_some()
        });
        found.unwrap()
    }

    /// Waits until something is wrong.
    pub fn problem(&self) -> State {
        let mut found = None;
        eventually("a problem", || {
            found = self.status.problems().into_iter().next();
            found.is_some()
        });
        found.unwrap()
    }

    /// Waits until every wanted certificate is there and not due.
    pub fn settled(&self, wanted: usize) {
        eventually("all is there", || {
            let all = self.status.all();
            all.len() == wanted && all.iter().all(|state| state.not_after.is_some())
        });
    }

    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // Whoever panicked has said so.
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.end();
    }
}

fn wants(resolver: &str, wanted: &[&[&str]]) -> Vec<Wanted> {
    let owned = |names: &&[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    wanted.iter().map(|names| Wanted { resolver: resolver.into(), domains: owned(names) }).collect()
}

pub fn http() -> Challenge {
    Challenge::Http { delay: Duration::ZERO }
}

/// Names of a served certificate.
pub fn names_in(served: &Served) -> Vec<String> {
    Validity::of(&served.chain_pem).unwrap().names
}

pub fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

pub fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
