//! Hosts and paths that a request must have for a rule to match, for the index of look-up.
//!
//! Necessary, not sufficient: who finds a rule by its keys still asks the rule.

use super::Rule;
use super::matcher::{Matcher, behind_label};
use super::syntax::{Expr, Node};

/// Keys of one rule at most; a rule with more is found without.
const MAX_KEYS: usize = 256;

/// One host that a request may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum HostKey<'a> {
    /// This host.
    Exact(&'a str),
    /// One label and a dot before this.
    Wildcard(&'a str),
}

/// Hosts of which a request must have one; none: any host will do.
pub(crate) type HostKeys<'a> = Option<Vec<HostKey<'a>>>;

/// One path that a request may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum PathKey<'a> {
    /// This path.
    Exact(&'a str),
    /// A path that starts so.
    Prefix(&'a str),
}

/// What is left of a rule once the host is known to be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterHost<'a> {
    /// The request matches.
    Nothing,
    /// It matches if it has this path.
    Path(PathKey<'a>),
    /// The rule must be asked.
    More,
}

impl Rule {
    /// Hosts of which a request must have one.
    pub(crate) fn host_keys(&self) -> HostKeys<'_> {
        keys(&self.root, &|matcher| match matcher {
            Matcher::Host(host) => Some(Some(HostKey::Exact(host))),
            Matcher::HostWildcard(wildcard) => Some(Some(HostKey::Wildcard(behind_label(wildcard)))),
            Matcher::Never(_) => Some(None),
            _ => None,
        })
    }

    /// The hosts that it names, each once, sorted: literals and wildcards (`*.example.com`) of `Host` and `HostSNI`
    /// that are not under a `!`. For these, certificates are ordered and TLS options are chosen. Not among them:
    /// `*`, and what regular expressions match.
    pub fn hosts(&self) -> Vec<&str> {
        let mut hosts = Vec::new();
        named(&self.root, &mut hosts);
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }

    /// What is left to ask of a request. `by_host`: there are [`Rule::host_keys`], and it has one of them.
    pub(crate) fn after_host(&self, by_host: bool) -> AfterHost<'_> {
        if !by_host {
            return only_path(&self.root).map_or(AfterHost::More, AfterHost::Path);
        }
        if decided_by_host(&self.root) {
            return AfterHost::Nothing;
        }
        let Expr::All(parts) = &self.root.expr else { return AfterHost::More };
        let path = match &**parts {
            [host, path] if decided_by_host(host) => only_path(path),
            [path, host] if decided_by_host(host) => only_path(path),
            _ => None,
        };
        path.map_or(AfterHost::More, AfterHost::Path)
    }

    /// Paths of which a request must have one.
    pub(crate) fn path_keys(&self) -> Option<Vec<PathKey<'_>>> {
        keys(&self.root, &|matcher| match matcher {
            Matcher::Path(path) => Some(Some(PathKey::Exact(path))),
            Matcher::PathPrefix(prefix) if prefix.len() > 1 => Some(Some(PathKey::Prefix(prefix))),
            _ => None,
        })
    }
}

/// Collects the hosts that `node` names, except under `!`.
fn named<'a>(node: &'a Node, hosts: &mut Vec<&'a str>) {
    match &node.expr {
        Expr::All(parts) | Expr::Any(parts) => parts.iter().for_each(|part| named(part, hosts)),
        Expr::Matcher(Matcher::Host(host) | Matcher::HostWildcard(host)) => hosts.push(host),
        Expr::Not(_) | Expr::Matcher(_) => {}
    }
}

/// Whether `node` asks for hosts only, so that its keys say all.
fn decided_by_host(node: &Node) -> bool {
    match &node.expr {
        Expr::Matcher(Matcher::Host(_) | Matcher::HostWildcard(_)) => true,
        Expr::Any(parts) => parts.iter().all(decided_by_host),
        _ => false,
    }
}

/// The path, if `node` asks for one and nothing else.
fn only_path(node: &Node) -> Option<PathKey<'_>> {
    match &node.expr {
        Expr::Matcher(Matcher::Path(path)) => Some(PathKey::Exact(path)),
        Expr::Matcher(Matcher::PathPrefix(prefix)) => Some(PathKey::Prefix(prefix)),
        _ => None,
    }
}

/// Keys of `node`, sorted, each once. `of` says for a matcher: none if it demands no key; a key; or `Some(None)`
/// if nothing matches it.
fn keys<'a, K: Ord>(node: &'a Node, of: &impl Fn(&'a Matcher) -> Option<Option<K>>) -> Option<Vec<K>> {
    match &node.expr {
        Expr::Matcher(matcher) => of(matcher).map(|key| key.into_iter().collect()),
        // Any part's keys will do; the fewest are the best.
        Expr::All(parts) => parts.iter().filter_map(|part| keys(part, of)).min_by_key(Vec::len),
        Expr::Any(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(keys(part, of)?);
            }
            all.sort();
            all.dedup();
            (all.len() <= MAX_KEYS).then_some(all)
        }
        Expr::Not(_) => None,
    }
}
