//! One request and its answer: `lookup -> pick -> connect -> forward -> record`.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use pancake_engine::{Engine, OutBuf, Stream, Time, Want};
use pancake_wire::h1::head::{self, Framing, Version};

use super::input::Input;
use super::ledger::Ledger;
use super::outgoing::Outgoing;
use super::pump::{Inbound, Pump, PumpError};
use super::request::{self, Job};
use super::response::{Answered, Broken, Context, Progress, answer, client_reason};
use super::{Client, Next, reply, tunnel};
use crate::limits::MAX_CONNECT_ATTEMPTS;
use crate::record::{Failure, Phase};
use crate::upstream::{Chosen, ConnectError, Connection};
use crate::worker::Worker;

/// Serves one request. Owns the connection meanwhile and hands it back.
pub(crate) async fn run<E: Engine>(
    worker: Rc<Worker<E>>,
    mut client: Client<E::Stream>,
    mut job: Job<E>,
) -> (Client<E::Stream>, Next) {
    let target = std::mem::replace(&mut job.target, Err(Failure::new(Phase::Lookup, "", 0)));
    let mut ledger = Ledger::open(&worker, &client, &mut job);
    let next = match target {
        Err(failure) => refuse(&worker, &mut client, &job, &mut ledger, failure).await,
        Ok((chosen, outgoing)) => forward(&worker, &mut client, &job, &mut ledger, chosen, outgoing).await,
    };
    drop(ledger);
    (client, next)
}

/// Waits for a whole request head. `None`: the connection has ended, was idle for too long, or the worker drains.
pub(crate) async fn next_request<E: Engine>(
    worker: &Rc<Worker<E>>,
    client: &mut Client<E::Stream>,
) -> Option<Job<E>> {
    let limit = |from: Time, d: Option<Duration>| d.map_or(Time::NEVER, |d| from.after(d));
    let mut until = match client.requests {
        0 => limit(client.opened, client.entry.read_timeout),
        _ => limit(worker.engine.now(), client.entry.idle_timeout),
    };
    let mut parsed = 0;
    loop {
        let held = client.input.bytes().len();
        if held > 0 {
            // A head that drips in is parsed when it may be whole or has doubled, not on every byte.
            let may_end = head::may_be_complete(client.input.bytes(), parsed);
            if parsed == 0 || held >= 2 * parsed || may_end || held > client.entry.max_head_bytes {
                if let Some(job) = request::admit(worker, client) {
                    return Some(job);
                }
                if parsed == 0 && client.requests > 0 {
                    until = limit(worker.engine.now(), client.entry.read_timeout);
                }
                parsed = held;
            }
        }
        client.input.relieve();
        let received = {
            let idle = client.input.is_empty();
            let mut recv = pin!(client.stream.recv(Want::Some, until));
            poll_fn(|cx| match recv.as_mut().poll(cx) {
                Poll::Ready(received) => Poll::Ready(Some(received)),
                // A request that came before the drain is still served.
                Poll::Pending if idle && worker.is_draining() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            })
            .await?
        };
        match received {
            Ok(bytes) if bytes.is_empty() => return None,
            Ok(bytes) => client.input.push(bytes),
            Err(error) if error.kind() == io::ErrorKind::TimedOut && !client.input.is_empty() => {
                return Some(Job::refused(worker, Failure::new(Phase::Http1, "request-timeout", 408)));
            }
            Err(_) => return None,
        }
    }
}

