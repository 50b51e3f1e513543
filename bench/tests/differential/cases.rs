//! The configuration and the requests.

/// One request on a connection of its own.
#[derive(Debug)]
pub struct Case {
    /// What it is about.
    pub name: &'static str,
    /// The bytes.
    pub request: &'static str,
}

const fn case(name: &'static str, request: &'static str) -> Case {
    Case { name, request }
}

/// Rules, priorities and broken routers; `gone` is an address where nothing listens.
pub fn dynamic(one: &str, two: &str, gone: &str) -> String {
    let mut text = String::from("http:\n  routers:\n");
    let rules = [
        ("ready", "Host(`ready.test`)", "one", ""),
        ("host", "Host(`host.test`)", "one", ""),
        ("host-two", "Host(`host.test`) && PathPrefix(`/two`)", "two", ""),
        ("low", "Host(`priority.test`) && PathPrefix(`/a/long/prefix/that/would/win`)", "one", "5"),
        ("high", "Host(`priority.test`)", "two", "1000"),
        ("path", "Host(`path.test`) && Path(`/echo/exact`)", "one", ""),
        ("prefix", "Host(`path.test`) && PathPrefix(`/echo/prefix`)", "two", ""),
        ("regexp", "Host(`path.test`) && PathRegexp(`^/echo/[0-9]+$`)", "one", ""),
        ("hosts", "HostRegexp(`^[a-z]+\\\\.sub\\\\.test$`)", "one", ""),
        ("header", "Host(`head.test`) && Header(`X-Tenant`, `blue`)", "one", ""),
        ("headers", "Host(`head.test`) && HeaderRegexp(`X-Tenant`, `^re.$`)", "two", ""),
        ("query", "Host(`query.test`) && Query(`v`, `1`)", "one", ""),
        ("queries", "Host(`query.test`) && QueryRegexp(`v`, `^[2-9]$`)", "two", ""),
        ("method", "Host(`method.test`) && Method(`PUT`)", "two", ""),
        ("client", "Host(`ip.test`) && ClientIP(`127.0.0.0/8`)", "one", ""),
        ("not-client", "Host(`noip.test`) && ClientIP(`10.0.0.0/8`)", "one", ""),
        ("either", "(Host(`or.test`) || Host(`or2.test`)) && !Path(`/echo/not`)", "one", ""),
        ("gone", "Host(`gone.test`)", "gone", ""),
        ("empty", "Host(`empty.test`)", "empty", ""),
        ("rewritten", "Host(`own.test`)", "own-host", ""),
        ("missing", "Host(`missing.test`)", "nowhere", ""),
        ("broken", "Host(`broken.test`) && Nonsense(`x`)", "one", ""),
    ];
    for (name, rule, service, priority) in rules {
        text.push_str(&format!("    {name}:\n      rule: \"{rule}\"\n      service: {service}\n"));
        if !priority.is_empty() {
            text.push_str(&format!("      priority: {priority}\n"));
        }
    }
    text.push_str("    unknown-middleware:\n      rule: \"Host(`middleware.test`)\"\n      service: one\n      middlewares: [nowhere]\n");
    text.push_str("  services:\n");
    for (name, url, pass) in
        [("one", one, true), ("two", two, true), ("gone", gone, true), ("own-host", one, false)]
    {
        text.push_str(&format!(
            "    {name}:\n      loadBalancer:\n        passHostHeader: {pass}\n        servers:\n          - url: \"{url}\"\n"
        ));
    }
    text.push_str("    empty:\n      loadBalancer:\n        servers: []\n");
    text
}

