//! Text of a rule to tree: tokens as in Go, `!` before `&&` before `||`.

use super::RuleError;
use super::matcher::{self, Language, Matcher};
use crate::limits::{MAX_RULE_DEPTH, MAX_RULE_MATCHERS, MAX_RULE_REGEX_BYTES};

/// A part of a rule and where it stands in the text, in bytes.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) expr: Expr,
}

/// What a part of a rule says.
#[derive(Debug)]
pub(crate) enum Expr {
    /// `a && b && c`: two or more.
    All(Vec<Node>),
    /// `a || b || c`: two or more.
    Any(Vec<Node>),
    /// `!a`.
    Not(Box<Node>),
    /// ``Host(`a`)``.
    Matcher(Matcher),
}

/// What [`parse`] makes of a rule.
pub(super) struct Parsed {
    pub(super) root: Node,
    pub(super) warnings: Vec<RuleError>,
    pub(super) regex_bytes: usize,
}

/// Reads a whole rule.
pub(super) fn parse(text: &str, language: Language) -> Result<Parsed, RuleError> {
    let mut parser = Parser {
        language,
        text,
        position: 0,
        ahead: (0, Token::End, 0),
        depth: 0,
        matchers: 0,
        warnings: vec![],
        regex_bytes: 0,
    };
    parser.advance()?;
    if parser.ahead.1 == Token::End {
        let example = match language {
            Language::Http => "Host(`example.com`)",
            Language::Tcp => "HostSNI(`example.com`)",
        };
        return Err(RuleError::new(0, format!("the rule is empty; expected a matcher such as {example}")));
    }
    let root = parser.alternatives()?;
    match &parser.ahead {
        (_, Token::End, _) => Ok(Parsed { root, warnings: parser.warnings, regex_bytes: parser.regex_bytes }),
        (at, Token::Close, _) => Err(RuleError::new(*at, "`)` without a `(` before it")),
        (at, token, _) => Err(RuleError::new(
            *at,
            format!("found {}, expected `&&`, `||` or the end of the rule", token.name()),
        )),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Name(String),
    Text(String),
    Open,
    Close,
    Comma,
    And,
    Or,
    Not,
    End,
}

impl Token {
    fn name(&self) -> String {
        match self {
            Token::Name(name) => format!("`{name}`"),
            Token::Text(_) => "a text".into(),
            Token::Open => "`(`".into(),
            Token::Close => "`)`".into(),
            Token::Comma => "`,`".into(),
            Token::And => "`&&`".into(),
            Token::Or => "`||`".into(),
            Token::Not => "`!`".into(),
            Token::End => "the end of the rule".into(),
        }
    }
}

struct Parser<'a> {
    language: Language,
    text: &'a str,
    /// Behind `ahead`.
    position: usize,
    /// Start, token, end.
    ahead: (usize, Token, usize),
    depth: usize,
    matchers: usize,
    warnings: Vec<RuleError>,
    regex_bytes: usize,
}

