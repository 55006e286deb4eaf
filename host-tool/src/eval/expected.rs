//! What a package is expected to lose, measured with its finished bytes by the device runtime, on samples that it
//! was not calibrated on where there are some.

use super::runner::{Opened, each_sample};
use super::score::{SampleScore, Total};
use super::{check_same_ports, layers};
use crate::Error;
use crate::dataset::{Dataset, HeldOut};
use crate::fidelity::{FEW_CHANNELS, Fidelity, OutputFidelity};
use crate::graph::{self, Graph};
use crate::progress::Progress;
use crate::report::record::{Expected, ExpectedOutput};

/// An output with a lower ratio is likely useless.
const LEAST_DB: f64 = 15.0;
/// Share of the original's decisions that must not be lost.
const LEAST_AGREEMENT: f64 = 50.0;
/// Multiply-accumulates of the original network that a measurement may take, and samples within that.
const MOST_MACS: u64 = 60_000_000_000;
const SAMPLES: std::ops::RangeInclusive<u64> = 8..=64;

/// Runs the package and the original network on samples held out of `calibration`.
///
/// # Errors
/// Samples that cannot be read, or a package that was not made from the network.
pub fn expected(
    opened: &Opened<'_>,
    graph: &Graph,
    calibration: &Dataset,
    progress: &Progress,
) -> Result<Expected, Error> {
    check_same_ports(opened, graph)?;
    let count = (MOST_MACS / graph.total_macs().max(1)).clamp(*SAMPLES.start(), *SAMPLES.end());
    let samples = calibration.held_out(count as usize);
    let tensors: Vec<usize> = graph.outputs.iter().map(|port| port.tensor).collect();
    let none = Fidelity::new(graph, &tensors);
    let stage = progress.stage("expected loss", samples.len());
    let compared = each_sample(opened, samples.len(), |runner, i| {
        let inputs = samples.sample(i)?;
        let (values, reference) = (runner.run(&inputs)?, graph::run(graph, &inputs));
        let mut fidelity = none.clone();
        fidelity.add(&reference, &values);
        stage.advance(1);
        Ok((fidelity, SampleScore::new(&values, Some(&reference), None)))
    })?;
    drop(stage);
    let mut fidelity = none;
    compared
        .iter()
        .for_each(|(sample, _)| fidelity.merge(sample));
    let scores: Vec<SampleScore> = compared.iter().map(|(_, score)| *score).collect();
    let total = Total::of(&scores, opened.is_classifier());
    let mut expected = Expected {
        samples: samples.len() as u64,
        held_out: samples.is_unseen(),
        agreement: total.agreement(),
        divergence: total.divergence(),
        outputs: fidelity.outputs().iter().map(record).collect(),
        warnings: Vec::new(),
    };
    let mut complaints = complaints(&expected);
    if !complaints.is_empty() {
        let advice = advice(opened, graph, calibration, &samples, progress)?;
        complaints
            .iter_mut()
            .for_each(|text| text.push_str(&advice));
    }
    expected.warnings = complaints;
    Ok(expected)
}

fn record(output: &OutputFidelity) -> ExpectedOutput {
    let (channels, lost) = output.lost_channels();
    ExpectedOutput {
        name: output.name().to_owned(),
        sqnr_db: output.sqnr_db(),
        channels: channels as u64,
        lost_channels: lost as u64,
    }
}

/// What is lost.
fn complaints(expected: &Expected) -> Vec<String> {
    let mut complaints = Vec::new();
    if let Some(agreement) = expected.agreement.filter(|&share| share < LEAST_AGREEMENT) {
        complaints.push(format!(
            "the package decides as the model does on {agreement:.1} % of {} samples: the network is destroyed",
            expected.samples
        ));
    }
    for output in &expected.outputs {
        let name = &output.name;
        let lost = output.lost_channels as f64 / output.channels.max(1) as f64;
        if output.sqnr_db <= 0.0 {
            complaints.push(format!(
                "output `{name}` is lost ({:.1} dB)",
                output.sqnr_db
            ));
        } else if output.sqnr_db < LEAST_DB {
            complaints.push(format!(
                "output `{name}` keeps only {:.1} dB of the model's",
                output.sqnr_db
            ));
        } else if lost > FEW_CHANNELS {
            complaints.push(format!(
                "{} of {} channels of output `{name}` are lost, although it keeps {:.1} dB as a whole",
                output.lost_channels, output.channels, output.sqnr_db
            ));
        }
    }
    complaints
}

/// Where most is lost, and the way out.
fn advice(
    opened: &Opened<'_>,
    graph: &Graph,
    calibration: &Dataset,
    samples: &HeldOut<'_>,
    progress: &Progress,
) -> Result<String, Error> {
    let judges = (samples.len(), |i| samples.sample(i));
    let worst = layers::worst(opened, judges, graph, progress)?;
    let layer = worst.first().map_or_else(String::new, |layer| {
        format!("; layer `{}` keeps {:.1} dB", layer.name, layer.sqnr_db)
    });
    let way_out = match calibration.is_synthetic() {
        true => "give samples with --calib",
        false => "allow more bytes, give more samples with --calib, or use --float",
    };
    Ok(format!("{layer}; {way_out}"))
}
