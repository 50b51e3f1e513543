//! Reading a request head and deciding what to do with it. Synchronous: nothing here waits.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use pancake_engine::{Engine, Time};
use pancake_table::lookup;
use pancake_wire::h1::head::{self, Field, Framing, Known, Limits, RequestHead, Span, Version};
use pancake_wire::h1::target::{self, Form, Target};

use super::grpc::Grpc;
use super::outgoing::{Outgoing, Source};
use super::{Client, Scratch};
use crate::acme_tokens;
use crate::limits::{MAX_FIELDS, MAX_RECORDED_TEXT_BYTES};
use crate::meter::Method;
use crate::middleware::{self, OwnAnswer, Verdict};
use crate::pressure::Stage;
use crate::record::{Failure, Phase, Text};
use crate::settings::Underscores;
use crate::stream::Conn;
use crate::upstream::{Chosen, LocalRoute};
use crate::worker::Worker;

/// A request that was read, and what was decided about it.
pub(crate) struct Job<E: Engine> {
    pub(crate) method: Method,
    pub(crate) version: Version,
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
    pub(crate) expect_continue: bool,
    /// What the client asks to upgrade to.
    pub(crate) upgrade: Option<Box<[u8]>>,
    pub(crate) started: Time,
    pub(crate) started_unix: Duration,
    pub(crate) text: Option<Box<Text>>,
    pub(crate) route: Option<Rc<LocalRoute<E>>>,
    /// Whether it is a call of gRPC.
    pub(crate) grpc: Grpc,
    /// What answers an ACME challenge; then there is no target.
    pub(crate) challenge: Option<Arc<str>>,
    /// What a middleware answers; then there is no target.
    pub(crate) answer: Option<Box<OwnAnswer>>,
    /// The server and the head it is to get, or why there is none.
    pub(crate) target: Result<(Chosen<E>, Outgoing), Failure>,
}

/// Reads the head at the front of the client's input, if it is whole, and finds its route and server. The head's
/// bytes are consumed then.
pub(crate) fn admit<E: Engine>(worker: &Rc<Worker<E>>, client: &mut Client<Conn<E>>) -> Option<Job<E>> {
    let mut scratch = worker.scratch.borrow_mut();
    let scratch = &mut *scratch;
    let limits = Limits { max_head_bytes: client.entry.max_head_bytes, max_fields: MAX_FIELDS };
    let parsed = head::parse_request(client.input.bytes(), &limits, &mut scratch.request);
    let (job, used) = match parsed {
        Ok(None) => return None,
        Err(reject) => {
            let failure = Failure::new(Phase::Http1, reject.reason, reject.status);
            (Job::refused(worker, client.asked, failure), client.input.bytes().len())
        }
        Ok(Some(used)) => (decide(worker, client, scratch), used),
    };
    client.input.consume(used);
    client.requests += 1;
    Some(job)
}

/// Why no request is served now: the memory budget is nearly used up.
pub(crate) fn shed<E: Engine>(worker: &Worker<E>) -> Option<Failure> {
    worker.pressure.is_at_least(Stage::Shed).then(|| {
        worker.meter.shed_requests.add(1);
        Failure::new(Phase::Http1, "memory-short", 503)
    })
}

impl<E: Engine> Job<E> {
    /// Whether the request has no body.
    pub(crate) fn is_body_free(&self) -> bool {
        matches!(self.framing, Framing::Empty | Framing::Length(0))
    }

    /// Whether it can go to a server in HTTP/1.1 only: HTTP/2 has no upgrades (RFC 9113 section 8.6).
    pub(crate) fn needs_http1(&self) -> bool {
        self.upgrade.is_some()
    }

    /// A request of which nothing is known but that it is refused.
    pub(crate) fn refused(worker: &Worker<E>, asked: Time, failure: Failure) -> Job<E> {
        Job {
            method: Method::Other,
            version: Version::Http11,
            framing: Framing::Empty,
            keep_alive: false,
            expect_continue: false,
            upgrade: None,
            started: asked,
            started_unix: unix_time_of(worker, asked),
            text: None,
            route: None,
            grpc: Grpc::No,
            challenge: None,
            answer: None,
            target: Err(failure),
        }
    }
}

