//! Health checks: targets follow the world, reports change it.

use std::sync::Arc;

use pancake_discovery::health::runner;
use tokio::sync::{mpsc, watch};

use crate::plane::{Plane, stopped};

/// Reports that wait to be applied.
const REPORTS: usize = 256;

/// Checks until `stop` is set.
pub async fn run(plane: Arc<Plane>, mut stop: watch::Receiver<bool>) {
    let mut changes = plane.changes();
    let (targets, watched) = watch::channel(plane.read(|world| world.targets()));
    let (sender, mut reports) = mpsc::channel(REPORTS);
    let mut runner = tokio::spawn(runner::run(watched, sender));
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            // Whoever started this task sees that it ended, and ends the process.
            _ = &mut runner => return,
            changed = changes.changed() => {
                if changed.is_err() {
                    break;
                }
                let now = plane.read(|world| world.targets());
                targets.send_if_modified(|old| {
                    let differs = *old != now;
                    if differs {
                        *old = now;
                    }
                    differs
                });
            }
            Some(report) = reports.recv() => {
                // Most reports change nothing that a snapshot depends on; only those that do wake the publisher.
                if plane.update_quietly(|world, at| world.checked(report, at)) {
                    plane.wake();
                }
            }
        }
    }
    runner.abort();
}
