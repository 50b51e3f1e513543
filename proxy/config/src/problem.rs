//! What is wrong, where, what was expected, what was probably meant.
//!
//! A `Problem` prints as `file:line:column: what is wrong; expected …; did you mean …?` and tells by its
//! `Scope` how much of the input it spoils. It does not decide what the process does about it.

use std::fmt;
use std::sync::Arc;

/// A place in a source text. Lines and columns count from 1; a line of 0 means that the source has no lines
/// (a flag or an environment variable).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// File name, flag or environment variable.
    pub source: Arc<str>,
    /// Line, from 1; 0 for sources without lines.
    pub line: u32,
    /// Column in characters, from 1; 0 for sources without lines.
    pub column: u32,
}

impl Span {
    /// The place in a file.
    pub fn new(source: &Arc<str>, line: u32, column: u32) -> Span {
        Span { source: source.clone(), line, column }
    }

    /// A source that has no lines: a flag, an environment variable, a file as a whole.
    pub fn whole(source: impl Into<Arc<str>>) -> Span {
        Span { source: source.into(), line: 0, column: 0 }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.source),
            line => write!(f, "{}:{line}:{}", self.source, self.column),
        }
    }
}

/// How much of the input a problem spoils.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All of it: keep the last good state.
    Input,
    /// One object, such as `router web@file` or `section tls`: it is left out, the others serve.
    Object(String),
    /// Nothing: a setting that is accepted and has no effect, or an object that serves though hardly as meant.
    Note,
}

/// One thing that is wrong with the input.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Problem {
    /// Where.
    pub span: Span,
    /// What is wrong.
    pub message: String,
    /// What would have been right.
    pub expected: Option<String>,
    /// What was probably meant.
    pub suggestion: Option<String>,
    /// How much of the input it spoils.
    pub scope: Scope,
}

impl Problem {
    /// A problem that spoils the whole input.
    pub fn new(span: Span, message: impl Into<String>) -> Problem {
        Problem { span, message: message.into(), expected: None, suggestion: None, scope: Scope::Input }
    }

    /// Something that Traefik has and Pancake does not have yet.
    pub fn not_supported(span: Span, what: impl fmt::Display) -> Problem {
        Problem::new(span, format!("not supported yet: {what}"))
    }

    /// Says what would have been right.
    pub fn expected(mut self, expected: impl Into<String>) -> Problem {
        self.expected = Some(expected.into());
        self
    }

    /// Says what was probably meant, if something was.
    pub fn suggest(mut self, suggestion: Option<impl Into<String>>) -> Problem {
        self.suggestion = suggestion.map(Into::into);
        self
    }

    /// Narrows (or widens) what it spoils.
    pub fn scope(mut self, scope: Scope) -> Problem {
        self.scope = scope;
        self
    }

    /// Whether it names something known that is not built yet.
    pub fn is_not_supported(&self) -> bool {
        self.message.starts_with("not supported yet: ")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.span)?;
        if let Scope::Object(object) = &self.scope {
            write!(f, "{object}: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(expected) = &self.expected {
            write!(f, "; expected {expected}")?;
        }
        if let Some(suggestion) = &self.suggestion {
            write!(f, "; did you mean {suggestion}?")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_place_message_expectation_and_suggestion() {
        let file: Arc<str> = "static.yml".into();
        let problem = Problem::new(Span::new(&file, 7, 5), "unknown key \"adress\"")
            .expected("a key of entryPoints.web")
            .suggest(Some("\"address\""));
        assert_eq!(
            problem.to_string(),
            "static.yml:7:5: unknown key \"adress\"; expected a key of entryPoints.web; did you mean \"address\"?"
        );
    }

    #[test]
    fn prints_a_flag_without_line_and_column() {
        let problem = Problem::new(Span::whole("--api.insecure"), "not a boolean: \"maybe\"");
        assert_eq!(problem.to_string(), "--api.insecure: not a boolean: \"maybe\"");
    }
}
