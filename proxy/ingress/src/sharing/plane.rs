//! What is shared through the control plane, as ACME sees it: [`Shared`] over calls and the stream, with a copy on disk.
//!
//! The copy of a resolver is its storage file. It is written when the control plane has stored a change, or has told of one; this
//! proxy serves from it in any case. What the control plane could not be told (it was away) is uploaded later, under a lease of
//! its own ([`Plane::upload`]).

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pancake_table::certificates as wire;
use tokio::sync::{oneshot, watch};
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::client::{Client, Failed};
use super::incoming::{self, Remote, Taken};
use super::merge::merge;
use crate::acme::certificate::Validity;
use crate::acme::error::StorageError;
use crate::acme::plan::failed_in;
use crate::acme::shared::files::Files;
use crate::acme::shared::{Answer, Change, Later, Lease, Shared};
use crate::acme::storage::Stored;
use crate::limits::{MIN_LEASE_RENEW_PERIOD, ORDER_LEASE_RETRY};

/// What is shared, with the control plane behind it.
pub struct Plane {
    pub(super) client: Client,
    pub(super) proxy_id: String,
    /// Unique for each process.
    holder: String,
    copies: BTreeMap<String, Files>,
    state: RefCell<State>,
    leases: Leases,
    /// Counts changes of what is to be shown.
    moved: watch::Sender<u64>,
    /// What [`Shared::changed`] told last.
    told: Cell<u64>,
    /// The change that workers see.
    shown: watch::Sender<u64>,
}

/// Numbers of the leases that this process holds, or (0) asks for. One at a time for each resolver.
type Leases = Rc<RefCell<BTreeMap<String, u64>>>;

/// Forgets a lease when it is dropped, and so lets it be given back.
struct Guard {
    leases: Leases,
    resolver: String,
    _held: oneshot::Sender<()>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.leases.borrow_mut().remove(&self.resolver);
    }
}

#[derive(Default)]
struct State {
    /// What the control plane has, as it said last.
    remote: BTreeMap<String, Remote>,
    /// Resolvers of which there is more here than there.
    more: BTreeSet<String>,
    answers: Vec<Answer>,
    /// Those that this process published, with their resolver.
    own: Vec<(String, Answer)>,
    /// The newest revision with an answer of this process.
    published: u64,
}

impl Plane {
    pub(super) fn new(
        client: Client,
        proxy_id: &str,
        copies: impl Iterator<Item = (String, PathBuf)>,
    ) -> Plane {
        use std::hash::{BuildHasher as _, RandomState};
        Plane {
            client,
            proxy_id: proxy_id.to_owned(),
            // Seeded anew by the system.
            holder: format!("{proxy_id}/{:016x}", RandomState::new().hash_one(std::process::id())),
            copies: copies.map(|(name, path)| (name, Files::new(&path))).collect(),
            state: RefCell::default(),
            leases: Leases::default(),
            // What is on disk is shown without a word from the control plane.
            moved: watch::Sender::new(1),
            told: Cell::new(0),
            shown: watch::Sender::new(0),
        }
    }

    fn copy(&self, resolver: &str) -> Result<&Files, StorageError> {
        let unknown = || StorageError::Shared(format!("{resolver} is no resolver of this proxy"));
        self.copies.get(resolver).ok_or_else(unknown)
    }

    /// The number of the lease that this process holds.
    fn token(&self, resolver: &str) -> Option<u64> {
        self.leases.borrow().get(resolver).copied().filter(|token| *token > 0)
    }

    fn moves(&self) {
        self.moved.send_modify(|n| *n += 1);
    }

    /// Waits until workers see what there is now.
    pub(super) async fn until_shown(&self) {
        let now = *self.moved.borrow();
        // The sender lives as long as this does.
        let _ = self.shown.subscribe().wait_for(|shown| *shown >= now).await;
    }

    /// What was found good until now.
    pub(super) fn remote(&self) -> BTreeMap<String, Remote> {
        self.state.borrow().remote.clone()
    }

