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
    let lost: Vec<&InstanceId> = last
        .active
        .difference(&candidate.active)
        .filter(|id| !candidate.purposes.instances.contains(*id))
        .collect();
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
