//! The comparison of an import with its source.

use super::super::verify::{self, Provenance};
use super::*;

fn error_of(expected: &[f32], actual: &[f32]) -> f32 {
    let graph = Net::new(&[1, 4]).node("r", "Relu", &["x"], &[]).graph();
    compare(&graph, &[expected.to_vec()], &[actual.to_vec()]).worst()
}

#[test]
fn outputs_without_a_range_are_judged_by_their_magnitude() {
    assert!(error_of(&[0.71], &[0.710_000_1]) < 1e-6);
    assert!(error_of(&[0.71], &[0.72]) > 1e-2);
    assert!(error_of(&[1000.0, 1000.001], &[1000.0001, 1000.001]) < Verification::LIMIT);
    assert_eq!(error_of(&[0.0, 0.0], &[0.0, 0.0]), 0.0);
    assert!(error_of(&[0.0, 0.0], &[0.0, 0.1]) > 1.0);
}

#[test]
fn what_is_not_a_number_on_both_sides_is_equal() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    assert_eq!(
        error_of(&[nan, 1.0, inf, -inf], &[nan, 1.0, inf, -inf]),
        0.0
    );
    assert_eq!(error_of(&[nan, 1.0], &[0.0, 1.0]), inf);
    assert_eq!(error_of(&[0.0, 1.0], &[nan, 1.0]), inf);
    assert_eq!(error_of(&[inf, 1.0, 0.0], &[-inf, 1.0, 0.0]), inf);
}

#[test]
fn the_first_node_that_differs_is_named() {
    let net = Net::new(&[1, 2, 6, 6])
        .conv("first", "x", &[2, 2, 3, 3], &[])
        .node("bend", "Tanh", &["first"], &[])
        .conv("second", "bend", &[2, 2, 1, 1], &[])
        .node("wave", "Sigmoid", &["second"], &[])
        .conv("third", "wave", &[2, 2, 1, 1], &[]);
    let path = PathBuf::from("net.onnx");
    let model = from_proto(&path, net.proto()).unwrap();
    let parsed = Parsed::new(&path, model, Format::Onnx).unwrap();
    let (mut graph, origins) = lowered(&path, &parsed).unwrap();
    let places = simplify::simplify(&mut graph);
    let provenance = Provenance {
        origins: &origins,
        places: &places,
    };
    let mut reference = Reference::new(&path, parsed, &graph).unwrap();
    verify::check(&mut reference, &graph, &provenance).unwrap();
    let broken = graph.nodes.iter_mut().find(|node| node.name == "second");
    broken.unwrap().op.linear_mut().unwrap().weights[0] += 1.0;
    let error = verify::check(&mut reference, &graph, &provenance).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("second is the first node") && text.contains("third"),
        "{text}"
    );
}
