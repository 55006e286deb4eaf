//! The page in a real browser: it renders, fits a phone, can be read by day and by night, and loads nothing.

use super::records::{BARS, COLUMNS, LINES, POINTS, baseline, records};
use edgeprune::report::{Report, html};
use serde::Deserialize;
use std::path::Path;
use std::process::Command;

const PROBE: &str = include_str!("probe.js");
/// Names of a browser that takes Chromium's options.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// What WCAG 2 asks of text.
const LEAST_CONTRAST: f64 = 4.5;

/// What a frame of one width, light or dark, shows.
#[derive(Debug, Deserialize)]
struct Seen {
    dark: bool,
    width: usize,
    content_width: usize,
    bars: usize,
    columns: usize,
    points: usize,
    lines: usize,
    overlapping_rows: usize,
    charts_without_label: usize,
    tables_without_header: usize,
    contrast: f64,
    faintest: String,
    loaded: usize,
}

/// A browser that starts. Tests that need it are ignored unless they are asked for.
fn browser() -> &'static str {
    let starts = |name: &&str| {
        let version = Command::new(name).arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    };
    let found = BROWSERS.into_iter().find(starts);
    found.expect("Chromium, which `cargo xtask test` installs")
}

/// What the browser sees of the page, and what it complained of.
fn look(browser: &str, page: &str) -> (Vec<Seen>, String) {
    let folder = tempfile::tempdir().unwrap();
    let around = folder.path().join("around.html");
    std::fs::write(&around, around_page(page)).unwrap();
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .args(["--hide-scrollbars", "--enable-logging=stderr", "--dump-dom"])
        .arg(profile(folder.path()))
        .arg(format!("file://{}", around.display()))
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let found = between(&dom, "<pre id=\"found\">", "</pre>");
    let found = found.unwrap_or_else(|| panic!("the browser ended early: {errors}"));
    let found = found
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    let complaints = errors.lines().filter(|line| line.contains("CONSOLE"));
    let seen = serde_json::from_str(&found).unwrap_or_else(|e| panic!("{e}: {found} {errors}"));
    (seen, complaints.collect::<Vec<_>>().join("\n"))
}

fn profile(folder: &Path) -> String {
    format!("--user-data-dir={}", folder.join("profile").display())
}

/// A document with the page in frames, and a script that measures them: the page itself runs none.
fn around_page(page: &str) -> String {
    let page = serde_json::to_string(page).unwrap().replace("</", "<\\/");
    format!(
        "<!doctype html><meta charset=\"utf-8\"><body><pre id=\"found\"></pre><script>const PAGE = {page};\n{PROBE}</script>"
    )
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split_once(after)?.0).filter(|found| !found.is_empty())
}

#[test]
#[ignore = "needs Chromium: `cargo xtask test` installs it"]
fn a_browser_shows_the_whole_page_at_every_width_and_by_night() {
    let browser = browser();
    let page = html::render(&Report::join(records()), Some(&baseline()));
    let (seen, complaints) = look(browser, &page);
    assert_eq!(complaints, "");
    assert_eq!(seen.len(), 4);
    assert_eq!(seen.iter().filter(|seen| seen.dark).count(), 2);
    for seen in seen {
        assert_eq!(
            seen.content_width, seen.width,
            "wider than the screen: {seen:?}"
        );
        let shown = (seen.bars, seen.columns, seen.points, seen.lines);
        assert_eq!(shown, (BARS, COLUMNS, POINTS, LINES), "{seen:?}");
        assert_eq!(seen.overlapping_rows, 0, "{seen:?}");
        assert_eq!(seen.charts_without_label, 0, "{seen:?}");
        assert_eq!(seen.tables_without_header, 0, "{seen:?}");
        assert!(
            seen.contrast >= LEAST_CONTRAST,
            "{} in {seen:?}",
            seen.faintest
        );
        assert_eq!(seen.loaded, 0, "{seen:?}");
    }
}

/// The measure of the tests above: they would see these faults.
#[test]
#[ignore = "needs Chromium: `cargo xtask test` installs it"]
fn a_page_that_is_too_wide_or_loads_something_is_seen() {
    let browser = browser();
    let bad = "<!doctype html><body><div style=\"width: 900px; color: #888\">wide</div><img src=\"http://none.invalid/\"><svg></svg>";
    let (seen, _) = look(browser, bad);
    let phone = seen.iter().find(|seen| seen.width == 360).unwrap();
    assert!(phone.content_width > 360 && phone.contrast < LEAST_CONTRAST);
    assert_eq!((phone.loaded, phone.charts_without_label), (1, 1));
}

#[test]
#[ignore = "needs Chromium: `cargo xtask test` installs it"]
fn whatever_gets_into_the_page_neither_runs_nor_loads() {
    let browser = browser();
    let page = html::render(&Report::default(), None);
    let added = "<img src=\"http://none.invalid/\"><script>console.log('it ran')</script></main>";
    let (_, complaints) = look(browser, &page.replace("</main>", added));
    for blocked in ["image", "inline script"] {
        assert!(complaints.contains(blocked), "{blocked} in {complaints}");
    }
    assert!(!complaints.contains("it ran"), "{complaints}");
}
