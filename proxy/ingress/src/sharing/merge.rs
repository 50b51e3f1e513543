//! Two states of one resolver as one: what the control plane has, and what this proxy has on disk.
//!
//! They differ when an existing storage file meets a control plane, when the control plane lost its store, and when a proxy had
//! to order alone. Pure: time is an argument.

use std::time::SystemTime;

use crate::acme::certificate::Validity;
use crate::acme::storage::{Stored, StoredCertificate};

/// The account and the failures of `shared`; of each certificate the one that is good for longer. What is only here is kept while
/// it is good.
pub(super) fn merge(shared: Option<&Stored>, here: &Stored, now: SystemTime) -> Stored {
    let Some(shared) = shared else { return here.clone() };
    let mut all = shared.clone();
    all.account = shared.account.clone().or_else(|| here.account.clone());
    for one in &here.certificates {
        let Some(end) = end(one).filter(|end| *end > now) else { continue };
        match all.certificates.iter_mut().find(|other| other.domain == one.domain) {
            Some(other) if self::end(other).is_none_or(|others| others < end) => *other = one.clone(),
            Some(_) => {}
            None => all.certificates.push(one.clone()),
        }
    }
    all
}

fn end(certificate: &StoredCertificate) -> Option<SystemTime> {
    Validity::of(&certificate.certificate.0).ok().map(|validity| validity.not_after)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::sharing::incoming::tests::certificate;

    /// 2030-02-01.
    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_896_134_400)
    }

    fn with(certificates: &[StoredCertificate]) -> Stored {
        Stored { certificates: certificates.to_vec(), ..Stored::default() }
    }

    #[test]
    fn what_is_good_for_longer_wins_and_what_is_only_here_is_kept() {
        let (old, new) = (certificate("a.example", 2031), certificate("a.example", 2032));
        let only = certificate("b.example", 2031);
        let here = with(&[new.clone(), only.clone()]);
        assert_eq!(merge(Some(&with(std::slice::from_ref(&old))), &here, now()), with(&[new.clone(), only]));
        assert_eq!(merge(Some(&with(std::slice::from_ref(&new))), &with(&[old]), now()), with(&[new]));
    }

    #[test]
    fn what_has_ended_here_does_not_come_back() {
        let here = with(&[certificate("a.example", 2029)]);
        assert_eq!(merge(Some(&Stored::default()), &here, now()), Stored::default());
        assert_eq!(merge(None, &here, now()), here);
    }

    #[test]
    fn failures_that_are_shared_win_over_those_here() {
        let mut here = with(&[]);
        here.rest.insert("PancakeFailedOrders".into(), 1.into());
        assert_eq!(merge(Some(&Stored::default()), &here, now()), Stored::default());
    }
}
