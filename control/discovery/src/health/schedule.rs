//! What is due when, and what a result means.
//!
//! Pure: time is an argument. An instance is never checked twice at once, a late check is not made up for, and
//! instances with the same interval are spread over it by a hash of their ids.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pancake_model::check::{Check, CheckKind, Streak};
use pancake_model::instance::authority;
use pancake_model::name::InstanceId;
use pancake_model::state::State;

/// The first checks of new instances are spread over this.
pub const FIRST_SPREAD: Duration = Duration::from_millis(250);

/// What is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whose health it is.
    pub id: InstanceId,
    /// Address literal or host name.
    pub address: String,
    /// Of the instance; the check may name another.
    pub port: u16,
    /// How.
    pub check: Check,
}

impl Target {
    /// The port that is asked.
    pub fn asked_port(&self) -> u16 {
        match &self.check.kind {
            CheckKind::Http { port, .. } | CheckKind::Tcp { port } => port.unwrap_or(self.port),
        }
    }

    /// For people: `GET http://10.0.0.5:8080/health`, `connect 10.0.0.5:5432`.
    pub fn describe(&self) -> String {
        let authority = authority(&self.address, self.asked_port());
        match &self.check.kind {
            CheckKind::Http { path, .. } => format!("GET http://{authority}{path}"),
            CheckKind::Tcp { .. } => format!("connect {authority}"),
        }
    }
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// As expected.
    pub ok: bool,
    /// For people: what came back, or what went wrong.
    pub output: String,
    /// From start to end.
    pub took: Duration,
}

/// What is known of a target after a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whose.
    pub target: Target,
    /// Alive, Unhealthy, or Unknown while no run was long enough.
    pub verdict: State,
    /// The last result.
    pub outcome: Outcome,
    /// Results like the last one, in a row.
    pub streak: u32,
}

#[derive(Debug)]
struct Entry {
    target: Target,
    streak: Streak,
    /// None while it is being checked.
    due: Option<Duration>,
    checked: bool,
    /// Grows when the target changes, so that a result of the old one is not taken for the new.
    ticket: u64,
}

/// All targets, and when they are due.
#[derive(Debug, Default)]
pub struct Schedule {
    entries: BTreeMap<InstanceId, Entry>,
    due: BTreeSet<(Duration, InstanceId)>,
    tickets: u64,
}

impl Schedule {
    /// Replaces the targets. One that did not change keeps its streak and its time.
    pub fn set(&mut self, targets: impl IntoIterator<Item = Target>, now: Duration) {
        let mut old = std::mem::take(&mut self.entries);
        self.due.clear();
        for target in targets {
            let entry = match old.remove(&target.id) {
                Some(entry) if entry.target == target => entry,
                _ => {
                    self.tickets += 1;
                    let due = Some(now + share(&target.id, FIRST_SPREAD.min(target.check.interval)));
                    Entry { target, streak: Streak::default(), due, checked: false, ticket: self.tickets }
                }
            };
            if let Some(due) = entry.due {
                self.due.insert((due, entry.target.id.clone()));
            }
            self.entries.insert(entry.target.id.clone(), entry);
        }
    }

    /// When the next check is due; none while nothing waits.
    pub fn next_due(&self) -> Option<Duration> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Takes one check that is due, with a ticket for [`Schedule::finish`].
    pub fn start(&mut self, now: Duration) -> Option<(Target, u64)> {
        if self.next_due()? > now {
            return None;
        }
        let (_, id) = self.due.pop_first()?;
        let entry = self.entries.get_mut(&id)?;
        entry.due = None;
        Some((entry.target.clone(), entry.ticket))
    }

