//! The rule language of routers: text to syntax tree, and whether a request matches.
//!
//! The syntax and the meaning are those of Traefik 3 (`pkg/rules/parser.go` and `pkg/muxer/http/matcher.go` at
//! v3.7; in its documentation "Rules & Priority" of HTTP routers). What surprises people:
//! - every matcher takes exactly one value, except `Header`, `HeaderRegexp` (name, value) and `Query`,
//!   `QueryRegexp` (name and perhaps value);
//! - ``PathPrefix(`/products`)`` matches `/products-for-sale`, and ``Path(`/a`)`` does not match `/a/`;
//! - ``Query(`k`)`` matches a parameter `k` with an *empty* value; for any value it is ``QueryRegexp(`k`, `.*`)``;
//! - ``Host(`*.x`)`` matches exactly one label before `.x`, ``Host(`*`)`` matches every request, even one
//!   without a host;
//! - `ClientIP` is the peer of the connection, whatever `X-Forwarded-For` says;
//! - regular expressions are not anchored.
//!
//! Names of matchers are read without regard to case (Traefik reads `Host`, `host` and `HOST`). Not here: the
//! version 2 syntax.
//!
//! Rules of TCP routers ([`Rule::parse_tcp`], Traefik's `pkg/muxer/tcp/matcher.go`) are read by the same parser into the
//! same tree: `HostSNI` is `Host` and asks for the name in the ClientHello, which [`crate::lookup::Request::host`]
//! then gives. So they are looked up in the same way.

/// Whether a request matches.
mod evaluate;
/// Hosts and paths that a request must have, for the index of look-up.
mod keys;
/// Name and values to matcher.
mod matcher;
/// Regular expressions in Go's syntax.
mod pattern;
/// Text to tree.
mod syntax;

use thiserror::Error;

use crate::limits::MAX_RULE_BYTES;

pub(crate) use keys::{AfterHost, HostKey, PathKey};
use matcher::Language;
pub(crate) use matcher::{Matcher, behind_label};
pub(crate) use syntax::{Expr, Node};

/// A parsed rule. Reading it again gives an equal one, so that its text is its identity.
#[derive(Debug)]
pub struct Rule {
    text: Box<str>,
    root: Node,
    warnings: Vec<RuleError>,
    regex_bytes: usize,
}

/// What is wrong (or, in [`Rule::warnings`], odd) and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("at byte {offset}: {message}")]
pub struct RuleError {
    /// In bytes from the start of the rule.
    pub offset: usize,
    /// What is wrong and what was expected.
    pub message: String,
}

impl RuleError {
    pub(crate) fn new(offset: usize, message: impl Into<String>) -> RuleError {
        RuleError { offset, message: message.into() }
    }
}

impl Rule {
    /// Reads a rule.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place. Rules over [`MAX_RULE_BYTES`],
    /// [`crate::limits::MAX_RULE_DEPTH`] or [`crate::limits::MAX_RULE_MATCHERS`] are refused, and so are regular
    /// expressions that would take too much memory.
    pub fn parse(text: &str) -> Result<Rule, RuleError> {
        Rule::read(text, Language::Http)
    }

    /// Reads the rule of a TCP router: `HostSNI`, `HostSNIRegexp`, `ClientIP`, `ALPN`.
    ///
    /// # Errors
    /// As [`Rule::parse`].
    pub fn parse_tcp(text: &str) -> Result<Rule, RuleError> {
        Rule::read(text, Language::Tcp)
    }

    fn read(text: &str, language: Language) -> Result<Rule, RuleError> {
        if text.len() > MAX_RULE_BYTES {
            let message = format!("the rule has {} bytes, at most {MAX_RULE_BYTES} are allowed", text.len());
            return Err(RuleError::new(0, message));
        }
        let parsed = syntax::parse(text, language)?;
        Ok(Rule {
            text: text.into(),
            root: parsed.root,
            warnings: parsed.warnings,
            regex_bytes: parsed.regex_bytes,
        })
    }

    /// The text that it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The priority of a router that sets none: the length of the rule in bytes.
    pub fn default_priority(&self) -> i64 {
        i64::try_from(self.text.len()).unwrap_or(i64::MAX)
    }

    /// Whether it is ``HostSNI(`*`)`` (or ``Host(`*`)``) and nothing else.
    pub fn is_catch_all(&self) -> bool {
        matches!(self.root.expr, Expr::Matcher(Matcher::AnyHost))
    }

    /// The priority of a TCP router that sets none: as [`Rule::default_priority`], but a catch-all comes after
    /// everything that has none either.
    pub fn default_tcp_priority(&self) -> i64 {
        if self.is_catch_all() { -1 } else { self.default_priority() }
    }

    /// Whether `found` holds for a matcher, wherever it stands.
    pub(crate) fn any_matcher(&self, found: &impl Fn(&Matcher) -> bool) -> bool {
        self.root.any_matcher(found)
    }

    /// What is allowed but hardly meant, such as a port in `Host`.
    pub fn warnings(&self) -> &[RuleError] {
        &self.warnings
    }

    /// Bytes that its compiled regular expressions take.
    pub fn regex_bytes(&self) -> usize {
        self.regex_bytes
    }

    pub(crate) fn root(&self) -> &Node {
        &self.root
    }

    /// The part of the text that `node` was read from.
    pub(crate) fn source(&self, node: &Node) -> &str {
        &self.text[node.start as usize..node.end as usize]
    }
}

#[cfg(test)]
mod tests;
