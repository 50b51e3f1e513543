//! Median, spread and ratios of the samples. Ratios are made per round and then their median is taken: both sides of a
//! round met the same machine.

use crate::scenario::{Goal, Run, Sample, Scenario};

/// What one peer did in one scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Name of the peer.
    pub peer: String,
    /// Median of the samples that count; `None`: all are void.
    pub median: Option<f64>,
    /// Lowest and highest.
    pub spread: (f64, f64),
    /// Median of the requests per second.
    pub rate: Option<f64>,
    /// Median of the 99th percentiles, in microseconds.
    pub p99_us: Option<f64>,
    /// Median of the ratios to HAProxy, round by round.
    pub to_haproxy: Option<f64>,
    /// Median of the ratios to nginx, round by round.
    pub to_nginx: Option<f64>,
    /// Median of the ratios to the peer with the lowest median, round by round; that peer is never Pancake.
    pub to_best: Option<f64>,
    /// Samples that count, and samples that are void.
    pub counted: (usize, usize),
    /// Why the first void one is void.
    pub void: Option<String>,
}

/// All figures of one scenario, in the order in which the peers ran; empty if it did not run.
pub fn of(run: &Run, scenario: &Scenario) -> Vec<Figure> {
    let samples: Vec<&Sample> = run.samples.iter().filter(|s| s.scenario == scenario.name).collect();
    let peers: Vec<&String> = run
        .peers
        .iter()
        .map(|(name, _)| name)
        .filter(|name| samples.iter().any(|s| s.peer == **name))
        .collect();
    let middle = |peer: &str| median(good(&samples, peer).map(|s| s.value));
    let best = peers
        .iter()
        .filter(|name| name.as_str() != "pancake")
        .filter_map(|name| middle(name).map(|value| (value, name.as_str())))
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name);
    peers.iter().map(|peer| figure(&samples, peer, best)).collect()
}

fn good<'a>(samples: &'a [&Sample], peer: &'a str) -> impl Iterator<Item = &'a Sample> {
    samples.iter().copied().filter(move |s| s.peer == peer && s.void.is_none())
}

fn figure(samples: &[&Sample], peer: &str, best: Option<&str>) -> Figure {
    let values: Vec<f64> = good(samples, peer).map(|s| s.value).collect();
    let ratio_to = |other: &str| {
        let pairs = good(samples, peer).filter_map(|mine| {
            let theirs = good(samples, other).find(|s| s.round == mine.round)?;
            (theirs.value > 0.0).then(|| mine.value / theirs.value)
        });
        median(pairs)
    };
    let void = samples.iter().filter(|s| s.peer == peer).filter_map(|s| s.void.clone()).collect::<Vec<_>>();
    Figure {
        peer: peer.to_owned(),
        median: median(values.iter().copied()),
        spread: (
            values.iter().copied().fold(f64::NAN, f64::min),
            values.iter().copied().fold(f64::NAN, f64::max),
        ),
        rate: median(good(samples, peer).filter_map(|s| s.rate)),
        p99_us: median(good(samples, peer).filter_map(|s| s.p99_us)),
        to_haproxy: ratio_to("haproxy"),
        to_nginx: ratio_to("nginx"),
        to_best: best.and_then(ratio_to),
        counted: (values.len(), void.len()),
        void: void.into_iter().next(),
    }
}

/// The goal of a scenario in words; `None`: it has none.
pub fn goal(scenario: &Scenario) -> Option<String> {
    match scenario.goal {
        Goal::TimesHaproxy(limit) => Some(format!("≤ {limit} × HAProxy")),
        Goal::TimesNginx(limit) => Some(format!("≤ {limit} × nginx")),
        Goal::TimesBest(limit) => Some(format!("≤ {limit} × the best peer")),
        Goal::AtMost(limit) => Some(format!("≤ {limit} {}", scenario.unit)),
        Goal::Shown => None,
    }
}

/// The goal as a figure in the scenario's unit, from the medians of those that it is measured by.
pub fn goal_value(scenario: &Scenario, figures: &[Figure]) -> Option<f64> {
    let of = |peer: &str| figures.iter().find(|f| f.peer == peer).and_then(|f| f.median);
    match scenario.goal {
        Goal::TimesHaproxy(limit) => of("haproxy").map(|value| value * limit),
        Goal::TimesNginx(limit) => of("nginx").map(|value| value * limit),
        Goal::TimesBest(limit) => best(figures).map(|(_, value)| value * limit),
        Goal::AtMost(limit) => Some(limit),
        Goal::Shown => None,
    }
}

/// The peer with the lowest median, which is never Pancake.
pub fn best(figures: &[Figure]) -> Option<(&str, f64)> {
    let peers = figures.iter().filter(|f| f.peer != "pancake");
    let measured = peers.filter_map(|f| f.median.map(|value| (f.peer.as_str(), value)));
    measured.min_by(|a, b| a.1.total_cmp(&b.1))
}

