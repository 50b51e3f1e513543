//! Routing rules: no panic, bounded, and a rule that was read matches requests without a panic.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use libfuzzer_sys::fuzz_target;
use pancake_table::lookup::Request;
use pancake_table::rule::Rule;

fuzz_target!(|text: &str| {
    if let Ok(rule) = Rule::parse_tcp(text) {
        assert_eq!(
            rule.matches(&Sample { path: "", host: "a" }),
            rule.matches(&Sample { path: "", host: "a" })
        );
    }
    match Rule::parse(text) {
        Err(error) => assert!(error.offset <= text.len() && text.is_char_boundary(error.offset), "{error}"),
        Ok(rule) => {
            assert_eq!(rule.text(), text);
            for request in [Sample { path: "/", host: "" }, Sample { path: "/a/b", host: "a.example.com" }] {
                assert_eq!(rule.matches(&request), rule.matches(&request));
            }
        }
    }
});

struct Sample {
    path: &'static str,
    host: &'static str,
}

impl Request for Sample {
    fn method(&self) -> &str {
        "GET"
    }

    fn host(&self) -> &str {
        self.host
    }

    fn path(&self) -> &str {
        self.path
    }

    fn query(&self) -> &str {
        "a=b&c=%20d&e"
    }

    fn any_header(&self, name: &str, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        name.eq_ignore_ascii_case("x-test") && (visit(b"one") || visit(b"\xff"))
    }

    fn client_ip(&self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    }
}
