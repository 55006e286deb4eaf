//! Scores a package by running it with the device runtime itself, against labels and against the
//! network that it was made from.

mod expected;
mod layers;
mod original;
mod runner;
mod score;

pub use expected::expected;
pub use original::Original;
pub use runner::{Opened, Runner};
pub use score::{ranked, top_class};

use crate::Error;
use crate::dataset::Dataset;
use crate::graph::Graph;
use crate::progress::Progress;
use crate::report::describe::Description;
use crate::report::record::Eval;
pub(crate) use runner::each_sample;
use score::{SampleScore, Total};

/// Runs every sample through the package, and through `against` if it is given; then finds the
/// layers that lose most.
///
/// The result does not depend on the number of threads. Top-1 and top-5 need labels; they and the
/// agreement are about the first output, if it is a vector of class scores.
///
/// # Errors
/// A package that does not open, samples that do not decode or fit, labels beyond the outputs.
pub fn evaluate(
    opened: &Opened<'_>,
    data: &Dataset,
    against: Option<&Graph>,
    progress: &Progress,
) -> Result<Eval, Error> {
    if let Some(graph) = against {
        graph.check_size()?;
    }
    let original = against.map(Original::new);
    let mut eval = score(opened, data, original.as_ref(), progress)?;
    if let Some(graph) = against {
        let samples = (data.len(), |i| data.sample(i));
        eval.layers = layers::worst(opened, samples, graph, progress)?;
    }
    Ok(eval)
}

/// As [`evaluate`], without the layers.
///
/// # Errors
/// As [`evaluate`].
pub fn score(
    opened: &Opened<'_>,
    data: &Dataset,
    original: Option<&Original<'_>>,
    progress: &Progress,
) -> Result<Eval, Error> {
    if let Some(original) = original {
        check_same_ports(opened, original.graph())?;
    }
    check_labels(opened.output_elements().first().copied().unwrap_or(0), data)?;
    let stage = progress.stage("evaluating", data.len());
    let scores = each_sample(opened, data.len(), |runner, i| {
        let inputs = data.sample(i)?;
        let outputs = runner.run(&inputs)?;
        let reference = original.map(|original| original.outputs(i, &inputs));
        stage.advance(1);
        Ok(SampleScore::new(
            &outputs,
            reference.as_deref(),
            data.label(i),
        ))
    })?;
    drop(stage);
    let total = Total::of(&scores, opened.is_classifier() || data.is_labelled());
    let description = Description::of(opened.path(), opened.bytes())?;
    Ok(Eval {
        identity: description.identity(),
        package_bytes: opened.bytes().len() as u64,
        samples: data.len() as u64,
        top1: total.top1(),
        top5: total.top5(),
        agreement: total.agreement(),
        divergence: total.divergence(),
        sqnr_db: total.sqnr_db(),
        original_top1: total.original_top1(),
        original_top5: total.original_top5(),
        layers: Vec::new(),
    })
}

/// Refuses a network that is not the one that the package was made from.
fn check_same_ports(opened: &Opened<'_>, graph: &Graph) -> Result<(), Error> {
    let sizes = |ports: &[crate::graph::Port]| -> Vec<usize> {
        let elements = |port: &crate::graph::Port| graph.tensors[port.tensor].elements();
        ports.iter().map(elements).collect()
    };
    let (inputs, outputs) = (sizes(&graph.inputs), sizes(&graph.outputs));
    if inputs == opened.input_elements() && outputs == opened.output_elements() {
        return Ok(());
    }
    Err(Error::Package {
        path: opened.path().to_path_buf(),
        cause: format!(
            "has inputs of {:?} and outputs of {:?} elements, `{}` of {inputs:?} and {outputs:?}: \
             it was not made from that model",
            opened.input_elements(),
            opened.output_elements(),
            graph.name
        ),
    })
}

fn check_labels(classes: usize, data: &Dataset) -> Result<(), Error> {
    let beyond = (0..data.len()).find(|&i| data.label(i).is_some_and(|label| label >= classes));
    match beyond {
        Some(i) => Err(Error::data(
            data.path(),
            format!(
                "the label of `{}` is {}, but the network has {classes} outputs (0 to {})",
                data.name(i),
                data.label(i).unwrap_or(0),
                classes.saturating_sub(1)
            ),
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::InputSpec;
    use crate::import;
    use crate::pack::{Goal, pack};
    use crate::study::Cache;
    use std::path::{Path, PathBuf};

    fn demo(file: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("demo")
            .join(file)
    }

    /// The demo network packed, its graph, and some of its test samples.
    fn packed() -> (Vec<u8>, Graph, Dataset) {
        let model = demo("fashion_mnist.onnx");
        let graph = import::load(&model).unwrap();
        let spec = InputSpec::find(&model, None).unwrap().map(|(spec, _)| spec);
        let open = |file: &str, labels: Option<&Path>| {
            Dataset::open(&demo(file), labels, spec.as_ref(), &graph.inputs).unwrap()
        };
        let calibration = open("calib_images.npy", None).spread(16);
        let labels = demo("test_labels.npy");
        let test = open("test_images.npy", Some(&labels)).limit(60);
        let goal = Goal::default();
        let packed = pack(
            &graph,
            goal,
            &calibration,
            spec.as_ref(),
            &Cache::none(),
            &Progress::Silent,
        )
        .unwrap();
        (packed.bytes, graph, test)
    }

    #[test]
    fn a_score_does_not_depend_on_the_number_of_threads() {
        let (bytes, graph, test) = packed();
        let opened = Opened::new(Path::new("demo.epk"), &bytes).unwrap();
        let score = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| evaluate(&opened, &test, Some(&graph), &Progress::Silent).unwrap())
        };
        let alone = score(1);
        assert_eq!(alone, score(3));
        assert_eq!(alone.samples, 60);
        assert!(alone.agreement.unwrap() >= 95.0, "{alone:?}");
        assert!(alone.sqnr_db.unwrap() > 20.0, "{alone:?}");
        assert_eq!(alone.layers.len(), 10);
        assert!(alone.layers.is_sorted_by(|a, b| a.sqnr_db <= b.sqnr_db));
    }

    #[test]
    fn a_score_is_the_same_when_the_original_has_answered_before() {
        let (bytes, graph, test) = packed();
        let opened = Opened::new(Path::new("demo.epk"), &bytes).unwrap();
        let progress = &Progress::Silent;
        let original = Original::answering(&graph, &test, progress).unwrap();
        let remembered = score(&opened, &test, Some(&original), progress).unwrap();
        let mut anew = evaluate(&opened, &test, Some(&graph), progress).unwrap();
        anew.layers.clear();
        assert_eq!(remembered, anew);
    }

    #[test]
    fn a_score_without_labels_and_original_claims_nothing() {
        let (bytes, graph, _) = packed();
        let opened = Opened::new(Path::new("demo.epk"), &bytes).unwrap();
        let data = Dataset::synthetic(3, None, &graph.inputs);
        let eval = evaluate(&opened, &data, None, &Progress::Silent).unwrap();
        assert_eq!(
            (eval.top1, eval.agreement, eval.sqnr_db),
            (None, None, None)
        );
        assert!(eval.layers.is_empty());
    }

    #[test]
    fn a_package_of_another_model_is_refused() {
        let (bytes, mut graph, test) = packed();
        graph.outputs.clear();
        let opened = Opened::new(Path::new("demo.epk"), &bytes).unwrap();
        let refused = evaluate(&opened, &test, Some(&graph), &Progress::Silent);
        assert!(
            refused
                .unwrap_err()
                .to_string()
                .contains("not made from that model")
        );
    }
}