/// Every request, with what is special about it as its name.
pub const CASES: &[Case] = &[
    case("plain", "GET /echo HTTP/1.1\r\nHost: host.test\r\n\r\n"),
    case("longer rule first", "GET /two HTTP/1.1\r\nHost: host.test\r\n\r\n"),
    case("own priority first", "GET /a/long/prefix/that/would/win HTTP/1.1\r\nHost: priority.test\r\n\r\n"),
    case("no router", "GET / HTTP/1.1\r\nHost: unknown.test\r\n\r\n"),
    case("host in capitals", "GET /echo HTTP/1.1\r\nHost: HOST.test\r\n\r\n"),
    case("host with port", "GET /echo HTTP/1.1\r\nHost: host.test:8000\r\n\r\n"),
    case("host with a final dot", "GET /echo HTTP/1.1\r\nHost: host.test.\r\n\r\n"),
    case("host by pattern", "GET /echo HTTP/1.1\r\nHost: abc.sub.test\r\n\r\n"),
    case("host not by pattern", "GET /echo HTTP/1.1\r\nHost: ab1.sub.test\r\n\r\n"),
    case("path exact", "GET /echo/exact HTTP/1.1\r\nHost: path.test\r\n\r\n"),
    case("path longer than exact", "GET /echo/exact/more HTTP/1.1\r\nHost: path.test\r\n\r\n"),
    case("path prefix", "GET /echo/prefix/more?x=1 HTTP/1.1\r\nHost: path.test\r\n\r\n"),
    case("path prefix inside a word", "GET /echo/prefixes HTTP/1.1\r\nHost: path.test\r\n\r\n"),
    case("path by pattern", "GET /echo/123 HTTP/1.1\r\nHost: path.test\r\n\r\n"),
    case("path not by pattern", "GET /echo/12x HTTP/1.1\r\nHost: path.test\r\n\r\n"),
    case("path with dots", "GET /echo/x/../exact HTTP/1.1\r\nHost: path.test\r\n\r\n"),
    case("path with two slashes", "GET /echo//exact HTTP/1.1\r\nHost: path.test\r\n\r\n"),
    case("path above the root", "GET /../echo/exact HTTP/1.1\r\nHost: path.test\r\n\r\n"),
    case("path with encoded letters", "GET /echo/%65xact HTTP/1.1\r\nHost: path.test\r\n\r\n"),
    case("path with encoded slash", "GET /echo/prefix%2Fmore HTTP/1.1\r\nHost: path.test\r\n\r\n"),
    case("path with encoded dots", "GET /echo/x/%2e%2e/exact HTTP/1.1\r\nHost: path.test\r\n\r\n"),
    case("path with encoded NUL", "GET /echo/prefix/%00 HTTP/1.1\r\nHost: path.test\r\n\r\n"),
    case("path with a bad escape", "GET /echo/prefix/%zz HTTP/1.1\r\nHost: path.test\r\n\r\n"),
    case("path with encoded space", "GET /echo/prefix/a%20b HTTP/1.1\r\nHost: path.test\r\n\r\n"),
    case("path with encoded backslash", "GET /echo/prefix/a%5Cb HTTP/1.1\r\nHost: path.test\r\n\r\n"),
    case("path with a final slash", "GET /echo/prefix/ HTTP/1.1\r\nHost: path.test\r\n\r\n"),
    case("query with semicolon", "GET /echo?a=1;b=2 HTTP/1.1\r\nHost: host.test\r\n\r\n"),
    case("query with odd bytes", "GET /echo?a=%zz&b=[]{}|^ HTTP/1.1\r\nHost: host.test\r\n\r\n"),
    case("empty query", "GET /echo? HTTP/1.1\r\nHost: host.test\r\n\r\n"),
    case("header equal", "GET /echo HTTP/1.1\r\nHost: head.test\r\nx-tenant: blue\r\n\r\n"),
    case("header in capitals", "GET /echo HTTP/1.1\r\nHost: head.test\r\nX-TENANT: BLUE\r\n\r\n"),
    case("header by pattern", "GET /echo HTTP/1.1\r\nHost: head.test\r\nX-Tenant: red\r\n\r\n"),
    case(
        "second of two headers",
        "GET /echo HTTP/1.1\r\nHost: head.test\r\nX-Tenant: no\r\nX-Tenant: blue\r\n\r\n",
    ),
    case("query equal", "GET /echo?v=1 HTTP/1.1\r\nHost: query.test\r\n\r\n"),
    case("query by pattern", "GET /echo?v=7 HTTP/1.1\r\nHost: query.test\r\n\r\n"),
    case("query encoded", "GET /echo?%76=%31 HTTP/1.1\r\nHost: query.test\r\n\r\n"),
    case("query of another value", "GET /echo?v=0 HTTP/1.1\r\nHost: query.test\r\n\r\n"),
    case("method", "PUT /echo HTTP/1.1\r\nHost: method.test\r\nContent-Length: 2\r\n\r\nhi"),
    case("another method", "GET /echo HTTP/1.1\r\nHost: method.test\r\n\r\n"),
    case("client address", "GET /echo HTTP/1.1\r\nHost: ip.test\r\n\r\n"),
    case("another client address", "GET /echo HTTP/1.1\r\nHost: noip.test\r\n\r\n"),
    case(
        "client address is not what the client says",
        "GET /echo HTTP/1.1\r\nHost: noip.test\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n",
    ),
    case("one of two hosts", "GET /echo HTTP/1.1\r\nHost: or2.test\r\n\r\n"),
    case("what a rule excludes", "GET /echo/not HTTP/1.1\r\nHost: or.test\r\n\r\n"),
    case("server refuses", "GET / HTTP/1.1\r\nHost: gone.test\r\n\r\n"),
    case("service without servers", "GET / HTTP/1.1\r\nHost: empty.test\r\n\r\n"),
    case("service that does not exist", "GET / HTTP/1.1\r\nHost: missing.test\r\n\r\n"),
    case("rule that does not parse", "GET / HTTP/1.1\r\nHost: broken.test\r\n\r\n"),
    case("middleware that does not exist", "GET / HTTP/1.1\r\nHost: middleware.test\r\n\r\n"),
    case("host of the server", "GET /bytes/3 HTTP/1.1\r\nHost: own.test\r\n\r\n"),
    case(
        "spoofed forwarding fields",
        "GET /echo HTTP/1.1\r\nHost: host.test\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n\
         X-Forwarded-Port: 1\r\nX-Forwarded-Server: evil\r\nX-Real-Ip: 6.6.6.6\r\nX-Forwarded-Uri: /x\r\nX-Forwarded-Method: PUT\r\n\r\n",
    ),
    case(
        "forwarding fields named by Connection",
        "GET /echo HTTP/1.1\r\nHost: host.test\r\nConnection: X-Real-Ip, X-Forwarded-For, X-Mine, close\r\nX-Mine: 1\r\n\r\n",
    ),
    case(
        "forwarding fields with underscores",
        "GET /echo HTTP/1.1\r\nHost: host.test\r\nX_Forwarded_For: 1.2.3.4\r\nX_Real_Ip: 1.2.3.4\r\nx_mine: 1\r\n\r\n",
    ),
    case("forwarded field", "GET /echo HTTP/1.1\r\nHost: host.test\r\nForwarded: for=1.2.3.4\r\n\r\n"),
    case(
        "hop-by-hop fields",
        "GET /echo HTTP/1.1\r\nHost: host.test\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: x\r\n\
         Proxy-Authenticate: y\r\nTe: trailers\r\nTrailer: T\r\nConnection: keep-alive\r\n\r\n",
    ),
    case("te other than trailers", "GET /echo HTTP/1.1\r\nHost: host.test\r\nTE: gzip\r\n\r\n"),
    case(
        "user agent",
        "GET /echo HTTP/1.1\r\nHost: host.test\r\nUser-Agent: me/1\r\nAccept-Encoding: gzip\r\n\r\n",
    ),
    case("no user agent", "GET /echo HTTP/1.1\r\nHost: host.test\r\nAccept: */*\r\n\r\n"),
    case(
        "repeated fields",
        "GET /echo HTTP/1.1\r\nHost: host.test\r\nX-A: 1\r\nx-a: 2\r\nX-A:\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n",
    ),
    case("body with length", "POST /echo HTTP/1.1\r\nHost: host.test\r\nContent-Length: 5\r\n\r\nhello"),
    case("empty body", "POST /echo HTTP/1.1\r\nHost: host.test\r\nContent-Length: 0\r\n\r\n"),
    case("post without length", "POST /echo HTTP/1.1\r\nHost: host.test\r\n\r\n"),
    case(
        "body in chunks",
        "POST /echo HTTP/1.1\r\nHost: host.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ),
    case(
        "body in chunks with trailers",
        "POST /echo HTTP/1.1\r\nHost: host.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
    ),
    case(
        "expect continue",
        "POST /echo HTTP/1.1\r\nHost: host.test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
    ),
    case(
        "expect something else",
        "POST /echo HTTP/1.1\r\nHost: host.test\r\nExpect: 200-ok\r\nContent-Length: 2\r\n\r\nhi",
    ),
    case("get with a body", "GET /echo HTTP/1.1\r\nHost: host.test\r\nContent-Length: 2\r\n\r\nhi"),
    case("head", "HEAD /echo HTTP/1.1\r\nHost: host.test\r\n\r\n"),
    case("204", "GET /status/204 HTTP/1.1\r\nHost: host.test\r\n\r\n"),
    case("304", "GET /status/304 HTTP/1.1\r\nHost: host.test\r\n\r\n"),
    case("500 of the backend", "GET /status/500 HTTP/1.1\r\nHost: host.test\r\n\r\n"),
    case("http 1.0", "GET /echo HTTP/1.0\r\nHost: host.test\r\n\r\n"),
    case("http 1.0 keep-alive", "GET /echo HTTP/1.0\r\nHost: host.test\r\nConnection: keep-alive\r\n\r\n"),
    case("http 1.0 without host", "GET /echo HTTP/1.0\r\n\r\n"),
    case("close", "GET /echo HTTP/1.1\r\nHost: host.test\r\nConnection: close\r\n\r\n"),
    case("absolute form", "GET http://host.test/echo HTTP/1.1\r\nHost: host.test\r\n\r\n"),
    case("absolute form against host", "GET http://host.test/echo HTTP/1.1\r\nHost: other.test\r\n\r\n"),
    case("asterisk", "OPTIONS * HTTP/1.1\r\nHost: host.test\r\n\r\n"),
    case("connect", "CONNECT host.test:80 HTTP/1.1\r\nHost: host.test\r\n\r\n"),
    case("own method", "PURGE /echo HTTP/1.1\r\nHost: host.test\r\n\r\n"),
    case(
        "upgrade that the backend ignores",
        "GET /echo HTTP/1.1\r\nHost: host.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ),
    case("no host", "GET /echo HTTP/1.1\r\n\r\n"),
    case("empty host", "GET /echo HTTP/1.1\r\nHost:\r\n\r\n"),
    case("two hosts", "GET /echo HTTP/1.1\r\nHost: host.test\r\nHost: host.test\r\n\r\n"),
    case("bad host", "GET /echo HTTP/1.1\r\nHost: ho st.test\r\n\r\n"),
    case(
        "length and chunks",
        "POST /echo HTTP/1.1\r\nHost: host.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    case(
        "two lengths",
        "POST /echo HTTP/1.1\r\nHost: host.test\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    ),
    case(
        "the same length twice",
        "POST /echo HTTP/1.1\r\nHost: host.test\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    ),
    case("length with a sign", "POST /echo HTTP/1.1\r\nHost: host.test\r\nContent-Length: +3\r\n\r\nabc"),
    case("empty length", "POST /echo HTTP/1.1\r\nHost: host.test\r\nContent-Length:\r\n\r\n"),
    case(
        "odd transfer encoding",
        "POST /echo HTTP/1.1\r\nHost: host.test\r\nTransfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n",
    ),
    case(
        "unknown transfer encoding",
        "POST /echo HTTP/1.1\r\nHost: host.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ),
    case(
        "chunks on http 1.0",
        "POST /echo HTTP/1.0\r\nHost: host.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    case(
        "bad chunk size",
        "POST /echo HTTP/1.1\r\nHost: host.test\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
    ),
    case("space before colon", "GET /echo HTTP/1.1\r\nHost: host.test\r\nX-A : 1\r\n\r\n"),
    case("empty name", "GET /echo HTTP/1.1\r\nHost: host.test\r\n: 1\r\n\r\n"),
    case("folded line", "GET /echo HTTP/1.1\r\nHost: host.test\r\nX-A: 1\r\n 2\r\n\r\n"),
    case("leading empty line", "\r\nGET /echo HTTP/1.1\r\nHost: host.test\r\n\r\n"),
    case("bare line feeds", "GET /echo HTTP/1.1\nHost: host.test\n\n"),
    case("NUL in a value", "GET /echo HTTP/1.1\r\nHost: host.test\r\nX-A: a\0b\r\n\r\n"),
    case("bytes above 127", "GET /echo HTTP/1.1\r\nHost: host.test\r\nX-A: gr\u{fc}n\r\n\r\n"),
    case("fragment in the path", "GET /echo#frag HTTP/1.1\r\nHost: host.test\r\n\r\n"),
    case("http 2.0 in the line", "GET /echo HTTP/2.0\r\nHost: host.test\r\n\r\n"),
    case("no version", "GET /echo\r\nHost: host.test\r\n\r\n"),
];
