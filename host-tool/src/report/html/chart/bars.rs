//! Horizontal bars from zero.

use super::{COLOURS, escape};
use std::fmt::Write;

/// Most rows of a bar chart; the smallest of more are summed up in one.
const MOST_ROWS: usize = 28;

/// One value of a bar chart.
#[derive(Clone, Debug)]
pub(in crate::report::html) struct Bar {
    /// Index of its series: its colour.
    pub(in crate::report::html) series: usize,
    pub(in crate::report::html) value: f64,
    /// A thin line goes on to this larger value.
    pub(in crate::report::html) whisker: Option<f64>,
    /// The value in words, beside the bar.
    pub(in crate::report::html) text: String,
}

/// A group of bars with one name.
#[derive(Clone, Debug)]
pub(in crate::report::html) struct Row {
    pub(in crate::report::html) name: String,
    pub(in crate::report::html) bars: Vec<Bar>,
    /// What is to be said of the row, below it.
    pub(in crate::report::html) notes: Vec<String>,
}

/// Bars on one scale; `label` says what they show, for those who do not see them.
pub(in crate::report::html) fn bars(label: &str, rows: &[Row]) -> String {
    let all = rows.iter().flat_map(|row| &row.bars);
    let largest = all.map(Bar::end).fold(0.0, f64::max);
    let mut html = format!(
        "<div class=\"bars\" role=\"group\" aria-label=\"{}\">\n",
        escape(label)
    );
    for row in rows {
        html += &one_row(row, largest);
    }
    html + "</div>\n"
}

fn one_row(row: &Row, largest: f64) -> String {
    let name = escape(&row.name);
    let mut html = format!(
        "<div class=\"row\"><span class=\"name\" title=\"{name}\">{name}</span><div class=\"group\">"
    );
    for bar in &row.bars {
        html += &one_bar(bar, largest, &name);
    }
    for note in &row.notes {
        let _ = write!(html, "<p class=\"doubt\">{}</p>", escape(note));
    }
    html + "</div></div>\n"
}

fn one_bar(bar: &Bar, largest: f64, name: &str) -> String {
    let share = |value: f64| {
        if largest > 0.0 {
            100.0 * value / largest
        } else {
            0.0
        }
    };
    let (colour, text, width) = (bar.series % COLOURS, escape(&bar.text), share(bar.value));
    let whisker = bar.whisker.map_or_else(String::new, |end| {
        let end = share(end);
        format!(
            "<line class=\"whisker\" x1=\"{width:.2}%\" x2=\"{end:.2}%\" y1=\"50%\" y2=\"50%\"/>\
             <line class=\"whisker\" x1=\"{end:.2}%\" x2=\"{end:.2}%\" y1=\"10%\" y2=\"90%\"/>"
        )
    });
    format!(
        "<div class=\"line\"><svg role=\"img\" aria-label=\"{name}: {text}\">\
         <rect class=\"bar s{colour}\" width=\"{width:.2}%\" height=\"100%\" rx=\"2\">\
         <title>{name}: {text}</title></rect>{whisker}</svg><span class=\"value\">{text}</span></div>"
    )
}

impl Bar {
    fn end(&self) -> f64 {
        self.whisker.unwrap_or(0.0).max(self.value)
    }
}

/// The rows with the largest values in their order, the others summed up by series in one row at
/// the end. `text` words a sum.
pub(in crate::report::html) fn largest_rows(
    rows: Vec<Row>,
    text: impl Fn(f64) -> String,
) -> Vec<Row> {
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
        notes: Vec::new(),
    }
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
                whisker: None,
                text: value.to_string(),
            }],
            notes: Vec::new(),
        }
    }

    #[test]
    fn the_largest_bar_fills_the_width() {
        let html = bars("", &[row("a", 2.0), row("b", 8.0)]);
        assert_eq!(html.matches("<rect class=\"bar").count(), 2);
        assert!(html.contains("width=\"25.00%\"") && html.contains("width=\"100.00%\""));
    }

    #[test]
    fn a_whisker_has_room_and_notes_are_told() {
        let mut row = row("a", 2.0);
        row.bars[0].whisker = Some(8.0);
        row.notes.push("it is <hot>".into());
        let html = bars("", &[row]);
        assert!(html.contains("width=\"25.00%\"") && html.contains("x2=\"100.00%\""));
        assert!(html.contains("<p class=\"doubt\">it is &lt;hot&gt;</p>"));
    }

    #[test]
    fn many_rows_end_in_a_sum() {
        let rows = (0..100).map(|i| row("r", f64::from(i))).collect();
        let rows = largest_rows(rows, |sum| format!("{sum}"));
        assert_eq!(rows.len(), MOST_ROWS);
        let last = rows.last().unwrap();
        assert_eq!(last.bars[0].value, (0..73).map(f64::from).sum::<f64>());
    }
}
