//! Transports by name. One that did not change is the same object in the next table, so that comparing two is mostly
//! comparing pointers: they may hold the texts of many certificates.

use std::sync::Arc;

use crate::map::Map;

/// The transport that services use which name none.
const DEFAULT: &str = "default";

/// Transports of one kind by name.
#[derive(Debug)]
pub(crate) struct Transports<T> {
    by_name: Map<Box<str>, Arc<T>>,
    default: Arc<T>,
}

impl<T: Eq> Transports<T> {
    /// `default` counts unless a spec has its name.
    pub(super) fn new<'a>(
        specs: impl DoubleEndedIterator<Item = (&'a str, T)>,
        default: impl Fn() -> T,
        previous: Option<&Transports<T>>,
    ) -> Transports<T> {
        let shared = |name: &str, new: T| {
            let before = previous.and_then(|all| all.by_name.get(name).or(Some(&all.default)));
            before.filter(|before| ***before == new).cloned().unwrap_or_else(|| Arc::new(new))
        };
        // Of several with the same name the first counts, as `check` says.
        let by_name: Map<Box<str>, Arc<T>> =
            specs.rev().map(|(name, new)| (name.into(), shared(name, new))).collect();
        let default = by_name.get(DEFAULT).cloned().unwrap_or_else(|| shared(DEFAULT, default()));
        Transports { by_name, default }
    }

    /// None and a name that is not there mean the default; `check` has refused the latter.
    pub(super) fn named(&self, name: Option<&str>) -> &Arc<T> {
        name.and_then(|name| self.by_name.get(name)).unwrap_or(&self.default)
    }
}
