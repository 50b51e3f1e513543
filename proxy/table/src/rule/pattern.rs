//! Regular expressions in Go's syntax (RE2), with limits.
//!
//! The engine reads nearly the same syntax. Where it differs, the text is translated: `\d \w \s \b` are ASCII,
//! `\Q…\E` quotes, `\<` is a plain `<`, a `{` that begins no repetition is a plain character, and classes know no
//! set operations. Not the same: `--` inside a class is refused, and a value that is not valid UTF-8 is not
//! matched by `.` where Go would see U+FFFD.

use std::fmt;

use regex_automata::meta;
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::util::syntax;

use super::RuleError;
use crate::limits::{MAX_REGEX_BYTES, MAX_REGEX_PROGRAM_BYTES};

/// Bytes of lazily built states per thread that uses a pattern.
const CACHE_BYTES: usize = 128 << 10;
/// Groups and repetitions inside each other.
const MAX_NESTING: u32 = 200;

/// A compiled regular expression; where it matches does not matter, only whether.
pub(crate) struct Pattern {
    text: Box<str>,
    regex: meta::Regex,
}

impl Pattern {
    /// Compiles `text`, which stands at `at` in the rule.
    pub(super) fn new(text: &str, at: usize) -> Result<Pattern, RuleError> {
        let wrong = |why: &str| RuleError::new(at, format!("the regular expression is wrong: {why}"));
        if text.len() > MAX_REGEX_BYTES {
            return Err(wrong(&format!(
                "it has {} bytes, at most {MAX_REGEX_BYTES} are allowed",
                text.len()
            )));
        }
        let translated = translate(text).map_err(wrong)?;
        let config = meta::Config::new()
            .nfa_size_limit(Some(MAX_REGEX_PROGRAM_BYTES))
            .onepass_size_limit(Some(MAX_REGEX_PROGRAM_BYTES))
            .hybrid_cache_capacity(CACHE_BYTES)
            .which_captures(WhichCaptures::None)
            .utf8_empty(false);
        let syntax = syntax::Config::new().utf8(false).octal(true).nest_limit(MAX_NESTING);
        match meta::Builder::new().configure(config).syntax(syntax).build(&translated) {
            Ok(regex) => Ok(Pattern { text: text.into(), regex }),
            Err(error) if error.size_limit().is_some() => {
                Err(wrong("it needs too much memory when compiled"))
            }
            Err(error) => {
                let full = error.syntax_error().map_or_else(|| error.to_string(), ToString::to_string);
                let last = full.lines().last().unwrap_or_default();
                Err(wrong(last.strip_prefix("error: ").unwrap_or(last)))
            }
        }
    }

    pub(crate) fn is_match(&self, value: &[u8]) -> bool {
        self.regex.is_match(value)
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn bytes(&self) -> usize {
        self.regex.memory_usage()
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.text).finish()
    }
}

/// Go's syntax to the engine's.
fn translate(go: &str) -> Result<String, &'static str> {
    let mut out = String::with_capacity(go.len() + 16);
    let mut rest = go;
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '\\' => escape(after, in_class, &mut out),
            '[' if !in_class => {
                in_class = true;
                open_class(after, &mut out)
            }
            '[' => posix_class(rest, &mut out),
            ']' if in_class => {
                in_class = false;
                out.push(']');
                after
            }
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
                after
            }
            '-' if in_class && after.starts_with('-') => {
                return Err("`--` in a class is not supported: write `\\-` for a dash");
            }
            '{' if !in_class && !is_repetition(after) => {
                out.push_str("\\{");
                after
            }
            '(' if !in_class && after.starts_with('?') => {
                check_flags(&after[1..])?;
                out.push('(');
                after
            }
            other => {
                out.push(other);
                after
            }
        };
    }
    Ok(out)
}

/// What stands behind a backslash; returns the rest.
fn escape<'a>(after: &'a str, in_class: bool, out: &mut String) -> &'a str {
    let Some(c) = after.chars().next() else {
        out.push('\\');
        return after;
    };
    let rest = &after[c.len_utf8()..];
    let class = match c.to_ascii_lowercase() {
        'd' => Some("0-9"),
        'w' => Some("0-9A-Za-z_"),
        's' => Some("\\t\\n\\x0C\\r "),
        _ => None,
    };
    match (c, class) {
        ('d' | 'w' | 's', Some(class)) if in_class => out.push_str(class),
        ('d' | 'w' | 's', Some(class)) => out.extend(["[", class, "]"]),
        (_, Some(class)) => out.extend(["[^", class, "]"]),
        ('b' | 'B', None) if !in_class => out.extend(["(?-u:\\", if c == 'b' { "b" } else { "B" }, ")"]),
        ('<' | '>', None) => out.push(c),
        ('p' | 'P' | 'x', None) if rest.starts_with('{') => {
            let end = rest.find('}').map_or(rest.len(), |at| at + 1);
            out.push('\\');
            out.push(c);
            out.push_str(&rest[..end]);
            return &rest[end..];
        }
        ('Q', None) if !in_class => {
            let (quoted, rest) = rest.split_once("\\E").unwrap_or((rest, ""));
            for q in quoted.chars() {
                if q.is_ascii_punctuation() && q != '<' && q != '>' {
                    out.push('\\');
                }
                out.push(q);
            }
            return rest;
        }
        _ => {
            out.push('\\');
            out.push(c);
        }
    }
    rest
}

