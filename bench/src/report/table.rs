//! The results as a Markdown page.

use std::fmt::Write as _;

use super::figures::{self, Figure};
use crate::scenario::{self, Run, Scenario, Work};

/// One section per scenario that ran. `chart` is the file name of the chart beside the page.
pub fn markdown(run: &Run, chart: &str) -> String {
    let mut out = format!("# Bench results of {}\n\n{}. ", run.date, run.machine);
    let _ = writeln!(
        out,
        "One proxy core, one worker; backend (nginx, static answers) and load generator share another core; \
         loopback; {} s per measurement, rounds interleaved. Figures are medians, `spread` is lowest to highest; ratios \
         are medians of the ratios of each round. A measurement in which a request failed is void.\n",
        run.seconds
    );
    let versions: Vec<String> = run.peers.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let _ = writeln!(out, "Programs: {}.\n\n![chart]({chart})", versions.join(", "));
    summary(&mut out, run);
    for scenario in &scenario::ALL {
        let figures = figures::of(run, scenario);
        if !figures.is_empty() {
            section(&mut out, run, scenario, &figures);
        }
    }
    if !run.skipped.is_empty() {
        out.push_str("\n## Not measured\n\n");
        for reason in &run.skipped {
            let _ = writeln!(out, "- {}", reason.trim().replace('\n', " · "));
        }
    }
    out
}

/// One line per scenario that ran: what is asked of Pancake, and what came of it.
fn summary(out: &mut String, run: &Run) {
    out.push_str("\n## Goals\n\n| scenario | unit | Pancake | HAProxy | best peer | goal | |\n|---|---|---|---|---|---|---|\n");
    for scenario in &scenario::ALL {
        let figures = figures::of(run, scenario);
        if figures.is_empty() {
            continue;
        }
        let own = figures.iter().find(|f| f.peer == "pancake").and_then(|f| f.median);
        let haproxy = figures.iter().find(|f| f.peer == "haproxy").and_then(|f| f.median);
        let best = figures::best(&figures);
        let number = |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{v:.2}"));
        let verdict = match figures::reached(scenario, &figures) {
            Some((true, value)) => format!("reached ({value:.2})"),
            Some((false, value)) => format!("MISSED ({value:.2})"),
            None => String::new(),
        };
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} | {} | {} | {verdict} |",
            scenario.name,
            scenario.unit,
            number(own),
            number(haproxy),
            best.map_or("–".to_owned(), |(name, value)| format!("{value:.2} ({name})")),
            figures::goal(scenario).unwrap_or("shown only".to_owned()),
        );
    }
}

fn section(out: &mut String, run: &Run, scenario: &Scenario, figures: &[Figure]) {
    let verdict = figures::verdict(scenario, figures).map_or(String::new(), |verdict| format!("; {verdict}"));
    let _ = writeln!(out, "\n## {}\n\n`{}`, {}{verdict}", scenario.title, scenario.name, scenario.unit);
    let rate = matches!(scenario.work, Work::Rate { .. });
    let more = if rate { " requests/s | p99 µs |" } else { "" };
    let _ = writeln!(out, "\n| proxy | median | spread | × HAProxy | × best peer |{more} counted |");
    let _ = writeln!(out, "|---|---|---|---|---|{}---|", if rate { "---|---|" } else { "" });
    let mut remarks = Vec::new();
    for figure in figures {
        let number = |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{v:.2}"));
        let median = figure.median.map_or("void".to_owned(), |v| format!("{v:.2}"));
        let spread = if figure.median.is_some() {
            format!("{:.2} – {:.2}", figure.spread.0, figure.spread.1)
        } else {
            "–".to_owned()
        };
        let whole = |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{v:.0}"));
        let more = if rate {
            format!(" {} | {} |", whole(figure.rate), whole(figure.p99_us))
        } else {
            String::new()
        };
        let (good, void) = figure.counted;
        let _ = writeln!(
            out,
            "| {} | {median} | {spread} | {} | {} |{more} {good} of {} |",
            figure.peer,
            number(figure.to_haproxy),
            number(figure.to_best),
            good + void
        );
        if let Some(why) = &figure.void {
            remarks.push(format!("{}: {void} void, the first because {why}", figure.peer));
        }
        // Scenarios without a rate say in words what they saw; the last sample speaks for all.
        let notes =
            run.samples.iter().filter(|s| !rate && s.scenario == scenario.name && s.peer == figure.peer);
        if let Some(note) = notes.map(|s| s.note.as_str()).rfind(|note| !note.is_empty()) {
            remarks.push(format!("{}: {note}", figure.peer));
        }
    }
    for (i, remark) in remarks.iter().enumerate() {
        let _ = writeln!(out, "{}- {remark}", if i == 0 { "\n" } else { "" });
    }
}
