//! The log's word about clients that were refused or too slow: one line per reason and period, however many they were.
//!
//! Workers only count. What this module does not do: say who they were; the access log and metrics are for that.

use std::sync::Arc;

use pancake_session::admission::Refusal;
use pancake_session::meter::Slow;

use crate::limits::EDGE_LOG_PERIOD;
use crate::meters::Meters;

/// How memory is, by [`pancake_session::pressure::Stage`].
const STAGES: [&str; 4] =
    ["there is enough", "bodies wait", "requests are answered 503", "connections are refused"];

/// Looks at the counters and logs what has moved, until the end of the runtime.
pub async fn run(meters: Arc<Meters>) {
    let mut seen = Seen::default();
    loop {
        tokio::time::sleep(EDGE_LOG_PERIOD).await;
        seen.log(&meters);
    }
}

#[derive(Default)]
struct Seen {
    refused: [u64; Refusal::ALL.len()],
    slow: [u64; Slow::ALL.len()],
    stage: u64,
}

impl Seen {
    fn log(&mut self, meters: &Meters) {
        for (seen, refusal) in self.refused.iter_mut().zip(Refusal::ALL) {
            let now = meters.sum(|worker| &worker.refused[refusal as usize]);
            let count = now.wrapping_sub(std::mem::replace(seen, now));
            if count > 0 {
                tracing::warn!(reason = refusal.reason(), count, "connections were refused");
            }
        }
        for (seen, slow) in self.slow.iter_mut().zip(Slow::ALL) {
            let now = meters.sum(|worker| &worker.slow[slow as usize]);
            let count = now.wrapping_sub(std::mem::replace(seen, now));
            if count > 0 {
                tracing::info!(with = slow.reason(), count, "clients were too slow");
            }
        }
        let stage = meters.max(|worker| &worker.memory_stage);
        if std::mem::replace(&mut self.stage, stage) != stage {
            let what = STAGES.get(stage as usize).copied().unwrap_or_default();
            tracing::warn!(stage, "memory: {what}");
        }
    }
}
