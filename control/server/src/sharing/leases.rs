//! The right to order, one holder per resolver: it ends unless it is renewed, and each holder has a number (a fencing token)
//! above all before it, so that one that was stopped for longer than its lease can change nothing when it wakes up.
//!
//! Pure: time is an argument. Numbers and holders are stored, ends are not: after a restart a holder has the whole time again.

use std::collections::BTreeMap;
use std::time::Duration;

use pancake_model::sharing::LeaseRecord;

/// A lease that is not renewed for this long is over.
pub const LEASE: Duration = Duration::from_secs(15);

/// All leases by the name of the resolver.
#[derive(Debug, Default)]
pub struct Leases(BTreeMap<String, Lease>);

#[derive(Debug)]
struct Lease {
    record: LeaseRecord,
    until: Duration,
}

/// What who asks gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// It has the lease, under this number. `new`: it had not before, and the number is to be stored.
    Yours {
        /// Its number.
        token: u64,
        /// Whether it is a new one.
        new: bool,
    },
    /// Another one has it.
    Held(String),
}

/// Why a number is worth nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    /// Somebody came after.
    #[error("lease {given} was followed by lease {newest}")]
    Followed {
        /// The number that was shown.
        given: u64,
        /// The newest.
        newest: u64,
    },
    /// It was not renewed.
    #[error("lease {0} has ended")]
    Ended(u64),
    /// It was given back, or there never was one.
    #[error("lease {0} is not held")]
    NotHeld(u64),
}

impl Leases {
    /// As they were stored; whoever held one may still work.
    pub fn restore(records: BTreeMap<String, LeaseRecord>, now: Duration) -> Leases {
        let lease = |record| Lease { record, until: now + LEASE };
        Leases(records.into_iter().map(|(name, record)| (name, lease(record))).collect())
    }

    /// What `holder` gets if it asks; with its number it renews. A lease that ended can be renewed as long as nobody followed.
    pub fn ask(&self, resolver: &str, holder: &str, token: u64, now: Duration) -> Grant {
        let Some(Lease { record, until }) = self.0.get(resolver) else {
            return Grant::Yours { token: 1, new: true };
        };
        match &record.holder {
            Some(of) if of == holder && record.token == token => Grant::Yours { token, new: false },
            Some(of) if of != holder && now < *until => Grant::Held(of.clone()),
            _ => Grant::Yours { token: record.token + 1, new: true },
        }
    }

    /// `holder` has it from now on, or goes on having it.
    pub fn grant(&mut self, resolver: &str, holder: &str, token: u64, now: Duration) {
        let record = LeaseRecord { token, holder: Some(holder.to_owned()) };
        self.0.insert(resolver.to_owned(), Lease { record, until: now + LEASE });
    }

    /// Whether this number allows a change now.
    ///
    /// # Errors
    /// Why it does not.
    pub fn check(&self, resolver: &str, token: u64, now: Duration) -> Result<&str, Stale> {
        let Some(Lease { record, until }) = self.0.get(resolver) else { return Err(Stale::NotHeld(token)) };
        match &record.holder {
            _ if record.token != token => Err(Stale::Followed { given: token, newest: record.token }),
            None => Err(Stale::NotHeld(token)),
            Some(_) if now >= *until => Err(Stale::Ended(token)),
            Some(holder) => Ok(holder),
        }
    }

    /// What to store when this lease is given back; none: it is not held any more.
    pub fn released(&self, resolver: &str, token: u64) -> Option<LeaseRecord> {
        let Lease { record, .. } = self.0.get(resolver)?;
        (record.token == token && record.holder.is_some()).then_some(LeaseRecord { token, holder: None })
    }

    /// It is given back.
    pub fn release(&mut self, resolver: &str, token: u64) {
        if let Some(record) = self.released(resolver, token)
            && let Some(lease) = self.0.get_mut(resolver)
        {
            lease.record = record;
        }
    }

    /// Who has it now.
    pub fn holder(&self, resolver: &str, now: Duration) -> Option<&str> {
        let Lease { record, until } = self.0.get(resolver)?;
        record.holder.as_deref().filter(|_| now < *until)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is one for this resolver, held or not.
    pub fn knows(&self, resolver: &str) -> bool {
        self.0.contains_key(resolver)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(100);

    fn take(leases: &mut Leases, holder: &str, token: u64, now: Duration) -> Grant {
        let grant = leases.ask("le", holder, token, now);
        if let Grant::Yours { token, .. } = grant {
            leases.grant("le", holder, token, now);
        }
        grant
    }

    #[test]
    fn one_holds_until_it_ends_and_numbers_only_grow() {
        let mut leases = Leases::default();
        assert_eq!(take(&mut leases, "a", 0, START), Grant::Yours { token: 1, new: true });
        assert_eq!(take(&mut leases, "b", 0, START), Grant::Held("a".into()));
        let late = START + LEASE;
        assert_eq!(take(&mut leases, "b", 0, late), Grant::Yours { token: 2, new: true });
        assert_eq!(take(&mut leases, "a", 1, late), Grant::Held("b".into()));
        assert_eq!(leases.check("le", 1, late), Err(Stale::Followed { given: 1, newest: 2 }));
        assert_eq!(leases.check("le", 2, late), Ok("b"));
    }

    #[test]
    fn renewing_keeps_the_number_and_moves_the_end() {
        let mut leases = Leases::default();
        take(&mut leases, "a", 0, START);
        let later = START + LEASE / 2;
        assert_eq!(take(&mut leases, "a", 1, later), Grant::Yours { token: 1, new: false });
        assert_eq!(take(&mut leases, "b", 0, START + LEASE), Grant::Held("a".into()));
        assert_eq!(leases.check("le", 1, later + LEASE), Err(Stale::Ended(1)));
        // Nobody followed: it may go on.
        assert_eq!(take(&mut leases, "a", 1, later + LEASE), Grant::Yours { token: 1, new: false });
        assert_eq!(leases.check("le", 1, later + LEASE), Ok("a"));
    }

    #[test]
    fn what_is_given_back_is_free_at_once_and_its_number_is_worth_nothing() {
        let mut leases = Leases::default();
        take(&mut leases, "a", 0, START);
        leases.release("le", 7);
        assert_eq!(leases.holder("le", START), Some("a"));
        leases.release("le", 1);
        assert_eq!(leases.check("le", 1, START), Err(Stale::NotHeld(1)));
        assert_eq!(take(&mut leases, "b", 0, START), Grant::Yours { token: 2, new: true });
    }

    #[test]
    fn after_a_restart_the_holder_goes_on_and_others_wait() {
        let record = LeaseRecord { token: 5, holder: Some("a".into()) };
        let mut leases = Leases::restore([("le".to_owned(), record)].into(), START);
        assert_eq!(take(&mut leases, "b", 0, START), Grant::Held("a".into()));
        assert_eq!(take(&mut leases, "a", 5, START), Grant::Yours { token: 5, new: false });
        assert_eq!(take(&mut leases, "b", 0, START + LEASE), Grant::Yours { token: 6, new: true });
    }

    #[test]
    fn a_resolver_has_a_lease_of_its_own() {
        let mut leases = Leases::default();
        take(&mut leases, "a", 0, START);
        assert_eq!(leases.ask("other", "b", 0, START), Grant::Yours { token: 1, new: true });
        assert_eq!(leases.check("other", 1, START), Err(Stale::NotHeld(1)));
    }
}
