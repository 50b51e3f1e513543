//! Requests explained by the published table.
//!
//! A proxy may know more routers (its own files) and sees servers with its own eyes; ask it first if there is one.
//! The path is brought into routing form as proxies do it: unreserved characters decoded, dot segments removed.

use std::net::{IpAddr, Ipv4Addr};

use pancake_api::control as api;
use pancake_table::explain::{Candidate, Chosen, Explanation};
use pancake_table::lookup::OwnedRequest;

use crate::publish::Published;
use crate::world::{OpError, count};

/// Bytes of a URL to explain.
const MAX_URL: usize = 16 << 10;
/// Headers of a request to explain.
const MAX_HEADERS: usize = 256;

/// Explains a request.
pub fn explain(published: &Published, request: api::ExplainRequest) -> Result<api::ExplainResponse, OpError> {
    let table = &published.table;
    let asked = match request.entry_point.as_str() {
        "" => published.entry_points.iter().find(|e| *e == "web").or(published.entry_points.first()),
        name => published.entry_points.iter().find(|e| *e == name),
    };
    let entry_point = asked.and_then(|name| table.entry_point(name)).ok_or_else(|| {
        OpError::NotFound(format!(
            "no entry point {:?}; known are {}",
            request.entry_point,
            published.entry_points.join(", ")
        ))
    })?;
    let secure = request.url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
    let request = incoming(request)?;
    Ok(outgoing(published, table.explain(entry_point, secure, &request)))
}

fn incoming(request: api::ExplainRequest) -> Result<OwnedRequest, OpError> {
    let invalid = |e: String| OpError::Invalid(e);
    if request.url.len() > MAX_URL || request.headers.len() > MAX_HEADERS {
        return Err(invalid(format!("more than {MAX_URL} bytes of URL or {MAX_HEADERS} headers")));
    }
    let with_scheme =
        if request.url.contains("://") { request.url } else { format!("http://{}", request.url) };
    let uri: http::Uri =
        with_scheme.parse().map_err(|e| invalid(format!("{with_scheme:?} is not a URL: {e}")))?;
    let mut host = uri.host().unwrap_or_default().to_ascii_lowercase();
    let mut headers = Vec::with_capacity(request.headers.len());
    for header in request.headers {
        if header.name.eq_ignore_ascii_case("host") {
            let authority: http::uri::Authority = header
                .value
                .parse()
                .map_err(|e| invalid(format!("Host {:?} is not a host: {e}", header.value)))?;
            host = authority.host().to_ascii_lowercase();
        }
        headers.push((header.name, header.value.into_bytes()));
    }
    let client_ip = match request.client_ip.as_str() {
        "" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip.parse().map_err(|_| invalid(format!("{ip:?} is not an IP address")))?,
    };
    Ok(OwnedRequest {
        method: if request.method.is_empty() { "GET".into() } else { request.method },
        host: host.trim_end_matches('.').trim_start_matches('[').trim_end_matches(']').to_owned(),
        path: routing_path(uri.path()),
        query: uri.query().unwrap_or_default().to_owned(),
        headers,
        client_ip,
    })
}

/// Unreserved characters decoded (RFC 3986 6.2.2.2), dot segments removed (5.2.4); encoded slashes stay encoded.
fn routing_path(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = bytes.get(i + 1..i + 3).and_then(|h| std::str::from_utf8(h).ok());
        match hex.and_then(|h| u8::from_str_radix(h, 16).ok()).filter(|_| bytes[i] == b'%') {
            Some(b) if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => {
                decoded.push(b);
                i += 3;
            }
            _ => {
                decoded.push(bytes[i]);
                i += 1;
            }
        }
    }
    let decoded = String::from_utf8_lossy(&decoded);
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let directory = matches!(decoded.rsplit('/').next(), Some("." | "..")) && !segments.is_empty();
    format!("/{}{}", segments.join("/"), if directory { "/" } else { "" })
}

fn outgoing(published: &Published, e: Explanation) -> api::ExplainResponse {
    let candidate = |c: Candidate| api::ExplainedRouter {
        router: c.router,
        rule: c.rule,
        priority: c.priority,
        matched: c.matched,
        failed: c
            .failed
            .into_iter()
            .map(|f| api::ExplainedFailure { part: f.part, offset: count(f.offset), why: f.why })
            .collect(),
    };
    let chosen = |c: Chosen| {
        let router = published.snapshot.routers.iter().find(|r| r.name == c.router);
        api::ExplainedChoice {
            middlewares: router.map(|r| r.middlewares.clone()).unwrap_or_default(),
            router: c.router,
            service: c.service,
            usable: count(c.usable),
            servers: c
                .servers
                .into_iter()
                .map(|s| api::ExplainedServer {
                    url: s.url,
                    id: s.id,
                    weight: s.weight,
                    draining: s.draining,
                    state: s.state.to_owned(),
                })
                .collect(),
        }
    };
    api::ExplainResponse {
        version: published.version,
        entry_point: e.entry_point,
        request: Some(api::ExplainedRequest {
            method: e.request.method,
            host: e.request.host,
            path: e.request.path,
            query: e.request.query,
            client_ip: e.request.client_ip,
        }),
        routers: count(e.routers),
        ruled_out: count(e.ruled_out),
        candidates: e.candidates.into_iter().map(candidate).collect(),
        chosen: e.chosen.map(chosen),
        outcome: e.outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::routing_path;

    #[test]
    fn brings_paths_into_routing_form() {
        for (path, expected) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/./b/", "/a/b/"),
            ("/../../x", "/x"),
            ("/a/b/..", "/a/"),
            ("/%61%2Fb", "/a%2Fb"),
            ("/%2e%2e/x", "/x"),
            ("/%zz%", "/%zz%"),
        ] {
            assert_eq!(routing_path(path), expected, "{path}");
        }
    }
}
