//! What accident looks like.
//!
//! Pure. A snapshot that loses everything, or most of much, goes out only if that was done on purpose: deregistered,
//! drained, deleted, declared with `allowEmpty`, or released by a person. Otherwise the last good one stays.

use std::collections::BTreeSet;

use pancake_model::name::InstanceId;
use pancake_table::proto;

use super::build::Candidate;
use super::{Published, qualified};

/// Losses below this are never called a collapse.
pub const COLLAPSE_MIN: usize = 10;
/// A loss of this part of what was there, or more, is: one half.
pub const COLLAPSE_PART: usize = 2;

/// What to do with a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes out.
    Publish {
        /// It is empty, and that is meant.
        allow_empty: bool,
    },
    /// It does not, for this reason.
    Hold(String),
}

/// Decides. `next` is the candidate after what does not pass was left out.
pub fn judge(last: &Published, candidate: &Candidate, next: &proto::Snapshot) -> Verdict {
    let routers_before: BTreeSet<&str> = last.snapshot.routers.iter().map(|r| r.name.as_str()).collect();
    let routers_after: BTreeSet<&str> = next.routers.iter().map(|r| r.name.as_str()).collect();
    let had_content = !routers_before.is_empty() || !last.active.is_empty();
    let empty = routers_after.is_empty() || candidate.active.is_empty();
    let publish = Verdict::Publish { allow_empty: empty && (had_content || last.snapshot.allow_empty) };
    if candidate.released {
        return publish;
    }
    let on_purpose: BTreeSet<String> =
        candidate.purposes.routers.iter().map(|name| qualified(name.as_str())).collect();
    let lost_routers = routers_before
        .iter()
        .filter(|name| !routers_after.contains(**name) && !on_purpose.contains(**name))
        .count();
    // A drain is always asked for.
    let meant =
        |id: &&InstanceId| candidate.purposes.instances.contains(*id) || candidate.shown.contains(*id);
    let lost: Vec<&InstanceId> = last.active.difference(&candidate.active).filter(|id| !meant(id)).collect();
    if lost_routers > 0 && routers_after.is_empty() {
        return Verdict::Hold(format!("all {} routers would go", routers_before.len()));
    }
    if let (Some(first), true) = (lost.first(), candidate.active.is_empty()) {
        return Verdict::Hold(format!(
            "no instance would be left, {first} and {} others went",
            lost.len() - 1
        ));
    }
    let collapse = |lost: usize, of: usize| lost >= COLLAPSE_MIN && lost * COLLAPSE_PART >= of;
    if collapse(lost_routers, routers_before.len()) {
        return Verdict::Hold(format!("{lost_routers} of {} routers would go at once", routers_before.len()));
    }
    if collapse(lost.len(), last.active.len()) {
        return Verdict::Hold(format!("{} of {} instances would go at once", lost.len(), last.active.len()));
    }
    publish
}

#[cfg(test)]
mod tests {
    use super::*;
    use pancake_model::name::RouterName;

    fn ids(range: std::ops::Range<usize>) -> BTreeSet<InstanceId> {
        range.map(|i| InstanceId::new(format!("i{i}")).unwrap()).collect()
    }

    fn snapshot(routers: std::ops::Range<usize>) -> proto::Snapshot {
        let router = |i| proto::Router { name: qualified(&format!("r{i}")), ..proto::Router::default() };
        proto::Snapshot { routers: routers.map(router).collect(), ..proto::Snapshot::default() }
    }

    fn last(active: usize, routers: usize) -> Published {
        Published { active: ids(0..active), snapshot: snapshot(0..routers).into(), ..Published::nothing() }
    }

    fn candidate(active: usize) -> Candidate {
        Candidate { active: ids(0..active), ..Candidate::default() }
    }

    const PUBLISH: Verdict = Verdict::Publish { allow_empty: false };
    const EMPTY: Verdict = Verdict::Publish { allow_empty: true };

    fn held(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Hold(_))
    }

    #[test]
    fn small_changes_go_out() {
        assert_eq!(judge(&last(3, 3), &candidate(1), &snapshot(0..1)), PUBLISH);
        assert_eq!(judge(&last(0, 0), &candidate(0), &snapshot(0..0)), PUBLISH, "nothing becomes nothing");
        assert_eq!(judge(&last(100, 100), &candidate(51), &snapshot(0..51)), PUBLISH);
    }

    #[test]
    fn losing_everything_or_half_of_much_does_not() {
        assert!(held(&judge(&last(1, 1), &candidate(0), &snapshot(0..1))));
        assert!(held(&judge(&last(1, 1), &candidate(1), &snapshot(0..0))));
        assert!(held(&judge(&last(100, 1), &candidate(50), &snapshot(0..1))));
        assert!(held(&judge(&last(1, 100), &candidate(1), &snapshot(0..50))));
    }

    #[test]
    fn what_is_meant_goes_out() {
        let purposes = crate::world::Purposes {
            instances: ids(0..100),
            routers: (0..100).map(|i| RouterName::new(format!("r{i}")).unwrap()).collect(),
        };
        let on_purpose = Candidate { purposes, ..candidate(0) };
        assert_eq!(judge(&last(100, 100), &on_purpose, &snapshot(0..0)), EMPTY);
        let drained = Candidate { shown: ids(0..100), ..candidate(0) };
        assert_eq!(judge(&last(100, 1), &drained, &snapshot(0..1)), EMPTY);
        let released = Candidate { released: true, ..candidate(0) };
        assert_eq!(judge(&last(100, 100), &released, &snapshot(0..0)), EMPTY);
    }

    #[test]
    fn empty_on_purpose_stays_so_after_a_restart() {
        let mut last = last(0, 0);
        last.snapshot = proto::Snapshot { allow_empty: true, ..snapshot(0..0) }.into();
        assert_eq!(judge(&last, &candidate(0), &snapshot(0..0)), EMPTY);
    }
}
