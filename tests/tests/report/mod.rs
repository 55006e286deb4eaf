//! The report: complete, self-contained, and safe with any name, in every form.

mod browser;
mod cli;
mod records;

use edgeprune::report::{Report, html};
use records::{BARS, COLUMNS, HOSTILE, LINES, PACKAGES, POINTS, baseline, records};

fn page() -> String {
    html::render(&Report::join(records()), Some(&baseline()))
}

#[test]
fn every_run_and_layer_is_in_the_charts() {
    let page = page();
    assert_eq!(page.matches("<rect class=\"bar").count(), BARS);
    assert_eq!(page.matches("<rect class=\"column").count(), COLUMNS);
    assert_eq!(page.matches("<circle class=\"dot").count(), POINTS);
    assert_eq!(page.matches("<polyline").count(), LINES);
    let original = 1;
    let segments_of_a_roof = 2;
    let references = page.matches("<line class=\"reference\"").count();
    assert_eq!(references, original + segments_of_a_roof);
}

#[test]
fn an_emulators_times_are_nowhere() {
    let mut emulated = records::bench(0, "rpi-5", true);
    emulated.latency_us.p50 = 123_450.0;
    emulated.layers[0].us = 543_210.0;
    let record = edgeprune::report::record::Record::Bench(emulated);
    let page = html::render(&Report::join(vec![record]), None);
    assert!(page.contains("1.00 M"));
    assert!(!page.contains("123.45 ms") && !page.contains("543.21 ms"));
}

#[test]
fn a_regression_and_doubts_are_marked() {
    let page = page();
    assert!(
        page.contains("<td class=\" change worse\">83&nbsp;µs&nbsp;→ 100&nbsp;µs (+20.0&nbsp;%)")
    );
    assert_eq!(page.matches("<p class=\"doubt\">").count(), 5 * PACKAGES);
    for doubt in [
        "the firmware reports throttling",
        "the clock was 1000 of 1500 MHz",
    ] {
        assert!(
            page.contains(&format!("<p class=\"doubt\">{doubt}")),
            "{doubt}"
        );
    }
}

#[test]
fn the_page_loads_nothing() {
    let page = page();
    for outside in [
        "http:", "https:", " src=", " href=", "url(", "@import", "<script", "<link",
    ] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn names_cannot_break_out_of_the_page() {
    let page = page();
    assert!(!page.contains(HOSTILE));
    assert!(!page.contains("alert('"));
    assert!(page.contains("&lt;script&gt;alert(&#39;&amp;&quot;&#39;)&lt;/script&gt;"));
}

#[test]
fn elements_are_closed() {
    let page = page();
    for element in [
        "div", "span", "svg", "table", "tr", "details", "section", "ul", "li", "h2", "p", "figure",
        "th", "td",
    ] {
        let open = page.matches(&format!("<{element}>")).count()
            + page.matches(&format!("<{element} ")).count();
        let close = page.matches(&format!("</{element}>")).count();
        assert_eq!(open, close, "{element}");
    }
}

#[test]
fn the_same_records_give_the_same_page() {
    assert_eq!(page(), page());
}
