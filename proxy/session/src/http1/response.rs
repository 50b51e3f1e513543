//! The server's answer: head and body, to the client.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use pancake_engine::{Engine, OutBuf, Parts, Stream, Time, Want};
use pancake_wire::h1::emit;
use pancake_wire::h1::head::{self, Framing, Known, Limits, ResponseHead, Version};

use super::input::Input;
use super::pump::{Inbound, Moved, Pump, PumpError};
use super::{Scratch, reply};
use crate::limits::{EXPECT_CONTINUE_TIMEOUT, MAX_FIELDS, MAX_INTERIM_RESPONSES, MAX_RESPONSE_HEAD_BYTES};
use crate::meter::{Method, Slow};
use crate::middleware::grpc_web::{Call, Filter};
use crate::record::{Failure, Phase};
use crate::stream::Conn;
use crate::worker::Worker;

/// What the answer depends on.
pub(crate) struct Context<'a, E: Engine> {
    pub(crate) worker: &'a Rc<Worker<E>>,
    pub(crate) client: &'a Conn<E>,
    pub(crate) server: &'a Conn<E>,
    pub(crate) method: Method,
    pub(crate) version: Version,
    /// What the client asks to upgrade to.
    pub(crate) upgrade: Option<&'a [u8]>,
    /// What is translated, if it is a call of gRPC-Web.
    pub(crate) grpc_web: Option<&'a Call>,
    /// Whether the client's connection stays open if the answer allows it.
    pub(crate) keep_alive: bool,
    /// A line about HTTP/3, for the client.
    pub(crate) alt_svc: Option<&'a str>,
    /// How far the request came.
    pub(crate) request: &'a Request,
    /// From the whole request to the head of the answer.
    pub(crate) head_timeout: Option<Duration>,
    pub(crate) send_until: Time,
    /// How long the client may take for what is sent to it at a time.
    pub(crate) send_stall: Option<Duration>,
}

/// How far the request came, as its sender and the answer's side both see it.
#[derive(Default)]
pub(crate) struct Request {
    /// Opened when the body is asked for. Closed from the start only with `Expect: 100-continue`.
    pub(crate) gate: Cell<bool>,
    /// When all of it was sent.
    pub(crate) whole_at: Cell<Option<Time>>,
    /// What of it was sent.
    pub(crate) moved: Moved,
}

impl Request {
    pub(crate) fn is_whole(&self) -> bool {
        self.whole_at.get().is_some()
    }
}

/// How far the answer came; read after its future has ended or was dropped.
#[derive(Default)]
pub(crate) struct Progress {
    /// Whether any byte of an answer came from the server.
    pub(crate) heard: Cell<bool>,
    /// Status of the final answer, once its head came.
    pub(crate) status: Cell<u16>,
    /// Whether an interim answer was begun and not finished: nothing else can be sent then.
    pub(crate) in_interim: Cell<bool>,
    /// What of the final answer was sent.
    pub(crate) moved: Moved,
}

/// An answer that got across whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// Message and framing are complete.
    Whole {
        /// The server's connection can serve another exchange.
        keep_server: bool,
        /// The client's connection can.
        keep_client: bool,
    },
    /// 101: from here on the connections carry another protocol.
    Tunnel,
}

/// Why an answer did not get across.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The server's fault.
    Server(Failure),
    /// The client left or stopped reading.
    Client(&'static str),
}

/// An answer's head, translated for the client.
struct Plan {
    status: u16,
    head: OutBuf,
    inbound: Inbound,
    chunked_out: bool,
    filter: Option<Box<Filter>>,
    keep_server: bool,
    keep_client: bool,
}

/// Reads the answer from the server and passes it on.
pub(crate) async fn answer<E: Engine>(
    context: Context<'_, E>,
    input: &mut Input,
    progress: &Progress,
) -> Result<Answered, Broken> {
    let mut interim = 0;
    loop {
        let plan = read_head(&context, input, progress).await?;
        if plan.status < 200 && plan.status != 101 {
            interim += 1;
            if interim > MAX_INTERIM_RESPONSES {
                return Err(server_fault("too-many-interim-responses", 502));
            }
            context.request.gate.set(true);
            if context.version == Version::Http11 {
                interim_to_client(&context, progress, plan.head.into()).await?;
            }
            continue;
        }
        progress.status.set(plan.status);
        let mut pump = Pump {
            worker: context.worker,
            from: context.server,
            input,
            to: context.client,
            chunked_out: plan.chunked_out,
            filter: plan.filter,
            recv_until: Time::NEVER,
            send_until: context.send_until,
            send_stall: context.send_stall,
            progress: &progress.moved,
        };
        match pump.run(plan.head, plan.inbound).await {
            Ok(()) if plan.status == 101 => return Ok(Answered::Tunnel),
            Ok(()) => {
                // Bytes after the end of an answer belong to nobody: such a connection is not used again.
                let keep_server = plan.keep_server && input.is_empty();
                return Ok(Answered::Whole { keep_server, keep_client: plan.keep_client });
            }
            Err(PumpError::From(error)) => return Err(server_fault(body_reason(&error), 502)),
            Err(PumpError::Framing(reject)) => return Err(server_fault(reject.reason, 502)),
            Err(PumpError::To(error)) => {
                let reason = client_reason(&error);
                let _ = context.worker.unless_slow::<()>(Err(error), Slow::Answer);
                return Err(Broken::Client(reason));
            }
        }
    }
}

