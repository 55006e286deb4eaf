//! What every page is made of: cards, tiles, tables.

use super::escape;
use crate::report::tables::{Cell, Mark, Table};
use std::fmt::Write;

/// A part of a page with a title; `explanation` and `body` are HTML.
pub(super) fn card(title: &str, explanation: &str, body: &str) -> String {
    let explanation = match explanation {
        "" => String::new(),
        text => format!("<p class=\"soft\">{text}</p>\n"),
    };
    format!("<div class=\"card\">\n<h2>{title}</h2>\n{explanation}{body}</div>\n")
}

/// A table as a card; nothing for nothing.
pub(super) fn table_card(table: Option<Table>) -> String {
    table.map_or_else(String::new, |table| {
        card(table.title, &escape(&table.explanation), &filled(&table))
    })
}

/// Something that is closed until a reader opens it.
pub(super) fn folded(title: &str, is_open: bool, body: &str) -> String {
    let open = if is_open { " open" } else { "" };
    let title = escape(title);
    format!("<details{open}><summary>{title}</summary>\n{body}</details>\n")
}

/// A figure and what it is.
pub(super) fn tile(value: &str, what: &str) -> String {
    format!(
        "<div class=\"tile\"><b>{}</b><span>{}</span></div>\n",
        escape(value),
        escape(what)
    )
}

/// A table of text.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let cells = |row: &Vec<String>| row.iter().cloned().map(Cell::from).collect();
    filled(&Table::new("", header, rows.iter().map(cells).collect()))
}

/// A table; cells are text, the first of each row a heading. Columns of words are to the left,
/// of numbers to the right.
pub(super) fn filled(table: &Table) -> String {
    let classes: Vec<&str> = (0..table.header.len())
        .map(|column| class(table, column))
        .collect();
    // with a name and a place in the order of the keys, it can be scrolled without a pointer
    let mut html = format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{}\"><table>\n<thead><tr>",
        escape(label(table))
    );
    for (cell, class) in table.header.iter().zip(&classes) {
        let _ = write!(
            html,
            "<th scope=\"col\" class=\"{class}\">{}</th>",
            escape(cell)
        );
    }
    html += "</tr></thead>\n<tbody>\n";
    for row in &table.rows {
        html += &line(row, &classes);
    }
    html + "</tbody>\n</table></div>\n"
}

fn label(table: &Table) -> &str {
    match (table.title, table.header.first()) {
        ("", Some(first)) => first,
        (title, _) => title,
    }
}

fn line(row: &[Cell], classes: &[&str]) -> String {
    let mut html = String::from("<tr>");
    for (i, (cell, class)) in row.iter().zip(classes).enumerate() {
        let (text, mark) = (escape(&cell.text), mark(cell.mark));
        let _ = match i {
            0 => write!(html, "<th scope=\"row\" title=\"{text}\">{text}{mark}</th>"),
            _ => write!(
                html,
                "<td class=\"{class}{}\">{}{mark}</td>",
                colour(cell.mark),
                breakable(&text)
            ),
        };
    }
    html + "</tr>\n"
}

/// A change may be broken between its values, not within one.
fn breakable(text: &str) -> String {
    match text.contains(" → ") {
        false => text.to_owned(),
        true => text
            .replace(' ', "&nbsp;")
            .replace("→&nbsp;", "→ ")
            .replace("&nbsp;(", " ("),
    }
}

fn colour(mark: Mark) -> &'static str {
    match mark {
        Mark::Plain | Mark::Doubt => "",
        Mark::Same => " change",
        Mark::Better => " change better",
        Mark::Worse => " change worse",
    }
}

/// Colour alone tells nothing to those who do not see it.
fn mark(mark: Mark) -> &'static str {
    match mark {
        Mark::Plain | Mark::Same => "",
        Mark::Better => "&nbsp;<span aria-label=\"better\">✓</span>",
        Mark::Worse => "&nbsp;<span aria-label=\"worse\">✗</span>",
        Mark::Doubt => {
            "&nbsp;<span class=\"warn\" title=\"in doubt\" aria-label=\"in doubt\">⚠</span>"
        }
    }
}

fn class(table: &Table, column: usize) -> &'static str {
    let mut cells = table.rows.iter().filter_map(|row| row.get(column));
    let is_word = |cell: &Cell| cell.text.starts_with(|c: char| c.is_ascii_alphabetic());
    if cells.any(is_word) { "words" } else { "" }
}
