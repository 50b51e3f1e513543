//! Samples to figures, a table and a chart.

/// SVG.
pub mod chart;
/// Median, spread and ratios.
pub mod figures;
/// Markdown.
pub mod table;