/// Whether Pancake reached the goal, and with what; `None`: nothing to judge by.
pub fn reached(scenario: &Scenario, figures: &[Figure]) -> Option<(bool, f64)> {
    let own = figures.iter().find(|f| f.peer == "pancake")?;
    let (value, limit) = match scenario.goal {
        Goal::TimesHaproxy(limit) => (own.to_haproxy?, limit),
        Goal::TimesNginx(limit) => (own.to_nginx?, limit),
        Goal::TimesBest(limit) => (own.to_best?, limit),
        Goal::AtMost(limit) => (own.median?, limit),
        Goal::Shown => return None,
    };
    Some((value <= limit, value))
}

/// The same in words.
pub fn verdict(scenario: &Scenario, figures: &[Figure]) -> Option<String> {
    let (good, value) = reached(scenario, figures)?;
    let word = if good { "reached" } else { "MISSED" };
    Some(format!("goal {}: {word} ({value:.2})", goal(scenario)?))
}

/// Middle value, the mean of the two middle ones for an even count.
pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[half]),
        _ => Some(f64::midpoint(sorted[half - 1], sorted[half])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario;

    pub(crate) fn run_of(rows: &[(&str, usize, f64, bool)]) -> Run {
        let samples = rows.iter().map(|(peer, round, value, good)| Sample {
            scenario: "h1-keepalive".into(),
            peer: (*peer).into(),
            round: *round,
            value: *value,
            rate: Some(1e6 / value),
            p99_us: Some(1.0),
            void: (!good).then(|| "3 requests failed".into()),
            note: String::new(),
        });
        Run {
            date: "2026-01-31".into(),
            machine: "test".into(),
            seconds: 1,
            peers: ["pancake", "haproxy", "nginx"].map(|p| (p.to_owned(), "1".to_owned())).to_vec(),
            skipped: vec!["envoy: its program is not installed".into()],
            samples: samples.collect(),
        }
    }

    #[test]
    fn ratios_are_made_round_by_round_and_void_samples_do_not_count() {
        let run = run_of(&[
            ("pancake", 0, 10.0, true),
            ("haproxy", 0, 20.0, true),
            ("nginx", 0, 16.0, true),
            ("pancake", 1, 20.0, true),
            ("haproxy", 1, 40.0, true),
            ("nginx", 1, 32.0, true),
            ("pancake", 2, 1.0, false),
            ("haproxy", 2, 40.0, true),
        ]);
        let figures = of(&run, &scenario::ALL[0]);
        assert_eq!(figures[0].median, Some(15.0));
        assert_eq!((figures[0].to_haproxy, figures[0].to_best), (Some(0.5), Some(0.625)));
        assert_eq!(figures[0].counted, (2, 1));
        assert_eq!(verdict(&scenario::ALL[0], &figures).unwrap(), "goal ≤ 0.85 × HAProxy: reached (0.50)");
    }

    #[test]
    fn a_goal_is_drawn_where_its_measure_is_and_judged_by_ratios() {
        let run = run_of(&[("pancake", 0, 15.0, true), ("haproxy", 0, 30.0, true), ("nginx", 0, 20.0, true)]);
        let figures = of(&run, &scenario::ALL[0]);
        assert_eq!(best(&figures), Some(("nginx", 20.0)));
        for (goal, at, good) in [
            (Goal::TimesHaproxy(0.6), Some(18.0), Some(true)),
            (Goal::TimesNginx(0.5), Some(10.0), Some(false)),
            (Goal::TimesBest(1.5), Some(30.0), Some(true)),
            (Goal::AtMost(14.0), Some(14.0), Some(false)),
            (Goal::Shown, None, None),
        ] {
            let scenario = Scenario { goal, ..scenario::ALL[0] };
            assert_eq!(goal_value(&scenario, &figures), at, "{goal:?}");
            assert_eq!(reached(&scenario, &figures).map(|r| r.0), good, "{goal:?}");
        }
    }

    #[test]
    fn a_peer_with_void_samples_only_has_no_figure() {
        let run = run_of(&[("pancake", 0, 10.0, false), ("haproxy", 0, 20.0, true)]);
        let figures = of(&run, &scenario::ALL[0]);
        assert_eq!((figures[0].median, figures[0].to_haproxy), (None, None));
        assert_eq!(verdict(&scenario::ALL[0], &figures), None);
    }

    #[test]
    fn both_reports_show_every_peer_and_what_is_missing() {
        let run =
            run_of(&[("pancake", 0, 10.0, true), ("haproxy", 0, 20.0, true), ("nginx", 0, 30.0, false)]);
        let text = crate::report::table::markdown(&run, "2026-01-31.svg");
        for part in [
            "| `h1-keepalive` |",
            "≤ 0.85 × HAProxy",
            "| pancake |",
            "| haproxy |",
            "void",
            "3 requests failed",
            "envoy: its program is not installed",
        ] {
            assert!(text.contains(part), "{part:?} is missing in:\n{text}");
        }
        let svg = crate::report::chart::svg(&run);
        assert!(svg.starts_with("<svg") && svg.contains(">pancake<") && svg.trim_end().ends_with("</svg>"));
    }
}