impl Parser<'_> {
    fn alternatives(&mut self) -> Result<Node, RuleError> {
        self.joined(Token::Or, Expr::Any, Parser::conjunction)
    }

    fn conjunction(&mut self) -> Result<Node, RuleError> {
        self.joined(Token::And, Expr::All, Parser::unary)
    }

    fn joined(
        &mut self,
        operator: Token,
        join: fn(Vec<Node>) -> Expr,
        part: fn(&mut Self) -> Result<Node, RuleError>,
    ) -> Result<Node, RuleError> {
        let first = part(self)?;
        if self.ahead.1 != operator {
            return Ok(first);
        }
        let start = first.start;
        let mut nodes = vec![first];
        while self.ahead.1 == operator {
            self.advance()?;
            nodes.push(part(self)?);
        }
        let end = nodes[nodes.len() - 1].end;
        Ok(Node { start, end, expr: join(nodes) })
    }

    fn unary(&mut self) -> Result<Node, RuleError> {
        let (at, token, _) = self.ahead.clone();
        match token {
            Token::Not => {
                self.descend(at)?;
                self.advance()?;
                let inner = self.unary()?;
                self.depth -= 1;
                Ok(Node { start: offset(at), end: inner.end, expr: Expr::Not(Box::new(inner)) })
            }
            Token::Open => {
                self.descend(at)?;
                self.advance()?;
                let inner = self.alternatives()?;
                if self.ahead.1 != Token::Close {
                    let message =
                        format!("found {}, expected `)` for the `(` at byte {at}", self.ahead.1.name());
                    return Err(RuleError::new(self.ahead.0, message));
                }
                let end = self.ahead.2;
                self.advance()?;
                self.depth -= 1;
                Ok(Node { start: offset(at), end: offset(end), expr: inner.expr })
            }
            Token::Name(name) => self.matcher(at, &name),
            other => {
                Err(RuleError::new(at, format!("found {}, expected a matcher, `!` or `(`", other.name())))
            }
        }
    }

    fn descend(&mut self, at: usize) -> Result<(), RuleError> {
        self.depth += 1;
        if self.depth > MAX_RULE_DEPTH {
            return Err(RuleError::new(
                at,
                format!("more than {MAX_RULE_DEPTH} `(` and `!` inside each other"),
            ));
        }
        Ok(())
    }

    fn matcher(&mut self, at: usize, name: &str) -> Result<Node, RuleError> {
        self.matchers += 1;
        if self.matchers > MAX_RULE_MATCHERS {
            return Err(RuleError::new(at, format!("more than {MAX_RULE_MATCHERS} matchers in one rule")));
        }
        let kind = matcher::kind(self.language, name)
            .ok_or_else(|| RuleError::new(at, matcher::unknown(self.language, name)))?;
        self.advance()?;
        if self.ahead.1 != Token::Open {
            let message = format!("found {}, expected `(` after {name}", self.ahead.1.name());
            return Err(RuleError::new(self.ahead.0, message));
        }
        self.advance()?;
        let mut values = Vec::new();
        while let (value_at, Token::Text(value), _) = &mut self.ahead {
            values.push((*value_at, std::mem::take(value)));
            self.advance()?;
            if self.ahead.1 != Token::Comma {
                break;
            }
            self.advance()?;
        }
        if self.ahead.1 != Token::Close {
            let expected = if values.is_empty() { "a value in backticks" } else { "`,` or `)`" };
            let message = format!("found {}, expected {expected}", self.ahead.1.name());
            return Err(RuleError::new(self.ahead.0, message));
        }
        let end = self.ahead.2;
        self.advance()?;
        let built = matcher::build(kind, at, &values)?;
        self.warnings.extend(built.warning);
        self.regex_bytes += built.matcher.regex_bytes();
        if self.regex_bytes > MAX_RULE_REGEX_BYTES {
            return Err(RuleError::new(at, "the regular expressions of this rule take too much memory"));
        }
        Ok(Node { start: offset(at), end: offset(end), expr: Expr::Matcher(built.matcher) })
    }

    /// Reads the next token into `ahead`.
    fn advance(&mut self) -> Result<(), RuleError> {
        let bytes = self.text.as_bytes();
        while bytes.get(self.position).is_some_and(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n')) {
            self.position += 1;
        }
        let start = self.position;
        let token = match bytes.get(start) {
            None => Token::End,
            Some(b'(') => self.symbol(1, Token::Open),
            Some(b')') => self.symbol(1, Token::Close),
            Some(b',') => self.symbol(1, Token::Comma),
            Some(b'!') => self.symbol(1, Token::Not),
            Some(b'&') if bytes.get(start + 1) == Some(&b'&') => self.symbol(2, Token::And),
            Some(b'|') if bytes.get(start + 1) == Some(&b'|') => self.symbol(2, Token::Or),
            Some(b'`') => self.raw_text()?,
            Some(b'"') => self.quoted_text()?,
            Some(b) if b.is_ascii_alphabetic() || *b == b'_' => self.word()?,
            Some(_) => return Err(RuleError::new(start, unexpected(&self.text[start..]))),
        };
        self.ahead = (start, token, self.position);
        Ok(())
    }

    fn symbol(&mut self, length: usize, token: Token) -> Token {
        self.position += length;
        token
    }

    fn word(&mut self) -> Result<Token, RuleError> {
        let rest = &self.text[self.position..];
        let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let word = &rest[..length];
        let operator = match word.to_ascii_lowercase().as_str() {
            "and" => Some("&&"),
            "or" => Some("||"),
            "not" => Some("!"),
            _ => None,
        };
        if let Some(operator) = operator {
            let message = format!("`{word}` is no operator, did you mean `{operator}`?");
            return Err(RuleError::new(self.position, message));
        }
        self.position += length;
        Ok(Token::Name(word.to_owned()))
    }

    /// A Go raw string: no escapes, carriage returns are dropped.
    fn raw_text(&mut self) -> Result<Token, RuleError> {
        let start = self.position;
        let rest = &self.text[start + 1..];
        let Some(length) = rest.find('`') else {
            return Err(RuleError::new(start, "the text that starts here has no closing backtick"));
        };
        self.position = start + length + 2;
        let text = &rest[..length];
        Ok(Token::Text(if text.contains('\r') { text.replace('\r', "") } else { text.to_owned() }))
    }

    /// A Go interpreted string.
    fn quoted_text(&mut self) -> Result<Token, RuleError> {
        let start = self.position;
        let bytes = self.text.as_bytes();
        let mut at = start + 1;
        let mut out: Vec<u8> = Vec::new();
        loop {
            match bytes.get(at) {
                None | Some(b'\n') => {
                    return Err(RuleError::new(start, "the text that starts here has no closing `\"`"));
                }
                Some(b'"') => break,
                Some(b'\\') => at += escape(&self.text[at..], at, &mut out)?,
                Some(b) => {
                    out.push(*b);
                    at += 1;
                }
            }
        }
        self.position = at + 1;
        match String::from_utf8(out) {
            Ok(text) => Ok(Token::Text(text)),
            Err(_) => Err(RuleError::new(start, "the escapes of this text do not make valid UTF-8")),
        }
    }
}

