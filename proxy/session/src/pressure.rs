//! What a worker does when the memory budget runs short, in stages: bodies and tunnels wait before they
//! receive more, then requests are answered 503, then connections are refused.
//!
//! In: how much is used, asked of whoever made the worker, every [`PRESSURE_PERIOD`]. Out: a stage, which sessions read
//! as a plain integer. A stage is left when use has fallen clearly below where it begins, so that it does not flap. What
//! this module does not do: measure memory.

use std::cell::Cell;
use std::rc::Weak;

use pancake_engine::{Engine, Time};

use crate::limits::{
    PAUSE_FROM_PERCENT, PAUSE_PERIOD, PAUSE_TIME, PRESSURE_PERIOD, PRESSURE_SLACK_PERCENT,
    REFUSE_FROM_PERCENT, SHED_FROM_PERCENT,
};
use crate::worker::Worker;

/// The memory budget of the process, without receive slots, which are allocated once.
pub struct Budget {
    /// Bytes.
    pub bytes: u64,
    /// Bytes in use now, by all workers and whatever else.
    pub used: Box<dyn Fn() -> u64>,
}

/// How short memory is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It is not.
    #[default]
    Calm,
    /// Bodies and tunnels wait before they receive more.
    Pause,
    /// Requests are answered 503, too.
    Shed,
    /// Connections are refused, too.
    Refuse,
}

impl Stage {
    /// All, in their order.
    const ALL: [(Stage, u64); 4] = [
        (Stage::Calm, 0),
        (Stage::Pause, PAUSE_FROM_PERCENT),
        (Stage::Shed, SHED_FROM_PERCENT),
        (Stage::Refuse, REFUSE_FROM_PERCENT),
    ];

    /// The stage after this one, with so many percent of the budget in use.
    fn next(self, percent: u64) -> Stage {
        let reached = |slack: u64| {
            let begun = Stage::ALL.iter().rev().find(|(_, from)| percent >= from.saturating_sub(slack));
            begun.map_or(Stage::Calm, |(stage, _)| *stage)
        };
        // Up at once; down only as far as even a use that is a little higher would have it.
        if reached(0) > self { reached(0) } else { self.min(reached(PRESSURE_SLACK_PERCENT)) }
    }
}

/// The stage of a worker.
#[derive(Debug, Default)]
pub(crate) struct Pressure(Cell<Stage>);

impl Pressure {
    pub(crate) fn is_at_least(&self, stage: Stage) -> bool {
        self.0.get() >= stage
    }
}

/// Before more of a body or a tunnel is received: waits while memory is short, for [`PAUSE_TIME`] at most, so that what
/// holds the memory comes to its end.
pub(crate) async fn pause<E: Engine>(worker: &Worker<E>) {
    worker.meter.paused_reads.add(1);
    let engine = &worker.engine;
    let until = engine.now().after(PAUSE_TIME);
    while worker.pressure.is_at_least(Stage::Pause) && engine.now() < until {
        engine.sleep_until(engine.now().after(PAUSE_PERIOD).min(until)).await;
    }
}

/// Looks at the memory in use for as long as the worker lives.
pub(crate) async fn watch<E: Engine>(worker: Weak<Worker<E>>, budget: Budget) {
    let mut next = Time::default();
    loop {
        let Some(alive) = worker.upgrade() else { return };
        let used = (budget.used)();
        let stage = alive.pressure.0.get().next(used.saturating_mul(100) / budget.bytes.max(1));
        alive.pressure.0.set(stage);
        alive.meter.memory_used.set(used);
        alive.meter.memory_stage.set(stage as u64);
        let engine = alive.engine.clone();
        drop(alive);
        next = next.max(engine.now()).after(PRESSURE_PERIOD);
        engine.sleep_until(next).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_come_at_once_and_go_with_some_slack() {
        let mut stage = Stage::Calm;
        let mut seen = Vec::new();
        for percent in [10, 69, 70, 68, 59, 86, 82, 70, 96, 94, 88, 78, 40, 120, 0] {
            stage = stage.next(percent);
            seen.push((percent, stage));
        }
        use Stage::{Calm, Pause, Refuse, Shed};
        let expected = [
            (10, Calm),
            (69, Calm),
            (70, Pause),
            (68, Pause),
            (59, Calm),
            (86, Shed),
            (82, Shed),
            (70, Pause),
            (96, Refuse),
            (94, Refuse),
            (88, Refuse),
            (78, Shed),
            (40, Calm),
            (120, Refuse),
            (0, Calm),
        ];
        assert_eq!(seen, expected);
    }
}
