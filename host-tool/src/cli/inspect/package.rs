//! What a package holds.

use super::xz::Comparison;
use crate::Error;
use crate::cli::latency::LatencyArgs;
use crate::cli::output::{human_bytes, human_count, table};
use crate::dataset::InputSpec;
use crate::eval::Opened;
use crate::report::describe::Description;
use crate::report::record::{Pack, PackLayer};
use edgeprune_format::manifest::{Calibration, Preprocess, Resize};
use serde::Serialize;
use std::path::Path;

/// `inspect --json` of a package.
#[derive(Debug, Serialize)]
pub(super) struct Inspected {
    #[serde(flatten)]
    pack: Pack,
    tool: String,
    /// Number of calibration samples; `null` where the inputs were synthetic.
    calibration_samples: Option<u32>,
    inputs: Vec<PackagePort>,
    outputs: Vec<PackagePort>,
    preprocess: Option<Preprocess>,
    classes: usize,
    macs: u64,
    nodes: Vec<NodeRow>,
    /// What xz makes of the same codes; `null` without `--xz`.
    xz: Option<Comparison>,
}

#[derive(Debug, Serialize)]
struct PackagePort {
    name: String,
    /// In the source model.
    shape: Vec<u32>,
    dtype: &'static str,
    /// Of an int8 port: scale and zero point.
    quantization: Option<(f32, i8)>,
}

#[derive(Debug, Serialize)]
struct NodeRow {
    name: String,
    op: &'static str,
    /// Height, width, channels.
    output: [u32; 3],
    macs: u64,
}

/// `xz`: also compress every entropy-coded tensor with xz.
pub(super) fn inspect(
    path: &Path,
    bytes: &[u8],
    xz: bool,
    latency: &LatencyArgs,
) -> Result<Inspected, Error> {
    let opened = Opened::new(path, bytes)?;
    let description = Description::of(path, bytes)?;
    let head = &description.manifest.head;
    let spec = description.input_spec()?;
    let nodes = nodes(&description);
    let mut pack = description.pack()?;
    pack.latency = latency.predict(&description.manifest)?;
    Ok(Inspected {
        pack,
        tool: head.tool.to_owned(),
        calibration_samples: match head.calibration {
            Calibration::Synthetic => None,
            Calibration::Samples(count) => Some(count),
        },
        inputs: inputs(&opened),
        outputs: outputs(&opened),
        classes: classes(&description)?,
        preprocess: spec.map(|spec: InputSpec| spec.preprocess),
        macs: nodes.iter().map(|node| node.macs).sum(),
        nodes,
        xz: xz.then(|| Comparison::of(&description)).transpose()?,
    })
}

fn classes(description: &Description<'_>) -> Result<usize, Error> {
    Ok(description
        .labels()?
        .map_or(0, |labels| labels.lines().count()))
}

fn nodes(description: &Description<'_>) -> Vec<NodeRow> {
    let manifest = &description.manifest;
    manifest
        .nodes()
        .map(|node| {
            let shape = manifest
                .tensor(node.output)
                .map_or([0; 4], |tensor| tensor.shape);
            NodeRow {
                name: node.name.to_owned(),
                op: node.op.name(),
                output: [shape[1], shape[2], shape[3]],
                macs: manifest.macs(&node),
            }
        })
        .collect()
}

fn inputs(opened: &Opened<'_>) -> Vec<PackagePort> {
    let shapes = opened
        .package()
        .manifest()
        .inputs()
        .map(|input| input.source_shape.to_vec());
    let ports = (0..).map_while(|index| opened.package().input_info(index));
    ports
        .zip(shapes)
        .map(|(port, shape)| package_port(&port, shape))
        .collect()
}

fn outputs(opened: &Opened<'_>) -> Vec<PackagePort> {
    let shapes = opened
        .package()
        .manifest()
        .outputs()
        .map(|output| output.source_shape.to_vec());
    let ports = (0..).map_while(|index| opened.package().output_info(index));
    ports
        .zip(shapes)
        .map(|(port, shape)| package_port(&port, shape))
        .collect()
}

