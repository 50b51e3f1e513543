//! Lists by pages, with filters, as Traefik's API has them.

use serde::Serialize;

use super::message::{Answer, Asked};
use crate::limits::API_PAGE;

/// The page that is asked for by `page` (from 1) and `per_page`. `X-Next-Page` is 1 after the last page.
pub(super) fn answer<T: Serialize>(asked: &Asked, all: Vec<T>) -> Answer {
    let number = |name: &str, default: usize| match asked.value(name) {
        None => Some(default),
        Some(text) => text.parse().ok().filter(|number| *number > 0),
    };
    let (Some(page), Some(per_page)) = (number("page", 1), number("per_page", API_PAGE)) else {
        return Answer::bad_request("invalid request: page and per_page are numbers from 1");
    };
    let start = (page - 1).saturating_mul(per_page);
    if start > 0 && start >= all.len() {
        return Answer::bad_request(format!("invalid request: page: {page}, per_page: {per_page}"));
    }
    let end = start.saturating_add(per_page).min(all.len());
    let next = if end < all.len() { page + 1 } else { 1 };
    Answer { next_page: Some(next), ..Answer::json(&&all[start..end]) }
}

/// What an object must be like to be listed.
pub(super) struct Filter {
    search: Option<String>,
    status: Option<String>,
    service: Option<String>,
}

impl Filter {
    /// Of `search`, `status` and `serviceName`.
    pub(super) fn of(asked: &Asked) -> Filter {
        Filter {
            search: asked.value("search").map(str::to_lowercase),
            status: asked.value("status").map(str::to_lowercase),
            service: asked.value("serviceName").map(str::to_owned),
        }
    }

    /// Whether an object with this status, that is known under these texts, is listed.
    pub(super) fn takes(&self, status: &str, texts: &[&str], service: Option<&str>) -> bool {
        let found = |search: &String| texts.iter().any(|text| text.to_lowercase().contains(search));
        self.status.as_ref().is_none_or(|wanted| wanted == status)
            && self.search.as_ref().is_none_or(found)
            && self.service.as_ref().is_none_or(|wanted| service == Some(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &str) -> (u16, Option<usize>, String) {
        let asked = Asked::of(&format!("/api/http/routers?{query}").parse().unwrap());
        let answer = answer(&asked, vec![1, 2, 3]);
        (answer.status.as_u16(), answer.next_page, String::from_utf8(answer.body).unwrap())
    }

    #[test]
    fn pages_go_round() {
        assert_eq!(page(""), (200, Some(1), "[1,2,3]\n".into()));
        assert_eq!(page("per_page=2"), (200, Some(2), "[1,2]\n".into()));
        assert_eq!(page("per_page=2&page=2"), (200, Some(1), "[3]\n".into()));
    }

    #[test]
    fn a_page_beyond_the_end_is_an_error() {
        let (status, _, body) = page("per_page=1&page=99");
        assert_eq!((status, &*body), (400, "{\"message\":\"invalid request: page: 99, per_page: 1\"}\n"));
        assert_eq!(page("page=0").0, 400);
        assert_eq!(page("per_page=x").0, 400);
    }
}
