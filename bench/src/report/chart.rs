//! The results as one SVG: a block of bars per scenario in two columns, lower is better, Pancake's bar in its own colour,
//! and a dashed line where its goal is.

use std::fmt::Write as _;

use super::figures::{self, Figure};
use crate::scenario::{self, Run, Scenario};

/// One of the two columns; the gap between them included.
const COLUMN: f64 = 640.0;
const MARGIN: f64 = 16.0;
/// Room left of the bars for the names of the peers.
const LABEL: f64 = 90.0;
const BAR: f64 = 16.0;
const GAP: f64 = 4.0;
/// Height of a block without its bars: two lines of text, and rest.
const TITLE: f64 = 58.0;
const TOP: f64 = 48.0;
/// Room right of the longest bar for its figure.
const FIGURE: f64 = 190.0;

const DARK: &str = "#1a1a1a";
const PALE: &str = "#555555";

type Block<'a> = (&'a Scenario, Vec<Figure>);

/// Draws the scenarios that ran.
pub fn svg(run: &Run) -> String {
    let blocks: Vec<Block> = scenario::ALL
        .iter()
        .map(|s| (s, figures::of(run, s)))
        .filter(|(_, figures)| !figures.is_empty())
        .collect();
    let (left, right) = blocks.split_at(middle(&blocks));
    let tall = |column: &[Block]| column.iter().map(height).sum::<f64>();
    let height = TOP + tall(left).max(tall(right)) + MARGIN;
    let width = if right.is_empty() { COLUMN } else { 2.0 * COLUMN };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"{MARGIN}\" y=\"28\" font-size=\"16\" font-weight=\"600\" fill=\"{DARK}\">One proxy core, lower is \
         better; dashed: the goal ({})</text>\n",
        run.date
    );
    for (x, column) in [(0.0, left), (COLUMN, right)] {
        let mut y = TOP;
        for block in column {
            draw(&mut out, x, y, block);
            y += self::height(block);
        }
    }
    out.push_str("</svg>\n");
    out
}

fn height((_, figures): &Block) -> f64 {
    TITLE + figures.len() as f64 * (BAR + GAP)
}

/// How many blocks the left column gets: the first ones, until it has half of the height.
fn middle(blocks: &[Block]) -> usize {
    let half = blocks.iter().map(height).sum::<f64>() / 2.0;
    let mut filled = 0.0;
    let fits = |block: &&Block| {
        let fits = filled < half;
        filled += height(block);
        fits
    };
    blocks.iter().take_while(fits).count()
}

fn draw(out: &mut String, x: f64, y: f64, (scenario, figures): &Block) {
    let title = format!("{} · {}", scenario.title, scenario.unit);
    text(out, x + MARGIN, y + 14.0, &format!("font-weight=\"600\" fill=\"{DARK}\""), &title);
    let words = figures::verdict(scenario, figures)
        .or_else(|| figures::goal(scenario).map(|goal| format!("goal {goal}")))
        .unwrap_or_else(|| "shown beside the others, without a goal".to_owned());
    text(out, x + MARGIN, y + 31.0, &format!("font-size=\"12\" fill=\"{PALE}\""), &words);
    let goal = figures::goal_value(scenario, figures);
    let longest = figures.iter().filter_map(|f| f.median).chain(goal).fold(0.0, f64::max);
    let start = x + MARGIN + LABEL;
    let along = |value: f64| {
        if longest > 0.0 { value / longest * (COLUMN - 2.0 * MARGIN - LABEL - FIGURE) } else { 0.0 }
    };
    let first = y + 38.0;
    let rows = || figures.iter().zip(0u16..).map(move |(f, i)| (f, first + f64::from(i) * (BAR + GAP)));
    for (figure, y) in rows() {
        bar(out, start, y, figure, figure.median.map_or(0.0, along));
    }
    if let Some(goal) = goal {
        let (at, end) = (start + along(goal), first + figures.len() as f64 * (BAR + GAP) - GAP + 2.0);
        let _ = writeln!(
            out,
            "<line x1=\"{at:.1}\" y1=\"{:.1}\" x2=\"{at:.1}\" y2=\"{end:.1}\" stroke=\"{DARK}\" stroke-dasharray=\"4 3\"/>",
            first - 2.0
        );
    }
    for (figure, y) in rows() {
        label(out, start + figure.median.map_or(0.0, along), y, figure);
    }
}

fn bar(out: &mut String, x: f64, y: f64, figure: &Figure, width: f64) {
    text(out, x - 6.0, y + BAR - 4.0, "text-anchor=\"end\" fill=\"#444444\"", &figure.peer);
    let colour = if figure.peer == "pancake" { "#d9822b" } else { "#9aa5b1" };
    if figure.median.is_some() {
        let width = width.max(1.0);
        let _ = writeln!(
            out,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\" fill=\"{colour}\"/>"
        );
    }
}

/// Comes after the line of the goal and stands on white, so that the line does not cross it.
fn label(out: &mut String, x: f64, y: f64, figure: &Figure) {
    let (colour, words) = match (figure.median, figure.to_haproxy) {
        (None, _) => ("#b00020", "void".to_owned()),
        (Some(value), Some(ratio)) if figure.peer != "haproxy" => {
            (DARK, format!("{value:.2}  ({ratio:.2} × HAProxy)"))
        }
        (Some(value), _) => (DARK, format!("{value:.2}")),
    };
    let halo = format!("fill=\"{colour}\" paint-order=\"stroke\" stroke=\"#ffffff\" stroke-width=\"3\"");
    text(out, x + 6.0, y + BAR - 4.0, &halo, &words);
}

fn text(out: &mut String, x: f64, y: f64, attributes: &str, content: &str) {
    let safe = content.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{safe}</text>");
}
