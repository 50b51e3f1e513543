//! The framing attack cases 1 to 13, by the numbers of `ops/manual/framing.md`, as far as the codec decides them.

use pancake_wire::h1::body::{Chunked, State};
use pancake_wire::h1::head::{
    Framing, Known, Limits, MAX_LENGTH, Reject, RequestHead, ResponseHead, parse_request, parse_response,
};

fn request(bytes: impl AsRef<[u8]>) -> Result<RequestHead, Reject> {
    let mut head = RequestHead::default();
    let len = parse_request(bytes.as_ref(), &Limits::default(), &mut head)?.expect("a whole head");
    assert_eq!(len, head.len);
    Ok(head)
}

fn response(bytes: impl AsRef<[u8]>) -> Result<ResponseHead, Reject> {
    let mut head = ResponseHead::default();
    parse_response(bytes.as_ref(), &Limits::default(), &mut head)?.expect("a whole head");
    Ok(head)
}

/// A POST with these field lines besides Host.
fn post(lines: &str) -> Result<RequestHead, Reject> {
    request(format!("POST /x HTTP/1.1\r\nHost: a\r\n{lines}\r\n"))
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Reject>, status: u16, case: u8, reason: &str) {
    let reject = result.expect_err("must be refused");
    assert_eq!((reject.status, reject.case, reject.reason), (status, case, reason));
}

/// Decodes a whole chunked body; gives the data and how many bytes were used.
fn decode(bytes: &[u8]) -> Result<(Vec<u8>, usize), Reject> {
    let mut decoder = Chunked::new();
    let (mut at, mut data) = (0, Vec::new());
    loop {
        let step = decoder.step(&bytes[at..])?;
        if let Some(range) = step.data {
            data.extend_from_slice(&bytes[at..][range]);
        }
        at += step.consumed;
        match step.state {
            State::Done => return Ok((data, at)),
            State::More => {}
            State::NeedInput => panic!("incomplete body {:?}", bytes.escape_ascii().to_string()),
        }
    }
}

#[test]
fn case_01_refuses_content_length_with_transfer_encoding() {
    for lines in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "transfer-encoding: CHUNKED\r\ncontent-length: 0\r\n",
    ] {
        refused(post(lines), 400, 1, "content-length-with-transfer-encoding");
        let answer = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
        refused(response(answer), 502, 1, "content-length-with-transfer-encoding");
    }
}

#[test]
fn case_02_refuses_two_content_lengths() {
    for lines in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5,6\r\n",
        "Content-Length: 5\r\nX: y\r\ncontent-length: 5\r\n",
    ] {
        refused(post(lines), 400, 2, "two-content-lengths");
        refused(response(format!("HTTP/1.1 200 OK\r\n{lines}\r\n")), 502, 2, "two-content-lengths");
    }
}

#[test]
fn case_03_refuses_empty_content_length() {
    refused(post("Content-Length:\r\n"), 400, 3, "empty-content-length");
    refused(post("Content-Length: \t \r\n"), 400, 3, "empty-content-length");
    refused(response("HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n"), 502, 3, "empty-content-length");
}

#[test]
fn case_04_refuses_content_length_that_is_no_decimal_number() {
    for value in [
        "+1",
        "-1",
        "1_0",
        "0x10",
        "1.0",
        "1e3",
        "0b1",
        "1 0",
        "five",
        "18446744073709551616",
        "18446744073709551615",
        "9223372036854775808",
        "99999999999999999999999",
        "\u{661}",
        "1;",
    ] {
        refused(post(&format!("Content-Length: {value}\r\n")), 400, 4, "bad-content-length");
    }
    let largest = post("Content-Length: 9223372036854775807\r\n").expect("the largest length");
    assert_eq!(largest.framing, Framing::Length(MAX_LENGTH));
}

