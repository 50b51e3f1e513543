//! What proxies share: certificates, who may order them, answers to challenges, keys of session tickets.
//!
//! Pure: time is an argument. As in `crate::world`, a change that must last comes in two halves: a `plan_…` that refuses or
//! says what to store, and an `apply` half. Documents are not read here: proxies check what they are sent. What it does not do:
//! order anything, or decide who follows (`crate::serve::certificates`).

/// Who is sent what, and what they said.
pub mod followers;
/// The right to order.
pub mod leases;
/// Keys of session tickets.
pub mod tickets;

use std::collections::BTreeMap;
use std::time::Duration;

use pancake_model::sharing::{CertificateSummary, LeaseRecord, SharedResolver, TicketKey};
use pancake_store::{Contents, Write};
use pancake_table::certificates as wire;
use prost::Message as _;

use crate::world::OpError;
use followers::Followers;
use leases::{Grant, Leases};

/// Certificates and failures of one resolver that people are told of.
const MAX_SUMMARIES: usize = 20_000;
/// Bytes of a name or an error that people are told.
const MAX_SUMMARY_TEXT: usize = 1_000;

/// Everything that is shared.
#[derive(Default)]
pub struct Sharing {
    resolvers: BTreeMap<String, Versioned>,
    /// Who may order.
    pub leases: Leases,
    answers: BTreeMap<(&'static str, String), Answer>,
    answers_revision: u64,
    tickets: Vec<TicketKey>,
    tickets_revision: u64,
    /// Grows with each change.
    revision: u64,
    /// Who is sent it.
    pub followers: Followers,
}

struct Versioned {
    stored: SharedResolver,
    revision: u64,
}

struct Answer {
    resolver: String,
    token: u64,
    answer: wire::Answer,
}

impl Sharing {
    /// What the store remembers.
    pub fn restore(contents: &mut Contents, now: Duration) -> Sharing {
        let shared = std::mem::take(&mut contents.shared).into_iter();
        Sharing {
            resolvers: shared.map(|(name, stored)| (name, Versioned { stored, revision: 1 })).collect(),
            leases: Leases::restore(std::mem::take(&mut contents.leases), now),
            tickets: std::mem::take(&mut contents.ticket_keys),
            // A follower starts at 0 and so is sent everything.
            answers_revision: 1,
            tickets_revision: 1,
            revision: 1,
            ..Sharing::default()
        }
    }

    /// The number of the newest change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    fn changed(&mut self) -> u64 {
        self.revision += 1;
        self.revision
    }

    /// What changed after revision `since`; none: nothing did.
    pub fn update(&self, since: u64) -> Option<wire::Update> {
        let resolvers = self.resolvers.iter().filter(|(_, one)| one.revision > since);
        let answers = || self.answers.values().map(|held| held.answer.clone()).collect();
        let keys = || self.tickets.iter().map(key_to_wire).collect();
        (self.revision > since).then(|| wire::Update {
            revision: self.revision,
            resolvers: resolvers.map(|(name, one)| to_wire(name, &one.stored)).collect(),
            answers: (self.answers_revision > since).then(|| wire::Answers { answers: answers() }),
            ticket_keys: (self.tickets_revision > since).then(|| wire::TicketKeys { keys: keys() }),
        })
    }

    /// What a resolver has; version 0: nothing.
    pub fn resolver(&self, name: &str) -> wire::Resolver {
        let none = || wire::Resolver { name: name.to_owned(), ..wire::Resolver::default() };
        self.resolvers.get(name).map_or_else(none, |one| to_wire(name, &one.stored))
    }

    /// Every resolver, for people.
    pub fn resolvers(&self) -> impl Iterator<Item = (&str, &SharedResolver)> {
        self.resolvers.iter().map(|(name, one)| (name.as_str(), &one.stored))
    }

    /// What to store when somebody asks for a lease, and what it gets.
    pub fn plan_lease(
        &self,
        asked: &wire::LeaseRequest,
        now: Duration,
    ) -> Result<(Grant, Vec<Write>), OpError> {
        name("resolver", &asked.resolver)?;
        name("holder", &asked.holder)?;
        if !self.leases.knows(&asked.resolver) && self.leases.len() >= wire::MAX_RESOLVERS {
            return Err(OpError::Full(format!("{} resolvers are shared already", wire::MAX_RESOLVERS)));
        }
        let grant = self.leases.ask(&asked.resolver, &asked.holder, asked.token, now);
        let writes = match grant {
            Grant::Yours { token, new: true } => {
                let record = LeaseRecord { token, holder: Some(asked.holder.clone()) };
                vec![Write::PutLease(asked.resolver.clone(), record)]
            }
            _ => Vec::new(),
        };
        Ok((grant, writes))
    }

    /// The lease is given; what was published under an earlier one ends.
    pub fn lease(&mut self, asked: &wire::LeaseRequest, token: u64, now: Duration) {
        self.leases.grant(&asked.resolver, &asked.holder, token, now);
        self.drop_answers(now);
    }

    /// What to store when a lease is given back.
    pub fn plan_release(&self, resolver: &str, token: u64) -> Vec<Write> {
        let record = self.leases.released(resolver, token);
        record.map(|record| Write::PutLease(resolver.to_owned(), record)).into_iter().collect()
    }

    /// It is given back.
    pub fn release(&mut self, resolver: &str, token: u64, now: Duration) {
        self.leases.release(resolver, token);
        self.drop_answers(now);
    }

