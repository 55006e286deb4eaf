//! Accuracy of real networks after packing, at the figures that the project stands for.
//!
//! The networks and their data are large and stay outside of the project: `EDGEPRUNE_ZOO` names
//! their folder. All tests share what they measure of a network, so that each is studied once for all of its budgets.

use crate::command::studies;
use crate::zoo::zoo;
use edgeprune::dataset::{Dataset, InputSpec};
use edgeprune::eval::{self, Opened};
use edgeprune::graph::Graph;
use edgeprune::import;
use edgeprune::pack::{Goal, pack};
use edgeprune::progress::Progress;
use edgeprune::prune::Pruning;
use edgeprune::report::record::Eval;
use edgeprune::study::Cache;
use std::path::PathBuf;

/// Points by which top-1 on 500 images differs between packages that are equally close to the original: of
/// the 3 to 5 % of decisions that differ, about as many turn right as turn wrong.
const SAMPLING: f64 = 0.8;

/// A network, what it is calibrated on and what it is scored on.
#[derive(Clone, Copy)]
struct Case {
    model: &'static str,
    calibration: &'static str,
    calibration_samples: usize,
    data: &'static str,
    labels: Option<&'static str>,
    spec: Option<&'static str>,
}

/// A package's size and score.
struct Scored {
    bytes: usize,
    removed: usize,
    score: Eval,
}

impl Scored {
    fn top1(&self) -> f64 {
        self.score.top1.unwrap_or(0.0)
    }
}

/// A network that was imported once for all of its goals, and its samples.
struct Network {
    path: PathBuf,
    graph: Graph,
    spec: Option<InputSpec>,
    calibration: Dataset,
    data: Dataset,
    is_labelled: bool,
}

impl Network {
    fn load(case: &Case) -> Self {
        let zoo = zoo();
        let path = zoo.join(case.model);
        let graph = import::load(&path).unwrap();
        let spec = match case.spec {
            Some(text) => Some(specification(text)),
            None => InputSpec::find(&path, None).unwrap().map(|(spec, _)| spec),
        };
        let open = |data: &str, labels: Option<&str>| {
            let labels = labels.map(|labels| zoo.join(labels));
            let inputs = &graph.inputs;
            Dataset::open(&zoo.join(data), labels.as_deref(), spec.as_ref(), inputs).unwrap()
        };
        Self {
            calibration: open(case.calibration, None).spread(case.calibration_samples),
            data: open(case.data, case.labels),
            is_labelled: case.labels.is_some(),
            path,
            graph,
            spec,
        }
    }

    /// Packs and scores it. What is measured of the network is shared.
    fn pack(&self, goal: Goal) -> Scored {
        let packed = pack(
            &self.graph,
            goal,
            &self.calibration,
            self.spec.as_ref(),
            &Cache::new(studies().to_path_buf()),
            &Progress::Silent,
        )
        .unwrap();
        if let Some(max_size) = goal.max_size {
            assert!(packed.bytes.len() as u64 <= max_size);
        }
        let opened = Opened::new(&self.path, &packed.bytes).unwrap();
        let against = (!self.is_labelled).then_some(&self.graph);
        let scored = Scored {
            score: eval::evaluate(&opened, &self.data, against, &Progress::Silent).unwrap(),
            bytes: packed.bytes.len(),
            removed: packed.dead.removed,
        };
        eprintln!(
            "{} {:?}: {} bytes, top-1 {:?}, agreement {:?}, {:?} dB",
            self.path.display(),
            goal,
            scored.bytes,
            scored.score.top1,
            scored.score.agreement,
            scored.score.sqnr_db
        );
        scored
    }

    /// Packs without a budget.
    fn in_int8(&self) -> Scored {
        self.pack(Goal::default())
    }

    /// Packs to each budget and wants at least that top-1.
    fn within_budgets(&self, budgets: &[(u64, f64)]) {
        for &(bytes, top1) in budgets {
            let scored = self.pack(max_size(bytes));
            assert!(
                scored.top1() >= top1 - SAMPLING,
                "{bytes} bytes: below {top1}"
            );
        }
    }
}

fn specification(text: &str) -> InputSpec {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spec.toml");
    std::fs::write(&path, text).unwrap();
    InputSpec::read(&path).unwrap()
}

const RESNET_8: Case = Case {
    model: "mlperf-tiny/pretrainedResnet.tflite",
    calibration: "cifar10/calib_images.npy",
    calibration_samples: 256,
    data: "cifar10/test_images.npy",
    labels: Some("cifar10/test_labels.npy"),
    spec: None,
};

const KEYWORDS: Case = Case {
    model: "mlperf-tiny/kws_ref_model_float32.tflite",
    calibration: "mlperf-tiny/kws01/calib_mfcc.npy",
    calibration_samples: 128,
    data: "mlperf-tiny/kws01/test_mfcc.npy",
    labels: Some("mlperf-tiny/kws01/test_labels.npy"),
    spec: None,
};