#[test]
fn case_05_refuses_transfer_encoding_other_than_chunked() {
    for value in [
        ",chunked",
        "chunked,",
        "chunked, chunked",
        "chunked, identity",
        "identity",
        "identity, chunked",
        "gzip",
        "",
        "\"chunked\"",
        "chunked;q=1",
        "xchunked",
        "chunkedx",
        "chunk ed",
        "gzip chunked",
    ] {
        refused(post(&format!("Transfer-Encoding: {value}\r\n")), 400, 5, "bad-transfer-encoding");
    }
    refused(post("Transfer-Encoding: gzip, chunked\r\n"), 501, 5, "unsupported-transfer-coding");
    refused(
        response("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
        502,
        5,
        "unsupported-transfer-coding",
    );
    refused(post("Transfer-Encoding: \x0bchunked\r\n"), 400, 7, "control-in-field-value");
}

#[test]
fn case_05_refuses_two_transfer_encodings() {
    refused(
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        400,
        5,
        "two-transfer-encodings",
    );
    refused(post("Transfer-Encoding: chunked\r\ntransfer-encoding: x\r\n"), 400, 5, "two-transfer-encodings");
}

#[test]
fn case_05_refuses_transfer_encoding_on_http10() {
    let bytes = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    refused(request(bytes), 400, 5, "transfer-encoding-on-http10");
    let bytes = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    refused(response(bytes), 502, 5, "transfer-encoding-on-http10");
}

#[test]
fn case_05_accepts_chunked_in_any_case() {
    assert_eq!(post("Transfer-Encoding: \t Chunked \r\n").expect("chunked").framing, Framing::Chunked);
}

#[test]
fn case_06_refuses_chunk_sizes_that_are_no_hexadecimal_number() {
    for body in [
        "0x1\r\na\r\n0\r\n\r\n",
        "x1\r\n",
        "+1\r\na\r\n",
        "-0\r\n\r\n",
        "\r\n",
        ";x\r\n",
        " 1\r\na\r\n",
        "g\r\n",
        "8000000000000000\r\n",
        "FFFFFFFFFFFFFFFF\r\n",
        "10000000000000000\r\n",
        "00000000000000001\r\na\r\n",
        "\n",
        "1_0\r\n",
    ] {
        refused(decode(body.as_bytes()), 400, 6, "bad-chunk-size");
    }
}

#[test]
fn case_06_refuses_chunk_lines_without_crlf() {
    for body in [
        "1\na\r\n0\r\n\r\n",
        "1;junk\na\r\n0\r\n\r\n",
        "1;j\0\r\na\r\n",
        "1;j\rk\r\na\r\n",
        "1\ra\r\n",
        "1\r\ra\r\n",
        "1 \r\na\r\n",
        "1 x\r\na\r\n",
        "1\0\r\n",
    ] {
        let reject = decode(body.as_bytes()).expect_err("must be refused");
        assert_eq!((reject.status, reject.case), (400, 6), "{body:?}");
    }
    for body in ["1\r\na\n0\r\n\r\n", "1\r\naX\r\n", "1\r\na0\r\n\r\n", "1\r\na\rX"] {
        refused(decode(body.as_bytes()), 400, 6, "bad-chunk-end");
    }
}

#[test]
fn case_06_drops_extensions_up_to_a_limit() {
    let body = b"3;a=b;c=\"d;e\"\r\nabc\r\n2 ; x\r\nde\r\n0;last\r\n\r\nGET";
    assert_eq!(decode(body), Ok((b"abcde".to_vec(), body.len() - 3)));
    let long = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(256));
    refused(decode(long.as_bytes()), 400, 6, "chunk-extension-too-large");
    let many = format!("1;{}\r\na\r\n", "x".repeat(200)).repeat(100) + "0\r\n\r\n";
    refused(decode(many.as_bytes()), 400, 6, "chunk-extension-too-large");
}

#[test]
fn case_06_reads_sizes_in_either_case_with_leading_zeros() {
    assert_eq!(decode(b"0A\r\n0123456789\r\n000b\r\n0123456789a\r\n000\r\n\r\n").expect("good").0.len(), 21);
}

