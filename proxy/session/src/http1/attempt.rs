//! One attempt on one connection: the request goes up while the answer comes down.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use pancake_engine::{Engine, OutBuf, Stream, Time, Want};
use pancake_wire::h1::head::Version;

use super::exchange::{REQUEST_TIMEOUT, keeps_alive, write_until};
use super::input::Input;
use super::ledger::Ledger;
use super::pump::{Inbound, Pump, PumpError};
use super::request::Job;
use super::response::{Answered, Broken, Context, Progress, Request, answer, client_reason};
use super::{Client, alt_svc};
use crate::meter::Slow;
use crate::middleware::grpc_web::Call;
use crate::record::{Failure, Phase};
use crate::stream::Conn;
use crate::upstream::{Chosen, Connection};
use crate::worker::Worker;

/// Where an attempt goes.
pub(crate) struct Target<'a, E: Engine> {
    pub(crate) connection: &'a Connection<Conn<E>>,
    pub(crate) chosen: &'a Chosen<E>,
    /// The request's head.
    pub(crate) head: OutBuf,
}

/// How an attempt ended.
pub(crate) enum Ended {
    /// With a whole answer; the request may not have been needed to its end.
    Answered { answered: Answered, request_whole: bool },
    /// The answer did not get across.
    Broken(Broken),
    /// The request's body is malformed or late.
    Refused(Failure),
}

/// Makes the attempt.
pub(crate) async fn run<E: Engine>(
    worker: &Rc<Worker<E>>,
    client: &mut Client<Conn<E>>,
    job: &Job<E>,
    to: Target<'_, E>,
    server_input: &mut Input,
    progress: &Progress,
    ledger: &mut Ledger<E>,
) -> Ended {
    let body = Inbound::new(job.framing);
    let request = Request::default();
    request.gate.set(body.is_done() || !job.expect_continue || job.version != Version::Http11);
    let context = Context {
        worker,
        client: &client.stream,
        server: &to.connection.stream,
        method: job.method,
        version: job.version,
        upgrade: job.upgrade.as_deref(),
        grpc_web: job.grpc.web(),
        keep_alive: keeps_alive(worker, client, job),
        alt_svc: alt_svc(&client.entry, client.secured.as_ref(), client.protocol),
        request: &request,
        head_timeout: to.chosen.server.transport.response_header_timeout,
        send_until: write_until(client, job),
        send_stall: client.entry.write_stall_timeout,
    };
    let server = &to.connection.stream;
    let sides = Sides { worker, client: &client.stream, server, request: &request, grpc_web: job.grpc.web() };
    let ended = if body.is_done() {
        let down = pin!(answer(context, server_input, progress));
        let up = pin!(sides.send_head(to.head, &mut client.input));
        race(down, up, &request).await
    } else {
        let until = client.entry.read_timeout.map_or(Time::NEVER, |d| job.started.after(d));
        // On the heap: exchanges without a request body, most of them, stay small.
        let mut up = Box::pin(sides.upload(to.head, body, &mut client.input, until));
        let mut down = Box::pin(answer(context, server_input, progress));
        race(down.as_mut(), up.as_mut(), &request).await
    };
    ledger.request_bytes = request.moved.bytes.get();
    ended
}

