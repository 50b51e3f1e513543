//! Why a rule does not match: the parts that fail, with reasons in plain words.

use super::Failure;
use crate::lookup::Request;
use crate::rule::{Expr, Matcher, Node, Rule, behind_label};

/// Failures that are listed for one rule.
const MAX_FAILURES: usize = 16;
/// Bytes of a request's value that a reason quotes.
const MAX_QUOTED_BYTES: usize = 200;

/// The parts of `rule` because of which `request` does not match: of `a && b` the first that fails, of `a || b` all.
pub(super) fn failures(rule: &Rule, request: &impl Request) -> Vec<Failure> {
    let mut found = Vec::new();
    collect(rule, rule.root(), request, &mut found);
    found
}

fn collect(rule: &Rule, node: &Node, request: &impl Request, found: &mut Vec<Failure>) {
    if found.len() >= MAX_FAILURES || node.matches(request) {
        return;
    }
    let why = match &node.expr {
        Expr::All(parts) => {
            if let Some(part) = parts.iter().find(|part| !part.matches(request)) {
                collect(rule, part, request, found);
            }
            return;
        }
        Expr::Any(parts) => {
            for part in parts {
                collect(rule, part, request, found);
            }
            return;
        }
        Expr::Not(part) => format!("the request matches {}", rule.source(part)),
        Expr::Matcher(matcher) => reason(matcher, request),
    };
    found.push(Failure { part: rule.source(node).to_owned(), offset: node.start as usize, why });
}

fn reason(matcher: &Matcher, request: &impl Request) -> String {
    match matcher {
        Matcher::AnyHost => String::new(),
        Matcher::Never(why) => (*why).to_owned(),
        Matcher::Host(_) | Matcher::HostWildcard(_) | Matcher::HostRegexp(_) if request.host().is_empty() => {
            "the request has no host".into()
        }
        Matcher::Host(_) => format!("the host is {}", quoted(request.host().as_bytes())),
        Matcher::HostWildcard(parent) => {
            let parent = behind_label(parent);
            format!("the host is {}, not one label and .{parent}", quoted(request.host().as_bytes()))
        }
        Matcher::HostRegexp(pattern) => {
            format!("the host {} does not match {}", quoted(request.host().as_bytes()), pattern.text())
        }
        Matcher::Path(path) if request.path().trim_end_matches('/') == path.trim_end_matches('/') => {
            format!("the path is {}: a slash at the end counts", quoted(request.path().as_bytes()))
        }
        Matcher::Path(_) => format!("the path is {}", quoted(request.path().as_bytes())),
        Matcher::PathPrefix(prefix) => {
            format!("the path {} does not start with {prefix}", quoted(request.path().as_bytes()))
        }
        Matcher::PathRegexp(pattern) => {
            format!("the path {} does not match {}", quoted(request.path().as_bytes()), pattern.text())
        }
        Matcher::Header { name, .. } | Matcher::HeaderRegexp { name, .. } => header(name, request),
        Matcher::Query { value, .. } => {
            let wanted = if value.is_empty() { "without a value".into() } else { format!("= {value}") };
            format!("the query {} has no such parameter {wanted}", quoted(request.query().as_bytes()))
        }
        Matcher::QueryRegexp { pattern, .. } => {
            let query = quoted(request.query().as_bytes());
            format!("the query {query} has no such parameter with a value that matches {}", pattern.text())
        }
        Matcher::Method(_) => format!("the method is {}", quoted(request.method().as_bytes())),
        Matcher::Alpn(protocol) => format!("the client does not offer {protocol}"),
        Matcher::ClientIp(_) => format!("the peer of the connection is {}", request.client_ip()),
    }
}

fn header(name: &str, request: &impl Request) -> String {
    let mut values = Vec::new();
    request.any_header(name, &mut |value| {
        values.push(quoted(value));
        values.len() >= 4
    });
    match &*values {
        [] => format!("the request has no header {name}"),
        values => format!("the header {name} is {}", values.join(", ")),
    }
}

fn quoted(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(&value[..value.len().min(MAX_QUOTED_BYTES)]);
    if value.len() > MAX_QUOTED_BYTES { format!("{text:?}…") } else { format!("{text:?}") }
}
