//! To a server: a kept connection, or a fresh one, at another server if one cannot be reached.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use pancake_engine::Engine;

use super::Client;
use super::attempt::{Up, watch};
use super::ledger::Ledger;
use super::outgoing::Outgoing;
use super::request::Job;
use crate::limits::MAX_CONNECT_ATTEMPTS;
use crate::record::{Failure, Phase};
use crate::stream::Conn;
use crate::upstream::{Chosen, ConnectError, Connection};
use crate::worker::Worker;

/// Why there is no connection.
pub(crate) enum NotConnected {
    /// No server could be reached.
    Failed(Failure),
    /// The client left while one was tried.
    ClientLeft,
}

/// Connects, trying other servers of the service when one cannot be reached.
pub(crate) async fn connect<E: Engine>(
    worker: &Rc<Worker<E>>,
    client: &mut Client<Conn<E>>,
    job: &Job<E>,
    ledger: &mut Ledger<E>,
    mut chosen: Chosen<E>,
    outgoing: &mut Outgoing,
) -> Result<(Chosen<E>, Connection<Conn<E>>), NotConnected> {
    let mut tried = [usize::MAX; MAX_CONNECT_ATTEMPTS];
    for attempt in 0..MAX_CONNECT_ATTEMPTS {
        ledger.server = Some(chosen.server.url.clone());
        if let Some(connection) = chosen.reuse(worker.engine.now(), job.needs_http1()) {
            return Ok((chosen, connection));
        }
        let error = match fresh(worker, client, job, &chosen).await? {
            Ok(connection) => return Ok((chosen, connection)),
            Err(error) => failure(&error),
        };
        tried[attempt] = chosen.index;
        let other = job.route.as_ref().and_then(|route| route.service.pick(&tried[..=attempt]));
        match other {
            Some(other) if attempt + 1 < MAX_CONNECT_ATTEMPTS => {
                outgoing.retarget(&other.server);
                ledger.retry();
                chosen = other;
            }
            _ => return Err(NotConnected::Failed(error)),
        }
    }
    unreachable!("the last attempt returns")
}

/// A fresh connection, unless the client leaves first. A client that is still to send a body is not watched: its bytes
/// would have to be kept.
async fn fresh<E: Engine>(
    worker: &Rc<Worker<E>>,
    client: &mut Client<Conn<E>>,
    job: &Job<E>,
    chosen: &Chosen<E>,
) -> Result<Result<Connection<Conn<E>>, ConnectError>, NotConnected> {
    let mut connect = pin!(chosen.connect(&worker.engine, job.needs_http1()));
    if !job.is_body_free() {
        return Ok(connect.await);
    }
    let mut watch = pin!(watch(&client.stream, &mut client.input));
    let mut watching = true;
    poll_fn(|cx| {
        if let Poll::Ready(result) = connect.as_mut().poll(cx) {
            return Poll::Ready(Ok(result));
        }
        if watching && let Poll::Ready(up) = watch.as_mut().poll(cx) {
            watching = false;
            if matches!(up, Up::ClientGone(_)) {
                return Poll::Ready(Err(NotConnected::ClientLeft));
            }
        }
        Poll::Pending
    })
    .await
}

/// What a client is told about it.
pub(crate) fn failure(error: &ConnectError) -> Failure {
    let (reason, status) = match error {
        ConnectError::Unresolved => ("server-name-unresolved", 502),
        ConnectError::Io(error) => match error.kind() {
            io::ErrorKind::TimedOut => ("connect-timeout", 504),
            io::ErrorKind::ConnectionRefused => ("connect-refused", 502),
            _ => ("connect-failed", 502),
        },
        ConnectError::Tls(failed) => failed.to_server(),
        ConnectError::TlsSettings => ("server-tls-settings", 502),
        ConnectError::Shared(error) => return failure(error),
        ConnectError::Busy => ("server-streams-exhausted", 503),
        ConnectError::NoUpgrade => ("upgrade-to-http2-server", 502),
    };
    Failure::new(Phase::Connect, reason, status)
}