    /// What to store when the holder of a lease replaces what its resolver has.
    ///
    /// # Errors
    /// If the lease is not the newest or has ended, if what is replaced is not the newest, or if it is out of bounds.
    pub fn plan_put(
        &self,
        put: &wire::PutRequest,
        now: Duration,
        unix_ms: u64,
    ) -> Result<SharedResolver, OpError> {
        let given = put.resolver.as_ref().ok_or_else(|| OpError::Invalid("no resolver".into()))?;
        let holder = self.leases.check(&given.name, put.token, now).map_err(stale)?;
        let version = self.resolvers.get(&given.name).map_or(0, |one| one.stored.version);
        if given.version != version {
            return Err(OpError::Precondition(format!(
                "version {} was replaced; the newest is {version}",
                given.version
            )));
        }
        let others = self.resolvers.iter().filter(|(name, _)| **name != given.name);
        let total = given.document.len() + others.map(|(_, one)| one.stored.document.len()).sum::<usize>();
        if given.document.len() > wire::MAX_DOCUMENT_BYTES || total > wire::MAX_DOCUMENTS_BYTES {
            return Err(OpError::Full(format!(
                "the document has {} bytes, all have {total}; at most {} and {} are kept",
                given.document.len(),
                wire::MAX_DOCUMENT_BYTES,
                wire::MAX_DOCUMENTS_BYTES
            )));
        }
        let document = String::from_utf8(given.document.clone())
            .map_err(|_| OpError::Invalid("the document is not UTF-8, expected JSON".into()))?;
        serde_json::from_str::<serde::de::IgnoredAny>(&document)
            .map_err(|e| OpError::Invalid(format!("the document is not JSON: line {}", e.line())))?;
        Ok(SharedResolver {
            version: version + 1,
            document,
            summaries: put.summaries.iter().take(MAX_SUMMARIES).map(summary).collect(),
            stored_by: holder.to_owned(),
            stored_at_unix_ms: unix_ms,
        })
    }

    /// It is stored. Returns its version.
    pub fn put(&mut self, name: &str, stored: SharedResolver) -> u64 {
        let (version, revision) = (stored.version, self.changed());
        self.resolvers.insert(name.to_owned(), Versioned { stored, revision });
        version
    }

    /// Lets every proxy answer a challenge. Returns the revision that says so.
    ///
    /// # Errors
    /// If the lease is not the newest or has ended, or if the answer is out of bounds.
    pub fn publish(&mut self, asked: wire::PublishRequest, now: Duration) -> Result<u64, OpError> {
        self.leases.check(&asked.resolver, asked.token, now).map_err(stale)?;
        let answer = asked.answer.unwrap_or_default();
        let Some((kind, key)) = answer.key() else {
            return Err(OpError::Invalid("no answer, or one of an unknown kind".into()));
        };
        let place = (kind, key.to_owned());
        if place.1.is_empty() || answer.encoded_len() > wire::MAX_ANSWER_BYTES {
            return Err(OpError::Invalid(format!(
                "the answer is empty or has more than {} bytes",
                wire::MAX_ANSWER_BYTES
            )));
        }
        if self.answers.len() >= wire::MAX_ANSWERS && !self.answers.contains_key(&place) {
            return Err(OpError::Full(format!("{} answers are published already", wire::MAX_ANSWERS)));
        }
        self.answers.insert(place, Answer { resolver: asked.resolver, token: asked.token, answer });
        self.answers_revision = self.changed();
        Ok(self.revision)
    }

    /// A challenge is over.
    pub fn withdraw(&mut self, asked: &wire::WithdrawRequest) {
        let Some((kind, key)) = asked.answer.as_ref().and_then(wire::Answer::key) else { return };
        let place = (kind, key.to_owned());
        let own = |held: &Answer| held.resolver == asked.resolver && held.token == asked.token;
        if self.answers.get(&place).is_some_and(own) {
            self.answers.remove(&place);
            self.answers_revision = self.changed();
        }
    }

    /// Answers end with the lease that they were published under. Says whether some did.
    pub fn drop_answers(&mut self, now: Duration) -> bool {
        let before = self.answers.len();
        let leases = &self.leases;
        self.answers.retain(|_, held| leases.check(&held.resolver, held.token, now).is_ok());
        let dropped = self.answers.len() < before;
        if dropped {
            self.answers_revision = self.changed();
        }
        dropped
    }

    /// Keys of session tickets, oldest first.
    pub fn tickets(&self) -> &[TicketKey] {
        &self.tickets
    }

    /// They are stored.
    pub fn set_tickets(&mut self, keys: Vec<TicketKey>) {
        self.tickets = keys;
        self.tickets_revision = self.changed();
    }
}

fn stale(error: leases::Stale) -> OpError {
    OpError::Precondition(error.to_string())
}

fn name(what: &str, text: &str) -> Result<(), OpError> {
    if text.is_empty() || text.len() > wire::MAX_NAME_BYTES || text.chars().any(char::is_control) {
        return Err(OpError::Invalid(format!("{what} is empty, too long or has control characters")));
    }
    Ok(())
}

fn summary(from: &wire::Summary) -> CertificateSummary {
    let clean = |text: &String| text.chars().filter(|c| !c.is_control()).take(MAX_SUMMARY_TEXT).collect();
    CertificateSummary {
        domains: from.domains.iter().map(clean).collect(),
        not_after: from.not_after,
        last_error: clean(&from.last_error),
    }
}

fn to_wire(name: &str, stored: &SharedResolver) -> wire::Resolver {
    wire::Resolver {
        name: name.to_owned(),
        version: stored.version,
        document: stored.document.clone().into_bytes(),
    }
}

fn key_to_wire(key: &TicketKey) -> wire::TicketKey {
    wire::TicketKey {
        key: key.key.clone(),
        encrypts_from: key.encrypts_from,
        encrypts_until: key.encrypts_until,
        decrypts_until: key.decrypts_until,
    }
}

#[cfg(test)]
mod tests;