#[test]
fn case_07_refuses_nul_bare_cr_and_bare_lf() {
    refused(post("X: a\0b\r\n"), 400, 7, "nul-in-field-value");
    refused(post("X: a\rb\r\n"), 400, 7, "bare-cr");
    refused(post("X: a\r\r\n"), 400, 7, "bare-cr");
    refused(post("X: a\x01b\r\n"), 400, 7, "control-in-field-value");
    refused(post("X: a\x7f\r\n"), 400, 7, "control-in-field-value");
    refused(post("X: a\nY: b\r\n"), 400, 7, "bare-lf");
    refused(post("X:\nY: b\r\n"), 400, 7, "bare-lf");
    refused(request("GET / HTTP/1.1\nHost: a\r\n\r\n"), 400, 7, "bare-lf");
    refused(request("GET / HTTP/1.1\r\nHost: a\n\r\n"), 400, 7, "bare-lf");
    refused(request("GET / HTTP/1.1\r\nHost: a\r\n\n"), 400, 7, "bare-lf");
    refused(request("GET / HTTP/1.1\n\n"), 400, 7, "bare-lf");
    refused(request("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400, 7, "bare-lf");
    refused(request("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400, 7, "bare-cr");
    refused(request("GET / HTTP/1.1\rHost: a\r\n\r\n"), 400, 7, "bare-cr");
    refused(response("HTTP/1.1 200 OK\nX: a\r\n\r\n"), 502, 7, "bare-lf");
    refused(response("HTTP/1.1 200 OK\n\n"), 502, 7, "bare-lf");
    refused(response("HTTP/1.1 200 OK\r\nX: a\0\r\n\r\n"), 502, 7, "nul-in-field-value");
}

#[test]
fn case_08_refuses_broken_names_and_folded_lines() {
    refused(post(": x\r\n"), 400, 8, "empty-field-name");
    refused(post("X : y\r\n"), 400, 8, "space-before-colon");
    refused(post("X\t: y\r\n"), 400, 8, "space-before-colon");
    refused(post("X: y\r\n z\r\n"), 400, 8, "folded-field");
    refused(post("X: y\r\n\tz\r\n"), 400, 8, "folded-field");
    refused(post("X\r\n"), 400, 8, "bad-field-name");
    refused(post("X(y): z\r\n"), 400, 8, "bad-field-name");
    refused(post("X\u{e9}: z\r\n"), 400, 8, "bad-field-name");
    refused(request("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), 400, 8, "folded-field");
    refused(response("HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n"), 502, 8, "folded-field");
}

#[test]
fn case_08_refuses_request_lines_of_another_shape() {
    for line in [
        " GET / HTTP/1.1",
        "\tGET / HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET\t/ HTTP/1.1",
        "GET /",
        "GET / http/1.1",
        "GET / HTTP/1",
        "G(T / HTTP/1.1",
        "GET / HTTP/1.1x",
        "GET / a HTTP/1.1",
        "/ HTTP/1.1",
        "GET / HTTP1.1",
    ] {
        refused(request(format!("{line}\r\nHost: a\r\n\r\n")), 400, 8, "bad-request-line");
    }
    for line in ["GET / HTTP/2.0", "GET / HTTP/1.2", "GET / HTTP/0.9", "PRI * HTTP/2.0"] {
        refused(request(format!("{line}\r\nHost: a\r\n\r\n")), 505, 0, "unsupported-version");
    }
}

#[test]
fn case_08_passes_over_few_empty_lines_before_a_request() {
    let bytes = b"\r\n\r\nGET /p HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = request(bytes).expect("good");
    assert_eq!((head.len, head.target.of(bytes)), (bytes.len(), &b"/p"[..]));
    assert_eq!(head.fields[0].value.of(bytes), b"a");
    let many = format!("{}GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n".repeat(5));
    refused(request(many), 400, 8, "bad-request-line");
    refused(response("\r\nHTTP/1.1 200 OK\r\n\r\n"), 502, 0, "bad-status-line");
}

#[test]
fn case_09_bytes_after_an_answer_without_body_are_no_body() {
    for (status, to_head) in [(304, false), (204, false), (101, false), (103, false), (200, true)] {
        for lines in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", ""] {
            let bytes = format!("HTTP/1.1 {status} X\r\n{lines}\r\nHTTP/");
            let head = response(&bytes).expect("good");
            assert_eq!(head.framing(to_head), Framing::Empty);
            assert_eq!(&bytes[head.len..], "HTTP/");
        }
    }
    let head = response("HTTP/1.1 200 OK\r\n\r\n").expect("good");
    assert_eq!(head.framing(false), Framing::UntilClose);
}

#[test]
fn case_10_refuses_odd_expectations() {
    for value in
        ["", "100", "100-continue, x", "100-continue;q=1", "x", "101-continue", "100-continue,100-continue"]
    {
        let lines = format!("Expect: {value}\r\nContent-Length: 1\r\n");
        refused(post(&lines), 417, 10, "unsupported-expectation");
    }
    refused(
        post("Expect: 100-continue\r\nExpect: x\r\nContent-Length: 1\r\n"),
        417,
        10,
        "unsupported-expectation",
    );
    assert!(post("Expect: 100-Continue\r\nContent-Length: 1\r\n").expect("good").expect_continue);
    assert!(!post("Expect: 100-continue\r\n").expect("good").expect_continue);
    let old = request("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n").expect("good");
    assert!(!old.expect_continue);
}

#[test]
fn case_10_an_unread_body_is_never_taken_for_a_request() {
    let bytes =
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 33\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = request(bytes).expect("good");
    assert_eq!(head.framing, Framing::Length(33));
    assert_eq!(head.len, bytes.find("GET").expect("the body"));
    let mut decoder = Chunked::new();
    decoder.step(b"21\r\nGET /smug").expect("good");
    assert!(!decoder.is_done());
}

#[test]
fn case_11_an_upgrade_request_ends_with_its_head() {
    let bytes = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\nGET /2 HTTP/1.1\r\n";
    let head = request(bytes).expect("good");
    assert_eq!(head.upgrade.map(|value| value.of(bytes.as_bytes())), Some(&b"websocket"[..]));
    assert_eq!((head.framing, head.len), (Framing::Empty, bytes.find("GET /2").expect("the next one")));
}

#[test]
fn case_11_only_a_101_leaves_http() {
    let refusal = response("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("good");
    assert_eq!((refusal.upgrade, refusal.framing(false)), (None, Framing::Length(2)));
    let bytes = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let accepted = response(bytes).expect("good");
    assert_eq!((accepted.upgrade.is_some(), accepted.framing(false)), (true, Framing::Empty));
}

#[test]
fn case_11_upgrade_counts_only_on_http11_and_if_connection_lists_it() {
    assert_eq!(post("Upgrade: websocket\r\n").expect("good").upgrade, None);
    let old = request("GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").expect("good");
    assert_eq!(old.upgrade, None);
}

#[test]
fn case_12_the_authority_of_the_target_wins_over_host() {
    let bytes = b"GET http://target.example:81/p HTTP/1.1\r\nHost: other.example\r\n\r\n";
    let head = request(bytes).expect("good");
    assert_eq!(head.authority(bytes), Some(&b"target.example:81"[..]));
    let bytes = b"GET /p HTTP/1.1\r\nHost: host.example\r\n\r\n";
    assert_eq!(request(bytes).expect("good").authority(bytes), Some(&b"host.example"[..]));
    let bytes = b"GET /p HTTP/1.0\r\n\r\n";
    assert_eq!(request(bytes).expect("good").authority(bytes), None);
}

#[test]
fn case_12_refuses_missing_double_and_malformed_hosts() {
    refused(request("GET / HTTP/1.1\r\n\r\n"), 400, 12, "missing-host");
    refused(request("GET http://a/ HTTP/1.1\r\n\r\n"), 400, 12, "missing-host");
    refused(request("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), 400, 12, "two-hosts");
    refused(request("GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n"), 400, 12, "two-hosts");
    for host in ["a b", "a/b", "a@b", "a:b", "a, b", "[::1", "a%00"] {
        refused(request(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")), 400, 12, "bad-host");
    }
    assert!(request("GET / HTTP/1.1\r\nHost:\r\n\r\n").expect("good").host.expect("empty").is_empty());
}

#[test]
fn case_12_refuses_fragments_and_odd_bytes_in_targets() {
    let get = |target: &str| request(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
    refused(get("/a#b"), 400, 12, "fragment-in-target");
    refused(get("/a\0b"), 400, 12, "bad-target-byte");
    refused(get("/a\x1fb"), 400, 12, "bad-target-byte");
    refused(get("/a\x7fb"), 400, 12, "bad-target-byte");
    refused(get("a"), 400, 12, "bad-target");
    refused(get("http://u:p@a/"), 400, 12, "bad-host");
    refused(request(b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n"), 400, 12, "bad-target-byte");
}

#[test]
fn case_13_recognises_spoofed_forwarding_fields() {
    let head =
        post("X-Forwarded-For: 1\r\nx_forwarded_for: 2\r\nX-Real-Ip: 3\r\nX_REAL-IP: 4\r\n").expect("good");
    let known: Vec<_> = head.fields.iter().map(|field| field.known).collect();
    assert_eq!(
        known,
        [Known::Host, Known::XForwardedFor, Known::UnderscoreTwin, Known::XRealIp, Known::UnderscoreTwin]
    );
}

#[test]
fn case_13_connection_cannot_remove_forwarding_or_framing_fields() {
    let lines =
        "Connection: X-Real-IP, host, content-length, X-Secret, close\r\nX-Real-IP: 1\r\nX-Secret: 2\r\n";
    let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n{lines}\r\n");
    let head = request(&bytes).expect("good");
    let removed: Vec<_> = head
        .fields
        .iter()
        .filter(|field| head.is_connection_option(bytes.as_bytes(), field))
        .map(|field| field.name.of(bytes.as_bytes()))
        .collect();
    assert_eq!(removed, [&b"X-Secret"[..]]);
    assert!(!head.keep_alive);
}

#[test]
fn every_refusal_has_its_own_slug() {
    let mut slugs: Vec<_> = Reject::ALL.iter().map(|reject| reject.reason).collect();
    slugs.sort_unstable();
    slugs.dedup();
    assert_eq!(slugs.len(), Reject::ALL.len());
}
