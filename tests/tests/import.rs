//! Import of real networks, and of files that are none.
//!
//! Those on real networks are ignored unless they are asked for: `EDGEPRUNE_ZOO` names their folder.

use crate::zoo::zoo;
use edgeprune::graph::{Graph, run};
use edgeprune::{Error, graph, import};
use std::path::Path;

/// The networks that must load, below the zoo's folder.
const NETWORKS: [&str; 13] = [
    "imagenet/efficientnet_lite0.onnx",
    "imagenet/mobilenet_v2.onnx",
    "imagenet/resnet50.onnx",
    "mlperf-tiny/ad01_fp32.tflite",
    "mlperf-tiny/ad01_int8.tflite",
    "mlperf-tiny/kws_ref_model.tflite",
    "mlperf-tiny/kws_ref_model_float32.tflite",
    "mlperf-tiny/pretrainedResnet.tflite",
    "mlperf-tiny/pretrainedResnet_large_float.tflite",
    "mlperf-tiny/pretrainedResnet_quant.tflite",
    "mlperf-tiny/str_ww_ref_model.tflite",
    "mlperf-tiny/vww_96_float.tflite",
    "mlperf-tiny/vww_96_int8.tflite",
];

/// Inputs between 0 and 1 that look random.
fn inputs(graph: &Graph) -> Vec<Vec<f32>> {
    let value = |i: usize| ((i as u64 * 2_654_435_761 + 12_345) % 1_000_003) as f32 / 1_000_003.0;
    let port = |port: &graph::Port| {
        (0..graph.tensors[port.tensor].elements())
            .map(value)
            .collect()
    };
    graph.inputs.iter().map(port).collect()
}

#[test]
#[ignore = "needs EDGEPRUNE_ZOO, a folder of real networks"]
fn lowered_networks_compute_what_tract_computes() {
    let zoo = zoo();
    for name in NETWORKS {
        let path = zoo.join(name);
        let graph = import::load(&path).unwrap_or_else(|error| panic!("{error}"));
        let result = import::verify(&path, &graph, &inputs(&graph)).unwrap();
        println!("{name}: relative error {:e}", result.worst());
        assert!(result.passes(), "{name}: {result:?}");
    }
}

#[test]
fn the_demo_network_computes_what_tract_computes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host-tool/demo/fashion_mnist.onnx");
    let graph = import::load(&path).unwrap();
    assert_eq!(graph.inputs[0].source_shape, [1, 1, 28, 28]);
    assert!(
        graph
            .nodes
            .iter()
            .all(|node| !matches!(node.op, graph::Op::Unary { .. }))
    );
    let result = import::verify(&path, &graph, &inputs(&graph)).unwrap();
    assert!(result.passes(), "{result:?}");
}

#[test]
#[ignore = "needs EDGEPRUNE_ZOO, a folder of real networks"]
fn removing_dead_channels_changes_no_output() {
    let zoo = zoo();
    for name in NETWORKS {
        let graph = import::load(&zoo.join(name)).unwrap();
        let (smaller, dead) = graph::remove_dead_channels(graph.clone());
        smaller.validate().unwrap();
        let inputs = inputs(&graph);
        let result = import::compare(&graph, &run(&graph, &inputs), &run(&smaller, &inputs));
        println!(
            "{name}: {} dead channels, relative error {:e}",
            dead.removed,
            result.worst()
        );
        assert!(result.worst() < 1e-5, "{name}: {result:?}");
    }
}

#[test]
#[ignore = "needs EDGEPRUNE_ZOO, a folder of real networks"]
fn most_channels_of_the_wake_word_network_are_dead() {
    let zoo = zoo();
    let graph = import::load(&zoo.join("mlperf-tiny/vww_96_float.tflite")).unwrap();
    let (smaller, dead) = graph::remove_dead_channels(graph.clone());
    assert!(dead.removed > 1_600, "{dead:?}");
    assert!(smaller.parameters() < graph.parameters() / 6);
}

#[test]
#[ignore = "needs EDGEPRUNE_ZOO, a folder of real networks"]
fn node_names_are_short_and_unique() {
    let zoo = zoo();
    for name in NETWORKS {
        let graph = import::load(&zoo.join(name)).unwrap();
        let mut names: Vec<&str> = graph.nodes.iter().map(|node| node.name.as_str()).collect();
        assert!(
            names
                .iter()
                .all(|name| !name.is_empty() && name.chars().count() <= 40),
            "{names:?}"
        );
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), graph.nodes.len());
    }
}

/// The error of loading `bytes` as a file of that name; it must name the file.
fn refusal(name: &str, bytes: &[u8]) -> Option<Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let error = import::load(&path).err()?;
    assert!(error.to_string().contains(name), "{error}");
    assert_eq!(error.exit_code(), 1);
    Some(error)
}

#[test]
fn files_that_are_no_networks_are_refused_with_their_name() {
    for name in ["net.onnx", "net.tflite", "net", "net.png"] {
        for bytes in [
            &b""[..],
            b"hello, this is text\n",
            b"\x08",
            b"\0\0\0\0TFL3",
            b"\x20\0\0\0TFL3\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert!(refusal(name, bytes).is_some(), "{name} with {bytes:?}");
        }
    }
}

#[test]
fn folders_and_missing_files_are_refused_with_their_name() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path(), &folder.path().join("missing.onnx")] {
        let text = import::load(path).unwrap_err().to_string();
        assert!(text.contains(&path.display().to_string()), "{text}");
    }
}

#[test]
#[ignore = "needs EDGEPRUNE_ZOO, a folder of real networks"]
fn a_network_cut_anywhere_is_refused() {
    let zoo = zoo();
    for name in [
        "imagenet/mobilenet_v2.onnx",
        "mlperf-tiny/pretrainedResnet.tflite",
    ] {
        let path = zoo.join(name);
        let bytes = std::fs::read(&path).unwrap();
        let extension = path.extension().and_then(|e| e.to_str()).unwrap();
        for percent in 0..100 {
            let cut = &bytes[..bytes.len() * percent / 100];
            assert!(
                refusal(&format!("cut.{extension}"), cut).is_some(),
                "{name} at {percent} %"
            );
        }
    }
}

#[test]
#[ignore = "needs EDGEPRUNE_ZOO, a folder of real networks"]
fn flipped_bits_never_panic() {
    let zoo = zoo();
    let flip = |path: &Path, step: usize| {
        let bytes = std::fs::read(path).unwrap();
        let name = format!(
            "flipped.{}",
            path.extension().and_then(|e| e.to_str()).unwrap()
        );
        for at in (0..bytes.len()).step_by(step) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            refusal(&name, &damaged);
        }
    };
    flip(&zoo.join("mlperf-tiny/kws_ref_model_float32.tflite"), 97);
    flip(&zoo.join("mlperf-tiny/pretrainedResnet.tflite"), 997);
}
