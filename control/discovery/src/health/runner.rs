//! Runs what is due: many checks at once, but no more than `MAX_CONCURRENT`.

use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::probe::probe;
use super::schedule::{Report, Schedule, Target};

/// Checks in flight.
pub const MAX_CONCURRENT: usize = 128;

/// Checks the targets until the sender of targets or the receiver of reports is gone. Reports come one by one; a slow
/// receiver slows checks down rather than piling reports up.
pub async fn run(mut targets: watch::Receiver<Vec<Target>>, reports: mpsc::Sender<Report>) {
    let started = Instant::now();
    let mut schedule = Schedule::default();
    let mut running = JoinSet::new();
    targets.mark_changed();
    loop {
        let due = schedule.next_due().filter(|_| running.len() < MAX_CONCURRENT);
        let wake = due.map(|due| tokio::time::Instant::from_std(started + due));
        tokio::select! {
            changed = targets.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = targets.borrow_and_update().clone();
                schedule.set(now, started.elapsed());
            }
            Some(ended) = running.join_next(), if !running.is_empty() => {
                let (target, ticket, outcome) = match ended {
                    Ok(done) => done,
                    // A probe that panics is a bug: better the process ends than one instance is never checked again.
                    Err(e) => std::panic::resume_unwind(e.into_panic()),
                };
                let target: Target = target;
                if let Some(report) = schedule.finish(target.id.as_str(), ticket, outcome, started.elapsed())
                    && reports.send(report).await.is_err()
                {
                    return;
                }
            }
            () = tokio::time::sleep_until(wake.unwrap_or_else(tokio::time::Instant::now)), if wake.is_some() => {
                while running.len() < MAX_CONCURRENT {
                    let Some((target, ticket)) = schedule.start(started.elapsed()) else { break };
                    running.spawn(async move {
                        let outcome = probe(&target).await;
                        (target, ticket, outcome)
                    });
                }
            }
        }
    }
}
