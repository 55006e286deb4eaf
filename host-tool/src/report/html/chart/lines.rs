//! Values over time.

use super::{Axis, COLOURS, escape, scatter};
use std::fmt::Write;

/// A small chart of one quantity over time.
#[derive(Clone, Debug)]
pub(in crate::report::html) struct Panel<'a> {
    pub(in crate::report::html) title: &'a str,
    pub(in crate::report::html) lines: &'a [Line],
    /// In seconds.
    pub(in crate::report::html) x: Axis,
    pub(in crate::report::html) y: Axis,
}

/// A series of times and values.
#[derive(Clone, Debug)]
pub(in crate::report::html) struct Line {
    /// Index of its series: its colour.
    pub(in crate::report::html) series: usize,
    pub(in crate::report::html) points: Vec<[f64; 2]>,
}

/// The chart; values in words.
pub(in crate::report::html) fn panel(panel: &Panel<'_>, text: impl Fn(f64) -> String) -> String {
    let title = escape(panel.title);
    let lines: String = panel
        .lines
        .iter()
        .map(|line| panel.polyline(line))
        .collect();
    let words =
        scatter::y_words(&panel.y, text) + &scatter::x_words(&panel.x, |s| format!("{s:.0} s"));
    format!(
        "<figure><figcaption>{title}</figcaption><div class=\"plot low timed\">\
         <svg role=\"img\" aria-label=\"{title} over time\">{}</svg>\
         <svg viewBox=\"0 0 100 100\" preserveAspectRatio=\"none\" aria-hidden=\"true\">{lines}</svg>\
         {words}</div></figure>\n",
        scatter::grid(&panel.y)
    )
}

impl Panel<'_> {
    /// Joined points; those of lines cannot be per cent, so that the picture is stretched instead.
    fn polyline(&self, line: &Line) -> String {
        let mut points = String::new();
        for [x, y] in &line.points {
            let _ = write!(points, "{:.2},{:.2} ", self.x.at(*x), self.y.down(*y));
        }
        format!(
            "<polyline class=\"over-time l{}\" points=\"{}\"/>",
            line.series % COLOURS,
            points.trim_end()
        )
    }
}
