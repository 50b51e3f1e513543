//! tonic at both ends, without TLS (h2c with prior knowledge), and over TLS between two proxies.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_stream::StreamExt;
use tokio_stream::iter;
use tonic::client::Grpc;
use tonic::codegen::{Bytes, http::uri::PathAndQuery};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::raw::Raw;
use crate::rig::{Rig, SOON};
use crate::{proxy, server};

/// A client, a proxy and a server.
struct Bench {
    runtime: Runtime,
    rig: Rig,
    seen: server::Seen,
}

impl Bench {
    fn start() -> Bench {
        let runtime = Runtime::new().unwrap();
        let (address, seen) = server::start(&runtime);
        Bench { rig: proxy(&format!("h2c://{address}"), None), runtime, seen }
    }

    fn channel(&self) -> Channel {
        let endpoint = Endpoint::new(format!("http://{}", self.rig.proxy.web)).unwrap();
        self.runtime.block_on(async { endpoint.connect_lazy() })
    }
}

fn path(method: &str) -> PathAndQuery {
    format!("/test.{method}").parse().unwrap()
}

async fn unary(
    channel: &Channel,
    method: &str,
    request: Request<Bytes>,
) -> Result<tonic::Response<Bytes>, Status> {
    let mut grpc =
        Grpc::new(channel.clone()).max_decoding_message_size(64 << 20).max_encoding_message_size(64 << 20);
    grpc.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    grpc.unary(request, path(method), Raw).await
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

async fn every_kind(channel: &Channel) {
    let said = unary(channel, "Echo/Unary", Request::new("hello".into())).await.unwrap();
    assert_eq!(text(said.get_ref()), "hello");
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let three = || iter(["a", "b", "c"].map(Bytes::from));
    let said = grpc.client_streaming(Request::new(three()), path("Echo/Collect"), Raw).await.unwrap();
    assert_eq!(text(said.get_ref()), "3 messages");
    grpc.ready().await.unwrap();
    let said =
        grpc.server_streaming(Request::new(Bytes::from("1000")), path("Echo/Count"), Raw).await.unwrap();
    let numbers: Vec<_> = said.into_inner().map(|message| text(&message.unwrap())).collect().await;
    assert_eq!(numbers.len(), 1000);
    assert_eq!(numbers[999], "999");
    // Each answer is waited for before the next message goes.
    let (send, receive) = tokio::sync::mpsc::channel::<Bytes>(1);
    grpc.ready().await.unwrap();
    let stream = tokio_stream::wrappers::ReceiverStream::new(receive);
    let mut said = grpc.streaming(Request::new(stream), path("Echo/Chat"), Raw).await.unwrap().into_inner();
    for n in 0..20 {
        send.send(n.to_string().into()).await.unwrap();
        assert_eq!(text(&said.message().await.unwrap().unwrap()), n.to_string());
    }
    drop(send);
    assert!(said.message().await.unwrap().is_none());
    assert!(said.trailers().await.unwrap().is_some());
}

#[test]
fn every_kind_of_call_passes() {
    let bench = Bench::start();
    let channel = bench.channel();
    bench.runtime.block_on(every_kind(&channel));
}

#[test]
fn every_kind_of_call_passes_over_tls_to_a_server_that_agrees_on_http2() {
    let runtime = Runtime::new().unwrap();
    let (address, _) = server::start(&runtime);
    // The inner proxy is the server: it agrees on HTTP/2 by ALPN.
    let inner = proxy(&format!("h2c://{address}"), None);
    let authority = inner.dir.path().join("cert.pem");
    let outer = proxy(&format!("https://{}", inner.proxy.web), Some(&authority));
    let endpoint = Endpoint::new(format!("http://{}", outer.proxy.web)).unwrap();
    let channel = runtime.block_on(async { endpoint.connect_lazy() });
    runtime.block_on(every_kind(&channel));
    let log = inner.proxy.admin("/metrics");
    assert!(log.contains("pancake_tls_handshakes_total 1\n"), "one connection carries all: {log}");
}

#[test]
fn statuses_of_the_server_arrive_with_their_metadata() {
    let bench = Bench::start();
    let channel = bench.channel();
    bench.runtime.block_on(async {
        let refused = unary(&channel, "Echo/Refuse", Request::new("x".into())).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::PermissionDenied, "not you: ä"));
        let mut grpc = Grpc::new(channel.clone());
        grpc.ready().await.unwrap();
        let said = grpc.server_streaming(Request::new(Bytes::from("x")), path("Echo/FailLate"), Raw).await;
        let mut said = said.unwrap().into_inner();
        assert_eq!(text(&said.message().await.unwrap().unwrap()), "x");
        let failed = said.message().await.unwrap_err();
        assert_eq!((failed.code(), failed.message()), (Code::DataLoss, "lost it"));
        assert_eq!(failed.metadata().get("x-detail").unwrap(), "half");
    });
}

#[test]
fn what_the_proxy_answers_itself_is_grpc() {
    let bench = Bench::start();
    let channel = bench.channel();
    bench.runtime.block_on(async {
        for (method, code, message) in [
            ("Nowhere/X", Code::Unimplemented, "Not Found"),
            ("Dead/X", Code::Unavailable, "Bad Gateway"),
            ("None/X", Code::Unavailable, "Service Unavailable"),
        ] {
            let failed = unary(&channel, method, Request::new("x".into())).await.unwrap_err();
            assert_eq!((failed.code(), failed.message()), (code, message), "{method}");
        }
        let mut request = Request::new(Bytes::from("x"));
        request.metadata_mut().insert("x-slow", "1".parse().unwrap());
        let failed = unary(&channel, "Echo/Hang", request).await.unwrap_err();
        assert_eq!((failed.code(), failed.message()), (Code::Unavailable, "Gateway Timeout"));
    });
}

