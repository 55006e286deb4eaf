//! Faulty, hostile and unusual files: each is refused with one sentence, in bounded time.

use super::Value::{Int, Ints};
use super::*;
use std::time::{Duration, Instant};

fn refused(net: Net, parts: &[&str]) {
    let text = net.refusal();
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
    assert!(!text.contains("defect"), "{text}");
}

#[test]
fn a_damaged_weight_is_called_one() {
    for value in [f32::NAN, f32::INFINITY] {
        let mut weights = vec![0.5; 36];
        weights[7] = value;
        let net = Net::new(&[1, 4, 6, 6])
            .constant("w", &[1, 4, 3, 3], weights)
            .node("Conv_2", "Conv", &["x", "w"], &[]);
        refused(net, &["Conv_2: 1 of 37 constants", "damaged"]);
    }
}

#[test]
fn kernels_and_tensors_without_elements_are_refused() {
    let net = Net::new(&[1, 3, 8, 8])
        .constant("w", &[4, 3, 0, 3], vec![])
        .node("c", "Conv", &["x", "w"], &[]);
    assert!(!net.refusal().is_empty());
    refused(
        Net::new(&[1, 0]).node("r", "Relu", &["x"], &[]),
        &["x (input)"],
    );
}

#[test]
fn batches_and_ranks_that_do_not_fit_are_named() {
    let relu = |shape: &[i64]| Net::new(shape).node("r", "Relu", &["x"], &[]);
    refused(relu(&[4, 3, 8, 8]), &["x (input)", "a batch of 4"]);
    refused(relu(&[1, 2, 2, 2, 2, 2, 2]), &["x (input)", "7 dimensions"]);
    for shape in [&[5i64][..], &[4, 3], &[4, 3, 2]] {
        relu(shape).graph();
    }
}

#[test]
fn huge_tensors_are_named_before_any_work() {
    let start = Instant::now();
    refused(
        Net::new(&[1, 68, 512, 512]).node("r", "Relu", &["x"], &[]),
        &["x (input)", "[1, 68, 512, 512]"],
    );
    let net = Net::new(&[1, 1, 8, 8])
        .integers("pads", &[0, 0, 60_000, 60_000, 0, 0, 0, 0])
        .node("p", "Pad", &["x", "pads"], &[]);
    refused(net, &["p (Pad)", "the limit is"]);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn numbers_that_a_package_cannot_hold_are_refused() {
    let net = Net::new(&[1, 1, 1, 8])
        .integers("pads", &[0, 0, 0, 65_536, 0, 0, 0, 0])
        .node("p", "Pad", &["x", "pads"], &[]);
    refused(net, &["p (Pad)", "65536"]);
    let attributes = [("pads", Ints(&[-1, 0, 0, 0]))];
    let net = Net::new(&[1, 4, 8, 8]).conv("c", "x", &[4, 4, 3, 3], &attributes);
    refused(net, &["c"]);
}

#[test]
fn ten_scrambled_axes_are_put_in_order_at_once() {
    let start = Instant::now();
    let order = [7, 2, 9, 4, 0, 6, 1, 8, 3, 5];
    let x: Vec<f32> = (0..1024).map(|i| i as f32).collect();
    let net = Net::new(&[1, 1024])
        .integers("split", &[2; 10])
        .integers("joined", &[1, 1024])
        .node("a", "Reshape", &["x", "split"], &[])
        .node("t", "Transpose", &["a"], &[("perm", Ints(&order))])
        .node("b", "Reshape", &["t", "joined"], &[]);
    let source = |i: usize| -> usize {
        let bit = |out: usize| (i >> (9 - out)) & 1;
        (0..10).map(|out| bit(out) << (9 - order[out])).sum()
    };
    let expected: Vec<f32> = (0..1024).map(|i| source(i) as f32).collect();
    assert_eq!(net.outputs(&[&x]), expected);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn names_cannot_command_a_terminal() {
    let name = "a\u{1b}[31m\n\u{0}b";
    let graph = Net::new(&[1, 4]).node(name, "Relu", &["x"], &[]).graph();
    let names = graph.nodes.iter().map(|node| &node.name);
    for name in names.chain(graph.outputs.iter().map(|port| &port.name)) {
        assert!(!name.chars().any(char::is_control), "{name:?}");
    }
    let text = Net::new(&[1, 4])
        .node(name, "MadeUp", &["x"], &[])
        .refusal();
    assert!(
        text.contains("\\u{1b}") && !text.contains('\u{1b}'),
        "{text:?}"
    );
}

#[test]
fn custom_operators_are_listed_by_name() {
    let net = Net::new(&[1, 4])
        .node("first", "Relu", &["x"], &[])
        .domain("my.company")
        .node("second", "FusedThing", &["first"], &[])
        .domain("other");
    refused(
        net,
        &["first (my.company.Relu)", "second (other.FusedThing)"],
    );
}

#[test]
fn what_the_parser_cannot_read_is_a_sentence_with_the_node() {
    let net = Net::new(&[1, 3, 8, 8]).conv("mixed", "x", &[4, 5, 3, 3], &[]);
    refused(net, &["mixed (Conv"]);
    let net = Net::new(&[1, 4])
        .element_type(11)
        .node("r", "Relu", &["x"], &[]);
    refused(net, &["input x", "float64"]);
    let net = Net::new(&[1, 4, 8, 8]).node("p", "Softmax", &["x"], &[("axis", Int(9))]);
    assert!(!net.refusal().contains('\n'));
}
