//! The HTML report: complete, self-contained, and safe with any name.

use edgeprune::report::record::{
    ArenaParts, Bench, BenchLayer, Eval, EvalLayer, Identity, Latency, Pack, PackLayer, Record,
};
use edgeprune::report::{Report, html};

const LAYERS: usize = 5;
const PACKAGES: usize = 3;
const HOSTILE: &str = "<script>alert('&\"')</script>";

fn identity(package: usize) -> Identity {
    Identity {
        model: format!("net {HOSTILE}"),
        package: format!("{HOSTILE}{package}.epk"),
        package_hash: package.to_string(),
    }
}

fn layer_name(layer: usize) -> String {
    format!("{HOSTILE}.{layer}")
}

fn pack(package: usize) -> Record {
    let layers = (0..LAYERS).map(|layer| PackLayer {
        name: layer_name(layer),
        encoding: HOSTILE.into(),
        bytes: 100 * (layer as u64 + 1),
        bits_per_weight: 4.0,
        density: 0.5,
        kept_float: false,
        blocks: None,
    });
    Record::Pack(Pack {
        identity: identity(package),
        package_bytes: 5000 * (package as u64 + 1),
        source_bytes: Some(100_000),
        arena_bytes: 4096,
        arena: ArenaParts::default(),
        density: 0.5,
        layers: layers.collect(),
        removed_channels: 0,
        loss: None,
        latency: None,
    })
}

fn eval(package: usize) -> Record {
    Record::Eval(Eval {
        identity: identity(package),
        package_bytes: 5000 * (package as u64 + 1),
        samples: 500,
        top1: Some(90.0 + package as f64),
        top5: None,
        agreement: Some(98.0),
        divergence: None,
        sqnr_db: Some(20.0),
        original_top1: Some(92.5),
        original_top5: None,
        layers: vec![EvalLayer {
            name: layer_name(0),
            op: HOSTILE.into(),
            sqnr_db: 9.0,
        }],
    })
}

fn bench(package: usize, board: &str, emulated: bool) -> Record {
    let layers = (0..LAYERS).map(|layer| BenchLayer {
        name: layer_name(layer),
        op: HOSTILE.into(),
        us: 10.0,
        macs: 1000,
        kernel: HOSTILE.into(),
        instructions: emulated.then_some(1_000),
        ..BenchLayer::default()
    });
    Record::Bench(Bench {
        identity: identity(package),
        board: board.into(),
        cpu: HOSTILE.into(),
        emulated,
        runs: 3,
        warm_up: 0,
        threads: 1,
        kernels: HOSTILE.into(),
        cold_us: None,
        latency_us: Latency {
            min: 1.0,
            p50: 2.0,
            p90: 3.0,
            p99: 4.0,
            ..Latency::default()
        },
        peak_int8_macs_per_second: None,
        instructions_per_inference: emulated.then_some(1_000_000),
        arena_bytes: 4096,
        package_bytes: 5000 * (package as u64 + 1),
        layers: layers.collect(),
        ..Bench::default()
    })
}

fn page() -> String {
    let records = (0..PACKAGES).flat_map(|package| {
        [
            pack(package),
            eval(package),
            bench(package, "host", false),
            bench(package, HOSTILE, true),
        ]
    });
    html::render(&Report::join(records.collect()))
}

#[test]
fn every_layer_and_board_has_a_bar_and_every_package_a_point() {
    let page = page();
    let by_layer = LAYERS * PACKAGES;
    let boards = 2;
    let bars = by_layer + boards * PACKAGES + boards * by_layer;
    assert_eq!(page.matches("<rect class=\"bar").count(), bars);
    assert_eq!(page.matches("<circle class=\"dot").count(), PACKAGES);
    assert_eq!(page.matches("<line class=\"reference\"").count(), 1);
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
        "div", "span", "svg", "table", "tr", "details", "section", "ul", "li", "h2", "p",
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
