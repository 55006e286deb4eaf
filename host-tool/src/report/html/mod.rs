//! The report as one HTML file that needs nothing else: no script, no font, no network.

mod chart;
mod curve;
mod layers;
mod model;
mod packages;
mod parts;
mod roofline;
mod sensitivity;
mod speed;
mod style;
mod sustained;

pub use curve::curve;
pub use sensitivity::render as sensitivity;

use super::Report;
use super::baseline::Baseline;

/// The whole document; against the baseline, where there is one.
pub fn render(report: &Report, baseline: Option<&Baseline>) -> String {
    let models = report.models();
    let title = match models.as_slice() {
        [] => "Nothing measured".to_owned(),
        [(name, _)] => (*name).to_owned(),
        many => format!("{} models", many.len()),
    };
    let body: String = models
        .iter()
        .map(|(name, variants)| model::section(name, variants, baseline))
        .collect();
    page(&title, &body)
}

/// Forbids everything but the page's own style: even a fault in it could neither run nor load anything.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// A document; `title` is text, `body` is HTML.
fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title} · edgeprune report</title>\n<style>\n{style}</style>\n</head>\n<body>\n\
         <header class=\"top\"><span class=\"mark\" aria-hidden=\"true\"></span>edgeprune \
         <span class=\"soft\">report</span></header>\n<main>\n{body}</main>\n\
         <footer>Written by edgeprune {version}. Sizes are in powers of ten: 1 kB is 1,000 bytes.\
         </footer>\n</body>\n</html>\n",
        title = escape(title),
        style = style::CSS,
        version = env!("CARGO_PKG_VERSION"),
    )
}

/// Text as HTML, in elements and in quoted attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bench, eval, pack};
    use super::*;

    fn page() -> String {
        render(
            &Report::join(vec![
                pack("a", "1"),
                eval("a", "1"),
                bench("a", "1", "rpi4"),
                bench("a", "1", "rpi5"),
            ]),
            None,
        )
    }

    #[test]
    fn names_are_escaped() {
        let page = page();
        assert!(page.contains("conv&lt;1&gt;"));
        assert!(!page.contains("conv<1>"));
    }

    #[test]
    fn the_page_refers_to_nothing_outside() {
        let page = page();
        for outside in [
            "http:", "https:", "src=", "href=", "url(", "@import", "<script",
        ] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn an_empty_report_is_a_page() {
        assert!(render(&Report::default(), None).ends_with("</html>\n"));
    }
}