    /// Counts a result. None if the target changed or went meanwhile.
    pub fn finish(&mut self, id: &str, ticket: u64, outcome: Outcome, now: Duration) -> Option<Report> {
        let entry = self.entries.get_mut(id).filter(|e| e.ticket == ticket)?;
        let verdict = entry.streak.observe(outcome.ok, &entry.target.check);
        let interval = entry.target.check.interval;
        // The second check finds the target's own place in the interval; from then on it keeps it.
        let pause =
            if entry.checked { interval } else { interval / 2 + share(&entry.target.id, interval / 2) };
        entry.checked = true;
        let due = now + pause.saturating_sub(outcome.took.min(pause / 2));
        entry.due = Some(due);
        self.due.insert((due, entry.target.id.clone()));
        Some(Report { target: entry.target.clone(), verdict, outcome, streak: entry.streak.length() })
    }
}

/// A part of `whole` that is the same for an id each time, and evenly spread over ids.
fn share(id: &InstanceId, whole: Duration) -> Duration {
    let hash = id.as_str().bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    whole * (hash >> 16) / (1 << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn target(id: &str) -> Target {
        let check = Check { interval: MS(1000), timeout: MS(500), fall: 2, ..Check::default() };
        Target { id: InstanceId::new(id).unwrap(), address: "127.0.0.1".into(), port: 1, check }
    }

    fn outcome(ok: bool) -> Outcome {
        Outcome { ok, output: String::new(), took: MS(1) }
    }

    #[test]
    fn checks_every_target_once_per_interval_and_spreads_them() {
        let mut schedule = Schedule::default();
        let targets: Vec<_> = (0..200).map(|i| target(&format!("i-{i}"))).collect();
        schedule.set(targets, MS(0));
        let mut counts = BTreeMap::new();
        let mut busiest = 0;
        for tick in 0..1000 {
            let now = MS(tick * 10);
            let mut here = 0;
            while let Some((target, ticket)) = schedule.start(now) {
                schedule.finish(target.id.as_str(), ticket, outcome(true), now).unwrap();
                *counts.entry(target.id).or_insert(0) += 1;
                here += 1;
            }
            if tick > 200 {
                busiest = busiest.max(here);
            }
        }
        assert!(counts.values().all(|n| (9..=12).contains(n)), "{counts:?}");
        assert!(busiest < 25, "{busiest} of 200 checks fell into one of the 100 ticks of an interval");
    }

    #[test]
    fn a_target_is_not_checked_twice_at_once() {
        let mut schedule = Schedule::default();
        schedule.set([target("a")], MS(0));
        let (_, ticket) = schedule.start(MS(300)).unwrap();
        assert!(schedule.start(MS(10_000)).is_none());
        assert!(schedule.next_due().is_none());
        schedule.set([target("a")], MS(10_000));
        assert!(schedule.start(MS(20_000)).is_none(), "an unchanged target is still being checked");
        assert!(schedule.finish("a", ticket, outcome(true), MS(20_000)).is_some());
        assert!(schedule.next_due().is_some());
    }

    #[test]
    fn a_result_of_an_old_address_does_not_count_for_the_new_one() {
        let mut schedule = Schedule::default();
        schedule.set([target("a")], MS(0));
        let (_, ticket) = schedule.start(MS(300)).unwrap();
        schedule.set([Target { port: 2, ..target("a") }], MS(400));
        assert!(schedule.finish("a", ticket, outcome(true), MS(500)).is_none());
        let (now_asked, _) = schedule.start(MS(1000)).unwrap();
        assert_eq!(now_asked.port, 2);
        schedule.set([], MS(1000));
        assert!(schedule.finish("a", ticket + 1, outcome(true), MS(1100)).is_none());
    }

    #[test]
    fn reports_the_verdict_of_the_run() {
        let mut schedule = Schedule::default();
        schedule.set([target("a")], MS(0));
        let mut verdicts = Vec::new();
        for (i, ok) in [true, false, false, true].into_iter().enumerate() {
            let now = MS(2000 * (i as u64 + 1));
            let (_, ticket) = schedule.start(now).unwrap();
            verdicts.push(schedule.finish("a", ticket, outcome(ok), now).unwrap().verdict);
        }
        assert_eq!(verdicts, [State::Alive, State::Alive, State::Unhealthy, State::Alive]);
    }
}
