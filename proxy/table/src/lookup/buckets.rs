//! Rules by what they demand of a request's host and path.
//!
//! Rules are numbered by rank; the lowest rank that matches wins. Each bucket is a list in the order of rank, so
//! that a scan ends at the first match, and at the rank of a match found before. Hops through memory cost more
//! than comparisons here: what is left to ask of a candidate stands beside its rank if it is simple.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Request;
use crate::map::{Map, map_with_room};
use crate::rule::{AfterHost, HostKey, PathKey, Rule};

/// A bucket with more rules than this arranges them by path.
const MAX_SCANNED: usize = 32;
/// Lengths of path prefixes that one bucket arranges; rules with other lengths are scanned.
const MAX_PREFIX_LENGTHS: usize = 64;

/// Rules in the order of their rank, arranged.
#[derive(Debug)]
pub(super) struct Buckets {
    by_host: Map<Box<str>, Bucket>,
    by_parent: Map<Box<str>, Bucket>,
    any_host: Bucket,
}

/// Rules to ask, in the order of rank.
#[derive(Debug, Default)]
struct Bucket {
    /// Most buckets have one rule: it stands here without a further hop.
    first: Option<Candidate>,
    more: Vec<Candidate>,
    paths: Option<Box<Paths>>,
}

/// Rules by a path or the start of one.
type ByPath = Map<Box<str>, Vec<Candidate>>;

/// Rules of a bucket by path.
#[derive(Debug, Default)]
struct Paths {
    exact: ByPath,
    /// By length of the prefix, in bytes.
    prefixes: Vec<(usize, ByPath)>,
}

#[derive(Clone, Debug)]
struct Candidate {
    rank: u32,
    left: Left,
}

/// What is left to ask of a request that gets to a candidate.
#[derive(Clone, Debug)]
enum Left {
    Nothing,
    Path(Box<str>),
    PathPrefix(Box<str>),
    Rule(Arc<Rule>),
}

impl Candidate {
    fn new(rank: u32, rule: &Arc<Rule>, by_host: bool) -> Candidate {
        let left = match rule.after_host(by_host) {
            AfterHost::Nothing => Left::Nothing,
            AfterHost::Path(PathKey::Exact(path)) => Left::Path(path.into()),
            AfterHost::Path(PathKey::Prefix(prefix)) => Left::PathPrefix(prefix.into()),
            AfterHost::More => Left::Rule(rule.clone()),
        };
        Candidate { rank, left }
    }

    #[inline]
    fn matches(&self, request: &impl Request) -> bool {
        match &self.left {
            Left::Nothing => true,
            Left::Path(path) => request.path() == &**path,
            Left::PathPrefix(prefix) => request.path().starts_with(&**prefix),
            Left::Rule(rule) => rule.matches(request),
        }
    }

    /// The same candidate, found by its path.
    fn after_path(&self) -> Candidate {
        let left = match &self.left {
            Left::Rule(rule) => Left::Rule(rule.clone()),
            Left::Nothing | Left::Path(_) | Left::PathPrefix(_) => Left::Nothing,
        };
        Candidate { rank: self.rank, left }
    }
}

