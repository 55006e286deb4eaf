//! Charts: bars and points as inline SVG whose coordinates are per cent, so that they fill any
//! width while the text around them keeps its size.

use super::escape;
use std::fmt::Write;

/// Colours in the style sheet; more series repeat them.
const COLOURS: usize = 6;
/// Most rows of a bar chart; the smallest of more are summed up in one.
const MOST_ROWS: usize = 28;

/// One value of a bar chart.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    /// Index of its series: its colour.
    pub(super) series: usize,
    pub(super) value: f64,
    /// The value in words, beside the bar.
    pub(super) text: String,
}

/// A group of bars with one name.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) bars: Vec<Bar>,
}

/// Names of the series, where there is more than one.
pub(super) fn legend(names: &[String]) -> String {
    if names.len() < 2 {
        return String::new();
    }
    let entry = |(i, name): (usize, &String)| {
        format!(
            "<li><i class=\"s{}\"></i>{}</li>",
            i % COLOURS,
            escape(name)
        )
    };
    let entries: String = names.iter().enumerate().map(entry).collect();
    format!("<ul class=\"legend\">{entries}</ul>\n")
}

/// Horizontal bars from zero, on one scale.
pub(super) fn bars(rows: &[Row]) -> String {
    let values = rows.iter().flat_map(|row| &row.bars).map(|bar| bar.value);
    let largest = values.fold(0.0, f64::max);
    let mut html = String::from("<div class=\"bars\">\n");
    for row in rows {
        let name = escape(&row.name);
        let _ = write!(
            html,
            "<div class=\"row\"><span class=\"name\" title=\"{name}\">{name}</span><div class=\"group\">"
        );
        for bar in &row.bars {
            html += &one_bar(bar, largest, &name);
        }
        html += "</div></div>\n";
    }
    html + "</div>\n"
}

fn one_bar(bar: &Bar, largest: f64, name: &str) -> String {
    let width = if largest > 0.0 {
        100.0 * bar.value / largest
    } else {
        0.0
    };
    let (colour, text) = (bar.series % COLOURS, escape(&bar.text));
    format!(
        "<div class=\"line\"><svg role=\"img\" aria-label=\"{name}: {text}\">\
         <rect class=\"bar s{colour}\" width=\"{width:.2}%\" height=\"100%\" rx=\"2\">\
         <title>{name}: {text}</title></rect></svg><span class=\"value\">{text}</span></div>"
    )
}

/// The rows with the largest values in their order, the others summed up by series in one row at
/// the end. `text` words a sum.
pub(super) fn largest_rows(rows: Vec<Row>, text: impl Fn(f64) -> String) -> Vec<Row> {
    if rows.len() <= MOST_ROWS {
        return rows;
    }
    let mut peaks: Vec<f64> = rows.iter().map(peak).collect();
    peaks.sort_by(|a, b| b.total_cmp(a));
    let limit = peaks[MOST_ROWS - 2];
    let mut room = MOST_ROWS - 1;
    let (mut kept, mut rest) = (Vec::new(), Vec::new());
    for row in rows {
        if peak(&row) >= limit && room > 0 {
            room -= 1;
            kept.push(row);
        } else {
            rest.push(row);
        }
    }
    kept.push(summed(&rest, text));
    kept
}

fn peak(row: &Row) -> f64 {
    row.bars.iter().map(|bar| bar.value).fold(0.0, f64::max)
}

fn summed(rows: &[Row], text: impl Fn(f64) -> String) -> Row {
    let mut bars: Vec<Bar> = Vec::new();
    for bar in rows.iter().flat_map(|row| &row.bars) {
        match bars.iter_mut().find(|sum| sum.series == bar.series) {
            Some(sum) => sum.value += bar.value,
            None => bars.push(bar.clone()),
        }
    }
    bars.sort_by_key(|bar| bar.series);
    for bar in &mut bars {
        bar.text = text(bar.value);
    }
    Row {
        name: format!("{} smaller layers", rows.len()),
        bars,
    }
}

/// A point of a scatter chart.
#[derive(Clone, Debug)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) name: String,
    /// Both values in words.
    pub(super) text: String,
    /// Index of its series: its colour.
    pub(super) series: usize,
    /// Whether name and values stand beside it; its title has them anyway.
    pub(super) is_named: bool,
}

/// How the x axis is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    /// Evenly, from zero.
    FromZero,
    /// By the logarithm; all values are positive.
    Logarithmic,
}

