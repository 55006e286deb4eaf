//! How long runs went on: latency, clock and temperature over time.

use super::chart::{self, Axis, Line, Panel};
use super::model::Model;
use super::parts;
use crate::report::record::{Bench, Interval};
use crate::report::text::round_micros;

/// A quantity over time.
struct Quantity {
    title: &'static str,
    of: fn(&Interval) -> Option<f64>,
    text: fn(f64) -> String,
    /// Whether its axis begins at zero.
    from_zero: bool,
}

const QUANTITIES: [Quantity; 4] = [
    Quantity {
        title: "Median latency",
        of: |part| Some(part.p50_us),
        text: round_micros,
        from_zero: true,
    },
    Quantity {
        title: "Longest latency",
        of: |part| Some(part.max_us),
        text: round_micros,
        from_zero: true,
    },
    Quantity {
        title: "Clock",
        of: |part| part.condition.clock_mhz.map(f64::from),
        text: |mhz| format!("{mhz:.0} MHz"),
        from_zero: true,
    },
    Quantity {
        title: "Temperature",
        of: |part| part.condition.temperature_celsius,
        text: |celsius| format!("{celsius:.0} °C"),
        from_zero: false,
    },
];

/// A small chart for each quantity that any long run tells.
pub(super) fn card(model: &Model<'_>) -> String {
    let long: Vec<(usize, &Bench, &String)> = model
        .named()
        .filter_map(|(series, run, name)| {
            let bench = run.real().filter(|bench| bench.timeline.len() > 1)?;
            Some((series, bench, name))
        })
        .collect();
    let panels: String = QUANTITIES
        .iter()
        .filter_map(|quantity| panel(quantity, &long))
        .collect();
    if panels.is_empty() {
        return String::new();
    }
    let names: Vec<(usize, &String)> = long
        .iter()
        .map(|&(series, _, name)| (series, name))
        .collect();
    let body = chart::legend_of(&names) + "<div class=\"panels\">\n" + &panels + "</div>\n";
    parts::card(
        "Over time",
        "Each point is a part of a long run: a board that becomes hot lowers its clock, and latency rises.",
        &body,
    )
}

fn panel(quantity: &Quantity, long: &[(usize, &Bench, &String)]) -> Option<String> {
    let line = |&(series, bench, _): &(usize, &Bench, &String)| {
        let points = bench.timeline.iter();
        let points = points.filter_map(|part| Some([part.seconds, (quantity.of)(part)?]));
        let points: Vec<[f64; 2]> = points.collect();
        (points.len() > 1).then_some(Line { series, points })
    };
    let lines: Vec<Line> = long.iter().filter_map(line).collect();
    if lines.is_empty() {
        return None;
    }
    let values = |i: usize| {
        let points = lines.iter().flat_map(|line| &line.points);
        points.map(move |point| point[i])
    };
    let y = match quantity.from_zero {
        true => Axis::from_zero(values(1)),
        false => Axis::around(values(1), f64::INFINITY),
    };
    let of = Panel {
        title: quantity.title,
        lines: &lines,
        x: Axis::from_zero(values(0)),
        y,
    };
    Some(chart::panel(&of, quantity.text))
}