/// Answers in the proxy's own name.
async fn refuse<E: Engine>(
    worker: &Rc<Worker<E>>,
    client: &mut Client<E::Stream>,
    job: &Job<E>,
    ledger: &mut Ledger<E>,
    failure: Failure,
) -> Next {
    ledger.failure = Some(failure);
    ledger.status = failure.status;
    let body_left = !matches!(job.framing, Framing::Empty | Framing::Length(0));
    let keep = keeps_alive(worker, client, job) && !body_left;
    let (out, body_bytes) = {
        let second = worker.engine.unix_time().as_secs();
        let mut scratch = worker.scratch.borrow_mut();
        let head_request = job.method == crate::meter::Method::Head;
        let reply =
            reply::Reply { status: failure.status, reason: failure.reason, close: !keep, head_request };
        reply::make(&reply, scratch.date.at(second))
    };
    match client.stream.send(out.into(), write_until(client, job)).await {
        Ok(()) => {
            ledger.response_bytes = body_bytes;
            if keep { Next::Keep } else { Next::Linger }
        }
        Err(_) => Next::Close,
    }
}

/// Whether the client's connection may serve another request after this one.
fn keeps_alive<E: Engine>(worker: &Worker<E>, client: &Client<E::Stream>, job: &Job<E>) -> bool {
    let entry = &client.entry;
    job.keep_alive
        && !worker.is_draining()
        && (entry.keep_alive_max_requests == 0 || client.requests < entry.keep_alive_max_requests)
        && entry.keep_alive_max_time.is_none_or(|max| worker.engine.now().since(client.opened) < max)
}

fn write_until<E: Engine>(client: &Client<E::Stream>, job: &Job<E>) -> Time {
    client.entry.write_timeout.map_or(Time::NEVER, |d| job.started.after(d))
}

/// Connects, trying other servers of the service when one cannot be reached.
async fn connect<E: Engine>(
    worker: &Rc<Worker<E>>,
    job: &Job<E>,
    ledger: &mut Ledger<E>,
    mut chosen: Chosen<E>,
    outgoing: &mut Outgoing,
) -> Result<(Chosen<E>, Connection<E::Stream>), Failure> {
    let mut tried = [usize::MAX; MAX_CONNECT_ATTEMPTS];
    for attempt in 0..MAX_CONNECT_ATTEMPTS {
        ledger.server = Some(chosen.server.url.clone());
        if let Some(connection) = chosen.reuse(worker.engine.now()) {
            return Ok((chosen, connection));
        }
        let failure = match chosen.connect(&worker.engine).await {
            Ok(connection) => return Ok((chosen, connection)),
            Err(error) => connect_failure(&error),
        };
        tried[attempt] = chosen.index;
        let other = job.route.as_ref().and_then(|route| route.service.pick(&tried[..=attempt]));
        match other {
            Some(other) if attempt + 1 < MAX_CONNECT_ATTEMPTS => {
                outgoing.retarget(&other.server);
                ledger.retry();
                chosen = other;
            }
            _ => return Err(failure),
        }
    }
    unreachable!("the last attempt returns")
}

fn connect_failure(error: &ConnectError) -> Failure {
    let (reason, status) = match error {
        ConnectError::Unresolved => ("server-name-unresolved", 502),
        ConnectError::Io(error) => match error.kind() {
            io::ErrorKind::TimedOut => ("connect-timeout", 504),
            io::ErrorKind::ConnectionRefused => ("connect-refused", 502),
            _ => ("connect-failed", 502),
        },
    };
    Failure::new(Phase::Connect, reason, status)
}

