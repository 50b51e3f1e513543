//! The walk of a change: a provider's configuration -> check -> compile -> the table that workers read.
//!
//! [`Owner`] holds the last good configuration of each provider and is used by one thread, the table thread
//! ([`thread`]); everybody else asks by [`Handle`] and reads the [`View`]. What an object needs to serve is Traefik's:
//! a faulty router or service of a file is left out, the rest serves. What the control plane sends is taken whole or
//! not at all. Nothing that fails here touches the table that serves.
//!
//! [`thread`]: Handle::spawn

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use pancake_config::traefik::dynamic::Loaded;
use pancake_config::traefik::source_map::SourceMap;
use pancake_config::traefik::static_config::Settings;
use pancake_table::check::{Report, check_after};
use pancake_table::compile::{EntryPointSpec, compile};
use pancake_table::compiled::Table;
use pancake_table::snapshot::tcp::TcpServersTransport;
use pancake_table::snapshot::tls::Certificate;
use pancake_table::snapshot::{ServersTransport, Snapshot};
use tokio::sync::watch;

use crate::limits::MAX_RETIRED_TABLES;

/// What may not be taken over: a provider that suddenly has nothing.
mod guard;
/// What is not built.
mod not_built;
/// One thing wrong with the configuration, as API and log show it.
mod problem;
/// Certificates and TLS options.
mod secure;
/// The thread that checks and compiles.
mod thread;
/// What everybody may read.
mod view;

pub use problem::{Problem, Severity};
pub use secure::{Secure, now_unix};
pub use thread::Handle;
pub use view::{ProviderState, ProviderView, View};

/// Who configures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provider {
    /// Traefik's dynamic configuration in files.
    File,
    /// The control plane.
    Pancake,
}

impl Provider {
    /// All, in the order in which their objects stand in the merged snapshot.
    pub const ALL: [Provider; 2] = [Provider::File, Provider::Pancake];

    /// As it qualifies names: `web@file`.
    pub fn name(self) -> &'static str {
        match self {
            Provider::File => "file",
            Provider::Pancake => "pancake",
        }
    }
}

/// A complete new configuration of one provider.
#[derive(Debug, Default)]
pub struct Update {
    /// What can serve.
    pub snapshot: Snapshot,
    /// What the reader left out; shown by the API.
    pub left_out: Snapshot,
    /// What the reader found.
    pub problems: Vec<Problem>,
    /// Where objects stand.
    pub sources: SourceMap,
    /// Files besides its own that the provider has read.
    pub files: BTreeSet<PathBuf>,
    /// Whether the provider says that having nothing, or nearly nothing, any more is meant.
    pub allow_empty: bool,
}

impl Update {
    /// What files say.
    pub fn from_files(loaded: Loaded) -> Update {
        Update {
            snapshot: loaded.snapshot,
            left_out: loaded.left_out,
            problems: loaded.problems.iter().map(|problem| Problem::read(Provider::File, problem)).collect(),
            sources: loaded.sources,
            files: BTreeSet::new(),
            allow_empty: false,
        }
    }

    /// What the control plane sent.
    pub fn from_control(snapshot: Snapshot, allow_empty: bool) -> Update {
        Update { snapshot, allow_empty, ..Update::default() }
    }
}

/// What became of an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It serves.
    Applied,
    /// It says what serves already.
    Unchanged,
    /// It is refused; the last good configuration of its provider goes on serving.
    Refused(Vec<Problem>),
}

/// The last good configuration of a provider.
#[derive(Default)]
struct Held {
    snapshot: Arc<Snapshot>,
    left_out: Arc<Snapshot>,
    problems: Vec<Problem>,
    sources: SourceMap,
}

/// Owner of the table and of what it is made from.
pub struct Owner {
    table: Arc<ArcSwap<Table>>,
    view: Arc<ArcSwap<View>>,
    entry_points: Vec<EntryPointSpec>,
    names: Vec<String>,
    default_transport: ServersTransport,
    default_tcp_transport: TcpServersTransport,
    settings: Option<Arc<Settings>>,
    secure: Secure,
    held: [Option<Held>; Provider::ALL.len()],
    version: u64,
    retired: Vec<Arc<Table>>,
    logged: HashSet<String>,
    changed: watch::Sender<u64>,
}

impl Owner {
    /// Of an empty table for these entry points. `default_transport` is what services without a transport use.
    pub fn new(
        entry_points: Vec<EntryPointSpec>,
        default_transport: ServersTransport,
        secure: Secure,
    ) -> Owner {
        let table = Arc::new(Table::empty(&entry_points));
        let names = entry_points.iter().map(|entry_point| entry_point.name.clone()).collect();
        Owner {
            view: Arc::new(ArcSwap::from_pointee(View::new(table.clone()))),
            table: Arc::new(ArcSwap::new(table)),
            entry_points,
            names,
            default_transport,
            default_tcp_transport: TcpServersTransport::default(),
            settings: None,
            secure,
            held: Default::default(),
            version: 0,
            retired: Vec::new(),
            logged: HashSet::new(),
            changed: watch::Sender::new(0),
        }
    }

