//! Charts as inline SVG whose coordinates are per cent, so that they fill any width while the text around them keeps
//! its size. Each tells in words what it shows.

mod axis;
mod bars;
mod histogram;
mod lines;
mod scatter;

pub(super) use axis::Axis;
pub(super) use bars::{Bar, Row, bars, largest_rows};
pub(super) use histogram::{Column, Histogram, histogram};
pub(super) use lines::{Line, Panel, panel};
pub(super) use scatter::{Plot, Point, scatter};

use super::escape;

/// Colours in the style sheet; more series repeat them.
const COLOURS: usize = 8;

/// Names of the series, where there is more than one.
pub(super) fn legend(names: &[String]) -> String {
    if names.len() < 2 {
        return String::new();
    }
    let all: Vec<(usize, &String)> = names.iter().enumerate().collect();
    legend_of(&all)
}

/// Names of some series.
pub(super) fn legend_of(series: &[(usize, &String)]) -> String {
    let entry = |(series, name): &(usize, &String)| {
        format!(
            "<li><i class=\"s{}\"></i>{}</li>",
            series % COLOURS,
            escape(name)
        )
    };
    let entries: String = series.iter().map(entry).collect();
    format!("<ul class=\"legend\">{entries}</ul>\n")
}