/// Sends the request to a server and the answer to the client.
async fn forward<E: Engine>(
    worker: &Rc<Worker<E>>,
    client: &mut Client<E::Stream>,
    job: &Job<E>,
    ledger: &mut Ledger<E>,
    chosen: Chosen<E>,
    mut outgoing: Outgoing,
) -> Next {
    let (chosen, mut connection) = match connect(worker, job, ledger, chosen, &mut outgoing).await {
        Ok(connected) => connected,
        Err(failure) => return refuse(worker, client, job, ledger, failure).await,
    };
    let body_free = matches!(job.framing, Framing::Empty | Framing::Length(0));
    ledger.origin_from(worker.engine.now());
    let mut second_try =
        (connection.reused && body_free && job.method.is_idempotent()).then(|| outgoing.copy());
    let mut head = outgoing.into_bytes();
    let head_timeout = chosen.server.transport.response_header_timeout;
    loop {
        let mut progress = Progress::default();
        let mut server_input = Input::default();
        let ended = attempt(
            worker,
            client,
            job,
            &connection,
            head_timeout,
            head,
            &mut server_input,
            &mut progress,
            ledger,
        )
        .await;
        ledger.heard(&progress);
        // A kept connection that the server closed just then: the request did no work there.
        let stale = connection.reused
            && !progress.heard
            && matches!(ended, Ended::Broken(Broken::Server(failure)) if failure.status == 502);
        if stale && let Some(copy) = second_try.take() {
            ledger.retry();
            connection = match chosen.connect(&worker.engine).await {
                Ok(connection) => connection,
                Err(error) => return refuse(worker, client, job, ledger, connect_failure(&error)).await,
            };
            head = copy;
            continue;
        }
        ledger.origin_until(worker.engine.now());
        return match ended {
            Ended::Answered { request_whole, answered: Answered::Whole { keep_server, keep_client } } => {
                if keep_server && request_whole {
                    chosen.keep(connection.stream, worker.engine.now());
                }
                match (request_whole, keep_client) {
                    (true, true) => Next::Keep,
                    (true, false) => Next::Close,
                    (false, _) => Next::Linger,
                }
            }
            Ended::Answered { answered: Answered::Tunnel, .. } => {
                let server = (&connection.stream, &mut server_input);
                let carried = tunnel::run((&client.stream, &mut client.input), server).await;
                ledger.request_bytes += carried.up;
                ledger.response_bytes += carried.down;
                Next::Close
            }
            Ended::Broken(Broken::Server(failure)) | Ended::Refused(failure) if !progress.head_sent => {
                let next = refuse(worker, client, job, ledger, failure).await;
                if body_free { next } else { next.without_keep() }
            }
            Ended::Broken(Broken::Server(failure)) | Ended::Refused(failure) => {
                ledger.failure = Some(failure);
                Next::Reset
            }
            Ended::Broken(Broken::Client(reason)) => {
                ledger.client_left(reason);
                Next::Reset
            }
        };
    }
}

/// How an attempt ended.
enum Ended {
    Answered {
        answered: Answered,
        request_whole: bool,
    },
    Broken(Broken),
    /// The request's body is malformed or late.
    Refused(Failure),
}

/// One attempt on one connection: the request goes up while the answer comes down.
#[allow(clippy::too_many_arguments)]
async fn attempt<E: Engine>(
    worker: &Rc<Worker<E>>,
    client: &mut Client<E::Stream>,
    job: &Job<E>,
    connection: &Connection<E::Stream>,
    head_timeout: Option<Duration>,
    head: OutBuf,
    server_input: &mut Input,
    progress: &mut Progress,
    ledger: &mut Ledger<E>,
) -> Ended {
    let keep_alive = keeps_alive(worker, client, job);
    let send_until = write_until(client, job);
    let body = Inbound::new(job.framing);
    let gate = Cell::new(!(job.expect_continue && !body.is_done() && job.version == Version::Http11));
    let now = worker.engine.now();
    let context = Context {
        worker,
        client: &client.stream,
        server: &connection.stream,
        method: job.method,
        version: job.version,
        upgrade: job.upgrade,
        keep_alive,
        gate: &gate,
        head_until: head_timeout.map_or(Time::NEVER, |d| now.after(d)),
        send_until,
    };
    if body.is_done() {
        if connection.stream.send(head.into(), Time::NEVER).await.is_err() {
            return Ended::Broken(Broken::Server(Failure::new(Phase::Forward, "server-closed", 502)));
        }
        let down = pin!(answer(context, server_input, progress));
        let up = pin!(watch(&client.stream, &mut client.input));
        return race(down, up, true).await;
    }
    let read_until = client.entry.read_timeout.map_or(Time::NEVER, |d| job.started.after(d));
    let moved = Cell::new(0);
    let ended = {
        let up = upload(
            &client.stream,
            &mut client.input,
            &connection.stream,
            read_until,
            &gate,
            head,
            body,
            &moved,
        );
        // On the heap: sessions without a request body, most of them, stay small.
        let mut up = Box::pin(up);
        let mut down = Box::pin(answer(context, server_input, progress));
        race(down.as_mut(), up.as_mut(), false).await
    };
    ledger.request_bytes = moved.get();
    ended
}

