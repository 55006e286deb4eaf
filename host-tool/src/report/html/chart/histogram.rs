//! How many inferences took how long.

use super::{Axis, COLOURS, escape, scatter};
use std::fmt::Write;

/// A distribution.
#[derive(Clone, Debug)]
pub(in crate::report::html) struct Histogram<'a> {
    /// Whose it is.
    pub(in crate::report::html) name: &'a str,
    /// Index of its series: its colour.
    pub(in crate::report::html) series: usize,
    pub(in crate::report::html) columns: &'a [Column],
    /// Values to mark, and what they are.
    pub(in crate::report::html) marks: &'a [(f64, String)],
    pub(in crate::report::html) x: Axis,
}

/// Values from one to another, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::report::html) struct Column {
    pub(in crate::report::html) from: f64,
    pub(in crate::report::html) to: f64,
    pub(in crate::report::html) count: u64,
}

/// Columns are at least so high, in per cent: one in a million still shows.
const LEAST_HEIGHT: f64 = 1.5;

/// The chart; values in words, and in short ones below the axis.
pub(in crate::report::html) fn histogram(
    of: &Histogram<'_>,
    text: impl Fn(f64) -> String,
    axis_text: impl Fn(f64) -> String,
) -> String {
    let marks = of
        .marks
        .iter()
        .map(|(at, what)| format!("{what} {}", text(*at)));
    let marks = escape(&marks.collect::<Vec<_>>().join(" · "));
    let name = escape(of.name);
    let svg = columns(of, &text) + &lines(of);
    let words = scatter::x_words(&of.x, axis_text);
    format!(
        "<figure><figcaption>{name}<br><span class=\"soft\">{marks}</span></figcaption>\
         <div class=\"plot low\"><svg role=\"img\" aria-label=\"Distribution of latency, {name}: {marks}\">{svg}</svg>\
         {words}</div></figure>\n"
    )
}

fn columns(of: &Histogram<'_>, text: impl Fn(f64) -> String) -> String {
    let counts = of.columns.iter().map(|column| column.count);
    let largest = counts.max().unwrap_or(0).max(1) as f64;
    let mut svg = String::new();
    for column in of.columns {
        let (left, right) = (of.x.at(column.from), of.x.at(column.to));
        let height = (100.0 * column.count as f64 / largest).max(LEAST_HEIGHT);
        let _ = write!(
            svg,
            "<rect class=\"column s{}\" x=\"{left:.2}%\" width=\"{:.2}%\" y=\"{:.2}%\" height=\"{height:.2}%\">\
             <title>{} to {}: {}</title></rect>",
            of.series % COLOURS,
            right - left,
            100.0 - height,
            escape(&text(column.from)),
            escape(&text(column.to)),
            column.count
        );
    }
    svg
}

fn lines(of: &Histogram<'_>) -> String {
    let line = |(value, what): &(f64, String)| {
        let at = of.x.at(*value);
        format!(
            "<line class=\"mark-line\" x1=\"{at:.2}%\" x2=\"{at:.2}%\" y1=\"0\" y2=\"100%\"><title>{}</title></line>",
            escape(what)
        )
    };
    of.marks.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_columns_show_and_the_largest_is_whole() {
        let columns = [(1.0, 1_000_000), (2.0, 1)].map(|(from, count)| Column {
            from,
            to: from + 1.0,
            count,
        });
        let html = histogram(
            &Histogram {
                name: "a",
                series: 0,
                columns: &columns,
                marks: &[(1.5, "p50".into())],
                x: Axis::logarithmic([1.0, 3.0].into_iter()),
            },
            |value| format!("{value} µs"),
            |value| value.to_string(),
        );
        assert_eq!(html.matches("<rect class=\"column").count(), 2);
        assert!(html.contains("height=\"100.00%\"") && html.contains("height=\"1.50%\""));
        assert!(html.contains("p50 1.5 µs") && html.contains("2 µs to 3 µs: 1<"));
    }
}
