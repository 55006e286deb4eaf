//! Points by two values, with lines of what they could be.

use super::{Axis, COLOURS, escape};
use std::fmt::Write;

/// A point of a scatter chart.
#[derive(Clone, Debug)]
pub(in crate::report::html) struct Point {
    pub(in crate::report::html) x: f64,
    pub(in crate::report::html) y: f64,
    pub(in crate::report::html) name: String,
    /// Both values in words.
    pub(in crate::report::html) text: String,
    /// Index of its series: its colour.
    pub(in crate::report::html) series: usize,
    /// Whether name and values stand beside it; its title has them anyway.
    pub(in crate::report::html) is_named: bool,
    /// Whether it is only an outline: not measured, but computed.
    pub(in crate::report::html) is_hollow: bool,
}

/// A scatter chart.
#[derive(Clone, Debug)]
pub(in crate::report::html) struct Plot<'a> {
    /// What it shows, for those who do not see it.
    pub(in crate::report::html) label: &'a str,
    pub(in crate::report::html) points: &'a [Point],
    /// Whether lines join the points in their order.
    pub(in crate::report::html) is_joined: bool,
    /// Dashed lines through points, and their names, which stand at the last point.
    pub(in crate::report::html) references: &'a [(Vec<[f64; 2]>, String)],
    pub(in crate::report::html) x: Axis,
    pub(in crate::report::html) y: Axis,
}

/// The chart; the axes' numbers in words.
pub(in crate::report::html) fn scatter(
    plot: &Plot<'_>,
    x_text: impl Fn(f64) -> String,
    y_text: impl Fn(f64) -> String,
) -> String {
    let mut svg = grid(&plot.y);
    for (line, _) in plot.references {
        svg += &plot.path(line, "reference");
    }
    if plot.is_joined {
        let line: Vec<[f64; 2]> = plot.points.iter().map(|p| [p.x, p.y]).collect();
        svg += &plot.path(&line, "join");
    }
    svg += &plot.dots();
    let words = y_words(&plot.y, y_text)
        + &x_words(&plot.x, x_text)
        + &plot.reference_names()
        + &plot.point_names();
    format!(
        "<div class=\"plot\"><svg role=\"img\" aria-label=\"{}\">{svg}</svg>{words}</div>\n",
        escape(plot.label)
    )
}

/// A line at each number of the y axis.
pub(super) fn grid(y: &Axis) -> String {
    let line = |value| {
        let at = y.down(value);
        format!("<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"{at:.2}%\" y2=\"{at:.2}%\"/>")
    };
    y.numbers().into_iter().map(line).collect()
}

/// The numbers beside the y axis.
pub(super) fn y_words(y: &Axis, text: impl Fn(f64) -> String) -> String {
    let word = |value| {
        let (at, text) = (y.down(value), escape(&text(value)));
        format!("<span class=\"y\" style=\"top:{at:.2}%\">{text}</span>")
    };
    y.numbers().into_iter().map(word).collect()
}

/// The numbers below the x axis.
pub(super) fn x_words(x: &Axis, text: impl Fn(f64) -> String) -> String {
    let word = |value| {
        let (at, text) = (x.at(value), escape(&text(value)));
        format!("<span class=\"x\" style=\"left:{at:.2}%\">{text}</span>")
    };
    x.numbers().into_iter().map(word).collect()
}

impl Plot<'_> {
    fn path(&self, points: &[[f64; 2]], class: &str) -> String {
        let mut lines = String::new();
        for (a, b) in points.iter().zip(points.iter().skip(1)) {
            let _ = write!(
                lines,
                "<line class=\"{class}\" x1=\"{:.2}%\" y1=\"{:.2}%\" x2=\"{:.2}%\" y2=\"{:.2}%\"/>",
                self.x.at(a[0]),
                self.y.down(a[1]),
                self.x.at(b[0]),
                self.y.down(b[1])
            );
        }
        lines
    }

    fn dots(&self) -> String {
        let dot = |point: &Point| {
            let hollow = if point.is_hollow { " hollow" } else { "" };
            format!(
                "<circle class=\"dot s{}{hollow}\" cx=\"{:.2}%\" cy=\"{:.2}%\" r=\"6\"><title>{}: {}</title></circle>",
                point.series % COLOURS,
                self.x.at(point.x),
                self.y.down(point.y),
                escape(&point.name),
                escape(&point.text)
            )
        };
        self.points.iter().map(dot).collect()
    }

    fn reference_names(&self) -> String {
        let name = |(line, name): &(Vec<[f64; 2]>, String)| {
            let [x, y] = *line.last()?;
            let right = 100.0 - self.x.at(x);
            Some(format!(
                "<span class=\"ref\" style=\"top:{:.2}%;right:{right:.2}%\">{}</span>",
                self.y.down(y),
                escape(name)
            ))
        };
        self.references.iter().filter_map(name).collect()
    }

    /// Names beside the points, on the side where there is room.
    fn point_names(&self) -> String {
        let name = |point: &Point| {
            let (x, y) = (self.x.at(point.x), self.y.down(point.y));
            let side = if x > 60.0 { "left" } else { "right" };
            format!(
                "<span class=\"point {side}\" style=\"left:{x:.2}%;top:{y:.2}%\"><b>{}</b><i><br>{}</i></span>",
                escape(&point.name),
                escape(&point.text)
            )
        };
        let named = self.points.iter().filter(|point| point.is_named);
        named.map(name).collect()
    }
}
