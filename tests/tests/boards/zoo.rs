//! Real networks on emulated boards: the host's bytes, and instructions within a budget.

use super::TestResult;
use crate::command::edgeprune;
use crate::small::{MATRIX_CORE, cores, need_toolchain};
use crate::zoo::zoo;
use edgeprune::bench::{self, BoardVm};
use edgeprune::dataset::{Dataset, InputSpec};
use edgeprune::import;
use edgeprune::pack::{Goal, pack, pack_float};
use edgeprune::package::arena_lower_bound;
use edgeprune::progress::Progress;
use edgeprune::study::Cache;
use edgeprune_boards::Board;
use edgeprune_format::{Container, Manifest};
use rayon::prelude::*;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// Emulated cores, in the order of [`Real::budgets`].
const CORES: [&str; 4] = ["cortex-a53", "cortex-a72", "cortex-a76", MATRIX_CORE];
/// What an instruction count may exceed its budget by: compilers differ.
const TOLERANCE: f64 = 1.02;

/// Networks small enough for so many samples are also counted in floats.
const FLOAT_SAMPLES: usize = 4;

/// A float network of the zoo.
struct Real {
    model: &'static str,
    /// Samples that an emulator gets through in time.
    samples: usize,
    /// Million instructions of one inference on each of [`CORES`].
    budgets: [f64; 4],
}

const fn real(model: &'static str, samples: usize, budgets: [f64; 4]) -> Real {
    Real {
        model,
        samples,
        budgets,
    }
}

/// Smallest first.
const ZOO: [Real; 8] = [
    real(
        "mlperf-tiny/ad01_fp32.tflite",
        8,
        [0.111, 0.111, 0.053, 0.051],
    ),
    real(
        "mlperf-tiny/kws_ref_model_float32.tflite",
        8,
        [1.152, 1.151, 0.600, 0.473],
    ),
    real(
        "mlperf-tiny/pretrainedResnet.tflite",
        8,
        [2.395, 2.374, 1.411, 1.150],
    ),
    real(
        "mlperf-tiny/vww_96_float.tflite",
        8,
        [2.206, 2.204, 1.247, 1.217],
    ),
    real(
        "mlperf-tiny/pretrainedResnet_large_float.tflite",
        4,
        [12.701, 12.670, 6.995, 4.881],
    ),
    real(
        "imagenet/mobilenet_v2.onnx",
        2,
        [100.99, 100.87, 46.99, 36.76],
    ),
    real(
        "imagenet/efficientnet_lite0.onnx",
        2,
        [134.71, 134.63, 71.68, 59.42],
    ),
    real("imagenet/resnet50.onnx", 1, [747.0, 746.4, 342.0, 223.0]),
];

/// Million instructions of one inference.
fn millions(package: &Path, board: &Board) -> Result<f64, edgeprune::Error> {
    Ok(bench::instructions(board, package)? as f64 / 1e6)
}

/// Asserts that one inference takes no more instructions than the budget of each core, and than one in floats.
fn assert_budgets(package: &Path, floats: Option<f64>, real: &Real) -> TestResult {
    let budgets: HashMap<&str, f64> = CORES.into_iter().zip(real.budgets).collect();
    let counted = cores().into_par_iter().filter_map(|board| {
        let cpu = board.emulator.cpu.as_str();
        let budget = *budgets.get(cpu)?;
        Some((
            cpu,
            budget,
            millions(package, board).map_err(|e| e.to_string()),
        ))
    });
    for (cpu, budget, integer) in counted.collect::<Vec<_>>() {
        let (model, integer) = (real.model, integer?);
        let found = format!(
            "{model} on {cpu}: {integer:.3} million instructions, {floats:.3?} in floats, the budget is {budget}"
        );
        eprintln!("{found}");
        let most = floats.unwrap_or(f64::INFINITY).min(TOLERANCE * budget);
        assert!(integer <= most, "{found}");
    }
    Ok(())
}

/// Asserts that one inference gives the host's bytes on a board with Linux, by ssh, and on a machine without an operating
/// system.
fn assert_bytes_of_whole_machines(package: &Path, vm: &BoardVm) -> TestResult {
    let (package, config) = (package.to_string_lossy(), vm.config());
    let once = ["bench", &package, "--runs", "1", "--warm-up", "0", "--json"];
    let (config, host) = (
        config.to_string_lossy(),
        format!("rpi3={}", BoardVm::ADDRESS),
    );
    let with_linux = ["--ssh-config", &config, "--host", &host];
    let without = ["--board", "rpi3-bare", "--emulate"];
    let machines = [with_linux.as_slice(), &without];
    let records = machines.into_par_iter().map(|machine| {
        let output = edgeprune(&[&once, machine].concat())?;
        Ok((machine, output))
    });
    for (machine, output) in records.collect::<std::io::Result<Vec<_>>>()? {
        assert!(output.status.success(), "{output:?}");
        let record: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        assert_eq!(record["matches_host"], true, "{package} {machine:?}");
    }
    Ok(())
}

#[test]
#[ignore = "needs EDGEPRUNE_ZOO, a folder of real networks"]
fn every_real_network_gives_the_hosts_bytes_within_its_instructions_on_every_core() -> TestResult {
    let zoo = zoo();
    need_toolchain(&cores())?;
    let folder = TempDir::new()?;
    let package = folder.path().join("model.epk");
    let vm = BoardVm::boot(edgeprune_boards::find("rpi3")?, &["limit=3600"])?;
    for real in ZOO {
        let (model, count) = (zoo.join(real.model), real.samples);
        let graph = import::load(&model)?;
        let spec = InputSpec::find(&model, None)?.map(|(spec, _)| spec);
        let samples = Dataset::synthetic(count, spec.as_ref(), &graph.inputs);
        let packed = pack(
            &graph,
            Goal::default(),
            &samples,
            spec.as_ref(),
            &Cache::none(),
            &Progress::Silent,
        )?;
        fs::write(&package, &packed.bytes)?;
        for parity in bench::parity(&package, &samples, &cores())? {
            assert!(parity.holds(), "{}: {parity:?}", model.display());
        }
        // floats take as many on every core; the emulator computes them slowly
        let floats = match count >= FLOAT_SAMPLES {
            true => {
                let float = folder.path().join("float.epk");
                fs::write(&float, pack_float(&graph, spec.as_ref())?.bytes)?;
                let mut boards = cores().into_iter();
                let board = boards.find(|board| board.emulator.cpu == CORES[1]);
                Some(millions(&float, board.ok_or("no board of this core")?)?)
            }
            false => None,
        };
        assert_budgets(&package, floats, &real)?;
        assert_bytes_of_whole_machines(&package, &vm)?;
        let manifest = Manifest::parse(Container::parse(&packed.bytes)?.manifest)?;
        let least = arena_lower_bound(&manifest) as f64;
        let activations = f64::from(manifest.head.arena.activations);
        eprintln!(
            "{}: {activations} bytes of activations, at least {least}",
            real.model
        );
        assert!(activations <= 1.05 * least, "{}", real.model);
    }
    Ok(())
}
