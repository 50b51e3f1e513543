//! gRPC-Web as browsers send it, byte by byte, to a server by tonic.

use std::fs;

use tokio::runtime::Runtime;

use crate::rig::Rig;
use crate::{proxy, server};

/// A message of gRPC in its frame.
fn frame(kind: u8, message: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(message);
    frame
}

struct Browser {
    _runtime: Runtime,
    rig: Rig,
}

impl Browser {
    fn start() -> Browser {
        let runtime = Runtime::new().unwrap();
        let (address, _) = server::start(&runtime);
        Browser { rig: proxy(&format!("h2c://{address}"), None), _runtime: runtime }
    }

    /// Makes a call with curl: the head of the answer in lower case, and its body.
    fn call(
        &self,
        scheme: &str,
        protocol: &str,
        method: &str,
        content_type: &str,
        body: &[u8],
    ) -> (String, Vec<u8>) {
        let dir = self.rig.dir.path();
        let (input, output, head) = (dir.join("in"), dir.join("out"), dir.join("head"));
        fs::write(&input, body).unwrap();
        self.rig.curl(&[
            protocol,
            "-H",
            &format!("Content-Type: {content_type}"),
            "-H",
            "Origin: https://app.test",
            "-H",
            "X-Grpc-Web: 1",
            "--data-binary",
            &format!("@{}", input.display()),
            "-D",
            &head.display().to_string(),
            "-o",
            &output.display().to_string(),
            &self.rig.url(scheme, "web.test", method),
        ]);
        (fs::read_to_string(head).unwrap().to_lowercase(), fs::read(output).unwrap_or_default())
    }
}

const PROTOCOLS: [(&str, &str); 4] = [
    ("http", "--http1.1"),
    ("http", "--http2-prior-knowledge"),
    ("https", "--http1.1"),
    ("https", "--http2"),
];

#[test]
fn calls_in_binary_mode_end_with_a_frame_of_trailers() {
    let browser = Browser::start();
    for (scheme, protocol) in PROTOCOLS {
        let content_type = "application/grpc-web+proto";
        let (head, body) = browser.call(scheme, protocol, "/test.Echo/Count", content_type, &frame(0, b"3"));
        assert!(head.contains(" 200"), "{head}");
        for field in [
            // The server said `application/grpc`.
            "content-type: application/grpc-web",
            "access-control-allow-origin: https://app.test",
            "access-control-allow-credentials: true",
            "vary: origin",
        ] {
            assert!(head.contains(&format!("\r\n{field}\r\n")), "{field}: {head}");
        }
        assert!(head.contains("grpc-status, grpc-message\r\n"), "{head}");
        let mut expected = [frame(0, b"0"), frame(0, b"1"), frame(0, b"2")].concat();
        let trailers = frame(0x80, b"grpc-status: 0\r\n");
        expected.extend_from_slice(&trailers);
        assert_eq!(body, expected, "{protocol}: {}", String::from_utf8_lossy(&body));
    }
}

#[test]
fn calls_in_text_mode_are_base64_both_ways() {
    let browser = Browser::start();
    for (scheme, protocol) in PROTOCOLS {
        let content_type = "application/grpc-web-text";
        // `\0\0\0\0\x05hello`
        let (head, body) =
            browser.call(scheme, protocol, "/test.Echo/Unary", content_type, b"AAAAAAVoZWxsbw==");
        assert!(head.contains("\r\ncontent-type: application/grpc-web-text\r\n"), "{head}");
        // Two texts: the message, and the trailers.
        let expected = "AAAAAAVoZWxsbw==gAAAABBncnBjLXN0YXR1czogMA0K";
        assert_eq!(String::from_utf8_lossy(&body), expected, "{protocol}");
    }
    let (head, _) =
        browser.call("http", "--http1.1", "/test.Echo/Unary", "application/grpc-web-text", b"A!AA");
    assert!(head.contains("\r\ngrpc-status: 13\r\n"), "what is no base64 is refused: {head}");
}

#[test]
fn statuses_reach_the_browser() {
    let browser = Browser::start();
    for (method, status) in [("/test.Echo/Refuse", 7), ("/test.Dead/X", 14)] {
        let (head, body) = browser.call("http", "--http1.1", method, "application/grpc-web", &frame(0, b"x"));
        assert!(head.contains(" 200"), "{head}");
        assert!(head.contains(&format!("\r\ngrpc-status: {status}\r\n")), "{method}: {head}");
        assert!(head.contains("\r\naccess-control-allow-origin: https://app.test\r\n"), "{head}");
        // Traefik ends such an answer with an empty frame too.
        assert!(body.is_empty() || body == frame(0x80, b""), "{body:?}");
    }
}

#[test]
fn a_preflight_is_answered_and_others_go_to_the_service() {
    let browser = Browser::start();
    let url = browser.rig.url("http", "web.test", "/test.Echo/Unary");
    let ask = |origin: &str, headers: &str| {
        let (origin, headers) =
            (format!("Origin: {origin}"), format!("Access-Control-Request-Headers: {headers}"));
        let method = "Access-Control-Request-Method: POST";
        let arguments = ["-i", "-X", "OPTIONS", "-H", &origin, "-H", method, "-H", &headers, &url];
        browser.rig.curl(&arguments).to_lowercase()
    };
    let granted = ask("https://app.test", "x-grpc-web,content-type");
    assert!(granted.starts_with("http/1.1 200"), "{granted}");
    for field in [
        "access-control-allow-origin: https://app.test",
        "access-control-allow-methods: post",
        "access-control-allow-headers: x-grpc-web,content-type",
        "access-control-max-age: 600",
    ] {
        assert!(granted.contains(&format!("\r\n{field}\r\n")), "{field}: {granted}");
    }
    let refused = ask("https://evil.test", "x-grpc-web");
    assert!(refused.starts_with("http/1.1 200") && !refused.contains("access-control-allow"), "{refused}");
    let other = ask("https://app.test", "content-type");
    assert!(!other.contains("access-control-max-age"), "{other}");
}
