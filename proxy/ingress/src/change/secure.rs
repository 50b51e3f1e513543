//! What handshakes use, made anew with each change: certificates of files, of the control plane and of ACME, and options.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use pancake_table::check;
use pancake_table::snapshot::tls::{Certificate, Tls};
use pancake_tls::{Challenges, Input, Tickets, TlsTable, generated_default};
use rustls::sign::CertifiedKey;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};

/// Owner of the certificates and TLS options that serve.
pub struct Secure {
    table: Arc<ArcSwap<TlsTable>>,
    tickets: Arc<Tickets>,
    challenges: Arc<Challenges>,
    default: Arc<CertifiedKey>,
    clock: Arc<dyn TimeProvider>,
    tls: Tls,
    ordered: Vec<Certificate>,
}

impl Secure {
    /// Of nothing but the default certificate.
    ///
    /// # Errors
    /// If the system has no randomness for keys.
    pub fn new() -> anyhow::Result<Secure> {
        let now = now_unix();
        let tickets = Arc::new(Tickets::new(now).context("keys of session tickets")?);
        let challenges = Arc::new(Challenges::default());
        let default = generated_default(now).context("the default certificate")?;
        let clock: Arc<dyn TimeProvider> = Arc::new(DefaultTimeProvider);
        let input = Input {
            tls: &Tls::default(),
            options_by_host: &BTreeMap::new(),
            further: &[],
            now_unix: now,
            tickets: &tickets,
            challenges: &challenges,
            generated_default: &default,
            clock: &clock,
        };
        let (table, _) = TlsTable::build(&input, None);
        let table = Arc::new(ArcSwap::from_pointee(table));
        let (tls, ordered) = (Tls::default(), Vec::new());
        Ok(Secure { table, tickets, challenges, default, clock, tls, ordered })
    }

    /// What workers read.
    pub fn table(&self) -> Arc<ArcSwap<TlsTable>> {
        self.table.clone()
    }

    /// Keys of session tickets; they rotate with time.
    pub fn tickets(&self) -> Arc<Tickets> {
        self.tickets.clone()
    }

    /// Answers to tls-alpn-01 challenges.
    pub fn challenges(&self) -> Arc<Challenges> {
        self.challenges.clone()
    }

    /// What handshakes take the time from.
    pub fn clock(&self) -> Arc<dyn TimeProvider> {
        self.clock.clone()
    }

    /// Takes over the `tls` sections of all providers. Returns what is wrong with them.
    pub fn apply(&mut self, tls: &Tls) -> Vec<check::Problem> {
        if self.tls != *tls {
            self.tls = tls.clone();
        }
        self.rebuild()
    }

    /// Takes over the certificates that were ordered from a CA.
    pub fn apply_ordered(&mut self, ordered: Vec<Certificate>) -> Vec<check::Problem> {
        self.ordered = ordered;
        self.rebuild()
    }

    /// Connections go on with what they have; the next handshake sees the new table. Sessions can be resumed across it.
    fn rebuild(&self) -> Vec<check::Problem> {
        let previous = self.table.load_full();
        let input = Input {
            tls: &self.tls,
            // Routers name options; the routing table says which apply to a host of an entry point.
            options_by_host: &BTreeMap::new(),
            further: &self.ordered,
            now_unix: now_unix(),
            tickets: &self.tickets,
            challenges: &self.challenges,
            generated_default: &self.default,
            clock: &self.clock,
        };
        let (table, problems) = TlsTable::build(&input, Some(&previous));
        self.table.store(Arc::new(table));
        problems.into_iter().map(named).collect()
    }
}

/// The problem, with its object as the reader of files names it.
fn named(mut problem: check::Problem) -> check::Problem {
    if let Some(options) = problem.object.strip_prefix("tls.options.") {
        problem.object = format!("tls options {options}");
    } else if problem.object.starts_with("tls.certificates") {
        problem.object = format!("certificate {}", problem.object);
    }
    problem
}

/// Seconds since 1970.
pub fn now_unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