    /// Takes over what the stream told. `whole`: it is everything that the control plane has.
    pub(super) async fn take(&self, taken: Taken, whole: bool) -> Vec<String> {
        let mut refused = taken.refused;
        if whole && refused.is_empty() {
            let names: BTreeSet<&String> = taken.resolvers.iter().map(|(name, _)| name).collect();
            self.state.borrow_mut().remote.retain(|name, _| names.contains(name));
            // A control plane that lost its store is told what there is.
            for name in self.copies.keys().filter(|name| !names.contains(name)) {
                let none = Remote { version: 0, stored: Arc::default() };
                if let Err(error) = self.take_resolver(name, none).await {
                    refused.push(format!("resolver {name}: {error}"));
                }
            }
        }
        for (name, remote) in taken.resolvers {
            let older = self.state.borrow().remote.get(&name).is_some_and(|had| remote.version < had.version);
            if !self.copies.contains_key(&name) || (older && !whole) {
                continue;
            }
            if let Err(error) = self.take_resolver(&name, remote).await {
                refused.push(format!("resolver {name}: {error}"));
            }
        }
        if let Some(answers) = taken.answers {
            self.state.borrow_mut().answers = answers;
        }
        self.moves();
        refused
    }

    async fn take_resolver(&self, name: &str, remote: Remote) -> Result<(), StorageError> {
        let copy = self.copy(name)?;
        let here = copy.load(name).await?;
        let there = Some(&*remote.stored).filter(|_| remote.version > 0);
        let merged = merge(there, &here, SystemTime::now());
        let more = merged != *remote.stored;
        if merged != here {
            copy.store(name, Box::new(move |stored| *stored = merged)).await?;
        }
        let mut state = self.state.borrow_mut();
        state.remote.insert(name.to_owned(), remote);
        match more {
            true => state.more.insert(name.to_owned()),
            false => state.more.remove(name),
        };
        Ok(())
    }

    /// Uploads what the control plane has not, for as long as the runtime lives.
    pub(super) async fn upload(self: Rc<Self>) {
        let mut moved = self.moved.subscribe();
        loop {
            let more: Vec<String> = self.state.borrow().more.iter().cloned().collect();
            for name in &more {
                if let Err(error) = self.upload_one(name).await {
                    tracing::warn!(resolver = name, %error, "the control plane has not got all certificates yet");
                }
            }
            tokio::select! {
                changed = moved.changed() => if changed.is_err() { return },
                () = sleep(ORDER_LEASE_RETRY), if !more.is_empty() => {}
            }
        }
    }

    async fn upload_one(&self, name: &str) -> Result<(), StorageError> {
        let Some(lease) = self.ask(name).await.map_err(of_failed)? else { return Ok(()) };
        let here = self.copy(name)?.load(name).await?;
        self.store(name, Box::new(move |stored| *stored = here)).await?;
        drop(lease);
        tracing::info!(resolver = name, "told the control plane what was on disk");
        Ok(())
    }

    /// Asks for a lease, and takes over what the control plane has; none: another proxy has it.
    async fn ask(&self, resolver: &str) -> Result<Option<Lease>, Failed> {
        if self.leases.borrow().contains_key(resolver) {
            return Ok(None);
        }
        self.leases.borrow_mut().insert(resolver.to_owned(), 0);
        let (tell, held) = oneshot::channel();
        let guard = Guard { leases: self.leases.clone(), resolver: resolver.to_owned(), _held: tell };
        let asked = wire::LeaseRequest { resolver: resolver.into(), holder: self.holder.clone(), token: 0 };
        let given = self.client.lease(asked.clone()).await?;
        if given.token == 0 {
            tracing::debug!(resolver, holder = given.holder, "another proxy orders");
            return Ok(None);
        }
        let period = Duration::from_millis(given.lease_ms / 3).max(MIN_LEASE_RENEW_PERIOD);
        self.leases.borrow_mut().insert(resolver.to_owned(), given.token);
        spawn_local(keep(
            self.client.clone(),
            wire::LeaseRequest { token: given.token, ..asked },
            period,
            held,
        ));
        let lease = Lease::new(guard);
        let newest = given.resolver.unwrap_or_default();
        let known = self.state.borrow().remote.get(resolver).cloned();
        let checked = tokio::task::spawn_blocking(move || incoming::resolver(&newest, known.as_ref())).await;
        let remote = checked.map_err(|error| error.to_string()).and_then(|checked| checked);
        let remote = remote
            .map_err(|why| Failed::Refused(format!("what the control plane has cannot be used: {why}")))?;
        self.take_resolver(resolver, remote).await.map_err(|error| Failed::Refused(error.to_string()))?;
        self.moves();
        Ok(Some(lease))
    }

