//! The tasks on the service thread: one per storage that shows workers what is stored and published, one per resolver that
//! orders and renews.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use pancake_session::acme_tokens::AcmeTokens;
use tokio::sync::watch;
use tokio::task::spawn_local;

use super::error::StorageError;
use super::plan::Pace;
use super::resolve::Orders;
use super::settings::{Resolver, Wanted};
use super::shared::files::Files;
use super::shared::{Answer, Shared};
use super::status::Status;
use crate::sharing::plane::Plane;

/// A certificate from a CA that is to be served.
#[derive(Clone, PartialEq, Eq)]
pub struct Served {
    /// Name of the resolver.
    pub resolver: String,
    /// Main name first.
    pub domains: Vec<String>,
    /// PEM, leaf first.
    pub chain_pem: Vec<u8>,
    /// PEM.
    pub key_pem: Vec<u8>,
    /// The TLS store it belongs to.
    pub store: String,
}

/// A certificate that answers a tls-alpn-01 challenge.
#[derive(Clone, PartialEq, Eq)]
pub struct AlpnCertificate {
    /// The name, as in SNI.
    pub host: String,
    /// DER.
    pub certificate: Vec<u8>,
    /// PKCS#8 DER.
    pub key: Vec<u8>,
}

/// Where certificates go: to whoever terminates TLS.
pub trait Sink {
    /// These are all certificates to serve.
    fn certificates(&self, all: &[Served]);
    /// These are all answers to tls-alpn-01 challenges.
    fn challenges(&self, all: &[AlpnCertificate]);
}

/// What ACME is given.
pub struct Parts {
    /// All resolvers.
    pub resolvers: Vec<Resolver>,
    /// What routers want; what it holds at the start counts.
    pub wanted: watch::Receiver<Arc<Vec<Wanted>>>,
    /// Where workers look tokens up.
    pub tokens: Arc<AcmeTokens>,
    /// Where certificates go.
    pub sink: Rc<dyn Sink>,
    /// What the admin API tells.
    pub status: Arc<Status>,
    /// Through which all storages are shared; none: by their files only.
    pub sharing: Option<Rc<Plane>>,
    /// How failing orders are tried again.
    pub pace: Pace,
}

/// Starts the tasks with `spawn_local`; they end with the runtime.
pub fn spawn(parts: Parts) {
    let board = Rc::new(Board { tokens: parts.tokens, sink: parts.sink, storages: RefCell::default() });
    let mut storages: BTreeMap<PathBuf, Vec<Resolver>> = BTreeMap::new();
    if parts.sharing.is_some() {
        // One for all, and one without resolvers too: the answers of others are given by everybody.
        storages.insert(PathBuf::new(), parts.resolvers);
    } else {
        for resolver in parts.resolvers {
            storages.entry(resolver.storage.clone()).or_default().push(resolver);
        }
    }
    let chance = Rc::new(RandomState::new());
    for (path, resolvers) in storages {
        let shared: Rc<dyn Shared> = match &parts.sharing {
            Some(plane) => plane.clone(),
            None => Rc::new(Files::new(&path)),
        };
        let (changed, changes) = watch::channel(());
        let names = resolvers.iter().map(|resolver| resolver.name.clone()).collect();
        spawn_local(show(path, names, shared.clone(), board.clone(), changed));
        for resolver in resolvers {
            let orders = Orders {
                resolver: Rc::new(resolver),
                shared: shared.clone(),
                wanted: parts.wanted.clone(),
                changes: changes.clone(),
                status: parts.status.clone(),
                pace: parts.pace,
                chance: chance.clone(),
                account: None,
            };
            spawn_local(orders.run());
        }
    }
}

/// A number from 0 to 1 that stays the same for these names as long as the process lives.
pub(super) fn fraction(state: &RandomState, names: &[String]) -> f64 {
    state.hash_one(names) as f64 / u64::MAX as f64
}

/// What workers see of all storages together.
struct Board {
    tokens: Arc<AcmeTokens>,
    sink: Rc<dyn Sink>,
    storages: RefCell<BTreeMap<PathBuf, Content>>,
}

#[derive(Default)]
struct Content {
    answers: Vec<Answer>,
    served: Vec<Served>,
}

impl Board {
    fn set_answers(&self, path: &Path, answers: Vec<Answer>) {
        let mut storages = self.storages.borrow_mut();
        let content = storages.entry(path.to_owned()).or_default();
        if content.answers == answers {
            return;
        }
        content.answers = answers;
        let all = || storages.values().flat_map(|content| &content.answers);
        self.tokens.replace(all().filter_map(|answer| match answer {
            Answer::Http { token, key_authorization } => Some((token.as_str(), key_authorization.as_str())),
            Answer::TlsAlpn { .. } => None,
        }));
        let certificates = all().filter_map(|answer| match answer {
            Answer::TlsAlpn { host, certificate, key } => Some(AlpnCertificate {
                host: host.clone(),
                certificate: certificate.0.clone(),
                key: key.0.clone(),
            }),
            Answer::Http { .. } => None,
        });
        self.sink.challenges(&certificates.collect::<Vec<_>>());
    }

    fn set_served(&self, path: &Path, served: Vec<Served>) {
        let mut storages = self.storages.borrow_mut();
        let content = storages.entry(path.to_owned()).or_default();
        if content.served == served {
            return;
        }
        content.served = served;
        let all: Vec<Served> = storages.values().flat_map(|content| content.served.clone()).collect();
        self.sink.certificates(&all);
    }
}

/// Shows workers what one storage holds, whenever it changes. What cannot be read leaves what was shown before.
async fn show(
    path: PathBuf,
    resolvers: Vec<String>,
    shared: Rc<dyn Shared>,
    board: Rc<Board>,
    changed: watch::Sender<()>,
) {
    loop {
        shared.changed().await;
        let certificates = load_served(&*shared, &resolvers).await;
        let answers = shared.answers().await;
        match certificates {
            Ok(served) => board.set_served(&path, served),
            Err(error) => tracing::error!(%error, "certificates stay as they are"),
        }
        match answers {
            Ok(answers) => board.set_answers(&path, answers),
            Err(error) => tracing::error!(%error, "answers to challenges stay as they are"),
        }
        shared.shown();
        changed.send_replace(());
    }
}

async fn load_served(shared: &dyn Shared, resolvers: &[String]) -> Result<Vec<Served>, StorageError> {
    let mut served = Vec::new();
    for resolver in resolvers {
        let stored = shared.load(resolver).await?;
        // Traefik deletes those without a value, too.
        let whole = stored
            .certificates
            .into_iter()
            .filter(|one| !one.certificate.0.is_empty() && !one.key.0.is_empty());
        served.extend(whole.map(|one| Served {
            resolver: resolver.clone(),
            domains: one.domain.names(),
            chain_pem: one.certificate.0,
            key_pem: one.key.0,
            store: one.store,
        }));
    }
    Ok(served)
}
