use super::*;
use crate::dataset::Dataset;
use crate::graph::find_redundant;
use crate::import;
use crate::pack::Source;
use crate::progress::Progress;
use crate::study::Cache;
use std::path::Path;

fn level(step: f32, bytes: usize, loss: f64) -> Level {
    Level {
        step,
        price: 0.0,
        bytes,
        loss,
    }
}

/// The report on the demo network with made-up inputs.
fn demo(max_size: Option<u64>) -> Result<Sensitivity, Error> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/fashion_mnist.onnx");
    let graph = import::load(&path)?;
    let samples = Dataset::synthetic(2, None, &graph.inputs);
    let redundant = find_redundant(&graph);
    let source = Source::new(graph, &samples)?;
    let study = Study::new(&source, None, None, &Cache::none(), &Progress::Silent)?;
    describe(&study, max_size, redundant)
}

#[test]
fn the_level_closest_to_a_number_of_bits_is_shown() {
    let levels = [
        level(0.0, 700, 0.0),
        level(0.1, 520, 0.1),
        level(0.2, 300, 0.5),
    ];
    let bytes = |bits| closest(&levels, 800, bits).unwrap().bytes;
    assert_eq!(
        [8.0, 6.0, 5.0, 4.0, 2.0].map(bytes),
        [700, 520, 520, 300, 300]
    );
    assert_eq!(closest(&levels, 800, 8.0).unwrap().bits_per_weight, 7.0);
    assert_eq!(closest(&[], 800, 8.0), None);
}

#[test]
fn the_plan_adds_up_to_the_file() {
    let seen = demo(Some(40_000)).unwrap();
    let plans: Vec<PlannedLevel> = seen.layers.iter().filter_map(|layer| layer.plan).collect();
    assert_eq!(plans.len(), seen.layers.len());
    let file = seen.planned_bytes.unwrap();
    let bytes: u64 = plans.iter().map(|plan| plan.bytes).sum();
    assert!(file <= 40_000 && seen.beside.bytes + bytes == file);
    let shares: f64 = plans.iter().map(|plan| plan.share).sum();
    assert!((shares + seen.beside.bytes as f64 / file as f64 - 1.0).abs() < 1e-9);
    let loss: f64 = plans.iter().map(|plan| plan.loss).sum();
    assert!((loss - seen.planned_loss.unwrap()).abs() <= 1e-9 * loss);
    for layer in &seen.layers {
        let plan = layer.plan.unwrap();
        assert!((layer.smallest_bytes..=layer.finest_bytes).contains(&plan.bytes));
    }
}

#[test]
fn the_bounds_add_up_to_the_layers_and_what_is_beside() {
    let seen = demo(None).unwrap();
    let sum = |bytes: fn(&SensitivityLayer) -> u64| seen.layers.iter().map(bytes).sum::<u64>();
    assert_eq!(
        seen.finest_bytes,
        seen.beside.bytes + sum(|l| l.finest_bytes)
    );
    assert_eq!(
        seen.smallest_bytes,
        seen.beside.bytes + sum(|l| l.smallest_bytes)
    );
    let Beside {
        bytes,
        biases,
        manifest,
        class_names,
        other,
    } = seen.beside;
    assert_eq!(bytes, biases + manifest + class_names + other);
    assert!(biases > 0 && manifest > 0 && other > 0);
    let largest = seen.layers.iter().map(|l| l.smallest_bytes).max();
    assert_eq!(seen.holds_up.first().map(|h| h.bytes), largest);
    assert!(seen.layers.iter().all(|layer| layer.plan.is_none()));
}

#[test]
fn fewer_bits_never_lose_less() {
    for layer in demo(None).unwrap().layers {
        let losses: Vec<f64> = layer.levels.iter().map(|level| level.loss).collect();
        assert!(losses.is_sorted(), "{}: {losses:?}", layer.name);
        assert_eq!(layer.levels.len(), TARGET_BITS.len());
    }
}

#[test]
fn a_budget_that_cannot_be_met_is_refused_as_pack_refuses_it() {
    let refusal = demo(Some(3_000)).unwrap_err().to_string();
    assert!(refusal.contains("the smallest has about"), "{refusal}");
}

#[test]
fn every_line_of_csv_has_a_field_for_each_name() {
    for max_size in [None, Some(40_000)] {
        let seen = demo(max_size).unwrap();
        let csv = csv(&seen);
        let fields: Vec<usize> = csv.lines().map(|line| line.split(',').count()).collect();
        assert_eq!(fields.len(), 1 + seen.layers.len());
        assert!(fields.iter().all(|&count| count == fields[0]), "{fields:?}");
    }
}

#[test]
fn repetitions_and_zeros_have_a_line_each() {
    let mut seen = demo(None).unwrap();
    assert!(text(&seen).contains("Free to remove: nothing"));
    seen.redundant.zero_weights = vec!["zeros".into()];
    seen.dead_channels = vec![DeadLayer {
        name: "dead".into(),
        channels: 8,
        dead: 3,
    }];
    let text = text(&seen);
    assert!(text.contains("zeros: all weights are zero"), "{text}");
    assert!(text.contains("dead: 3 of 8 output channels"), "{text}");
}
