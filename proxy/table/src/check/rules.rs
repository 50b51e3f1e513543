//! Rules of routers: each text is parsed once if it can be helped, within a bound on memory.

use std::sync::Arc;

use crate::compile::Finder;
use crate::limits::{MAX_REGEX_PROGRAM_BYTES, MAX_SNAPSHOT_REGEX_BYTES};
use crate::lookup::Routed;
use crate::map::Map;
use crate::rule::{Rule, RuleError};

/// Reads rules of one kind of router.
pub(super) struct Rules<'a, R> {
    parse: fn(&str) -> Result<Rule, RuleError>,
    /// The routes of the previous table.
    previous: Option<(&'a [Arc<R>], Finder<'a, R>)>,
    /// Rules with regular expressions by text.
    shared: Map<&'a str, Arc<Rule>>,
    regex_bytes: usize,
}

impl<'a, R: Routed> Rules<'a, R> {
    /// `regex_bytes`: what regular expressions of other rules of this snapshot take.
    pub(super) fn new(
        parse: fn(&str) -> Result<Rule, RuleError>,
        previous: Option<&'a [Arc<R>]>,
        regex_bytes: usize,
    ) -> Rules<'a, R> {
        let previous = previous.map(|routes| (routes, Finder::new(routes, |route| route.name())));
        Rules { parse, previous, shared: Map::default(), regex_bytes }
    }

    /// What regular expressions take so far.
    pub(super) fn regex_bytes(&self) -> usize {
        self.regex_bytes
    }

    /// The rule `text` of the router `name`.
    pub(super) fn rule(&mut self, name: &str, text: &'a str) -> Result<Arc<Rule>, RuleError> {
        if let Some(rule) = self.known(name, text) {
            return Ok(rule);
        }
        if self.regex_bytes >= MAX_SNAPSHOT_REGEX_BYTES && may_have_regex(text) {
            let message = "the regular expressions of all routers together take too much memory";
            return Err(RuleError { offset: 0, message: message.into() });
        }
        let rule = match (self.parse)(text) {
            Ok(rule) => Arc::new(rule),
            Err(error) => {
                // What is refused has cost time all the same.
                if may_have_regex(text) {
                    self.regex_bytes += MAX_REGEX_PROGRAM_BYTES;
                }
                return Err(error);
            }
        };
        self.remember(&rule, text);
        Ok(rule)
    }

    /// From this snapshot or from the router of the same name in the previous table.
    fn known(&mut self, name: &str, text: &'a str) -> Option<Arc<Rule>> {
        if let Some(rule) = self.shared.get(text) {
            return Some(rule.clone());
        }
        let (routes, finder) = self.previous.as_mut()?;
        let rule = routes[finder.find(name)?].rule();
        if rule.text() != text {
            return None;
        }
        let rule = rule.clone();
        self.remember(&rule, text);
        Some(rule)
    }

    fn remember(&mut self, rule: &Arc<Rule>, text: &'a str) {
        if rule.regex_bytes() > 0 {
            self.regex_bytes += rule.regex_bytes();
            self.shared.insert(text, rule.clone());
        }
    }
}

fn may_have_regex(rule: &str) -> bool {
    rule.as_bytes().windows(6).any(|w| w.eq_ignore_ascii_case(b"regexp"))
}