    /// With what the static configuration says of all routers and TCP services.
    pub fn with_settings(mut self, settings: &Arc<Settings>) -> Owner {
        self.default_tcp_transport = settings.tcp_servers_transport.clone();
        self.settings = Some(settings.clone());
        self
    }

    /// Certificates and TLS options.
    pub fn secure(&self) -> &Secure {
        &self.secure
    }

    /// Takes over the certificates that were ordered from a CA.
    pub fn take_ordered(&mut self, certificates: Vec<Certificate>) {
        for problem in self.secure.apply_ordered(certificates) {
            tracing::warn!("{problem}");
        }
    }

    /// The table that workers read.
    pub fn table(&self) -> Arc<ArcSwap<Table>> {
        self.table.clone()
    }

    /// What everybody may read.
    pub fn view(&self) -> Arc<ArcSwap<View>> {
        self.view.clone()
    }

    /// Moves with each new table.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// A provider could not be read at all: what serves goes on, the reasons become visible.
    pub fn fail(&mut self, provider: Provider, problems: Vec<Problem>) -> Outcome {
        self.refuse(provider, problems)
    }

    /// Takes over the configuration of a provider, or refuses it.
    pub fn submit(&mut self, provider: Provider, mut update: Update) -> Outcome {
        if update.snapshot.version == 0 {
            update.snapshot.version = self.version + 1;
        }
        if let Some(settings) = &self.settings {
            settings.apply_entry_point_tls(&mut update.snapshot);
        }
        let missing = not_built::leave_out(&mut update.snapshot);
        let missing = missing.iter().map(|problem| Problem::checked(provider, &update.sources, problem));
        let missing: Vec<_> = missing.collect();
        if provider == Provider::Pancake && !missing.is_empty() {
            return self.refuse(provider, missing);
        }
        update.problems.extend(missing);
        if let Some(held) = &self.held[provider as usize] {
            if let Err(reason) = guard::check(provider, &held.snapshot, &update) {
                let mut problems = vec![Problem::of_provider(provider, reason)];
                problems.append(&mut update.problems);
                return self.refuse(provider, problems);
            }
            if held.snapshot.same_content(&update.snapshot) && held.left_out.same_content(&update.left_out) {
                return self.unchanged(provider, update);
            }
        }
        let update = Held {
            snapshot: Arc::new(update.snapshot),
            left_out: Arc::new(update.left_out),
            problems: update.problems,
            sources: update.sources,
        };
        let merged = self.merged(provider, &update.snapshot);
        let previous = self.table.load_full();
        let report = check_after(&merged, &self.names, Some(&previous));
        if let Some(problems) = reasons_to_refuse(provider, &update, &report) {
            return self.refuse(provider, problems);
        }
        let table = Arc::new(compile(merged, &report, &self.entry_points, Some(&previous)));
        drop(previous);
        crate::resolve::before_serving(&table);
        self.version += 1;
        self.held[provider as usize] = Some(update);
        // Before the table: a router that serves finds its certificates.
        let found = self.secure.apply(&table.snapshot.tls);
        self.publish(provider, table, &report, &found);
        Outcome::Applied
    }

    /// The snapshots of all providers as one, with `newest` in the place of what `provider` had.
    fn merged(&self, provider: Provider, newest: &Arc<Snapshot>) -> Arc<Snapshot> {
        let parts = Provider::ALL.iter().filter_map(|one| match *one == provider {
            true => Some(newest),
            false => self.held[*one as usize].as_ref().map(|held| &held.snapshot),
        });
        let parts: Vec<_> = parts.collect();
        let named = std::slice::from_ref(&self.default_transport);
        let named = if self.default_transport == ServersTransport::default() { &[] } else { named };
        let tcp_named = std::slice::from_ref(&self.default_tcp_transport);
        let tcp_usual = self.default_tcp_transport == TcpServersTransport::default();
        let tcp_named = if tcp_usual { &[] } else { tcp_named };
        if let ([only], [], []) = (&*parts, named, tcp_named) {
            return (*only).clone();
        }
        let mut merged = Snapshot { version: self.version + 1, ..Snapshot::default() };
        merged.servers_transports.extend_from_slice(named);
        merged.tcp.servers_transports.extend_from_slice(tcp_named);
        for part in parts {
            merged.routers.extend_from_slice(&part.routers);
            merged.middlewares.extend_from_slice(&part.middlewares);
            merged.services.extend_from_slice(&part.services);
            merged.servers_transports.extend_from_slice(&part.servers_transports);
            merged.tls.certificates.extend_from_slice(&part.tls.certificates);
            merged.tls.options.extend_from_slice(&part.tls.options);
            merged.tls.stores.extend_from_slice(&part.tls.stores);
            merged.tcp.routers.extend_from_slice(&part.tcp.routers);
            merged.tcp.services.extend_from_slice(&part.tcp.services);
            merged.tcp.servers_transports.extend_from_slice(&part.tcp.servers_transports);
            merged.udp.routers.extend_from_slice(&part.udp.routers);
            merged.udp.services.extend_from_slice(&part.udp.services);
        }
        Arc::new(merged)
    }