/// What stands behind the `[` of a class: `^`, and a `]` that is a plain character there.
fn open_class<'a>(after: &'a str, out: &mut String) -> &'a str {
    out.push('[');
    let mut rest = after;
    if let Some(inner) = rest.strip_prefix('^') {
        out.push('^');
        rest = inner;
    }
    if let Some(inner) = rest.strip_prefix(']') {
        out.push_str("\\]");
        rest = inner;
    }
    rest
}

/// `[:alpha:]`, or a `[` that is a plain character; `rest` starts with it.
fn posix_class<'a>(rest: &'a str, out: &mut String) -> &'a str {
    if rest.starts_with("[:")
        && let Some(end) = rest.find(":]")
    {
        out.push_str(&rest[..end + 2]);
        return &rest[end + 2..];
    }
    out.push_str("\\[");
    &rest[1..]
}

/// Whether a `{` is followed by `n}`, `n,}` or `n,m}`.
fn is_repetition(after: &str) -> bool {
    let Some((inside, _)) = after.split_once('}') else {
        return false;
    };
    let number = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    match inside.split_once(',') {
        Some((low, high)) => number(low) && (high.is_empty() || number(high)),
        None => number(inside),
    }
}

/// Flags that RE2 has: `imsU`. What is no flag is left to the engine.
fn check_flags(after: &str) -> Result<(), &'static str> {
    let flags = after.split([':', ')', '<', 'P', '=', '!']).next().unwrap_or_default();
    if flags.contains(['x', 'R', 'u']) { Err("there are no flags but `i`, `m`, `s` and `U`") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_match(pattern: &str, value: &str) -> bool {
        Pattern::new(pattern, 0).unwrap().is_match(value.as_bytes())
    }

    #[test]
    fn reads_what_only_go_reads() {
        assert!(is_match(r"^\Qa.b\E$", "a.b") && !is_match(r"^\Qa.b\E$", "axb"));
        assert!(!is_match(r"{domain:[a-zA-Z-]+\.com}", "example.com"));
        assert!(is_match(r"^a{,2}$", "a{,2}") && is_match("^a{2}$", "aa"));
        assert!(is_match(r"^\<a\>$", "<a>"));
        assert!(is_match(r"^[[a&&b~]+$", "[a&b~") && !is_match(r"^[a&&b]$", "c"));
        assert!(is_match(r"^[]a]+$", "a]") && is_match(r"^[^]a]+$", "bc"));
        assert!(is_match(r"^[[:alpha:]]+$", "abc") && !is_match(r"^[[:alpha:]]+$", "ab1"));
        assert!(is_match(r"^\p{Greek}+$", "αβ"));
    }

    #[test]
    fn perl_classes_are_ascii() {
        assert!(!is_match(r"^\d+$", "٣") && is_match(r"^\d+$", "3"));
        assert!(!is_match(r"^\w+$", "é") && is_match(r"^[\w.]+$", "a_9."));
        assert!(is_match(r"^[^\d]$", "é") && is_match(r"^\D$", "é") && is_match(r"^[\Da]$", "é"));
        assert!(is_match(r"\bfoo\b", "a foo b") && !is_match(r"\bfoo\b", "afoo"));
    }

    #[test]
    fn is_not_anchored_and_folds_case_on_demand() {
        assert!(is_match("b", "abc") && is_match("(?i)B", "abc") && !is_match("B", "abc"));
    }

    #[test]
    fn refuses_what_go_refuses() {
        for pattern in ["(", "[", "a(?=b)", "(?x)a b", r"\8", "[a--b]", "*", r"\p{Nope}", "(?<n"] {
            let error = Pattern::new(pattern, 7).unwrap_err();
            assert_eq!(error.offset, 7);
            assert!(!error.message.contains('\n'), "{}", error.message);
        }
    }

    #[test]
    fn refuses_what_takes_too_much_memory() {
        for pattern in
            ["(((a{100}){100}){100}){100}", r"\pL{1000}\pL{1000}", &"(".repeat(4000), &"a".repeat(1 << 20)]
        {
            assert!(Pattern::new(pattern, 0).is_err());
        }
    }
}
