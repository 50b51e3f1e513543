//! The thread that checks and compiles, away from workers and from the service thread.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;

use pancake_table::snapshot::tls::Certificate;
use tokio::sync::oneshot;

use super::{Outcome, Owner, Problem, Provider, Update};
use crate::limits::{CHANGE_QUEUE, RETIRE_PERIOD};

/// How much other threads go first where processors are scarce: a change may take a little longer, a request not. With
/// this a worker on the same processor is woken as promptly as without a change.
const NICENESS: i32 = 10;

/// Work for the table thread.
type Job = Box<dyn FnOnce(&mut Owner) + Send>;

/// Brings changes to the table thread. The thread ends when the last handle is dropped.
#[derive(Clone)]
pub struct Handle {
    jobs: mpsc::SyncSender<Job>,
}

impl Handle {
    /// Starts the table thread.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn spawn(mut owner: Owner) -> io::Result<(Handle, JoinHandle<()>)> {
        let (jobs, incoming) = mpsc::sync_channel::<Job>(CHANGE_QUEUE);
        let thread = std::thread::Builder::new().name("table".into()).spawn(move || {
            // Refused: it costs a busy machine a little fairness.
            let _ = rustix::process::nice(NICENESS);
            loop {
                match incoming.recv_timeout(RETIRE_PERIOD) {
                    Ok(job) => job(&mut owner),
                    Err(RecvTimeoutError::Timeout) => owner.retire(),
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        Ok((Handle { jobs }, thread))
    }

    /// Takes over the configuration of a provider, or refuses it.
    pub async fn submit(&self, provider: Provider, update: Update) -> Outcome {
        self.ask(provider, move |owner| owner.submit(provider, update)).await
    }

    /// A provider could not be read at all.
    pub async fn fail(&self, provider: Provider, problems: Vec<Problem>) -> Outcome {
        self.ask(provider, move |owner| owner.fail(provider, problems)).await
    }

    /// Takes over the certificates that were ordered from a CA.
    pub async fn take_ordered(&self, certificates: Vec<Certificate>) {
        self.run(move |owner| owner.take_ordered(certificates)).await;
    }

    /// Does what takes long, such as reading a large configuration, on the table thread. None if that is gone.
    pub async fn prepare<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        self.run(|_| work()).await
    }

    async fn ask(
        &self,
        provider: Provider,
        work: impl FnOnce(&mut Owner) -> Outcome + Send + 'static,
    ) -> Outcome {
        let outcome = self.run(work).await;
        outcome.unwrap_or_else(|| {
            Outcome::Refused(vec![Problem::of_provider(provider, "the table thread is busy or gone")])
        })
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&mut Owner) -> T + Send + 'static) -> Option<T> {
        let (reply, result) = oneshot::channel();
        let job: Job = Box::new(move |owner| {
            // Whoever asked may have been stopped.
            let _ = reply.send(work(owner));
        });
        // Each provider waits for its answer, so the queue is full only if there are more providers than places.
        self.jobs.try_send(job).ok()?;
        result.await.ok()
    }
}
