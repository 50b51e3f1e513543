//! One request and its answer: `lookup -> pick -> connect -> forward -> record`.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use pancake_engine::{Engine, OutBuf, Stream, Time, Want};
use pancake_wire::h1::{emit, head};

use super::attempt::{self, Ended, Target};
use super::connect::{self, NotConnected};
use super::grpc::{self, Grpc};
use super::input::Input;
use super::ledger::Ledger;
use super::outgoing::Outgoing;
use super::request::{self, Job};
use super::response::{Answered, Broken, Progress};
use super::{Client, Next, alt_svc, reply, tunnel};
use crate::meter::Slow;
use crate::record::{Failure, Phase};
use crate::stream::Conn;
use crate::upstream::Chosen;
use crate::worker::Worker;

/// The request, or its body, took longer than `readTimeout`.
pub(crate) const REQUEST_TIMEOUT: Failure = Failure::new(Phase::Http1, "request-timeout", 408);

/// Serves one request. Owns the connection meanwhile and hands it back.
pub(crate) async fn run<E: Engine>(
    worker: Rc<Worker<E>>,
    mut client: Client<Conn<E>>,
    mut job: Job<E>,
) -> (Client<Conn<E>>, Next) {
    let target = std::mem::replace(&mut job.target, Err(Failure::new(Phase::Lookup, "", 0)));
    let mut ledger = Ledger::open(&worker, &client, &mut job);
    let next = match target {
        _ if job.challenge.is_some() => answer_challenge(&worker, &mut client, &job, &mut ledger).await,
        _ if job.answer.is_some() => answer_itself(&worker, &mut client, &job, &mut ledger).await,
        Err(failure) => refuse(&worker, &mut client, &job, &mut ledger, failure).await,
        Ok((chosen, outgoing)) => forward(&worker, &mut client, &job, &mut ledger, chosen, outgoing).await,
    };
    drop(ledger);
    (client, next)
}

