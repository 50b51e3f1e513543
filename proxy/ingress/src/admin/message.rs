//! What is asked, and what is answered.

use std::borrow::Cow;

use http::StatusCode;
use serde::Serialize;

/// The part of a request that answers depend on.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Percent-decoded.
    pub(super) path: String,
    /// Pairs of the query, decoded, in order.
    pub(super) query: Vec<(String, String)>,
}

impl Asked {
    pub(super) fn of(uri: &http::Uri) -> Asked {
        let pairs = form_urlencoded::parse(uri.query().unwrap_or("").as_bytes());
        // A path is decoded as a name in a form is, except that these stand for themselves.
        let path = uri.path().replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
        let path =
            form_urlencoded::parse(path.as_bytes()).next().map_or(Cow::Borrowed("/"), |(path, _)| path);
        Asked { path: path.into_owned(), query: pairs.into_owned().collect() }
    }

    /// The first value with this name, unless it is empty.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(known, value)| known == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    /// All values with this name that are not empty.
    pub(super) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.query
            .iter()
            .filter(move |(known, value)| known == name && !value.is_empty())
            .map(|(_, v)| v.as_str())
    }
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) next_page: Option<usize>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn text(status: StatusCode, body: impl Into<String>) -> Answer {
        let content_type = "text/plain; charset=utf-8";
        Answer { status, content_type, next_page: None, body: body.into().into_bytes() }
    }

    pub(super) fn json(value: &impl Serialize) -> Answer {
        match serde_json::to_vec(value) {
            Ok(mut body) => {
                body.push(b'\n');
                Answer { status: StatusCode::OK, content_type: "application/json", next_page: None, body }
            }
            Err(error) => Answer::error(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }

    /// Traefik's shape of errors.
    pub(super) fn error(status: StatusCode, message: impl Into<String>) -> Answer {
        #[derive(Serialize)]
        struct Error {
            message: String,
        }
        Answer { status, ..Answer::json(&Error { message: message.into() }) }
    }

    pub(super) fn not_found(what: impl Into<String>) -> Answer {
        Answer::error(StatusCode::NOT_FOUND, what)
    }

    pub(super) fn bad_request(what: impl Into<String>) -> Answer {
        Answer::error(StatusCode::BAD_REQUEST, what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_path_and_query() {
        let asked = Asked::of(
            &"/api/http/routers/a%40file+b&c=d?url=http%3A%2F%2Fh%2F&header=A:1&header=B:2&x="
                .parse()
                .unwrap(),
        );
        assert_eq!(asked.value("url"), Some("http://h/"));
        assert_eq!(asked.values("header").collect::<Vec<_>>(), ["A:1", "B:2"]);
        assert_eq!(asked.value("x"), None);
        assert_eq!(asked.path, "/api/http/routers/a@file+b&c=d");
    }
}
