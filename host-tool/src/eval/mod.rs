//! Scores a package by running it with the device runtime itself, against labels and against the
//! network that it was made from.

mod layers;
mod runner;
mod score;

pub use runner::{Opened, Runner};
pub use score::{ranked, top_class};

use crate::Error;
use crate::dataset::Dataset;
use crate::graph::{self, Graph};
use crate::progress::Progress;
use crate::report::describe::Description;
use crate::report::record::Eval;
use runner::each_sample;
use score::{SampleScore, Total};

/// Runs every sample through the package, and through `against` if it is given.
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
        check_same_ports(opened, graph)?;
    }
    check_labels(opened, data)?;
    let stage = progress.stage("evaluating", data.len());
    let scores = each_sample(opened, data.len(), |runner, i| {
        let inputs = data.sample(i)?;
        let outputs = runner.run(&inputs)?;
        let reference = against.map(|graph| graph::run(graph, &inputs));
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
        sqnr_db: total.sqnr_db(),
        original_top1: total.original_top1(),
        original_top5: total.original_top5(),
        layers: match against {
            Some(graph) => layers::worst(opened, data, graph, progress)?,
            None => Vec::new(),
        },
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

fn check_labels(opened: &Opened<'_>, data: &Dataset) -> Result<(), Error> {
    let classes = opened.output_elements().first().copied().unwrap_or(0);
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