    fn publish(
        &mut self,
        provider: Provider,
        table: Arc<Table>,
        report: &Report,
        secure: &[pancake_table::check::Problem],
    ) {
        let old = self.table.swap(table.clone());
        self.retired.push(old);
        let mut view = View::clone(&self.view.load());
        view.table = table;
        view.reloads += 1;
        view.last_success = Some(SystemTime::now());
        view.last_failed = false;
        for one in Provider::ALL {
            let Some(held) = &self.held[one as usize] else { continue };
            let shown = &mut view.providers[one as usize];
            // A file that could not be read is no news to who reads its text.
            let told = |problem: &&pancake_table::check::Problem| {
                let same = |known: &Problem| known.object == problem.object && known.field == problem.field;
                !held.problems.iter().any(same)
            };
            let all = report.problems().iter().chain(secure.iter().filter(told));
            let found = all.filter(|problem| Problem::provider_of(problem) == one);
            let found = found.map(|problem| Problem::checked(one, &held.sources, problem));
            let kept = if one == provider { &[][..] } else { &*shown.refusal };
            shown.refusal = kept.into();
            shown.snapshot = held.snapshot.clone();
            shown.left_out = held.left_out.clone();
            shown.set_problems(held.problems.iter().cloned().chain(found), report.unlisted());
        }
        view.providers[provider as usize].applied();
        self.log(&view);
        self.view.store(Arc::new(view));
        self.changed.send_replace(self.version);
        self.retire();
    }

    fn unchanged(&mut self, provider: Provider, update: Update) -> Outcome {
        let mut view = View::clone(&self.view.load());
        let shown = &mut view.providers[provider as usize];
        shown.refusal = [].into();
        shown.applied();
        if let Some(held) = &mut self.held[provider as usize] {
            shown.replace_read_problems(&held.problems, &update.problems);
            held.problems = update.problems;
            held.sources = update.sources;
            if update.snapshot.version > held.snapshot.version && provider == Provider::Pancake {
                Arc::make_mut(&mut held.snapshot).version = update.snapshot.version;
                shown.snapshot = held.snapshot.clone();
            }
        }
        view.last_failed = false;
        self.log(&view);
        self.view.store(Arc::new(view));
        Outcome::Unchanged
    }

    fn refuse(&mut self, provider: Provider, problems: Vec<Problem>) -> Outcome {
        let mut view = View::clone(&self.view.load());
        view.failures += 1;
        view.last_failed = true;
        view.providers[provider as usize].refused(&problems);
        self.log(&view);
        self.view.store(Arc::new(view));
        Outcome::Refused(problems)
    }

    /// Logs the problems that were not there at the last change.
    fn log(&mut self, view: &View) {
        let now: HashSet<String> = view.problems().map(ToString::to_string).collect();
        problem::log_new(view.problems(), &self.logged);
        self.logged = now;
    }

    /// Frees tables that no worker uses any more. They are freed here because a worker that happened to be the last
    /// to leave a large table would stall its sessions by freeing it.
    pub fn retire(&mut self) {
        let excess = self.retired.len().saturating_sub(MAX_RETIRED_TABLES);
        self.retired.drain(..excess);
        self.retired.retain(|table| Arc::strong_count(table) > 1);
    }
}

/// Errors for which the update is refused; none if it may serve.
fn reasons_to_refuse(provider: Provider, update: &Held, report: &Report) -> Option<Vec<Problem>> {
    if !report.has_errors() {
        return None;
    }
    let errors =
        report.problems().iter().filter(|problem| problem.severity == pancake_table::check::Severity::Error);
    let refused: Vec<_> = match provider {
        Provider::File => errors.filter(|problem| problem.object == "snapshot").collect(),
        Provider::Pancake => {
            let own = guard::objects(&update.snapshot);
            errors.filter(|problem| problem.object == "snapshot" || own.contains(&*problem.object)).collect()
        }
    };
    let problems = refused.into_iter().map(|problem| Problem::checked(provider, &update.sources, problem));
    let problems: Vec<_> = problems.collect();
    (!problems.is_empty()).then_some(problems)
}

#[cfg(test)]
pub(crate) mod tests;
