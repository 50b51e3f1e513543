//! The whole proxy on the simulated network, seed after seed.
//!
//! `PANCAKE_SIM_SEED=n` replays one seed, `PANCAKE_SIM_SEEDS=n` runs as many from 0 on (default 300).

use std::collections::BTreeMap;

use pancake_sim::run::{Report, run, run_scenario};
use pancake_sim::scenario::{Hog, Sabotage, Scenario};

/// Seeds of a default run.
const SEEDS: u64 = 300;

/// What a default run must have met at least once; otherwise it tests less than it seems to.
const EXPECTED_REASONS: [&str; 10] = [
    "retried",
    "client-gone",
    "connect-refused",
    "connect-timeout",
    "response-aborted",
    "response-header-timeout",
    "response-truncated",
    "server-closed",
    "server-reset",
    "two-content-lengths",
];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

fn describe(report: &Report) -> String {
    let Report { seed, violations, .. } = report;
    format!("PANCAKE_SIM_SEED={seed} ({:#?}):\n  {}", Scenario::of(*seed), violations.join("\n  "))
}

#[test]
fn no_seed_breaks_an_invariant() {
    let seeds = match number("PANCAKE_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("PANCAKE_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let count = seeds.end - seeds.start;
    let reports: Vec<Report> = seeds.map(run).collect();
    let (whole, others, strays) = reports
        .iter()
        .fold((0, 0, 0), |sum, report| (sum.0 + report.whole, sum.1 + report.others, sum.2 + report.strays));
    let mut reasons = BTreeMap::<&str, usize>::new();
    for (reason, n) in reports.iter().flat_map(|report| &report.reasons) {
        *reasons.entry(reason).or_default() += n;
    }
    println!("{count} seeds: {whole} exchanges whole, {others} others, {strays} strays taken for answers");
    println!("failures as recorded: {reasons:?}");
    let broken: Vec<String> =
        reports.iter().filter(|report| !report.violations.is_empty()).map(describe).collect();
    assert!(broken.is_empty(), "{} of {count} seeds broke:\n{}", broken.len(), broken.join("\n"));
    assert!(whole > 0, "nothing got through at all");
    if count >= SEEDS {
        let missing: Vec<_> =
            EXPECTED_REASONS.iter().filter(|reason| !reasons.contains_key(**reason)).collect();
        assert!(missing.is_empty(), "the seeds never reach {missing:?}: {reasons:?}");
    }
}

#[test]
fn a_seed_repeats_to_the_event() {
    for seed in 0..12 {
        assert_eq!(run(seed).fingerprint, run(seed).fingerprint, "seed {seed}");
    }
}

/// The checks are alive: each sabotage is noticed, and named for what it is.
#[test]
fn every_sabotage_is_noticed() {
    let expected = [
        (Sabotage::SwapsBodies, "wrong body"),
        (Sabotage::ShortensABody, "wrong body"),
        (Sabotage::LosesARecord, "no record"),
        (Sabotage::DoublesARecord, "2 records"),
        (Sabotage::KeepsABuffer, "receive buffers"),
        (Sabotage::NeverAsks, "the run hangs"),
    ];
    for (sabotage, words) in expected {
        let scenario = Scenario { sabotage: Some(sabotage), ..Scenario::of(3) };
        let report = run_scenario(scenario);
        let noticed = report.violations.iter().any(|violation| violation.contains(words));
        assert!(noticed, "{sabotage:?} was not noticed: {:?}", report.violations);
    }
}

fn starves_nobody(hog: Hog) {
    for seed in 0..8 {
        let report = run_scenario(Scenario::with_hogs(seed, hog));
        let Report { violations, elapsed, .. } = &report;
        assert!(violations.is_empty(), "seed {seed}, after {elapsed:?}:\n  {}", violations.join("\n  "));
    }
}

#[test]
fn heads_that_never_end_starve_nobody() {
    starves_nobody(Hog::PartialHead);
}

#[test]
fn pipelined_requests_that_wait_starve_nobody() {
    starves_nobody(Hog::Pipelined);
}

#[test]
fn clients_that_never_read_starve_nobody() {
    starves_nobody(Hog::SlowRead);
}

#[test]
fn bodies_that_never_end_starve_nobody() {
    starves_nobody(Hog::SlowBody);
}
