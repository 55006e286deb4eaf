//! `edgeprune eval`.

use super::data::{DATA_HELP, DataArgs, load_model, read};
use super::output::{self, table};
use crate::Error;
use crate::eval::{Opened, evaluate};
use crate::progress::Progress;
use crate::report::describe::Description;
use crate::report::record::Eval;
use std::path::PathBuf;

/// Score a package on data, by the device runtime itself.
///
/// Prints top-1 and top-5 accuracy where there are labels, and agreement, divergence of the
/// class probabilities and signal-to-noise ratio against the original network with --against.
#[derive(Debug, clap::Args)]
#[command(after_long_help = DATA_HELP)]
pub(super) struct Args {
    /// The package.
    #[arg(value_name = "MODEL.epk")]
    package: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// The model that the package was made from (ONNX or TFLite), to compare with.
    #[arg(long, value_name = "MODEL")]
    against: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> Result<(), Error> {
        let bytes = read(&self.package)?;
        let opened = Opened::new(&self.package, &bytes)?;
        let description = Description::of(&self.package, &bytes)?;
        let data = self
            .data
            .open(description.input_spec()?, &description.inputs())?;
        let against = self.against.as_deref().map(load_model).transpose()?;
        let eval = evaluate(&opened, &data, against.as_ref(), &Progress::Terminal)?;
        if self.json {
            return output::print_json(&eval);
        }
        output::print(&text(&eval))
    }
}

/// The scores for people.
pub(super) fn text(eval: &Eval) -> String {
    let per_cent = |value: Option<f64>, original: Option<f64>| match (value, original) {
        (Some(value), Some(original)) => format!("{value:.2} % (original {original:.2} %)"),
        (Some(value), None) => format!("{value:.2} %"),
        (None, _) => String::new(),
    };
    let rows = [
        ("samples", eval.samples.to_string()),
        ("top-1", per_cent(eval.top1, eval.original_top1)),
        ("top-5", per_cent(eval.top5, eval.original_top5)),
        ("agreement", per_cent(eval.agreement, None)),
        (
            "divergence",
            eval.divergence
                .map_or_else(String::new, |nats| format!("{nats:.4} nats")),
        ),
        (
            "SQNR",
            eval.sqnr_db
                .map_or_else(String::new, |db| format!("{db:.1} dB")),
        ),
    ];
    let mut text: String = rows
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name:<11} {value}\n"))
        .collect();
    if !eval.layers.is_empty() {
        let layer = |layer: &crate::report::record::EvalLayer| {
            vec![
                layer.name.clone(),
                layer.op.clone(),
                format!("{:.1} dB", layer.sqnr_db),
            ]
        };
        let rows: Vec<Vec<String>> = eval.layers.iter().map(layer).collect();
        text += &format!(
            "\n{}",
            table(&["layers that lose most", "operator", "SQNR"], &rows)
        );
    }
    text
}
