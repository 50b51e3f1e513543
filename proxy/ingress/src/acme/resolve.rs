//! One resolver: looks what is due, orders it under the lease, stores it.

use std::collections::VecDeque;
use std::hash::RandomState;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Map;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::account::{self, Account};
use super::error::{Error, StorageError};
use super::order::{self, Issued};
use super::plan::{Next, Pace, clean, plan, set_failed};
use super::run::fraction;
use super::settings::{Resolver, Wanted};
use super::shared::Shared;
use super::status::{State, Status};
use super::storage::{Bytes, DEFAULT_STORE, Domain, Stored, StoredCertificate};
use crate::limits::{
    MAX_PARALLEL_ORDERS, MAX_WANTED_CERTIFICATES, ORDER_LEASE_RETRY, ORDER_STORAGE_RETRY, RENEW_LOOK_PERIOD,
};

/// Orders and renews what routers want of one resolver.
pub(super) struct Orders {
    pub(super) resolver: Rc<Resolver>,
    pub(super) shared: Rc<dyn Shared>,
    pub(super) wanted: watch::Receiver<Arc<Vec<Wanted>>>,
    pub(super) changes: watch::Receiver<()>,
    pub(super) status: Arc<Status>,
    pub(super) pace: Pace,
    pub(super) chance: Rc<RandomState>,
    pub(super) account: Option<Rc<Account>>,
}