    /// Changes what the control plane has, then the copy.
    async fn put(&self, resolver: &str, token: u64, change: Change<'_>) -> Result<(), StorageError> {
        let copy = self.copy(resolver)?;
        let here = copy.load(resolver).await?;
        let mut next = here.clone();
        change(&mut next);
        let (version, same) = {
            let state = self.state.borrow();
            let remote = state.remote.get(resolver);
            (
                remote.map_or(0, |one| one.version),
                remote.is_some_and(|one| one.version > 0 && *one.stored == next),
            )
        };
        if same {
            return Ok(());
        }
        let document = serde_json::to_vec(&next).map_err(|error| StorageError::Shared(error.to_string()))?;
        if document.len() > wire::MAX_DOCUMENT_BYTES {
            let most = wire::MAX_DOCUMENT_BYTES;
            return Err(StorageError::Shared(format!(
                "{} bytes for {resolver}, at most {most}",
                document.len()
            )));
        }
        let summaries = summaries(&next);
        let given = wire::Resolver { name: resolver.into(), version, document };
        let asked = wire::PutRequest { resolver: Some(given), token, summaries };
        match self.client.put(asked).await {
            Ok(stored) => {
                let remote = Remote { version: stored.version, stored: Arc::new(next.clone()) };
                let mut state = self.state.borrow_mut();
                state.remote.insert(resolver.to_owned(), remote);
                state.more.remove(resolver);
            }
            // What was ordered must not be lost.
            Err(Failed::Away(why)) => {
                tracing::warn!(resolver, why, "kept on disk until the control plane is back");
                self.state.borrow_mut().more.insert(resolver.to_owned());
            }
            Err(failed) => return Err(of_failed(failed)),
        }
        copy.store(resolver, Box::new(move |stored| *stored = next)).await?;
        self.moves();
        Ok(())
    }

    async fn publish_one(&self, resolver: &str, answer: &Answer) -> Result<(), StorageError> {
        let Some(token) = self.token(resolver) else { return Ok(()) };
        let answer = Some(incoming::to_wire(answer));
        let asked = wire::PublishRequest { resolver: resolver.into(), token, answer };
        let revision = self.client.publish(asked).await.map_err(of_failed)?.revision;
        let mut state = self.state.borrow_mut();
        state.published = state.published.max(revision);
        Ok(())
    }

    /// Publishes again what the control plane forgot when it was started again.
    pub(super) async fn publish_again(&self) {
        let own = self.state.borrow().own.clone();
        for (resolver, answer) in own {
            if let Err(error) = self.publish_one(&resolver, &answer).await {
                tracing::warn!(resolver, %error, "other proxies cannot answer the challenge");
            }
        }
    }
}

/// Renews a lease until its guard is dropped, then gives it back.
async fn keep(
    client: Client,
    mut lease: wire::LeaseRequest,
    period: Duration,
    mut held: oneshot::Receiver<()>,
) {
    loop {
        tokio::select! {
            _ = &mut held => break,
            () = sleep(period) => {}
        }
        match client.lease(lease.clone()).await {
            Ok(given) if given.token == lease.token => {}
            Ok(given) => {
                tracing::error!(resolver = lease.resolver, "another proxy took over the right to order");
                // Free again, and given under another number, which nobody here uses.
                lease.token = given.token;
                break;
            }
            Err(Failed::Away(why) | Failed::Refused(why)) => {
                tracing::warn!(resolver = lease.resolver, why, "the right to order was not renewed");
            }
        }
    }
    let asked = wire::ReleaseRequest { resolver: lease.resolver, token: lease.token };
    if let Err(Failed::Away(why) | Failed::Refused(why)) = client.release(asked).await {
        tracing::debug!(why, "the right to order ends by itself");
    }
}

fn of_failed(failed: Failed) -> StorageError {
    match failed {
        Failed::Away(why) => StorageError::Shared(format!("it does not answer: {why}")),
        Failed::Refused(why) => StorageError::Shared(why),
    }
}

