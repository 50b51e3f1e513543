use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::limits::{MAX_RULE_DEPTH, MAX_RULE_MATCHERS};
use crate::lookup::OwnedRequest;

fn rule(text: &str) -> Rule {
    Rule::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn get(url: &str) -> OwnedRequest {
    let (host, target) = url.split_at(url.find('/').unwrap_or(url.len()));
    OwnedRequest::get(host, if target.is_empty() { "/" } else { target })
}

/// Requests as `host/path?query` that match and that do not.
fn expect(text: &str, matching: &[&str], others: &[&str]) {
    let rule = rule(text);
    for url in matching {
        assert!(rule.matches(&get(url)), "{text} must match {url}");
    }
    for url in others {
        assert!(!rule.matches(&get(url)), "{text} must not match {url}");
    }
}

fn error(text: &str) -> RuleError {
    Rule::parse(text).err().unwrap_or_else(|| panic!("{text} must be refused"))
}

#[test]
fn host_ignores_case_and_trailing_dots() {
    for text in
        ["Host(`example.com`)", "Host(`EXAMPLE.com`)", "Host(`example.com.`)", "Host(\"example.com\")"]
    {
        expect(
            text,
            &["example.com", "EXAMPLE.COM", "example.com./x"],
            &["example.org", "a.example.com", ""],
        );
    }
    expect("Host(`xn--9t9h.com`)", &["xn--9t9h.com"], &["example.com"]);
}

#[test]
fn a_wildcard_is_exactly_one_label() {
    let others = &["example.com", "a.b.example.com", "test.otherexample.com", ""];
    expect("Host(`*.example.com`)", &["test.example.com", "other.EXAMPLE.com"], others);
    expect("Host(`*`)", &["a.example.com", "localhost", ""], &[]);
}

#[test]
fn regular_expressions_are_not_anchored() {
    expect("HostRegexp(`^[a-z-]+\\.com$`)", &["example.com"], &["example.org", "a.b.com"]);
    expect("HostRegexp(`example`)", &["my-example.com"], &["exam.ple"]);
    expect("HostRegexp(`{domain:[a-zA-Z-]+\\.com}`)", &[], &["example.com"]);
    expect("PathRegexp(`\\.(jpeg|png)$`)", &["a/x.png"], &["a/x.png2", "a/xpng"]);
}

#[test]
fn path_is_exact_and_path_prefix_knows_no_segments() {
    expect("Path(`/products`)", &["a/products", "a/products?x"], &["a/products/", "a/products/shoes", "a/"]);
    let matching = &["a/products", "a/products/shoes", "a/products-for-sale"];
    expect("PathPrefix(`/products`)", matching, &["a/product", "a/x/products"]);
    expect("PathPrefix(`/`)", &["a/", "a/x"], &[]);
}

#[test]
fn query_without_value_is_an_empty_value() {
    expect("Query(`a`)", &["h/?a", "h/?a=", "h/?b&a", "h/?a=1&a="], &["h/?a=1", "h/", "h/?aa"]);
    expect(
        "Query(`a`, `1 2`)",
        &["h/?a=1+2", "h/?a=1%202", "h/?%61=1%202", "h/?x;a=1+2"],
        &["h/?a=1", "h/?A=1+2"],
    );
    expect("Query(`a`, `1`)", &["h/?a=2&a=1"], &["h/?a=1%", "h/?a=1%zz", "h/?a%=1", "h/?a=1%3"]);
    expect("QueryRegexp(`a`)", &["h/?a"], &["h/?a=1"]);
    expect("QueryRegexp(`a`, `^.*$`)", &["h/?a", "h/?a=1", "h/?a=%31"], &["h/?b=1"]);
    expect("QueryRegexp(`a`, `^x y$`)", &["h/?a=x+y", "h/?a=%78%20y"], &["h/?a=xy", "h/?a=x+y%"]);
}

#[test]
fn header_names_ignore_case_and_values_do_not() {
    let mut request = get("a/");
    request.headers = vec![
        ("X-Tag".into(), b"one".to_vec()),
        ("x-tag".into(), b"Two".to_vec()),
        ("host".into(), b"a".to_vec()),
    ];
    for (text, matches) in [
        ("Header(`X-TAG`, `one`)", true),
        ("Header(`x-tag`, `Two`)", true),
        ("Header(`x-tag`, `two`)", false),
        ("Header(`x-ta`, `one`)", false),
        ("HeaderRegexp(`x-tag`, `(?i)^two$`)", true),
        ("HeaderRegexp(`x-tag`, `three`)", false),
        ("Header(`Host`, `a`)", false),
    ] {
        assert_eq!(rule(text).matches(&request), matches, "{text}");
    }
}

#[test]
fn method_is_compared_in_capitals() {
    let mut request = get("a/");
    assert!(rule("Method(`GET`)").matches(&request) && rule("Method(`get`)").matches(&request));
    assert!(!rule("Method(`POST`)").matches(&request));
    request.method = "get".into();
    assert!(!rule("Method(`get`)").matches(&request));
}

#[test]
fn client_ip_is_the_peer() {
    let matches = |text: &str, peer: &str| {
        let mut request = get("a/");
        request.headers = vec![("X-Forwarded-For".into(), b"10.0.0.1".to_vec())];
        request.client_ip = peer.parse::<IpAddr>().unwrap();
        rule(text).matches(&request)
    };
    assert!(matches("ClientIP(`127.0.0.1`)", "127.0.0.1") && !matches("ClientIP(`10.0.0.1`)", "127.0.0.1"));
    assert!(matches("ClientIP(`127.0.0.1`)", "::ffff:127.0.0.1"));
    assert!(matches("ClientIP(`192.168.1.0/24`)", "192.168.1.100"));
    assert!(!matches("ClientIP(`192.168.1.0/24`)", "192.168.2.1"));
    assert!(matches("ClientIP(`192.168.1.77/24`)", "192.168.1.1"));
    assert!(matches("ClientIP(`0.0.0.0/0`)", "9.9.9.9") && !matches("ClientIP(`0.0.0.0/0`)", "::1"));
    assert!(matches("ClientIP(`::/0`)", "::1") && matches("ClientIP(`fe80::/10`)", "fe80::1"));
    assert!(matches("ClientIP(`::ffff:10.0.0.0/104`)", "10.1.2.3"));
    for text in ["1", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "10.0.0/8", "::1/129", "a"] {
        error(&format!("ClientIP(`{text}`)"));
    }
}

#[test]
fn not_binds_before_and_before_or() {
    expect("Host(`a`) || Host(`b`) && Path(`/x`)", &["a/", "b/x"], &["b/", "c/x"]);
    expect("(Host(`a`) || Host(`b`)) && Path(`/x`)", &["a/x", "b/x"], &["a/", "b/"]);
    expect("!Host(`a`) && Path(`/x`)", &["b/x"], &["a/x", "b/"]);
    expect("!(Host(`a`) || Path(`/x`))", &["b/"], &["a/", "b/x"]);
    expect("!!Host(`a`)", &["a/"], &["b/"]);
    expect("host(`a`)&&\n  PATHPREFIX(\"/x\",)", &["a/x"], &["a/"]);
}

#[test]
fn reads_texts_as_go_does() {
    expect(r#"Path("/a\"\\\x41\101\u00e9")"#, &["h/a\"\\AAé"], &[]);
    expect(r"Path(`/a\n`)", &["h/a\\n"], &[]);
    expect("Path(`/a\r`)", &["h/a"], &[]);
    for text in [
        r#"Path("/\q")"#,
        r#"Path("/\'")"#,
        r#"Path("/\x4")"#,
        r#"Path("/\xff")"#,
        r#"Path("/\ud800")"#,
        "Path(\"/\n\")",
    ] {
        error(text);
    }
}

#[test]
fn refuses_what_traefik_refuses() {
    for text in [
        "",
        " ",
        "Host",
        "Host()",
        "Host(``)",
        "Host(`🦭.com`)",
        "Host(`a`, `b`)",
        "HostRegexp()",
        "HostRegexp(``)",
        "HostRegexp(`🦭`)",
        "HostRegexp(`(a`)",
        "HostRegexp(`a`, `b`)",
        "Path(`a`)",
        "PathPrefix(`a`)",
        "Path(`/a`, `/b`)",
        "Method(`GET`, `POST`)",
        "Method()",
        "Header(`a`)",
        "Header(`a`, `b`, `c`)",
        "HeaderRegexp(`a`, `(`)",
        "Query(`a`, `b`, `c`)",
        "Query()",
        "ClientIP(`1.1.1.1`, `2.2.2.2`)",
        "Host(`a`) &&",
        "Host(`a`) ||",
        "Host(`a)",
        "Host(`a`))",
        "(Host(`a`)",
        "Host(a)",
        "Host('a')",
        "Host(1)",
        "Host(`a`) Host(`b`)",
        "&& Host(`a`)",
        "!",
        "()",
        "Host(`a`) & Host(`b`)",
        "Host(`a`) | Host(`b`)",
        "HostSNI(`a`)",
        "Headers(`a`, `b`)",
        "`a`",
        "Host(`a`); x",
    ] {
        error(text);
    }
}

#[test]
fn errors_say_where_and_what_was_expected() {
    for (text, offset, part) in [
        ("Hots(`a`)", 0, "did you mean `Host`?"),
        ("Host(`a`) && PathPrefx(`/`)", 13, "did you mean `PathPrefix`?"),
        ("Foo(`a`)", 0, "there are Host, HostRegexp"),
        ("Host(`a`, `b`)", 0, "Host(`a`) || Host(`b`)"),
        ("Host(`a`) AND Host(`b`)", 10, "did you mean `&&`?"),
        ("Host(`a`) & Host(`b`)", 10, "did you mean `&&`?"),
        ("Host('a')", 5, "backticks"),
        ("Host(`a`) && ", 13, "expected a matcher"),
        ("(Host(`a`) && Path(`/`)", 23, "`(` at byte 0"),
        ("Host(`a`)) || Path(`/`)", 9, "without a `(`"),
        ("Host(`a", 5, "no closing backtick"),
        ("HeadersRegexp(`a`, `b`)", 0, "HeaderRegexp"),
        ("Path(`/`) && Path(`x`)", 18, "start with `/`"),
        ("PathRegexp(`/(`)", 11, "regular expression"),
    ] {
        let error = error(text);
        assert_eq!(error.offset, offset, "{text}: {error}");
        assert!(error.message.contains(part), "{text}: {error}");
    }
}

#[test]
fn warns_of_what_is_hardly_meant() {
    for text in [
        "Host(`a:80`)",
        "Host(`*a.b`)",
        "Host(`a/b`)",
        "Header(`Host`, `a`)",
        "PathPrefix(`/a/{id}`)",
        "Path(`/a?b`)",
    ] {
        let rule = rule(text);
        assert_eq!(rule.warnings().len(), 1, "{text}");
    }
    assert!(rule("Host(`a`) && PathPrefix(`/a`)").warnings().is_empty());
}

#[test]
fn depth_size_and_number_are_bounded() {
    let nested = |n: usize| format!("{}Host(`a`){}", "(".repeat(n), ")".repeat(n));
    rule(&nested(MAX_RULE_DEPTH));
    error(&nested(MAX_RULE_DEPTH + 1));
    error(&nested(30_000));
    error(&format!("{}Host(`a`)", "!".repeat(60_000)));
    let many = |n: usize| vec!["Host(`a`)"; n].join("||");
    rule(&many(MAX_RULE_MATCHERS));
    error(&many(MAX_RULE_MATCHERS + 1));
    error(&format!("Host(`{}`)", "a".repeat(MAX_RULE_BYTES)));
    let heavy = vec!["PathRegexp(`[a-z]{200}[0-9]{200}(a|b){300}`)"; 1_000].join(" || ");
    error(&heavy);
}

#[test]
fn tcp_rules_have_matchers_of_their_own() {
    for (text, why) in [
        ("Host(`a`)", "there is no matcher `Host`: it is for HTTP routers, here it is `HostSNI`"),
        ("HostSNI(`a`) && Path(`/`)", "there is no matcher `Path`: it is for HTTP routers"),
        ("HostSNIRegex(`a`)", "there is no matcher `HostSNIRegex`, did you mean `HostSNIRegexp`?"),
        ("", "the rule is empty; expected a matcher such as HostSNI(`example.com`)"),
        (
            "HostSNI(`a`, `b`)",
            "HostSNI takes one value, found 2; for alternatives write HostSNI(`a`) || HostSNI(`b`)",
        ),
        ("HostSNI(`a:443`)", "\"a:443\" is no host name; expected one such as example.com, or `*`"),
        ("HostSNI(`*x`)", "\"*x\" is no host name; expected one such as example.com, or `*`"),
        ("ALPN(`acme-tls/1`)", "acme-tls/1 is answered by the proxy itself and cannot be routed"),
    ] {
        assert_eq!(Rule::parse_tcp(text).unwrap_err().message, why, "{text}");
    }
    assert_eq!(
        error("HostSNI(`a`)").message,
        "there is no matcher `HostSNI`: it is for TCP routers, here it is `Host`"
    );
    let rule = Rule::parse_tcp("hostsni(`a`) && (alpn(`h2`) || !CLIENTIP(`10.0.0.0/8`))").unwrap();
    assert!(rule.matches(&get("a/")) && !rule.matches(&get("b/")));
}

#[test]
fn only_a_bare_star_is_a_catch_all() {
    for (text, priority) in [("HostSNI(`*`)", -1), ("(HostSNI(`*`))", -1), ("HostSNI(`*`) && ALPN(`a`)", 25)]
    {
        let rule = Rule::parse_tcp(text).unwrap();
        assert_eq!((rule.is_catch_all(), rule.default_tcp_priority()), (priority == -1, priority), "{text}");
    }
}

#[test]
fn hosts_are_those_that_are_not_negated() {
    let text = "Host(`b.x`) && Path(`/`) || (Host(`A.x.`) && !Host(`c.x`)) || Host(`*.y`) || Host(`b.x`) || Host(`*`) \
                || HostRegexp(`d`)";
    assert_eq!(rule(text).hosts(), ["*.y", "a.x", "b.x"]);
    assert!(rule("!(Host(`a`) || Host(`b`)) && Path(`/`)").hosts().is_empty());
    assert_eq!(Rule::parse_tcp("HostSNI(`a`) || HostSNI(`*`)").unwrap().hosts(), ["a"]);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[ -~é`\\n]{0,80}") {
        if let Err(error) = Rule::parse(&text) {
            prop_assert!(error.offset <= text.len());
        }
    }

    #[test]
    fn any_sequence_of_tokens_is_read_or_refused(tokens in proptest::collection::vec(prop::sample::select(vec![
        "Host(`a`)", "Path(`/x`)", "(", ")", "!", "&&", "||", "Query(`a`, `b`)", ",", "`x`", "Host", " ", "\"",
    ]), 0..30)) {
        let text = tokens.concat();
        match Rule::parse(&text) {
            Ok(rule) => prop_assert_eq!(rule.source(rule.root()), text.trim()),
            Err(error) => prop_assert!(error.offset <= text.len()),
        }
    }
}