impl Orders {
    /// Runs until whoever tells what is wanted is gone.
    pub(super) async fn run(mut self) {
        loop {
            let pause = match self.step().await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::error!(resolver = self.resolver.name, %error, "no certificate is ordered");
                    self.show_error(&error);
                    // What is wrong with a file is mended by hand, which is seen as a change.
                    ORDER_STORAGE_RETRY.min(self.pace.longest)
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                changed = self.changes.changed() => if changed.is_err() { return },
                changed = self.wanted.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Orders what is due and says how long nothing is.
    async fn step(&mut self) -> Result<Duration, StorageError> {
        let due = |all: &[Next]| {
            let now = SystemTime::now();
            all.iter().filter(|next| next.at <= now).cloned().collect::<Vec<_>>()
        };
        let next = self.look().await?;
        let first = due(&next);
        if !first.is_empty() {
            let alone = first.iter().any(|next| next.ends_soon);
            let Some(lease) = self.shared.lease(&self.resolver.name, alone).await? else {
                return Ok(ORDER_LEASE_RETRY);
            };
            // Another proxy may have ordered until now.
            let mut due = due(&self.look().await?);
            due.retain(|next| next.ends_soon || !lease.is_alone());
            if !due.is_empty() {
                self.order_all(due).await?;
            }
            drop(lease);
        }
        let now = SystemTime::now();
        let next = self.look().await?;
        let first = next.iter().map(|next| next.at.duration_since(now).unwrap_or_default()).min();
        Ok(first.unwrap_or(RENEW_LOOK_PERIOD).clamp(Duration::from_millis(10), RENEW_LOOK_PERIOD))
    }

    /// What happens next with what is wanted; tells the admin API.
    async fn look(&self) -> Result<Vec<Next>, StorageError> {
        let (wanted, mut states) = self.wanted_names();
        let stored = self.shared.load(&self.resolver.name).await?;
        let next = plan(&wanted, &stored, SystemTime::now(), |names| fraction(&self.chance, names));
        states.extend(next.iter().map(|next| State {
            resolver: self.resolver.name.clone(),
            domains: next.names.clone(),
            not_after: next.not_after,
            last_error: Some(next.failed.error.clone()).filter(|error| !error.is_empty()),
            failed_orders: next.failed.count,
            next_try: Some(next.at),
        }));
        self.status.set(&self.resolver.name, states);
        Ok(next)
    }

    /// The sets of names that can be ordered, and a state for each that cannot.
    fn wanted_names(&self) -> (Vec<Vec<String>>, Vec<State>) {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        let all = self.wanted.borrow().clone();
        for wanted in all.iter().filter(|wanted| wanted.resolver == self.resolver.name) {
            let names = clean(&wanted.domains);
            let error = match order::check(&self.resolver, &names) {
                Ok(()) if good.len() < MAX_WANTED_CERTIFICATES => {
                    if !good.contains(&names) {
                        good.push(names);
                    }
                    continue;
                }
                Ok(()) => format!("more than {MAX_WANTED_CERTIFICATES} certificates of one resolver"),
                Err(error) => error.to_string(),
            };
            bad.push(self.state_of(names, error));
        }
        (good, bad)
    }

    fn state_of(&self, domains: Vec<String>, error: String) -> State {
        let resolver = self.resolver.name.clone();
        State {
            resolver,
            domains,
            not_after: None,
            last_error: Some(error),
            failed_orders: 0,
            next_try: None,
        }
    }

    fn show_error(&self, error: &StorageError) {
        let (good, mut states) = self.wanted_names();
        states.extend(good.into_iter().map(|names| self.state_of(names, error.to_string())));
        self.status.set(&self.resolver.name, states);
    }

    /// Orders these, some at a time, and stores what comes of it.
    async fn order_all(&mut self, due: Vec<Next>) -> Result<(), StorageError> {
        // Before the CA is asked: what it issues can be stored.
        self.shared.store(&self.resolver.name, Box::new(|_| {})).await?;
        let account = match self.account().await {
            Ok(account) => account,
            Err(Error::Storage(error)) => return Err(error),
            Err(error) => {
                for next in due {
                    self.note_failure(next, &error).await?;
                }
                return Ok(());
            }
        };
        let mut waiting = VecDeque::from(due);
        let mut running = JoinSet::new();
        loop {
            while running.len() < MAX_PARALLEL_ORDERS
                && let Some(next) = waiting.pop_front()
            {
                let (resolver, account, shared) =
                    (self.resolver.clone(), account.clone(), self.shared.clone());
                tracing::info!(resolver = resolver.name, domains = ?next.names, "ordering a certificate");
                running.spawn_local(async move {
                    let result = order::order(&resolver, &account, &*shared, &next.names).await;
                    (next, result)
                });
            }
            match running.join_next().await {
                None => return Ok(()),
                Some(Ok((next, Ok(issued)))) => self.keep(&next.names, issued).await?,
                Some(Ok((next, Err(error)))) => {
                    if error.account_is_gone() {
                        self.forget_account(&account.url).await?;
                    }
                    self.note_failure(next, &error).await?;
                }
                Some(Err(error)) => tracing::error!(%error, "an order ended without a result"),
            }
        }
    }

    async fn account(&mut self) -> Result<Rc<Account>, Error> {
        if let Some(account) = &self.account {
            return Ok(account.clone());
        }
        let stored = self.shared.load(&self.resolver.name).await?;
        let account = match account::usable(&self.resolver, stored.account.as_ref()) {
            Some((stored, url)) => account::restore(&self.resolver, stored, url).await?,
            None => {
                let (account, stored) = account::create(&self.resolver).await?;
                tracing::info!(resolver = self.resolver.name, url = account.url, "made an account at the CA");
                let keep = Box::new(|all: &mut Stored| all.account = Some(stored));
                self.shared.store(&self.resolver.name, keep).await?;
                account
            }
        };
        let account = Rc::new(account);
        self.account = Some(account.clone());
        Ok(account)
    }

    async fn forget_account(&mut self, url: &str) -> Result<(), StorageError> {
        self.account = None;
        let forget = |all: &mut Stored| {
            let stored = all.account.as_ref().and_then(|account| account.registration.as_ref());
            if stored.is_some_and(|registration| registration.uri == url) {
                all.account = None;
            }
        };
        self.shared.store(&self.resolver.name, Box::new(forget)).await
    }

    async fn keep(&self, names: &[String], issued: Issued) -> Result<(), StorageError> {
        tracing::info!(resolver = self.resolver.name, domains = ?names, "got a certificate");
        let keep = |all: &mut Stored| {
            set_failed(all, names, None, SystemTime::now());
            let domain = Domain::of(names);
            let (chain, key) = (Bytes(issued.chain_pem), Bytes(issued.key_pem));
            match all.certificates.iter_mut().find(|one| one.domain == domain) {
                Some(old) => (old.certificate, old.key) = (chain, key),
                None => all.certificates.push(StoredCertificate {
                    domain,
                    certificate: chain,
                    key,
                    store: DEFAULT_STORE.into(),
                    rest: Map::new(),
                }),
            }
        };
        self.shared.store(&self.resolver.name, Box::new(keep)).await
    }

    async fn note_failure(&self, next: Next, error: &Error) -> Result<(), StorageError> {
        let Next { names, mut failed, .. } = next;
        let now = SystemTime::now();
        let chance = fraction(&self.chance, &[names.join(","), failed.count.to_string()]);
        failed.add(error.to_string(), error.retry_after(), now, &self.pace, chance);
        let at = failed.next_try;
        tracing::error!(resolver = self.resolver.name, domains = ?names, %error, next_try = at, "no certificate");
        let note = |all: &mut Stored| set_failed(all, &names, Some(failed), now);
        self.shared.store(&self.resolver.name, Box::new(note)).await
    }
}