/// A scatter chart.
#[derive(Clone, Debug)]
pub(super) struct Plot<'a> {
    /// What it shows, for those who do not see it.
    pub(super) label: &'a str,
    /// Joined in their order.
    pub(super) points: &'a [Point],
    /// A dashed line and its name.
    pub(super) reference: Option<(f64, String)>,
    pub(super) x: Axis,
    /// The y axis ends here at the latest.
    pub(super) y_most: f64,
}

/// Points joined in their order, with a dashed line at the reference.
pub(super) fn scatter(
    plot: &Plot<'_>,
    x_text: impl Fn(f64) -> String,
    y_text: impl Fn(f64) -> String,
) -> String {
    let Plot {
        label,
        points,
        reference,
        ..
    } = plot;
    let scale = Scale::of(plot);
    let mut plot = String::new();
    for y in scale.y_ticks() {
        let at = scale.y(y);
        let _ = write!(
            plot,
            "<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"{at:.2}%\" y2=\"{at:.2}%\"/>"
        );
    }
    if let Some((y, _)) = reference {
        let at = scale.y(*y);
        let _ = write!(
            plot,
            "<line class=\"reference\" x1=\"0\" x2=\"100%\" y1=\"{at:.2}%\" y2=\"{at:.2}%\"/>"
        );
    }
    plot += &path(points, &scale);
    plot += &dots(points, &scale);
    let mut words = String::new();
    for y in scale.y_ticks() {
        let _ = write!(
            words,
            "<span class=\"y\" style=\"top:{:.2}%\">{}</span>",
            scale.y(y),
            escape(&y_text(y))
        );
    }
    for x in scale.x_ticks() {
        let _ = write!(
            words,
            "<span class=\"x\" style=\"left:{:.2}%\">{}</span>",
            scale.x(x),
            escape(&x_text(x))
        );
    }
    if let Some((y, name)) = reference {
        let _ = write!(
            words,
            "<span class=\"ref\" style=\"top:{:.2}%\">{}</span>",
            scale.y(*y),
            escape(name)
        );
    }
    words += &point_names(points, &scale);
    format!(
        "<div class=\"plot\"><svg role=\"img\" aria-label=\"{}\">{plot}</svg>{words}</div>\n",
        escape(label)
    )
}

fn path(points: &[Point], scale: &Scale) -> String {
    let pairs = points.iter().zip(points.iter().skip(1));
    let mut lines = String::new();
    for (a, b) in pairs {
        let _ = write!(
            lines,
            "<line class=\"join\" x1=\"{:.2}%\" y1=\"{:.2}%\" x2=\"{:.2}%\" y2=\"{:.2}%\"/>",
            scale.x(a.x),
            scale.y(a.y),
            scale.x(b.x),
            scale.y(b.y)
        );
    }
    lines
}

fn dots(points: &[Point], scale: &Scale) -> String {
    let mut dots = String::new();
    for point in points {
        let _ = write!(
            dots,
            "<circle class=\"dot s{}\" cx=\"{:.2}%\" cy=\"{:.2}%\" r=\"6\"><title>{}: {}</title></circle>",
            point.series % COLOURS,
            scale.x(point.x),
            scale.y(point.y),
            escape(&point.name),
            escape(&point.text)
        );
    }
    dots
}

/// Names beside the points, on the side where there is room.
fn point_names(points: &[Point], scale: &Scale) -> String {
    let mut names = String::new();
    for point in points.iter().filter(|point| point.is_named) {
        let (x, y) = (scale.x(point.x), scale.y(point.y));
        let side = if x > 60.0 { "left" } else { "right" };
        let _ = write!(
            names,
            "<span class=\"point {side}\" style=\"left:{x:.2}%;top:{y:.2}%\"><b>{}</b><i><br>{}</i></span>",
            escape(&point.name),
            escape(&point.text)
        );
    }
    names
}

struct Scale {
    axis: Axis,
    /// Ends of the x axis.
    x: [f64; 2],
    /// Ends of the y axis.
    y: [f64; 2],
    y_step: f64,
}

impl Scale {
    fn of(plot: &Plot<'_>) -> Self {
        let reference = plot.reference.as_ref().map(|(y, _)| *y);
        let ys = || plot.points.iter().map(|p| p.y).chain(reference);
        let low = ys().fold(f64::INFINITY, f64::min);
        let high = ys().fold(f64::NEG_INFINITY, f64::max);
        let span = (high - low).max(1.0);
        let y_step = nice(span / 3.0);
        let bottom = ((low - 0.25 * span) / y_step).floor() * y_step;
        let top = ((high + 0.25 * span) / y_step).ceil() * y_step;
        Self {
            axis: plot.x,
            x: x_ends(plot.points, plot.x),
            y: [bottom, top.min(plot.y_most)],
            y_step,
        }
    }

