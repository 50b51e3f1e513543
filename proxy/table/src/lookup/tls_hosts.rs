//! Hosts that routers serve over TLS, and the TLS options for each.
//!
//! The options must be known before the request is: all that there is to go by is the name in the ClientHello. So
//! they belong to a host, as in Traefik: routers that want different ones for the same host get `default`.

use std::sync::Arc;

use crate::map::Map;
use crate::rule::behind_label;
use crate::snapshot::tls::RouterTls;

/// The options where routers name none, or disagree.
pub const DEFAULT_TLS_OPTIONS: &str = "default";

/// The options that a router names.
pub(crate) fn options_of(tls: &RouterTls) -> &str {
    tls.options.as_deref().filter(|name| !name.is_empty()).unwrap_or(DEFAULT_TLS_OPTIONS)
}

/// Who decides about the options of a host; none: routers disagree.
type Decided = Option<Arc<RouterTls>>;

/// Hosts of routers with `tls`.
#[derive(Debug, Default)]
pub(crate) struct TlsHosts {
    exact: Map<Box<str>, Decided>,
    /// By what stands behind `*.`.
    parents: Map<Box<str>, Decided>,
    any: bool,
}

impl TlsHosts {
    /// Adds the hosts of a router; none: it takes any.
    pub(crate) fn add(&mut self, hosts: &[&str], tls: &Arc<RouterTls>) {
        self.any |= hosts.is_empty();
        for host in hosts {
            let map = if host.starts_with("*.") { &mut self.parents } else { &mut self.exact };
            match map.get_mut(behind_label(host)) {
                Some(Some(known)) if options_of(known) == options_of(tls) => {}
                Some(decided) => *decided = None,
                None => drop(map.insert(behind_label(host).into(), Some(tls.clone()))),
            }
        }
    }

    /// Whether a router names no host.
    pub(crate) fn is_any(&self) -> bool {
        self.any
    }

    /// The options for this host; none: no router names it.
    #[inline]
    pub(crate) fn options(&self, host: &str) -> Option<&str> {
        let wildcard = || {
            let (label, parent) = host.split_once('.').filter(|_| !self.parents.is_empty())?;
            self.parents.get(parent).filter(|_| !label.is_empty())
        };
        self.exact.get(host).or_else(wildcard).map(name)
    }

    /// Hosts and wildcards, in no order, with their options.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (String, &str)> {
        let exact = self.exact.iter().map(|(host, decided)| (host.to_string(), name(decided)));
        exact.chain(self.parents.iter().map(|(parent, decided)| (format!("*.{parent}"), name(decided))))
    }
}

fn name(decided: &Decided) -> &str {
    decided.as_deref().map_or(DEFAULT_TLS_OPTIONS, options_of)
}