async fn interim_to_client<E: Engine>(
    context: &Context<'_, E>,
    progress: &Progress,
    head: Parts,
) -> Result<(), Broken> {
    progress.in_interim.set(true);
    let sent = context.client.send(head, context.send_until).await;
    sent.map_err(|error| Broken::Client(client_reason(&error)))?;
    progress.in_interim.set(false);
    Ok(())
}

fn server_fault(reason: &'static str, status: u16) -> Broken {
    Broken::Server(Failure::new(Phase::Forward, reason, status))
}

fn no_answer(error: &io::Error) -> Broken {
    match error.kind() {
        // These two come of HTTP/2 only: what was asked, or was answered, cannot be said in it.
        io::ErrorKind::InvalidInput => server_fault("request-not-in-http2", 400),
        io::ErrorKind::InvalidData => server_fault("http2-malformed", 502),
        _ => server_fault("server-reset", 502),
    }
}

fn body_reason(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "response-truncated",
        _ => "response-aborted",
    }
}

/// Why the client did not take what was sent.
pub(crate) fn client_reason(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::TimedOut => "client-write-timeout",
        _ => "client-gone",
    }
}

async fn read_head<E: Engine>(
    context: &Context<'_, E>,
    input: &mut Input,
    progress: &Progress,
) -> Result<Plan, Broken> {
    let Context { worker, request, .. } = context;
    let engine = &worker.engine;
    let ask_at = match request.gate.get() {
        true => Time::NEVER,
        false => engine.now().after(EXPECT_CONTINUE_TIMEOUT),
    };
    let (mut parsed, mut seen) = (0, 0);
    loop {
        let held = input.bytes().len();
        // As with request heads: one that drips in is not parsed, or looked at, on every byte.
        let may_end = || head::may_be_complete(input.bytes(), seen);
        let look = held > 0 && (parsed == 0 || held >= 2 * parsed || may_end());
        seen = held;
        if look {
            if let Some(plan) = plan(context, input)? {
                return Ok(plan);
            }
            parsed = held;
        }
        input.relieve();
        let head_until = |from: Time| context.head_timeout.map_or(Time::NEVER, |d| from.after(d));
        // While the request is not whole its end is not known: looked at again when this passes.
        let look_at = head_until(request.whole_at.get().unwrap_or(engine.now()));
        let gate_until = if request.gate.get() { Time::NEVER } else { ask_at };
        match context.server.recv(Want::Some, look_at.min(gate_until)).await {
            Ok(bytes) if bytes.is_empty() => {
                let reason = if progress.heard.get() { "response-truncated" } else { "server-closed" };
                return Err(server_fault(reason, 502));
            }
            Ok(bytes) => {
                progress.heard.set(true);
                input.push(bytes);
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                if !request.gate.get() && engine.now() >= ask_at {
                    // The server stays silent: the body is asked for in its place.
                    interim_to_client(context, progress, reply::CONTINUE.into()).await?;
                    request.gate.set(true);
                } else if request.whole_at.get().is_some_and(|whole| engine.now() >= head_until(whole)) {
                    return Err(server_fault("response-header-timeout", 504));
                }
            }
            Err(error) => return Err(no_answer(&error)),
        }
    }
}