    fn x(&self, x: f64) -> f64 {
        let [low, high] = self.x;
        match self.axis {
            Axis::FromZero => 100.0 * x / high,
            Axis::Logarithmic => 100.0 * (x / low).ln() / (high / low).ln(),
        }
    }

    fn y(&self, y: f64) -> f64 {
        100.0 * (self.y[1] - y) / (self.y[1] - self.y[0])
    }

    fn x_ticks(&self) -> Vec<f64> {
        let [low, high] = self.x;
        match self.axis {
            Axis::FromZero => ticks(0.0, high, nice(high / 6.0)),
            Axis::Logarithmic => round_numbers(low, high),
        }
    }

    fn y_ticks(&self) -> Vec<f64> {
        ticks(self.y[0], self.y[1], self.y_step)
    }
}

/// Ends of the x axis, with room beside the points.
fn x_ends(points: &[Point], axis: Axis) -> [f64; 2] {
    let low = points.iter().map(|p| p.x).fold(f64::INFINITY, f64::min);
    let high = points.iter().map(|p| p.x).fold(0.0, f64::max).max(1.0);
    match axis {
        Axis::FromZero => [0.0, high * 1.08],
        Axis::Logarithmic => [low.clamp(1.0, high) / 1.15, high * 1.15],
    }
}

/// 1, 2 and 5 times the powers of ten between two positive numbers; every other is left out until there are
/// few enough to read.
fn round_numbers(low: f64, high: f64) -> Vec<f64> {
    let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let all = powers.flat_map(|power| [1.0, 2.0, 5.0].map(|f| f * 10f64.powi(power)));
    let mut numbers: Vec<f64> = all.filter(|x| (low..=high).contains(x)).collect();
    while numbers.len() > 8 {
        numbers = numbers.into_iter().step_by(2).collect();
    }
    numbers
}

fn ticks(from: f64, to: f64, step: f64) -> Vec<f64> {
    let count = ((to - from) / step + 1e-9).floor() as usize;
    (0..=count.min(20))
        .map(|i| from + i as f64 * step)
        .collect()
}

/// The smallest of 1, 2, 5 times a power of ten that is at least `value`.
fn nice(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|f| f * power >= value);
    factor.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, value: f64) -> Row {
        Row {
            name: name.into(),
            bars: vec![Bar {
                series: 0,
                value,
                text: value.to_string(),
            }],
        }
    }

    fn point(x: f64) -> Point {
        Point {
            x,
            y: 1.0,
            name: "p".into(),
            text: String::new(),
            series: 0,
            is_named: false,
        }
    }

    fn plot(points: &[Point]) -> Plot<'_> {
        Plot {
            label: "",
            points,
            reference: None,
            x: Axis::Logarithmic,
            y_most: 100.0,
        }
    }

    #[test]
    fn the_y_axis_ends_at_what_is_possible() {
        let shares = [90.0, 99.8].map(|y| Point { y, ..point(1e3) });
        let scale = Scale::of(&plot(&shares));
        assert_eq!(scale.y_ticks(), [85.0, 90.0, 95.0, 100.0]);
    }

    #[test]
    fn the_largest_bar_fills_the_width() {
        let html = bars(&[row("a", 2.0), row("b", 8.0)]);
        assert_eq!(html.matches("<rect class=\"bar").count(), 2);
        assert!(html.contains("width=\"25.00%\"") && html.contains("width=\"100.00%\""));
    }

    #[test]
    fn many_rows_end_in_a_sum() {
        let rows = (0..100).map(|i| row("r", f64::from(i))).collect();
        let rows = largest_rows(rows, |sum| format!("{sum}"));
        assert_eq!(rows.len(), MOST_ROWS);
        let last = rows.last().unwrap();
        assert_eq!(last.bars[0].value, (0..73).map(f64::from).sum::<f64>());
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(nice(0.3), 0.5);
        assert_eq!(nice(7.0), 10.0);
        assert_eq!(ticks(90.0, 92.0, 0.5), [90.0, 90.5, 91.0, 91.5, 92.0]);
        assert_eq!(round_numbers(900.0, 12_000.0), [1e3, 2e3, 5e3, 1e4]);
        assert!(round_numbers(1.0, 1e9).len() <= 8);
    }

    #[test]
    fn a_logarithmic_axis_gives_equal_ratios_equal_room() {
        let points: Vec<Point> = [1e3, 1e4, 1e5].into_iter().map(point).collect();
        let scale = Scale::of(&plot(&points));
        let [a, b, c] = [1e3, 1e4, 1e5].map(|x| scale.x(x));
        assert!((c - b - (b - a)).abs() < 1e-9);
        assert!(a > 0.0 && c < 100.0);
    }
}