#[test]
fn a_call_that_is_given_up_ends_at_the_server_too() {
    let bench = Bench::start();
    let channel = bench.channel();
    let hang = channel.clone();
    let hang = bench.runtime.spawn(async move { unary(&hang, "Echo/Hang", Request::new("x".into())).await });
    bench.rig.until("the call has come", || bench.seen.begun.load(Ordering::SeqCst) == 1);
    hang.abort();
    bench.rig.until("the server has noticed", || bench.seen.given_up.load(Ordering::SeqCst) == 1);
    // The deadline travels: the server ends the call by itself.
    let mut request = Request::new(Bytes::from("x"));
    request.set_timeout(Duration::from_millis(100));
    let failed = bench.runtime.block_on(unary(&channel, "Echo/Hang", request)).unwrap_err();
    assert!(matches!(failed.code(), Code::Cancelled | Code::DeadlineExceeded), "{failed:?}");
    bench.rig.until("the server has noticed", || bench.seen.given_up.load(Ordering::SeqCst) == 2);
}

#[test]
fn large_messages_and_metadata_pass() {
    let bench = Bench::start();
    let channel = bench.channel();
    bench.runtime.block_on(async {
        let large = Bytes::from(vec![7; 4 << 20]);
        let said = unary(&channel, "Echo/Unary", Request::new(large.clone())).await.unwrap();
        assert!(*said.get_ref() == large);
        let mut request = Request::new(Bytes::from("x"));
        let value = "m".repeat(12 << 10);
        request.metadata_mut().insert("x-large", value.parse().unwrap());
        request
            .metadata_mut()
            .insert_bin("x-raw-bin", tonic::metadata::MetadataValue::from_bytes(b"\0\xff\n"));
        let said = unary(&channel, "Echo/Unary", request).await.unwrap();
        assert_eq!(said.metadata().get("x-large").unwrap(), &*value);
        let binary = said.metadata().get_bin("x-raw-bin").unwrap().to_bytes().unwrap();
        assert_eq!(&binary[..], b"\0\xff\n");
    });
}

#[test]
fn two_hundred_calls_at_once_share_connections() {
    let bench = Bench::start();
    let channel = bench.channel();
    let calls = async {
        let mut calls = tokio::task::JoinSet::new();
        for n in 0..200 {
            let channel = channel.clone();
            calls.spawn(async move {
                let mut grpc = Grpc::new(channel);
                grpc.ready().await.unwrap();
                let message = Bytes::from(format!("{n}-{}", "x".repeat(10_000)));
                let messages = iter(vec![message.clone(); 10]);
                let said = grpc.streaming(Request::new(messages), path("Echo/Chat"), Raw).await.unwrap();
                let back: Vec<_> = said.into_inner().map(Result::unwrap).collect().await;
                assert!(back == vec![message; 10]);
            });
        }
        let mut done = 0;
        while let Some(call) = calls.join_next().await {
            call.unwrap();
            done += 1;
        }
        done
    };
    let done = bench.runtime.block_on(async { tokio::time::timeout(SOON, calls).await });
    assert_eq!(done.expect("in time"), 200);
}

#[test]
fn an_answer_that_ends_first_ends_the_call() {
    let bench = Bench::start();
    let channel = bench.channel();
    bench.runtime.block_on(async {
        let (send, receive) = tokio::sync::mpsc::channel::<Bytes>(1);
        let mut grpc = Grpc::new(channel.clone());
        grpc.ready().await.unwrap();
        let stream = tokio_stream::wrappers::ReceiverStream::new(receive);
        send.send("one".into()).await.unwrap();
        let mut said =
            grpc.streaming(Request::new(stream), path("Echo/One"), Raw).await.unwrap().into_inner();
        assert_eq!(text(&said.message().await.unwrap().unwrap()), "one");
        let end = tokio::time::timeout(SOON, said.message()).await.expect("the answer ends");
        assert!(end.unwrap().is_none());
        drop(send);
    });
}

#[test]
fn a_call_goes_on_while_the_table_is_replaced() {
    let bench = Bench::start();
    let channel = bench.channel();
    let (send, receive) = tokio::sync::mpsc::channel::<Bytes>(1);
    let stream = tokio_stream::wrappers::ReceiverStream::new(receive);
    let mut said = bench.runtime.block_on(async {
        let mut grpc = Grpc::new(channel.clone());
        grpc.ready().await.unwrap();
        grpc.streaming(Request::new(stream), path("Echo/Chat"), Raw).await.unwrap().into_inner()
    });
    let mut talk = |word: &'static str| {
        bench.runtime.block_on(async {
            send.send(word.into()).await.unwrap();
            assert_eq!(text(&said.message().await.unwrap().unwrap()), word);
        });
    };
    talk("before");
    let file = bench.rig.dir.path().join("dynamic.yml");
    let gone = std::fs::read_to_string(&file).unwrap().replace("PathPrefix(`/test.Echo/`)", "Path(`/gone`)");
    std::fs::write(&file, gone).unwrap();
    bench.rig.until("new calls find no router", || {
        let asked = unary(&channel, "Echo/Unary", Request::new("x".into()));
        bench.runtime.block_on(asked).is_err_and(|status| status.code() == Code::Unimplemented)
    });
    talk("after");
}