/// How the request's side of an attempt ended.
pub(crate) enum Up {
    /// There is nothing more to send or to watch; the answer may still come.
    Over,
    /// The client left.
    ClientGone(&'static str),
    /// The request is malformed or late.
    Refused(Failure),
}

/// Runs both directions until the answer is over or the request has failed for good.
async fn race(
    mut down: Pin<&mut impl Future<Output = Result<Answered, Broken>>>,
    mut up: Pin<&mut impl Future<Output = Up>>,
    request: &Request,
) -> Ended {
    let mut up_over = false;
    poll_fn(|cx| {
        let down = down.as_mut().poll(cx);
        // Also when the answer is over: the last of the request may have been sent just now.
        if (down.is_pending() || !request.is_whole()) && !up_over {
            match up.as_mut().poll(cx) {
                Poll::Pending => {}
                Poll::Ready(Up::Over) => up_over = true,
                Poll::Ready(_) if down.is_ready() => up_over = true,
                Poll::Ready(Up::ClientGone(reason)) => {
                    return Poll::Ready(Ended::Broken(Broken::Client(reason)));
                }
                Poll::Ready(Up::Refused(failure)) => return Poll::Ready(Ended::Refused(failure)),
            }
        }
        down.map(|down| match down {
            Ok(answered) => Ended::Answered { answered, request_whole: request.is_whole() },
            Err(broken) => Ended::Broken(broken),
        })
    })
    .await
}

/// What the request's side works with.
struct Sides<'a, E: Engine> {
    worker: &'a Worker<E>,
    client: &'a Conn<E>,
    server: &'a Conn<E>,
    request: &'a Request,
    grpc_web: Option<&'a Call>,
}

impl<E: Engine> Sides<'_, E> {
    fn whole(&self) {
        self.request.whole_at.set(Some(self.worker.engine.now()));
    }

    /// Sends a request that has no body; then watches the client.
    async fn send_head(&self, head: OutBuf, input: &mut Input) -> Up {
        if self.server.send(head.into(), Time::NEVER).await.is_err() {
            // What the server said before it left, or its end, is seen by the answer's side.
            return Up::Over;
        }
        self.whole();
        watch(self.client, input).await
    }

    /// Sends a request with its body; then watches the client.
    async fn upload(&self, head: OutBuf, body: Inbound, input: &mut Input, until: Time) -> Up {
        let filter = self.grpc_web.and_then(Call::request_filter).map(Box::new);
        let chunked_out = filter.is_some() || matches!(body, Inbound::Chunked(_));
        let mut head = Some(head);
        if !self.request.gate.get() {
            if self.server.send(head.take().unwrap_or_default().into(), until).await.is_err() {
                return Up::Over;
            }
            // Polled again whenever the answer's side moves, which is what opens the gate.
            poll_fn(|_| if self.request.gate.get() { Poll::Ready(()) } else { Poll::Pending }).await;
        }
        let mut pump = Pump {
            worker: self.worker,
            from: self.client,
            input: &mut *input,
            to: self.server,
            chunked_out,
            filter,
            recv_until: until,
            send_until: until,
            send_stall: None,
            progress: &self.request.moved,
        };
        match pump.run(head.unwrap_or_default(), body).await {
            Ok(()) => {
                self.whole();
                watch(self.client, input).await
            }
            Err(PumpError::To(error)) if error.kind() == io::ErrorKind::TimedOut => {
                Up::Refused(Failure::new(Phase::Forward, "request-send-timeout", 504))
            }
            // The server stopped reading; its answer may still come.
            Err(PumpError::To(_)) => Up::Over,
            Err(PumpError::Framing(reject)) => {
                Up::Refused(Failure::new(Phase::Http1, reject.reason, reject.status))
            }
            Err(PumpError::From(error)) if error.kind() == io::ErrorKind::TimedOut => {
                self.worker.meter.slow[Slow::Body as usize].add(1);
                Up::Refused(REQUEST_TIMEOUT)
            }
            Err(PumpError::From(error)) => Up::ClientGone(client_reason(&error)),
        }
    }
}

/// While an answer is awaited: notices that the client leaves (its half-close counts, as in Traefik and nginx). A
/// pipelined request is kept for later, and ends the watch.
pub(crate) async fn watch<S: Stream>(client: &S, input: &mut Input) -> Up {
    if !input.is_empty() {
        input.relieve();
        return Up::Over;
    }
    match client.recv(Want::Some, Time::NEVER).await {
        Ok(bytes) if !bytes.is_empty() => {
            input.push(bytes);
            input.relieve();
            Up::Over
        }
        _ => Up::ClientGone("client-gone"),
    }
}
