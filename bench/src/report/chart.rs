//! The results as one SVG: a block of bars per scenario, lower is better, Pancake's bar in its own colour.

use std::fmt::Write as _;

use super::figures::{self, Figure};
use crate::scenario::{self, Run};

const WIDTH: f64 = 860.0;
const LABEL: f64 = 90.0;
const BAR: f64 = 18.0;
const GAP: f64 = 6.0;
const TITLE: f64 = 44.0;
/// Room right of the longest bar for its figure.
const FIGURE: f64 = 190.0;

/// Draws the scenarios that ran.
pub fn svg(run: &Run) -> String {
    let blocks: Vec<_> = scenario::ALL
        .iter()
        .map(|s| (s, figures::of(run, s)))
        .filter(|(_, figures)| !figures.is_empty())
        .collect();
    let rows: usize = blocks.iter().map(|(_, figures)| figures.len()).sum();
    let height = 56.0 + blocks.len() as f64 * TITLE + rows as f64 * (BAR + GAP);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"28\" font-size=\"16\" font-weight=\"600\" fill=\"#1a1a1a\">One proxy core, lower is better \
         ({})</text>\n",
        run.date
    );
    let mut y = 48.0;
    for (scenario, figures) in &blocks {
        y += 22.0;
        let title = format!("{} · {}", scenario.title, scenario.unit);
        text(&mut out, 16.0, y, "font-weight=\"600\" fill=\"#1a1a1a\"", &title);
        y += 10.0;
        let longest = figures.iter().filter_map(|f| f.median).fold(0.0, f64::max);
        for figure in figures {
            bar(&mut out, y, figure, longest);
            y += BAR + GAP;
        }
        y += TITLE - 32.0;
    }
    out.push_str("</svg>\n");
    out
}

fn bar(out: &mut String, y: f64, figure: &Figure, longest: f64) {
    let base = y + BAR - 5.0;
    text(out, LABEL - 6.0, base, "text-anchor=\"end\" fill=\"#444444\"", &figure.peer);
    let Some(value) = figure.median else {
        text(out, LABEL, base, "fill=\"#b00020\"", "void");
        return;
    };
    let width = if longest > 0.0 { value / longest * (WIDTH - LABEL - FIGURE) } else { 0.0 };
    let colour = if figure.peer == "pancake" { "#d9822b" } else { "#9aa5b1" };
    let _ = writeln!(
        out,
        "<rect x=\"{LABEL}\" y=\"{y}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\" fill=\"{colour}\"/>",
        width.max(1.0)
    );
    let ratio = match figure.to_haproxy {
        Some(ratio) if figure.peer != "haproxy" => format!("  ({ratio:.2} × HAProxy)"),
        _ => String::new(),
    };
    text(out, LABEL + width + 6.0, base, "fill=\"#1a1a1a\"", &format!("{value:.2}{ratio}"));
}

fn text(out: &mut String, x: f64, y: f64, attributes: &str, content: &str) {
    let safe = content.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{safe}</text>");
}