/// Waits for a whole request head. `None`: the connection has ended, was idle for too long, or the worker drains.
pub(crate) async fn next_request<E: Engine>(
    worker: &Rc<Worker<E>>,
    client: &mut Client<Conn<E>>,
) -> Option<Job<E>> {
    let limit = |from: Time, d: Option<Duration>| d.map_or(Time::NEVER, |d| from.after(d));
    // Bytes that are here already were pipelined: their request begins now.
    client.asked = worker.engine.now();
    let mut until = match client.requests {
        0 => limit(client.opened, client.entry.read_timeout),
        _ => limit(worker.engine.now(), client.entry.idle_timeout),
    };
    let (mut parsed, mut seen) = (0, 0);
    loop {
        let held = client.input.bytes().len();
        if held > 0 {
            // A head that drips in is parsed when it may be whole or has doubled, not on every byte; and no byte is looked
            // at again for whether it may be.
            let may_end = || head::may_be_complete(client.input.bytes(), seen);
            let over = held > client.entry.max_head_bytes;
            let look = parsed == 0 || held >= 2 * parsed || over || may_end();
            seen = held;
            if look {
                if let Some(job) = request::admit(worker, client) {
                    return Some(job);
                }
                if parsed == 0 && client.requests > 0 {
                    until = limit(worker.engine.now(), client.entry.read_timeout);
                }
                parsed = held;
            }
            // Not when it is whole only: the heads that are dripped in are what memory may be short of.
            if let Some(failure) = request::shed(worker) {
                return Some(Job::refused(worker, client.asked, failure));
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
            Ok(bytes) => {
                if client.input.is_empty() {
                    client.asked = worker.engine.now();
                }
                client.input.push(bytes);
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut && !client.input.is_empty() => {
                worker.meter.slow[Slow::Head as usize].add(1);
                return Some(Job::refused(worker, client.asked, REQUEST_TIMEOUT));
            }
            Err(_) => return None,
        }
    }
}

/// Answers in the proxy's own name.
async fn refuse<E: Engine>(
    worker: &Rc<Worker<E>>,
    client: &mut Client<Conn<E>>,
    job: &Job<E>,
    ledger: &mut Ledger<E>,
    failure: Failure,
) -> Next {
    ledger.failure = Some(failure);
    ledger.status = if job.grpc == Grpc::No { failure.status } else { 200 };
    // A body that was not asked for, or not read to its end, would be taken for the next request.
    let keep = keeps_alive(worker, client, job) && job.is_body_free();
    let (out, body_bytes) = {
        let second = worker.engine.unix_time().as_secs();
        let mut scratch = worker.scratch.borrow_mut();
        let date = scratch.date.at(second);
        let head_request = job.method == crate::meter::Method::Head;
        match &job.grpc {
            Grpc::No => {
                let reply = reply::Reply {
                    status: failure.status,
                    reason: failure.reason,
                    close: !keep,
                    head_request,
                    alt_svc: alt_svc(&client.entry, client.secured.as_ref(), client.protocol),
                };
                reply::make(&reply, date)
            }
            call => (grpc::reply(call, failure.status, date, !keep), 0),
        }
    };
    let stalled = client.entry.write_stall_timeout.map_or(Time::NEVER, |d| worker.engine.now().after(d));
    match client.stream.send(out.into(), write_until(client, job).min(stalled)).await {
        Ok(()) => {
            ledger.response_bytes = body_bytes;
            if keep { Next::Keep } else { Next::Linger }
        }
        Err(_) => Next::Close,
    }
}

/// Answers an http-01 challenge (RFC 8555 section 8.3) in the proxy's own name.
async fn answer_challenge<E: Engine>(
    worker: &Rc<Worker<E>>,
    client: &mut Client<Conn<E>>,
    job: &Job<E>,
    ledger: &mut Ledger<E>,
) -> Next {
    ledger.status = 200;
    let body = job.challenge.as_deref().unwrap_or_default();
    let keep = keeps_alive(worker, client, job) && job.is_body_free();
    let mut out = OutBuf::new();
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n");
    if !keep {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    out.extend_from_slice(b"Content-Length: ");
    emit::decimal(&mut out, body.len() as u64);
    out.extend_from_slice(b"\r\n\r\n");
    if job.method != crate::meter::Method::Head {
        out.extend_from_slice(body.as_bytes());
        ledger.response_bytes = body.len() as u64;
    }
    match client.stream.send(out.into(), write_until(client, job)).await {
        Ok(()) if keep => Next::Keep,
        Ok(()) => Next::Linger,
        Err(_) => Next::Close,
    }
}

/// Gives the answer of a middleware, which has no body.
async fn answer_itself<E: Engine>(
    worker: &Rc<Worker<E>>,
    client: &mut Client<Conn<E>>,
    job: &Job<E>,
    ledger: &mut Ledger<E>,
) -> Next {
    let Some(answer) = &job.answer else { return Next::Close };
    ledger.status = answer.status;
    let keep = keeps_alive(worker, client, job) && job.is_body_free();
    let mut out = OutBuf::new();
    emit::status_line(&mut out, answer.status);
    out.extend_from_slice(&answer.fields);
    let second = worker.engine.unix_time().as_secs();
    emit::field(&mut out, b"Date", worker.scratch.borrow_mut().date.at(second));
    if !keep {
        emit::field(&mut out, b"Connection", b"close");
    }
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    match client.stream.send(out.into(), write_until(client, job)).await {
        Ok(()) if keep => Next::Keep,
        Ok(()) => Next::Linger,
        Err(_) => Next::Close,
    }
}

/// Whether the client's connection may serve another request after this one.
pub(crate) fn keeps_alive<E: Engine>(worker: &Worker<E>, client: &Client<Conn<E>>, job: &Job<E>) -> bool {
    let entry = &client.entry;
    job.keep_alive
        && !worker.is_draining()
        && (entry.keep_alive_max_requests == 0 || client.requests < entry.keep_alive_max_requests)
        && entry.keep_alive_max_time.is_none_or(|max| worker.engine.now().since(client.opened) < max)
}

pub(crate) fn write_until<E: Engine>(client: &Client<Conn<E>>, job: &Job<E>) -> Time {
    client.entry.write_timeout.map_or(Time::NEVER, |d| job.started.after(d))
}

/// Sends the request to a server and the answer to the client.
async fn forward<E: Engine>(
    worker: &Rc<Worker<E>>,
    client: &mut Client<Conn<E>>,
    job: &Job<E>,
    ledger: &mut Ledger<E>,
    chosen: Chosen<E>,
    mut outgoing: Outgoing,
) -> Next {
    let connected = connect::connect(worker, client, job, ledger, chosen, &mut outgoing).await;
    let (chosen, mut connection) = match connected {
        Ok(connected) => connected,
        Err(NotConnected::Failed(failure)) => return refuse(worker, client, job, ledger, failure).await,
        Err(NotConnected::ClientLeft) => {
            ledger.client_left("client-gone");
            return Next::Close;
        }
    };
    ledger.origin_from(worker.engine.now());
    let repeatable = connection.reused && job.is_body_free() && job.method.is_idempotent();
    let mut second_try = repeatable.then(|| outgoing.copy());
    let mut head = outgoing.into_bytes();
    loop {
        let progress = Progress::default();
        let mut server_input = Input::default();
        let to = Target { connection: &connection, chosen: &chosen, head };
        let ended = attempt::run(worker, client, job, to, &mut server_input, &progress, ledger).await;
        ledger.heard(&progress);
        // The request did no work there.
        let stale = connection.is_untouched()
            && !progress.heard.get()
            && matches!(ended, Ended::Broken(Broken::Server(failure)) if failure.status == 502);
        if stale && let Some(copy) = second_try.take() {
            ledger.retry();
            connection = match chosen.connect(&worker.engine, job.needs_http1()).await {
                Ok(connection) => connection,
                Err(error) => {
                    return refuse(worker, client, job, ledger, connect::failure(&error)).await;
                }
            };
            head = copy;
            continue;
        }
        ledger.origin_until(worker.engine.now());
        let Ended::Answered { request_whole, answered } = ended else {
            return broken(worker, client, job, ledger, &progress, ended).await;
        };
        return match answered {
            Answered::Whole { keep_server, keep_client } => {
                if keep_server && request_whole {
                    chosen.keep(connection.stream, worker.engine.now());
                }
                // Whoever did not ask to close may have sent more; closing with that unread would reset the
                // connection before the answer is read.
                let expects_close = !job.keep_alive && request_whole && client.input.is_empty();
                match keep_client && request_whole {
                    true => Next::Keep,
                    false if expects_close => Next::Close,
                    false => Next::Linger,
                }
            }
            Answered::Tunnel => {
                let server = (&connection.stream, &mut server_input);
                let carried = tunnel::run(worker, (&client.stream, &mut client.input), server).await;
                ledger.request_bytes += carried.up;
                ledger.response_bytes += carried.down;
                Next::Close
            }
        };
    }
}

/// An attempt that did not end with a whole answer.
async fn broken<E: Engine>(
    worker: &Rc<Worker<E>>,
    client: &mut Client<Conn<E>>,
    job: &Job<E>,
    ledger: &mut Ledger<E>,
    progress: &Progress,
    ended: Ended,
) -> Next {
    let failure = match ended {
        Ended::Broken(Broken::Server(failure)) | Ended::Refused(failure) => failure,
        Ended::Broken(Broken::Client(reason)) => {
            ledger.client_left(reason);
            return Next::Reset;
        }
        Ended::Answered { .. } => return Next::Close,
    };
    if progress.moved.begun.get() || progress.in_interim.get() {
        ledger.failure = Some(failure);
        return Next::Reset;
    }
    refuse(worker, client, job, ledger, failure).await
}