/// Translates the head at the front of `input`, if it is whole. Synchronous: borrows the worker's scratch memory.
fn plan<E: Engine>(context: &Context<'_, E>, input: &mut Input) -> Result<Option<Plan>, Broken> {
    let mut scratch = context.worker.scratch.borrow_mut();
    let Scratch { response: head, date, .. } = &mut *scratch;
    let limits = Limits { max_head_bytes: MAX_RESPONSE_HEAD_BYTES, max_fields: MAX_FIELDS };
    let used = match head::parse_response(input.bytes(), &limits, head) {
        Ok(Some(used)) => used,
        Ok(None) => return Ok(None),
        Err(reject) => return Err(server_fault(reject.reason, 502)),
    };
    if head.status == 101 && !is_upgrade_asked_for(context.upgrade, head, input.bytes()) {
        return Err(server_fault("unexpected-upgrade", 502));
    }
    let framing = head.framing(context.method == Method::Head);
    let http11 = context.version == Version::Http11;
    // Without a frame for the trailers the answer would be taken for cut off; until the close there are none.
    let translated = context.grpc_web.filter(|call| {
        head.status >= 200 && framing != Framing::UntilClose && call.answers(head, input.bytes())
    });
    let chunked_out =
        http11 && (translated.is_some() || matches!(framing, Framing::Chunked | Framing::UntilClose));
    let delimited =
        chunked_out || translated.is_none() && matches!(framing, Framing::Empty | Framing::Length(_));
    // An answer that overtakes its request ends the connection: what follows may be the rest of the request.
    let whole = context.request.is_whole();
    let keep_client = context.keep_alive && delimited && whole && !context.worker.is_draining();
    let mut out = OutBuf::new();
    write_head(&mut out, head, input.bytes(), chunked_out, translated);
    if let Some(call) = context.grpc_web.filter(|_| head.status >= 200) {
        let seen = head.fields.iter().filter(|field| !is_hop_by_hop(field.known));
        call.cors_fields(seen.map(|field| field.name.of(input.bytes())), &mut out);
    }
    if head.status >= 200 {
        if !head.fields.iter().any(|field| field.known == Known::Date) {
            emit::field(&mut out, b"Date", date.at(context.worker.engine.unix_time().as_secs()));
        }
        if let Some(line) = context.alt_svc {
            out.extend_from_slice(line.as_bytes());
        }
        if !keep_client {
            out.extend_from_slice(b"Connection: close\r\n");
        } else if !http11 {
            out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
    let plan = Plan {
        status: head.status,
        head: out,
        inbound: Inbound::new(framing),
        chunked_out,
        filter: translated.map(|call| Box::new(call.answer_filter())),
        // A body that is announced where none can be (RFC 9112 section 6.3) leaves the connection in doubt.
        keep_server: head.keep_alive
            && !matches!(framing, Framing::UntilClose)
            && !(head.chunked && matches!(framing, Framing::Empty) && context.method != Method::Head),
        keep_client,
    };
    input.consume(used);
    Ok(Some(plan))
}

/// Whether the protocol that the server switches to is one that the client named (RFC 9110 section 7.8).
fn is_upgrade_asked_for(asked: Option<&[u8]>, head: &ResponseHead, bytes: &[u8]) -> bool {
    let (Some(asked), Some(answered)) = (asked, head.upgrade) else { return false };
    let answered = answered.of(bytes).trim_ascii();
    asked.split(|&b| b == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(answered))
}

/// RFC 9110 section 7.6.1.
fn is_hop_by_hop(known: Known) -> bool {
    matches!(known, Known::Connection | Known::KeepAlive | Known::ProxyConnection)
        || matches!(known, Known::TransferEncoding | Known::Upgrade | Known::Te)
}

/// Status line and fields, without the hop-by-hop ones (RFC 9110 section 7.6.1).
fn write_head(
    out: &mut Vec<u8>,
    head: &ResponseHead,
    bytes: &[u8],
    chunked_out: bool,
    translated: Option<&Call>,
) {
    let mut content_type = None;
    out.extend_from_slice(b"HTTP/1.1 ");
    emit::decimal(out, u64::from(head.status));
    out.push(b' ');
    out.extend_from_slice(head.reason.of(bytes));
    out.extend_from_slice(b"\r\n");
    emit::fields(out, bytes, &head.fields, |field| match field.known {
        known if is_hop_by_hop(known) => false,
        // RFC 9110 section 8.6: none with 1xx and 204.
        Known::ContentLength if translated.is_some() => false,
        Known::ContentLength => !head.chunked && !matches!(head.status, 100..=199 | 204),
        Known::Trailer => chunked_out && translated.is_none(),
        Known::ContentType if translated.is_some() => {
            content_type = Some(field.value);
            false
        }
        _ => !head.is_connection_option(bytes, field),
    });
    if let (Some(call), Some(content_type)) = (translated, content_type) {
        call.content_type(content_type.of(bytes), out);
    }
    if chunked_out {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    if head.status == 101
        && let Some(upgrade) = head.upgrade
    {
        emit::field(out, b"Connection", b"Upgrade");
        emit::field(out, b"Upgrade", upgrade.of(bytes));
    }
}
