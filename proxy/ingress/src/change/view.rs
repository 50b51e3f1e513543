//! What everybody may read about the configuration: one immutable value, replaced with each change.

use std::sync::Arc;
use std::time::SystemTime;

use pancake_table::compiled::Table;
use pancake_table::snapshot::Snapshot;
use serde::Serialize;

use super::{Problem, Provider};
use crate::limits::MAX_VISIBLE_PROBLEMS;

/// What serves and what is wrong.
#[derive(Clone)]
pub struct View {
    /// The table that serves.
    pub table: Arc<Table>,
    /// By [`Provider`].
    pub providers: [ProviderView; Provider::ALL.len()],
    /// Changes that serve.
    pub reloads: u64,
    /// Changes that were refused, and providers that could not be read.
    pub failures: u64,
    /// When the last change became the one that serves.
    pub last_success: Option<SystemTime>,
    /// Whether the last change was refused.
    pub last_failed: bool,
}

/// What a provider is up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderState {
    /// It has said nothing yet.
    Waiting,
    /// What it said last serves.
    Serving,
    /// What it said last is refused; what it said before serves.
    Refused,
}

/// One provider.
#[derive(Clone)]
pub struct ProviderView {
    /// What it is up to.
    pub state: ProviderState,
    /// Since when.
    pub since: Option<SystemTime>,
    /// What serves.
    pub snapshot: Arc<Snapshot>,
    /// Objects that the reader left out.
    pub left_out: Arc<Snapshot>,
    /// What is wrong with what serves.
    pub problems: Arc<[Problem]>,
    /// Why the last change was refused; empty if it was not.
    pub refusal: Arc<[Problem]>,
    /// How many problems there are beyond those listed.
    pub unlisted: usize,
}

impl View {
    pub(super) fn new(table: Arc<Table>) -> View {
        View {
            table,
            providers: Provider::ALL.map(|_| ProviderView::new()),
            reloads: 0,
            failures: 0,
            last_success: None,
            last_failed: false,
        }
    }

    /// Everything that is wrong, by provider.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.providers.iter().flat_map(|provider| provider.refusal.iter().chain(&*provider.problems))
    }

    /// One provider.
    pub fn provider(&self, provider: Provider) -> &ProviderView {
        &self.providers[provider as usize]
    }
}

impl ProviderView {
    fn new() -> ProviderView {
        ProviderView {
            state: ProviderState::Waiting,
            since: None,
            snapshot: Arc::default(),
            left_out: Arc::default(),
            problems: [].into(),
            refusal: [].into(),
            unlisted: 0,
        }
    }

    pub(super) fn applied(&mut self) {
        self.state = ProviderState::Serving;
        self.since = Some(SystemTime::now());
    }

    pub(super) fn refused(&mut self, problems: &[Problem]) {
        if self.state != ProviderState::Refused {
            self.since = Some(SystemTime::now());
        }
        self.state = ProviderState::Refused;
        self.refusal = problems.iter().take(MAX_VISIBLE_PROBLEMS).cloned().collect();
        self.unlisted = problems.len().saturating_sub(MAX_VISIBLE_PROBLEMS);
    }

    /// `unlisted` problems are known to be there beside those given.
    pub(super) fn set_problems(&mut self, problems: impl Iterator<Item = Problem>, unlisted: usize) {
        let mut problems: Vec<_> = problems.collect();
        self.unlisted = unlisted + problems.len().saturating_sub(MAX_VISIBLE_PROBLEMS);
        problems.truncate(MAX_VISIBLE_PROBLEMS);
        self.problems = problems.into();
    }

    /// The reader found `new` in place of `old`; what the check found stays.
    pub(super) fn replace_read_problems(&mut self, old: &[Problem], new: &[Problem]) {
        if old != new {
            let checked = self.problems.iter().skip(old.len()).cloned();
            let all: Vec<_> = new.iter().cloned().chain(checked).collect();
            self.set_problems(all.into_iter(), 0);
        }
    }
}