/// The request as rules see it.
struct View<'a> {
    bytes: &'a [u8],
    head: &'a RequestHead,
    method: &'a str,
    host: &'a str,
    path: &'a str,
    query: &'a str,
    client_ip: IpAddr,
}

impl lookup::Request for View<'_> {
    fn method(&self) -> &str {
        self.method
    }

    fn host(&self) -> &str {
        self.host
    }

    fn path(&self) -> &str {
        self.path
    }

    fn query(&self) -> &str {
        self.query
    }

    fn any_header(&self, name: &str, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.head
            .fields
            .iter()
            .filter(|field| field.name.of(self.bytes).eq_ignore_ascii_case(name.as_bytes()))
            .any(|field| visit(field.value.of(self.bytes)))
    }

    fn client_ip(&self) -> IpAddr {
        self.client_ip
    }
}

fn decide<E: Engine>(worker: &Rc<Worker<E>>, client: &Client<Conn<E>>, scratch: &mut Scratch) -> Job<E> {
    let Scratch { request: head, host, path, forwarded_path, .. } = scratch;
    let bytes = client.input.bytes();
    let method = head.method.of(bytes);
    let mut job = Job {
        method: Method::of(method),
        version: head.version,
        framing: head.framing,
        keep_alive: head.keep_alive,
        expect_continue: head.expect_continue,
        upgrade: upgrade_of(head, bytes).map(Into::into),
        started: client.asked,
        started_unix: unix_time_of(worker, client.asked),
        text: worker.sink.wants_text().then(|| text_of(head, bytes, client.protocol)),
        route: None,
        grpc: Grpc::of(Method::of(method), head, bytes),
        challenge: None,
        answer: None,
        target: Err(Failure::new(Phase::Lookup, "no-router", 404)),
    };
    if let Some(failure) = shed(worker) {
        job.target = Err(failure);
        job.keep_alive = false;
        return job;
    }
    let whole_target = head.target.of(bytes);
    let target = head.target_parts;
    let authority = head.authority(bytes).unwrap_or_default();
    let normalized = target::host_for_routing(authority, host)
        .and_then(|()| paths(&target, whole_target, client.entry.sanitize_path, path, forwarded_path));
    let allowed = match normalized {
        Err(reject) => Err((reject.reason, reject.status)),
        Ok(()) if !client.entry.encoded.allows(target.path.of(whole_target)) => {
            Err(("encoded-character-not-allowed", 400))
        }
        Ok(()) if client.entry.underscores == Underscores::Reject && has_underscore(head, bytes) => {
            Err(("underscore-in-field-name", 400))
        }
        Ok(()) => Ok(()),
    };
    if let Err((reason, status)) = allowed {
        job.target = Err(Failure::new(Phase::Http1, reason, status));
        job.keep_alive = false;
        return job;
    }
    if target.form == Form::Authority {
        job.target = Err(Failure::new(Phase::Http1, "connect-not-supported", 405));
        return job;
    }
    let query = target.query.map_or(&b""[..], |q| q.of(whole_target));
    let view = View {
        bytes,
        head,
        // Methods and targets are ASCII once they are parsed; `""` matches nothing.
        method: str::from_utf8(method).unwrap_or(""),
        host,
        path,
        query: str::from_utf8(query).unwrap_or(""),
        client_ip: client.peer.ip().to_canonical(),
    };
    if let Some(secured) = &client.secured
        && *secured.sni != **host
        && worker.with_table(|table| {
            table.tls_options(client.entry.id, &secured.sni) != table.tls_options(client.entry.id, host)
        })
    {
        // The handshake was made by other rules than this host's (RFC 9110 section 15.5.20).
        job.target = Err(Failure::new(Phase::Lookup, "misdirected", 421));
        return job;
    }
    let route = worker.with_table(|table| {
        table
            .route(client.entry.id, client.secured.is_some(), &view)
            .map(|route| worker.upstreams.local(route))
    });
    if (route.is_none() || !client.entry.acme_bypass) && path.starts_with(acme_tokens::PATH_PREFIX) {
        job.challenge = worker.tokens.for_path(path);
        if job.challenge.is_some() {
            return job;
        }
    }
    let Some(route) = route else { return job };
    if !route.route.middlewares.is_empty() {
        match middleware::judge(&route.route, job.method, head, bytes) {
            Verdict::Pass => {}
            Verdict::GrpcWeb(call) => job.grpc = Grpc::Web(call),
            Verdict::Answer(answer) => {
                job.answer = Some(Box::new(answer));
                job.route = Some(route);
                return job;
            }
        }
    }
    job.target = match route.service.pick(&[]) {
        None => Err(Failure::new(Phase::Pick, "no-server-available", 503)),
        Some(chosen) => {
            let source = Source {
                head,
                bytes,
                host: authority,
                path: forwarded_path,
                query: target.query.map(|q| q.of(whole_target)),
                keep_upgrade: job.upgrade.is_some(),
                grpc_web: job.grpc.web(),
            };
            let pass_host = route.service.service.pass_host_header;
            let out = Outgoing::write(&source, &chosen.server, pass_host, client, &worker.hostname);
            Ok((chosen, out))
        }
    };
    job.route = Some(route);
    job
}

