//! The plain data of one router.

use pancake_table::snapshot::Router;
use serde::Serialize;

use super::{Verdict, short};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::admin) struct RouterInfo {
    entry_points: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    middlewares: Vec<String>,
    pub(super) service: String,
    pub(super) rule: String,
    pub(super) priority: i64,
    #[serde(rename = "error", skip_serializing_if = "Vec::is_empty")]
    errors: Vec<String>,
    pub(in crate::admin) status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    using: Vec<String>,
}

impl RouterInfo {
    /// `priority` is that of the table, if the router serves.
    pub(super) fn new(
        router: &Router,
        priority: Option<i64>,
        verdict: Verdict,
        default_entry_points: &[&str],
        known_entry_points: &[&str],
    ) -> RouterInfo {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let entry_points: Vec<String> = if router.entry_points.is_empty() {
            own(default_entry_points)
        } else {
            router.entry_points.clone()
        };
        let known = entry_points.iter().filter(|name| known_entry_points.contains(&name.as_str()));
        let mut using: Vec<String> = known.cloned().collect();
        using.sort();
        using.dedup();
        let own_priority = match router.priority {
            0 => i64::try_from(router.rule.len()).unwrap_or(i64::MAX),
            priority => priority,
        };
        RouterInfo {
            using,
            entry_points,
            middlewares: router.middlewares.clone(),
            service: short(&router.service, &router.name).to_owned(),
            rule: router.rule.clone(),
            priority: priority.unwrap_or(own_priority),
            errors: verdict.errors,
            status: verdict.status,
        }
    }
}
