//! The thread that checks and compiles, away from workers and from the service thread.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::{Outcome, Owner, Problem, Provider, Update};
use crate::limits::{CHANGE_QUEUE, RETIRE_PERIOD};

/// How much other threads go first where processors are scarce: a change may take a little longer, a request not.
const NICENESS: i32 = 5;

struct Request {
    provider: Provider,
    update: Result<Update, Vec<Problem>>,
    reply: oneshot::Sender<Outcome>,
}

/// Brings changes to the table thread. The thread ends when the last handle is dropped.
#[derive(Clone)]
pub struct Handle {
    requests: mpsc::SyncSender<Request>,
}

impl Handle {
    /// Starts the table thread.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn spawn(mut owner: Owner) -> io::Result<(Handle, JoinHandle<()>)> {
        let (requests, incoming) = mpsc::sync_channel::<Request>(CHANGE_QUEUE);
        let thread = std::thread::Builder::new().name("table".into()).spawn(move || {
            // Refused: it costs a busy machine a little fairness.
            let _ = rustix::process::nice(NICENESS);
            loop {
                match incoming.recv_timeout(RETIRE_PERIOD) {
                    Ok(Request { provider, update, reply }) => {
                        let outcome = match update {
                            Ok(update) => owner.submit(provider, update),
                            Err(problems) => owner.fail(provider, problems),
                        };
                        // Whoever asked may have been stopped.
                        let _ = reply.send(outcome);
                    }
                    Err(RecvTimeoutError::Timeout) => owner.retire(),
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        Ok((Handle { requests }, thread))
    }

    /// Takes over the configuration of a provider, or refuses it.
    pub async fn submit(&self, provider: Provider, update: Update) -> Outcome {
        self.ask(provider, Ok(update)).await
    }

    /// A provider could not be read at all.
    pub async fn fail(&self, provider: Provider, problems: Vec<Problem>) -> Outcome {
        self.ask(provider, Err(problems)).await
    }

    async fn ask(&self, provider: Provider, update: Result<Update, Vec<Problem>>) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        // Each provider waits for its answer, so the queue is full only if there are more providers than places.
        let sent = self.requests.try_send(Request { provider, update, reply });
        match (sent, outcome.await) {
            (Ok(()), Ok(outcome)) => outcome,
            _ => {
                let reason = "the table thread is busy or gone";
                Outcome::Refused(vec![Problem::of_provider(provider, reason)])
            }
        }
    }
}