/// What the request asks to upgrade to. Not with a body, and not to HTTP/2: such a tunnel would carry requests past
/// rules and records.
fn upgrade_of<'a>(head: &RequestHead, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let asked = head.upgrade?.of(bytes);
    let names = |one: &[u8]| one.trim_ascii().eq_ignore_ascii_case(b"h2c");
    (matches!(head.framing, Framing::Empty) && !asked.split(|&b| b == b',').any(names)).then_some(asked)
}

/// The wall-clock time of a moment of this exchange.
fn unix_time_of<E: Engine>(worker: &Worker<E>, moment: Time) -> Duration {
    worker.engine.unix_time().saturating_sub(worker.engine.now().since(moment))
}

fn has_underscore(head: &RequestHead, bytes: &[u8]) -> bool {
    head.fields.iter().any(|field| field.name.of(bytes).contains(&b'_'))
}

/// Fills `routing` with the path that rules see and `forwarded` with the one that the server gets.
fn paths(
    target: &Target,
    whole: &[u8],
    sanitize: bool,
    routing: &mut String,
    forwarded: &mut Vec<u8>,
) -> Result<(), head::Reject> {
    let raw = target.path.of(whole);
    let raw = if raw.is_empty() { b"/" } else { raw };
    let rewritten = match sanitize {
        true => target::sanitize(raw, forwarded)?,
        false => target::normalize(raw, forwarded)?,
    };
    if !rewritten {
        forwarded.clear();
        forwarded.extend_from_slice(raw);
    }
    if !target::routing_path(forwarded, routing)? {
        routing.clear();
        routing.push_str(str::from_utf8(forwarded).unwrap_or("/"));
    }
    Ok(())
}

fn text_of(head: &RequestHead, bytes: &[u8], protocol: Option<&'static str>) -> Box<Text> {
    let own = |bytes: &[u8]| {
        let bytes = &bytes[..bytes.len().min(MAX_RECORDED_TEXT_BYTES)];
        String::from_utf8_lossy(bytes).into_owned()
    };
    let named = |known: Known| {
        let found = head.fields.iter().find(|field: &&Field| field.known == known);
        found.map(|field| own(field.value.of(bytes))).unwrap_or_default()
    };
    Box::new(Text {
        method: own(head.method.of(bytes)),
        target: own(head.target.of(bytes)),
        protocol: protocol.unwrap_or(match head.version {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        }),
        host: head.host.map(|host: Span| own(host.of(bytes))).unwrap_or_default(),
        referer: named(Known::Referer),
        user_agent: named(Known::UserAgent),
    })
}