fn package_port(port: &edgeprune_runtime::Port<'_>, shape: Vec<u32>) -> PackagePort {
    PackagePort {
        name: port.name.to_owned(),
        shape,
        dtype: if port.quantization.is_some() {
            "int8"
        } else {
            "f32"
        },
        quantization: port.quantization,
    }
}

pub(super) fn text(seen: &Inspected) -> String {
    let pack = &seen.pack;
    let mut text = format!(
        "{} ({}, written by {})\n",
        pack.identity.model,
        human_bytes(pack.package_bytes),
        seen.tool
    );
    for (what, ports) in [("input", &seen.inputs), ("output", &seen.outputs)] {
        for port in ports {
            text += &format!(
                "  {what:<11} {} {:?} {}\n",
                port.name, port.shape, port.dtype
            );
        }
    }
    let is_float = seen.pack.layers.iter().all(|layer| layer.kept_float);
    let calibrated = match seen.calibration_samples {
        Some(count) => format!("on {count} samples"),
        None if is_float => "none needed: every layer runs in f32".into(),
        None => "NOT CALIBRATED: ranges are from synthetic inputs; pack with --calib".into(),
    };
    text += &format!("  calibration {calibrated}\n");
    text += &format!(
        "  input spec  {}\n",
        seen.preprocess
            .as_ref()
            .map_or("none: arrays only".into(), preprocess)
    );
    text += &format!(
        "  classes     {}\n",
        if seen.classes == 0 {
            "no names".into()
        } else {
            seen.classes.to_string()
        }
    );
    text += &format!("  arena       {}\n", pack.arena_words());
    text += &format!("  MACs        {}\n", human_count(seen.macs));
    if let Some(latency) = &pack.latency {
        text += &format!("  latency     {}\n", latency.words());
    }
    text += &format!(
        "  weights     {:.1} % non-zero, {} channels removed\n",
        100.0 * pack.density,
        pack.removed_channels
    );
    text += &format!("  SHA-256     {}\n\n", pack.identity.package_hash);
    text + &layers(pack, seen.xz.as_ref())
}

fn preprocess(preprocess: &Preprocess) -> String {
    let resize = match preprocess.resize {
        Resize::None => String::new(),
        Resize::Shorter(side) => format!("shorter side to {side}, "),
        Resize::Exact([height, width]) => format!("resize to {height} x {width}, "),
    };
    let crop = preprocess
        .crop
        .map_or_else(String::new, |[h, w]| format!("crop {h} x {w}, "));
    let order = format!("{:?}", preprocess.channel_order).to_lowercase();
    format!(
        "{resize}{crop}{order}, mean {:?}, std {:?}",
        preprocess.mean.as_slice(),
        preprocess.std.as_slice()
    )
}

fn layers(pack: &Pack, xz: Option<&Comparison>) -> String {
    let mut header = vec![
        "layer",
        "encoding",
        "bytes",
        "bits per weight",
        "non-zero",
        "runs in",
    ];
    header.extend(PackLayer::BLOCK_HEADER);
    let mut rows: Vec<Vec<String>> = pack.layers.iter().map(layer).collect();
    let Some(xz) = xz else {
        return table(&header, &rows);
    };
    header.extend(["codes", "xz -9"]);
    for row in &mut rows {
        row.extend(xz.cells(&row[0]));
    }
    rows.extend(xz.sums(header.len()));
    table(&header, &rows) + &format!("\n{}\n", xz.total())
}

fn layer(layer: &PackLayer) -> Vec<String> {
    let mut row = vec![
        layer.name.clone(),
        layer.encoding.clone(),
        human_bytes(layer.bytes),
        format!("{:.2}", layer.bits_per_weight),
        format!("{:.1} %", 100.0 * layer.density),
        if layer.kept_float { "f32" } else { "int8" }.to_owned(),
    ];
    row.extend(layer.block_cells());
    row
}
