//! After 101 (RFC 9110 section 7.8): bytes both ways, half-closes kept, until both directions have ended.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::Poll;

use pancake_engine::{Engine, Stream, Time, Want};

use super::input::Input;
use crate::pressure::{Stage, pause};
use crate::stream::Conn;
use crate::worker::Worker;

/// Bytes that went from client to server and back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Carried {
    pub(crate) up: u64,
    pub(crate) down: u64,
}

type Way<'a> = Pin<Box<dyn Future<Output = io::Result<()>> + 'a>>;

/// Runs a tunnel to its end. An error in either direction ends both.
pub(crate) async fn run<E: Engine>(
    worker: &Worker<E>,
    client: (&Conn<E>, &mut Input),
    server: (&Conn<E>, &mut Input),
) -> Carried {
    let mut carried = Carried::default();
    {
        let mut up: Way<'_> = Box::pin(one_way(worker, client.0, client.1, server.0, &mut carried.up));
        let mut down: Way<'_> = Box::pin(one_way(worker, server.0, server.1, client.0, &mut carried.down));
        let (mut up_done, mut down_done) = (false, false);
        poll_fn(|cx| {
            for (way, done) in [(&mut up as &mut Way<'_>, &mut up_done), (&mut down, &mut down_done)] {
                if *done {
                    continue;
                }
                match way.as_mut().poll(cx) {
                    Poll::Ready(Ok(())) => *done = true,
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => {}
                }
            }
            if up_done && down_done { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
    carried
}

async fn one_way<E: Engine>(
    worker: &Worker<E>,
    from: &Conn<E>,
    input: &mut Input,
    to: &Conn<E>,
    moved: &mut u64,
) -> io::Result<()> {
    loop {
        if !input.is_empty() {
            let part = input.take(u64::MAX);
            *moved += part.len() as u64;
            let mut parts = pancake_engine::Parts::new();
            parts.push(part);
            to.send(parts, Time::NEVER).await?;
        }
        if worker.pressure.is_at_least(Stage::Pause) {
            Box::pin(pause(worker)).await;
        }
        let more = from.recv(Want::Some, Time::NEVER).await?;
        if more.is_empty() {
            return to.shutdown();
        }
        input.push(more);
    }
}
