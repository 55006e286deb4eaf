//! A size-quality curve as a page of its own.

use super::chart::{Axis, Plot, Point, scatter};
use super::parts::{card, table, tile};
use super::{escape, page};
use crate::cli::output::{human_bytes, human_count};
use crate::report::curve::{columns, knee, measured};
use crate::report::record::{Curve, CurvePoint, Metric};
use crate::report::text::per_cent;

/// The whole document.
pub fn curve(curve: &Curve) -> String {
    let body = format!(
        "<section class=\"model\">\n<h1>{}</h1>\n<p class=\"lead\">{}</p>\n{}{}{}{}</section>\n",
        escape(&curve.model),
        escape(&format!("Size against quality: {}.", measured(curve))),
        tiles(curve),
        chart_card(curve, curve.metric),
        other_charts(curve),
        card("Packages", "", &packages(curve)),
    );
    page(&format!("{}: size against quality", curve.model), &body)
}

fn tiles(curve: &Curve) -> String {
    let mut tiles = String::new();
    if let Some(point) = curve.knee() {
        tiles += &tile(&human_bytes(point.package_bytes), "the knee");
        if let Some(value) = point.quality(curve.metric) {
            let what = format!("{} at the knee", curve.metric.name());
            tiles += &tile(&curve.metric.words(value), &what);
        }
    }
    tiles += &tile(&human_bytes(curve.source_bytes), "the source model");
    tiles += &tile(&human_count(curve.weights), "weights");
    format!("<div class=\"tiles\">\n{tiles}</div>\n")
}

/// The figures beside the one that the knee is of.
fn other_charts(curve: &Curve) -> String {
    let others = [Metric::Agreement, Metric::SqnrDb].into_iter();
    others
        .filter(|&metric| metric != curve.metric)
        .map(|metric| chart_card(curve, metric))
        .collect()
}

fn chart_card(curve: &Curve, metric: Metric) -> String {
    let points: Vec<Point> = curve
        .points
        .iter()
        .filter_map(|point| chart_point(point, metric))
        .collect();
    if points.len() < 2 {
        return String::new();
    }
    let original = curve.original_top1.filter(|_| metric == Metric::Top1);
    let title = title(metric);
    let explanation = match curve.metric {
        of if of == metric => format!("Each point is a package; {}.", escape(&knee(curve))),
        _ => "The same packages; the knee is that of the first chart.".to_owned(),
    };
    let most = match metric {
        Metric::SqnrDb => f64::INFINITY,
        _ => 100.0,
    };
    let x = Axis::logarithmic(points.iter().map(|point| point.x));
    let reference = original.map(|top1| {
        let line = vec![[x.high(), top1], [x.low(), top1]];
        (line, format!("original {}", metric.words(top1)))
    });
    let plot = Plot {
        label: &format!("{title} against size"),
        points: &points,
        is_joined: true,
        references: reference.as_slice(),
        x,
        y: Axis::around(points.iter().map(|point| point.y).chain(original), most),
    };
    let y_text = |y: f64| match metric {
        Metric::SqnrDb => format!("{y:.1} dB"),
        _ => per_cent(y),
    };
    let x_text = |x: f64| human_bytes(x.round() as u64);
    card(title, &explanation, &scatter(&plot, x_text, y_text))
}

fn title(metric: Metric) -> &'static str {
    match metric {
        Metric::Top1 => "Top-1 accuracy",
        Metric::Agreement => "Agreement with the original",
        Metric::SqnrDb => "Signal to quantization noise",
    }
}

/// Only the knee has its name in the chart; the others tell theirs when they are pointed at.
fn chart_point(point: &CurvePoint, metric: Metric) -> Option<Point> {
    let y = point.quality(metric)?;
    Some(Point {
        x: point.package_bytes as f64,
        y,
        name: if point.knee { "knee" } else { "package" }.into(),
        text: format!("{}, {}", human_bytes(point.package_bytes), metric.words(y)),
        series: usize::from(point.knee) * KNEE_SERIES,
        is_named: point.knee,
        is_hollow: false,
    })
}

/// Colour of the knee.
const KNEE_SERIES: usize = 2;

fn packages(curve: &Curve) -> String {
    let columns = columns(curve);
    let header: Vec<&str> = columns.iter().map(|column| column.title).collect();
    let row = |point| columns.iter().map(|column| (column.cell)(point)).collect();
    let rows: Vec<Vec<String>> = curve.points.iter().map(row).collect();
    table(&header, &rows)
}

#[cfg(test)]
mod tests {
    use super::curve as render;
    use crate::report::curve::tests::curve;

    #[test]
    fn the_page_marks_the_knee_and_gives_every_point_a_title() {
        let page = render(&curve());
        assert!(page.ends_with("</html>\n"));
        assert_eq!(page.matches("<b>knee</b>").count(), 3);
        assert_eq!(page.matches("<circle").count(), 9);
        assert_eq!(page.matches("<title>package: ").count(), 6);
        assert!(page.contains("<title>knee: 3.0 kB, 90.00 %</title>"));
        assert!(page.contains("aria-label=\"Top-1 accuracy against size\""));
    }

    #[test]
    fn the_page_is_safe_and_refers_to_nothing_outside() {
        let page = render(&curve());
        assert!(page.contains("net &lt;1&gt;") && !page.contains("net <1>"));
        for outside in [
            "http:", "https:", "src=", "href=", "url(", "@import", "<script",
        ] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