/// What people see of it.
fn summaries(stored: &Stored) -> Vec<wire::Summary> {
    let mut failed = failed_in(stored);
    let mut all = Vec::new();
    for one in &stored.certificates {
        let (domains, mut sorted) = (one.domain.names(), one.domain.names());
        sorted.sort();
        let error =
            failed.iter().position(|failed| failed.names == sorted).map(|at| failed.swap_remove(at).error);
        let end =
            Validity::of(&one.certificate.0).ok().and_then(|v| v.not_after.duration_since(UNIX_EPOCH).ok());
        let not_after = end.map_or(0, |end| end.as_secs());
        all.push(wire::Summary { domains, not_after, last_error: error.unwrap_or_default() });
    }
    let none = |failed: crate::acme::plan::Failed| wire::Summary {
        domains: failed.names,
        not_after: 0,
        last_error: failed.error,
    };
    all.extend(failed.into_iter().map(none));
    all
}

impl Shared for Plane {
    fn lease<'a>(&'a self, resolver: &'a str, alone: bool) -> Later<'a, Result<Option<Lease>, StorageError>> {
        Box::pin(async move {
            match self.ask(resolver).await {
                Ok(lease) => Ok(lease),
                Err(Failed::Away(why)) if alone => {
                    tracing::warn!(
                        resolver,
                        why,
                        "orders without the control plane: a certificate ends soon"
                    );
                    Ok(self.copy(resolver)?.lease(resolver, true).await?.map(Lease::alone))
                }
                Err(failed) => Err(of_failed(failed)),
            }
        })
    }

    fn load<'a>(&'a self, resolver: &'a str) -> Later<'a, Result<Stored, StorageError>> {
        Box::pin(async move { self.copy(resolver)?.load(resolver).await })
    }

    fn store<'a>(&'a self, resolver: &'a str, change: Change<'a>) -> Later<'a, Result<(), StorageError>> {
        Box::pin(async move {
            match self.token(resolver) {
                Some(token) => self.put(resolver, token, change).await,
                None => {
                    self.copy(resolver)?.store(resolver, change).await?;
                    self.state.borrow_mut().more.insert(resolver.to_owned());
                    self.moves();
                    Ok(())
                }
            }
        })
    }

    fn publish<'a>(&'a self, resolver: &'a str, answer: &'a Answer) -> Later<'a, Result<(), StorageError>> {
        Box::pin(async move {
            self.state.borrow_mut().own.push((resolver.to_owned(), answer.clone()));
            self.moves();
            self.publish_one(resolver, answer).await
        })
    }

    fn withdraw<'a>(&'a self, resolver: &'a str, answer: &'a Answer) -> Later<'a, Result<(), StorageError>> {
        Box::pin(async move {
            self.state.borrow_mut().own.retain(|(_, own)| own != answer);
            self.moves();
            let Some(token) = self.token(resolver) else { return Ok(()) };
            let answer = Some(incoming::to_wire(answer));
            let asked = wire::WithdrawRequest { resolver: resolver.into(), token, answer };
            self.client.withdraw(asked).await.map(|_| ()).map_err(of_failed)
        })
    }

    fn spread(&self) -> Later<'_, ()> {
        Box::pin(async move {
            self.until_shown().await;
            let revision = self.state.borrow().published;
            if revision == 0 {
                return;
            }
            match self.client.spread(wire::SpreadRequest { revision }).await {
                Ok(answer) if answer.missing.is_empty() => {}
                Ok(answer) => {
                    tracing::warn!(proxies = ?answer.missing, "they may not be able to answer the challenge");
                }
                Err(Failed::Away(why) | Failed::Refused(why)) => {
                    tracing::warn!(why, "other proxies may not be able to answer the challenge");
                }
            }
        })
    }

    fn answers(&self) -> Later<'_, Result<Vec<Answer>, StorageError>> {
        Box::pin(async move {
            let state = self.state.borrow();
            let mut all: Vec<Answer> = state.own.iter().map(|(_, answer)| answer.clone()).collect();
            for answer in &state.answers {
                if all.iter().all(|own| own.key() != answer.key()) {
                    all.push(answer.clone());
                }
            }
            Ok(all)
        })
    }

    fn changed(&self) -> Later<'_, ()> {
        Box::pin(async move {
            let told = self.told.get();
            let mut moved = self.moved.subscribe();
            let Ok(now) = moved.wait_for(|now| *now != told).await.map(|now| *now) else { return };
            self.told.set(now);
        })
    }

    fn shown(&self) {
        self.shown.send_replace(self.told.get());
    }
}

#[cfg(test)]
mod tests;
