//! One thing wrong with the configuration, as API and log show it.

use std::collections::HashSet;
use std::fmt;

use pancake_config::problem as read;
use pancake_config::traefik::source_map::SourceMap;
use pancake_table::check;
use serde::Serialize;

use super::Provider;
use crate::limits::MAX_LOGGED_PROBLEMS;

/// How much a problem matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The object serves, though hardly as meant.
    Warning,
    /// The object is left out, or the whole change.
    Error,
}

/// One thing wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Whose configuration.
    pub provider: &'static str,
    /// `file:line:column`, or the provider.
    pub place: String,
    /// `router web@file`; empty if it concerns everything.
    pub object: String,
    /// The field of the object; may be empty.
    pub field: String,
    /// What is wrong, what was expected, what was probably meant.
    pub message: String,
    /// How much it matters.
    pub severity: Severity,
}

impl Problem {
    /// A reason to refuse everything that the provider says.
    pub fn of_provider(provider: Provider, message: impl Into<String>) -> Problem {
        Problem {
            provider: provider.name(),
            place: format!("provider {}", provider.name()),
            object: String::new(),
            field: String::new(),
            message: message.into(),
            severity: Severity::Error,
        }
    }

    /// What the reader of files found.
    pub fn read(provider: Provider, problem: &read::Problem) -> Problem {
        let object = match &problem.scope {
            read::Scope::Object(object) => object.clone(),
            read::Scope::Input | read::Scope::Note => String::new(),
        };
        let mut message = problem.message.clone();
        if let Some(expected) = &problem.expected {
            message.push_str(&format!("; expected {expected}"));
        }
        if let Some(suggestion) = &problem.suggestion {
            message.push_str(&format!("; did you mean {suggestion}?"));
        }
        let noted = problem.scope == read::Scope::Note;
        Problem {
            provider: provider.name(),
            place: problem.span.to_string(),
            object,
            field: String::new(),
            message,
            severity: if noted { Severity::Warning } else { Severity::Error },
        }
    }

    /// What the check of all providers' snapshots found, at its place in the files.
    pub(super) fn checked(provider: Provider, sources: &SourceMap, problem: &check::Problem) -> Problem {
        let place = sources.place(&problem.object, &problem.field, problem.offset_in_rule);
        let mut message = problem.message.clone();
        if let (None, Some(offset)) = (&place, problem.offset_in_rule) {
            message = format!("at byte {offset}: {message}");
        }
        Problem {
            provider: provider.name(),
            place: place.map_or_else(|| format!("provider {}", provider.name()), |span| span.to_string()),
            object: problem.object.clone(),
            field: problem.field.clone(),
            message,
            severity: match problem.severity {
                check::Severity::Warning => Severity::Warning,
                check::Severity::Error => Severity::Error,
            },
        }
    }

    /// Whose object a problem is about, by the end of its name.
    pub(super) fn provider_of(problem: &check::Problem) -> Provider {
        let named = |provider: &&Provider| {
            problem.object.strip_suffix(provider.name()).is_some_and(|rest| rest.ends_with('@'))
        };
        *Provider::ALL.iter().find(named).unwrap_or(&Provider::Pancake)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        for part in [&self.object, &self.field].into_iter().filter(|part| !part.is_empty()) {
            write!(f, "{part}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Logs the problems that are not among those `known`, at most [`MAX_LOGGED_PROBLEMS`].
pub(super) fn log_new<'a>(problems: impl Iterator<Item = &'a Problem>, known: &HashSet<String>) {
    let mut logged = 0;
    let mut unlogged = 0;
    for problem in problems {
        let text = problem.to_string();
        if known.contains(&text) {
            continue;
        }
        if logged == MAX_LOGGED_PROBLEMS {
            unlogged += 1;
            continue;
        }
        logged += 1;
        match problem.severity {
            Severity::Error => tracing::error!(provider = problem.provider, "{text}"),
            Severity::Warning => tracing::warn!(provider = problem.provider, "{text}"),
        }
    }
    if unlogged > 0 {
        tracing::error!(unlogged, "there are more problems: see /api/pancake/problems");
    }
}
