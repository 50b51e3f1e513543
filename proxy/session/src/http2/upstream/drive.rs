//! The life of one connection to a server: frames move, idleness ends it, silence is asked about.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::client::Connection;
use h2::{Ping, PingPong};
use pancake_engine::{Engine, Time};

use super::{Link, Patience};
use crate::http2::io::Io;

/// Runs the connection to its end. Streams that are still open then fail.
pub(super) async fn drive<E: Engine>(
    mut connection: Connection<Io<E>, Bytes>,
    link: Rc<Link<E>>,
    patience: Patience,
) {
    let mut health =
        Health { pings: connection.ping_pong(), asked: None, heard: link.heard.clone(), patience };
    let mut sleep: Option<(Time, E::Sleep)> = None;
    poll_fn(|cx| {
        loop {
            if Pin::new(&mut connection).poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let now = link.engine.now();
            let idle_at = idle_at(&link, now, &patience);
            if idle_at <= now {
                link.retire();
                continue;
            }
            let Some(next) = health.look(now, cx) else { return Poll::Ready(()) };
            let next = next.min(idle_at);
            if next == Time::NEVER {
                return Poll::Pending;
            }
            // One that fires too early looks again: frames that come do not move the timer.
            if sleep.as_ref().is_none_or(|(at, _)| *at > next) {
                sleep = Some((next, link.engine.sleep_until(next)));
            }
            if let Some((_, timer)) = &mut sleep
                && Pin::new(timer).poll(cx).is_pending()
            {
                return Poll::Pending;
            }
            sleep = None;
        }
    })
    .await;
    link.retire();
    drop(connection);
    (link.changed)();
}

/// When the connection has been idle for too long, as things are now. While streams are open: when to look again.
fn idle_at<E: Engine>(link: &Link<E>, now: Time, patience: &Patience) -> Time {
    let Some(limit) = patience.idle else { return Time::NEVER };
    match link.open.get() {
        _ if link.is_retired() => Time::NEVER,
        0 => link.idle_since.get().after(limit),
        _ => now.after(limit),
    }
}

/// Whether the server still answers, as in Go: `readIdleTimeout` and `pingTimeout`.
struct Health {
    pings: Option<PingPong>,
    /// When the PING went out that is not answered yet.
    asked: Option<Time>,
    heard: Rc<Cell<Time>>,
    patience: Patience,
}

impl Health {
    /// When to look again; none: the server does not answer.
    fn look(&mut self, now: Time, cx: &mut Context<'_>) -> Option<Time> {
        let (Some(silent), Some(pings)) = (self.patience.silent, &mut self.pings) else {
            return Some(Time::NEVER);
        };
        if self.asked.is_some() && pings.poll_pong(cx).is_ready() {
            self.asked = None;
        }
        let limit = |asked: Time| self.patience.ping.map_or(Time::NEVER, |limit| asked.after(limit));
        if let Some(asked) = self.asked {
            return (limit(asked) > now).then_some(limit(asked));
        }
        let ask_at = self.heard.get().after(silent);
        if ask_at > now {
            return Some(ask_at);
        }
        if pings.send_ping(Ping::opaque()).is_ok() {
            self.asked = Some(now);
            // So that this task is woken for the answer.
            let _ = pings.poll_pong(cx);
        }
        Some(limit(now))
    }
}
