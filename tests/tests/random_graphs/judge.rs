//! Who says what a network computes: ONNX Runtime where Python has it, else tract, which runs the
//! network as it was parsed.

use super::network::{Network, Value};
use edgeprune::graph::{Graph, Layout, Port};
use edgeprune::import::Reference;
use serde_json::Value as Json;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Names the Python that has onnxruntime and numpy.
const PYTHON: &str = "EDGEPRUNE_PYTHON";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/peers/judge.py");

#[derive(Debug)]
pub(crate) enum Judge {
    OnnxRuntime { python: OsString },
    Parsed,
}

/// A network in a file, and its inputs in the source's order.
pub(crate) struct Case<'a> {
    pub(crate) path: PathBuf,
    pub(crate) network: &'a Network,
    pub(crate) inputs: Vec<Vec<f32>>,
}

impl<'a> Case<'a> {
    /// Writes the network and its inputs into a folder.
    pub(crate) fn write(
        folder: &Path,
        name: &str,
        network: &'a Network,
        inputs: Vec<Vec<f32>>,
    ) -> Self {
        let path = folder.join(name).with_extension("onnx");
        fs::write(&path, network.encode()).unwrap();
        let bytes: Vec<u8> = inputs
            .concat()
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect();
        fs::write(path.with_extension("in"), bytes).unwrap();
        Self {
            path,
            network,
            inputs,
        }
    }

    /// The inputs in the order of the graph's tensors.
    pub(crate) fn port_inputs(&self, graph: &Graph) -> Vec<Vec<f32>> {
        let find = |port: &Port| {
            let inputs = self.network.inputs.iter().zip(&self.inputs);
            let mut named = inputs.filter(|(input, _)| input.name == port.name);
            named
                .next()
                .map_or_else(Vec::new, |(_, data)| to_port(port, data))
        };
        graph.inputs.iter().map(find).collect()
    }
}

impl Judge {
    pub(crate) fn new() -> Self {
        let python = std::env::var_os(PYTHON).unwrap_or_else(|| "python3".into());
        let mut import = Command::new(&python);
        import.args(["-c", "import onnxruntime, numpy"]);
        let found = import.stdout(Stdio::null()).stderr(Stdio::null()).status();
        match found.is_ok_and(|status| status.success()) {
            true => Self::OnnxRuntime { python },
            false => Self::Parsed,
        }
    }

    /// Lets the judge look at all cases of a folder at once.
    pub(crate) fn prepare(&self, folder: &Path) {
        if let Self::OnnxRuntime { python } = self {
            let status = Command::new(python)
                .arg(SCRIPT)
                .arg(folder)
                .status()
                .unwrap();
            assert!(status.success(), "{SCRIPT} fails");
        }
    }

    /// The outputs of a prepared case, each in the order of its port.
    pub(crate) fn outputs(&self, case: &Case<'_>, graph: &Graph) -> Result<Vec<Vec<f32>>, String> {
        match self {
            Self::OnnxRuntime { .. } => {
                let outputs = answer(case)?;
                let pairs = graph.outputs.iter().zip(outputs);
                Ok(pairs.map(|(port, data)| to_port(port, &data)).collect())
            }
            Self::Parsed => Reference::load(&case.path)
                .and_then(|mut reference| reference.run(&case.port_inputs(graph)))
                .map_err(|error| error.to_string()),
        }
    }
}

/// What ONNX Runtime has answered; its dimensions must be those that the generator expects.
fn answer(case: &Case<'_>) -> Result<Vec<Vec<f32>>, String> {
    let text = fs::read_to_string(case.path.with_extension("json"));
    let text = text.map_err(|error| error.to_string())?;
    let json: Json = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    if let Some(error) = json["error"].as_str() {
        return Err(format!(
            "the generator made what ONNX Runtime refuses: {error}"
        ));
    }
    let outputs: &[Value] = &case.network.outputs;
    let expected: Vec<&[usize]> = outputs.iter().map(|o| o.dims.as_slice()).collect();
    if json["outputs"] != serde_json::json!(expected) {
        let actual = &json["outputs"];
        return Err(format!(
            "the generator expects {expected:?}, ONNX Runtime computes {actual}"
        ));
    }
    let bytes = fs::read(case.path.with_extension("out")).map_err(|error| error.to_string())?;
    let mut values = bytes
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    Ok(outputs
        .iter()
        .map(|o| values.by_ref().take(o.elements()).collect())
        .collect())
}

/// From the source's order to that of a port's tensor.
fn to_port(port: &Port, data: &[f32]) -> Vec<f32> {
    match (port.layout, port.source_shape.as_slice()) {
        (Layout::Nchw, &[_, c, h, w]) => {
            let pixel = |at: usize| (0..c).map(move |channel| data[channel * h * w + at]);
            (0..h * w).flat_map(pixel).collect()
        }
        _ => data.to_vec(),
    }
}
