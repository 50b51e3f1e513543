//! `http.routers`.

use pancake_table::snapshot::Router;

use super::{qualified, qualified_options};
use crate::decode::Fields;
use crate::problem::Problem;
use crate::traefik::tls;
use crate::tree::quote;

pub(super) fn read(name: String, fields: &Fields<'_, '_>) -> Router {
    fields.not_supported(&["parentRefs"]);
    fields.section("observability", |section| {
        let why = "logs and metrics are the same for all routers";
        section.ignored(&["accessLogs", "metrics", "tracing", "traceVerbosity"], why);
    });
    rule_syntax(fields);
    if fields.get("rule").is_none() {
        fields.missing("rule", "a rule such as Host(`example.org`)");
    }
    if fields.get("service").is_none() {
        fields.missing("service", "the name of a service");
    }
    let texts = |key| fields.list(key).into_iter().map(|(text, _)| text);
    Router {
        name,
        entry_points: texts("entryPoints").map(str::to_string).collect(),
        rule: fields.string("rule").unwrap_or_default().to_string(),
        priority: fields.number("priority", "a whole number", |_| true).unwrap_or_default(),
        middlewares: texts("middlewares").map(qualified).collect(),
        service: fields.string("service").map(qualified).unwrap_or_default(),
        tls: fields.section("tls", |section| tls::router_tls(section, qualified_options)),
    }
}

/// Only that of version 3.
pub(super) fn rule_syntax(fields: &Fields<'_, '_>) {
    if let Some((syntax, node)) = fields.scalar("ruleSyntax")
        && syntax != "v3"
    {
        let what = format!("ruleSyntax {}", quote(syntax));
        fields.sink().push(Problem::not_supported(node.span.clone(), what).expected("v3"));
    }
}