impl Buckets {
    /// Arranges rules, which come in the order of rank.
    pub(super) fn new<'r>(order: impl ExactSizeIterator<Item = &'r Arc<Rule>> + Clone) -> Buckets {
        let mut buckets = Buckets {
            by_host: map_with_room(order.len()),
            by_parent: Map::default(),
            any_host: Bucket::default(),
        };
        for (rank, rule) in (0..).zip(order.clone()) {
            let keys = rule.host_keys();
            let candidate = Candidate::new(rank, rule, keys.is_some());
            match keys {
                None => buckets.any_host.add(candidate),
                Some(keys) => keys.into_iter().for_each(|key| {
                    let (map, key) = match key {
                        HostKey::Exact(host) => (&mut buckets.by_host, host),
                        HostKey::Wildcard(parent) => (&mut buckets.by_parent, parent),
                    };
                    map.entry(key.into()).or_default().add(candidate.clone());
                }),
            }
        }
        let by_name = buckets.by_host.values_mut().chain(buckets.by_parent.values_mut());
        let crowded: Vec<&mut Bucket> = by_name
            .chain([&mut buckets.any_host])
            .filter(|bucket| bucket.more.len() >= MAX_SCANNED)
            .collect();
        if !crowded.is_empty() {
            let rules: Vec<&Arc<Rule>> = order.collect();
            crowded.into_iter().for_each(|bucket| bucket.arrange_by_path(&rules));
        }
        buckets
    }

    /// The lowest rank that matches.
    #[inline]
    pub(super) fn first_match(&self, request: &impl Request) -> Option<usize> {
        let mut best = u32::MAX;
        self.each_list(request, &mut |candidates| {
            for candidate in candidates {
                if candidate.rank >= best {
                    break;
                }
                if candidate.matches(request) {
                    best = candidate.rank;
                    break;
                }
            }
        });
        (best != u32::MAX).then_some(best as usize)
    }

    /// The ranks that `request` gets to, each once, in order.
    pub(super) fn candidates(&self, request: &impl Request) -> BTreeSet<u32> {
        let mut ranks = BTreeSet::new();
        self.each_list(request, &mut |candidates| ranks.extend(candidates.iter().map(|c| c.rank)));
        ranks
    }

    /// Calls `visit` with the lists of candidates for `request`; a rule may stand in several.
    #[inline]
    fn each_list(&self, request: &impl Request, visit: &mut impl FnMut(&[Candidate])) {
        let host = request.host();
        if let Some(bucket) = self.by_host.get(host) {
            bucket.each_list(request.path(), visit);
        }
        if !self.by_parent.is_empty()
            && let Some((_, parent)) = host.split_once('.')
            && let Some(bucket) = self.by_parent.get(parent)
        {
            bucket.each_list(request.path(), visit);
        }
        self.any_host.each_list(request.path(), visit);
    }
}

impl Bucket {
    /// Candidates are added in the order of rank.
    fn add(&mut self, candidate: Candidate) {
        match self.first {
            None => self.first = Some(candidate),
            Some(_) => self.more.push(candidate),
        }
    }

    fn arrange_by_path(&mut self, rules: &[&Arc<Rule>]) {
        let all = self.first.take().into_iter().chain(std::mem::take(&mut self.more));
        let mut paths = Paths::default();
        for candidate in all {
            match rules[candidate.rank as usize].path_keys().filter(|keys| paths.has_room(keys)) {
                Some(keys) => keys.into_iter().for_each(|key| paths.add(key, candidate.after_path())),
                None => self.add(candidate),
            }
        }
        paths.prefixes.sort_by_key(|(length, _)| *length);
        self.paths = Some(Box::new(paths));
    }

    #[inline]
    fn each_list(&self, path: &str, visit: &mut impl FnMut(&[Candidate])) {
        visit(self.first.as_slice());
        if !self.more.is_empty() {
            visit(&self.more);
        }
        if let Some(paths) = &self.paths {
            paths.each_list(path, visit);
        }
    }
}

impl Paths {
    fn each_list(&self, path: &str, visit: &mut impl FnMut(&[Candidate])) {
        if let Some(candidates) = self.exact.get(path) {
            visit(candidates);
        }
        for (length, map) in &self.prefixes {
            if *length > path.len() {
                break;
            }
            // No prefix ends inside a character.
            if let Some(candidates) = path.get(..*length).and_then(|prefix| map.get(prefix)) {
                visit(candidates);
            }
        }
    }

    fn has_room(&self, keys: &[PathKey<'_>]) -> bool {
        keys.iter().all(|key| match key {
            PathKey::Exact(_) => true,
            PathKey::Prefix(prefix) => {
                self.prefixes.len() + keys.len() <= MAX_PREFIX_LENGTHS
                    || self.prefixes.iter().any(|(length, _)| *length == prefix.len())
            }
        })
    }

    fn add(&mut self, key: PathKey<'_>, candidate: Candidate) {
        let list = match key {
            PathKey::Exact(path) => self.exact.entry(path.into()).or_default(),
            PathKey::Prefix(prefix) => {
                let place = self.prefixes.iter().position(|(length, _)| *length == prefix.len());
                let place = place.unwrap_or_else(|| {
                    self.prefixes.push((prefix.len(), Map::default()));
                    self.prefixes.len() - 1
                });
                self.prefixes[place].1.entry(prefix.into()).or_default()
            }
        };
        list.push(candidate);
    }
}