fn imagenet(model: &'static str) -> Case {
    Case {
        model,
        calibration: "imagenet/calib",
        calibration_samples: 64, // as many as `pack` takes
        data: "imagenet/val",
        labels: Some("imagenet/val_labels.csv"),
        spec: None,
    }
}

fn max_size(bytes: u64) -> Goal {
    Goal {
        max_size: Some(bytes),
        ..Goal::default()
    }
}

#[test]
#[ignore = "needs EDGEPRUNE_ZOO, a folder of real networks"]
fn resnet_8_keeps_its_accuracy_in_int8_and_in_a_seventh_of_its_size() {
    let network = Network::load(&RESNET_8);
    let scored = network.in_int8();
    assert!(scored.top1() >= 87.4);
    network.within_budgets(&[(45_000, 86.9)]);
}

#[test]
#[ignore = "needs EDGEPRUNE_ZOO, a folder of real networks"]
fn the_large_resnet_keeps_its_accuracy_in_int8() {
    let case = Case {
        model: "mlperf-tiny/pretrainedResnet_large_float.tflite",
        ..RESNET_8
    };
    let scored = Network::load(&case).in_int8();
    assert!(scored.top1() >= 90.5);
}

#[test]
#[ignore = "needs EDGEPRUNE_ZOO, a folder of real networks"]
fn keyword_spotting_keeps_its_accuracy_in_int8_and_in_a_fifth_of_its_size() {
    let network = Network::load(&KEYWORDS);
    let scored = network.in_int8();
    assert!(scored.top1() >= 89.2);
    network.within_budgets(&[(20_000, 89.0)]);
}

#[test]
#[ignore = "needs EDGEPRUNE_ZOO, a folder of real networks"]
fn visual_wake_words_loses_its_dead_channels_and_decides_alike() {
    let case = Case {
        model: "mlperf-tiny/vww_96_float.tflite",
        calibration_samples: 64,
        data: "imagenet/calib",
        labels: None,
        spec: Some(
            "[input]\nlayout = \"nhwc\"\nresize = [96, 96]\nchannel-order = \"rgb\"\n\
             mean = [0.0, 0.0, 0.0]\nstd = [255.0, 255.0, 255.0]\n",
        ),
        ..imagenet("")
    };
    let scored = Network::load(&case).in_int8();
    assert!(scored.bytes <= 160_000 && scored.removed > 1000);
    assert!(scored.score.agreement.unwrap() >= 98.0);
}

#[test]
#[ignore = "needs EDGEPRUNE_ZOO, a folder of real networks"]
fn mobilenet_v2_keeps_its_accuracy_in_a_seventh_of_its_size() {
    let budgets = [(2_400_000, 77.2), (2_000_000, 75.7)];
    Network::load(&imagenet("imagenet/mobilenet_v2.onnx")).within_budgets(&budgets);
}

#[test]
#[ignore = "needs EDGEPRUNE_ZOO, a folder of real networks"]
fn efficientnet_lite0_keeps_its_accuracy_in_int8_in_a_ninth_of_its_size_and_with_half_of_its_weights()
 {
    let case = Case {
        calibration_samples: 250, // with 64, half of the weights cost two points more
        ..imagenet("imagenet/efficientnet_lite0.onnx")
    };
    let network = Network::load(&case);
    let scored = network.in_int8();
    assert!(scored.top1() >= 80.4);
    assert!(scored.bytes <= 4_600_000);
    network.within_budgets(&[(2_600_000, 80.4), (2_100_000, 78.9)]);
    let half = Goal {
        pruning: Some(Pruning {
            sparsity: 0.5,
            ..Pruning::default()
        }),
        ..Goal::default()
    };
    let scored = network.pack(half);
    assert!(scored.top1() >= 79.4 - SAMPLING);
}

#[test]
#[ignore = "needs EDGEPRUNE_ZOO, a folder of real networks"]
fn resnet_50_keeps_its_accuracy_in_a_twenty_fourth_of_its_size() {
    let case = imagenet("imagenet/resnet50.onnx");
    let budgets = [
        (9_000_000, 79.9),
        (6_500_000, 79.4),
        (5_100_000, 78.2),
        (4_300_000, 76.2),
    ];
    Network::load(&case).within_budgets(&budgets);
}

#[test]
#[ignore = "needs EDGEPRUNE_ZOO, a folder of real networks"]
fn the_same_model_data_and_goal_give_the_same_bytes_on_any_number_of_threads() {
    let zoo = zoo();
    let model = zoo.join(RESNET_8.model);
    let packed = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let graph = import::load(&model).unwrap();
            let calibration = zoo.join(RESNET_8.calibration);
            let samples = Dataset::open(&calibration, None, None, &graph.inputs).unwrap();
            let goal = max_size(60_000);
            pack(
                &graph,
                goal,
                &samples.spread(32),
                None,
                &Cache::none(),
                &Progress::Silent,
            )
            .unwrap()
            .bytes
        })
    };
    assert_eq!(packed(1), packed(3));
}