/// How the request's side of an attempt ended.
enum Up {
    Whole,
    /// The server stopped reading; its answer may still come.
    ServerGone,
    ClientGone(&'static str),
    Refused(Failure),
}

/// Runs both directions until the answer is over or the request has failed for good.
async fn race(
    mut down: Pin<&mut impl Future<Output = Result<Answered, Broken>>>,
    mut up: Pin<&mut impl Future<Output = Up>>,
    mut request_whole: bool,
) -> Ended {
    let mut up_over = false;
    poll_fn(|cx| {
        if let Poll::Ready(result) = down.as_mut().poll(cx) {
            return Poll::Ready(match result {
                Ok(answered) => Ended::Answered { answered, request_whole },
                Err(broken) => Ended::Broken(broken),
            });
        }
        if !up_over && let Poll::Ready(result) = up.as_mut().poll(cx) {
            up_over = true;
            match result {
                Up::Whole => request_whole = true,
                Up::ServerGone => {}
                Up::ClientGone(reason) => return Poll::Ready(Ended::Broken(Broken::Client(reason))),
                Up::Refused(failure) => return Poll::Ready(Ended::Refused(failure)),
            }
        }
        Poll::Pending
    })
    .await
}

/// While the answer to a request without a body is awaited: notices that the client leaves. A pipelined request
/// is kept for later, and ends the watch.
async fn watch<S: Stream>(client: &S, input: &mut Input) -> Up {
    if !input.is_empty() {
        input.relieve();
        return Up::Whole;
    }
    match client.recv(Want::Some, Time::NEVER).await {
        Ok(bytes) if !bytes.is_empty() => {
            input.push(bytes);
            input.relieve();
            Up::Whole
        }
        _ => Up::ClientGone("client-gone"),
    }
}

/// Sends the request's head and body to the server.
#[allow(clippy::too_many_arguments)]
async fn upload<S: Stream>(
    client: &S,
    input: &mut Input,
    server: &S,
    until: Time,
    gate: &Cell<bool>,
    head: OutBuf,
    body: Inbound,
    moved: &Cell<u64>,
) -> Up {
    let chunked_out = matches!(body, Inbound::Chunked(_));
    let mut head = Some(head);
    if !gate.get() {
        if server.send(head.take().unwrap_or_default().into(), until).await.is_err() {
            return Up::ServerGone;
        }
        // Polled again whenever the answer's side moves, which is what opens the gate.
        poll_fn(|_| if gate.get() { Poll::Ready(()) } else { Poll::Pending }).await;
    }
    let mut pump = Pump {
        from: client,
        input: &mut *input,
        to: server,
        chunked_out,
        recv_until: until,
        send_until: until,
        moved: 0,
    };
    let result = pump.run(head.unwrap_or_default(), body).await;
    moved.set(pump.moved);
    match result {
        Ok(()) => {
            input.relieve();
            Up::Whole
        }
        Err(PumpError::To(_)) => Up::ServerGone,
        Err(PumpError::Framing(reject)) => {
            Up::Refused(Failure::new(Phase::Http1, reject.reason, reject.status))
        }
        Err(PumpError::From(error)) if error.kind() == io::ErrorKind::TimedOut => {
            Up::Refused(Failure::new(Phase::Http1, "request-timeout", 408))
        }
        Err(PumpError::From(error)) => Up::ClientGone(client_reason(&error)),
    }
}