/// Reads one escape of a Go interpreted string; returns its length.
fn escape(rest: &str, at: usize, out: &mut Vec<u8>) -> Result<usize, RuleError> {
    let unknown = || {
        RuleError::new(at, "unknown escape in a `\"` text; write `\\\\` for a backslash, or use backticks")
    };
    let digits = |from: usize, count: usize, radix: u32| {
        let digits = rest.get(from..from + count).ok_or_else(unknown)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(unknown());
        }
        u32::from_str_radix(digits, radix).map_err(|_| unknown())
    };
    let simple = |byte: u8, out: &mut Vec<u8>| {
        out.push(byte);
        Ok(2)
    };
    match rest.as_bytes().get(1).copied().ok_or_else(unknown)? {
        b'a' => simple(7, out),
        b'b' => simple(8, out),
        b'f' => simple(12, out),
        b'n' => simple(b'\n', out),
        b'r' => simple(b'\r', out),
        b't' => simple(b'\t', out),
        b'v' => simple(11, out),
        b'\\' => simple(b'\\', out),
        b'"' => simple(b'"', out),
        b'x' => {
            out.push(u8::try_from(digits(2, 2, 16)?).map_err(|_| unknown())?);
            Ok(4)
        }
        b'0'..=b'7' => {
            out.push(u8::try_from(digits(1, 3, 8)?).map_err(|_| unknown())?);
            Ok(4)
        }
        kind @ (b'u' | b'U') => {
            let count = if kind == b'u' { 4 } else { 8 };
            let c = char::from_u32(digits(2, count, 16)?).ok_or_else(unknown)?;
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            Ok(2 + count)
        }
        _ => Err(unknown()),
    }
}

fn unexpected(rest: &str) -> String {
    let found = rest.chars().next().unwrap_or(' ');
    let hint = match found {
        '\'' => "texts stand in backticks (`) or double quotes, not in single quotes",
        '&' => "did you mean `&&`?",
        '|' => "did you mean `||`?",
        '\\' => "no backslash is needed before a quote here",
        '‘' | '’' | '“' | '”' => "texts stand in backticks (`) or straight double quotes",
        _ => "expected a matcher, `&&`, `||`, `!`, `(` or `)`",
    };
    format!("unexpected {found:?}: {hint}")
}

/// Offsets fit: a rule has at most [`crate::limits::MAX_RULE_BYTES`].
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
