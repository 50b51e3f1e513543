//! Listener to sessions.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use pancake_engine::{Engine, Listener, Stream};

use crate::front;
use crate::limits::{ACCEPT_BACKOFF, MAX_ACCEPT_RUN};
use crate::settings::EntryPoint;
use crate::worker::Worker;

/// Accepts connections of an entry point until the worker drains.
///
/// A failed accept (file descriptors or memory at their limit) is counted and tried again after
/// [`ACCEPT_BACKOFF`], so that the connections that are open go on being served.
pub async fn serve<E: Engine>(worker: Rc<Worker<E>>, listener: E::Listener, entry: Rc<EntryPoint>) {
    let mut run = 0;
    loop {
        run += 1;
        if run % MAX_ACCEPT_RUN == 0 {
            yield_now().await;
        }
        let accepted = {
            let mut accept = pin!(listener.accept());
            poll_fn(|cx| match accept.as_mut().poll(cx) {
                Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
                // What the kernel has accepted already is still served; then the listener closes.
                Poll::Pending if worker.is_draining() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            })
            .await
        };
        match accepted {
            None => return,
            Some(Ok(stream)) => {
                worker.meter.accepted.add(1);
                // Over a limit nothing is said, read or kept: under an attack the cheapest refusal is the best.
                match worker.session(usize::from(entry.id.0)) {
                    Ok(session) => worker.engine.spawn(front::serve(session, stream, entry.clone())),
                    Err(_) => stream.reset_on_drop(),
                }
            }
            Some(Err(_)) => {
                worker.meter.accept_failures.add(1);
                worker.engine.sleep_until(worker.engine.now().after(ACCEPT_BACKOFF)).await;
            }
        }
    }
}

/// Lets other tasks have their turn.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
