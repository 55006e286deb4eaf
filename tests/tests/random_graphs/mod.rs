//! Random graphs of the supported operators, alone and each followed by strided slices, a pool and a
//! resize: what edgeprune imports, it must compute as the judge does.
//!
//! The judge is ONNX Runtime if `python3`, or the Python that `EDGEPRUNE_PYTHON` names, has it
//! (`pip install onnxruntime numpy`), else the network as tract parses it. `EDGEPRUNE_GRAPHS` is the
//! number of graphs, `EDGEPRUNE_SEED` that of the first. Networks that are wrong are made as small
//! as they still are wrong, and kept in `target/tmp/random_graphs`.

mod check;
mod follow;
mod generator;
mod judge;
mod network;
mod operators;
mod random;
mod shrink;

use check::{Depth, Outcome, check};
use follow::{Variant, variants};
use judge::{Case, Judge};
use network::{Network, Value};
use random::Random;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

const GRAPHS: u64 = 200;
/// Graphs that the judge sees at once.
const BATCH: u64 = 25;
/// Every 8th graph is packed in int8, too.
const INT8_EVERY: u64 = 8;
/// Least share of the networks that is imported, in percent.
const MIN_IMPORTED: usize = 70;
/// Most wrong networks that are made smaller.
const MAX_SHRUNK: usize = 40;
/// A session of the runtime lies on the stack.
const STACK_BYTES: usize = 64 << 20;

/// A network that was tried.
struct Tried {
    variant: Variant,
    outcome: Outcome,
}

impl Tried {
    fn is_refused(&self) -> bool {
        matches!(self.outcome, Outcome::Refused(_))
    }
}

#[test]
fn random_graphs_compute_what_their_judge_does() {
    let judge = Judge::new();
    let first = from_environment("EDGEPRUNE_SEED", 0);
    let last = first + from_environment("EDGEPRUNE_GRAPHS", GRAPHS);
    let batches: Vec<_> = (first..last)
        .step_by(BATCH as usize)
        .map(|at| at..last.min(at + BATCH))
        .collect();
    let pool = rayon::ThreadPoolBuilder::new()
        .stack_size(STACK_BYTES)
        .build()
        .unwrap();
    let tried: Vec<Tried> = pool.install(|| {
        batches
            .into_par_iter()
            .flat_map_iter(|seeds| try_all(seeds, &judge))
            .collect()
    });
    let wrong = summary(&tried, &judge);
    if !wrong.is_empty() {
        let report = pool.install(|| shrunk(&wrong, &judge));
        panic!("{} networks are wrong:\n{report}", wrong.len());
    }
    let imported = tried.iter().filter(|tried| !tried.is_refused()).count();
    assert!(
        imported * 100 >= tried.len() * MIN_IMPORTED,
        "only {imported} of {} networks are imported: little is tested",
        tried.len()
    );
}

fn from_environment(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text}: want a number"))
    })
}

/// The networks of some seeds and their followers.
fn try_all(seeds: std::ops::Range<u64>, judge: &Judge) -> Vec<Tried> {
    let variants: Vec<Variant> = seeds
        .flat_map(|seed| variants(seed, generator::generate(seed)))
        .collect();
    let every = |name: &str| {
        name.parse::<u64>()
            .is_ok_and(|seed| seed.is_multiple_of(INT8_EVERY))
    };
    let named: Vec<_> = variants
        .iter()
        .map(|v| (v.name.as_str(), &v.network))
        .collect();
    let outcomes = judged(&named, judge, |name| {
        if every(name) {
            Depth::FloatAndInt8
        } else {
            Depth::Float
        }
    });
    let pairs = variants.into_iter().zip(outcomes);
    pairs
        .map(|(variant, outcome)| Tried { variant, outcome })
        .collect()
}

/// What becomes of each network.
fn judged(
    networks: &[(&str, &Network)],
    judge: &Judge,
    depth: impl Fn(&str) -> Depth,
) -> Vec<Outcome> {
    let folder = tempfile::tempdir().unwrap();
    let cases: Vec<Case<'_>> = networks
        .iter()
        .map(|&(name, network)| Case::write(folder.path(), name, network, inputs(&network.inputs)))
        .collect();
    judge.prepare(folder.path());
    let pairs = cases.iter().zip(networks);
    pairs
        .map(|(case, (name, _))| check(case, judge, depth(name)))
        .collect()
}

/// Values between -2 and 2.
fn inputs(values: &[Value]) -> Vec<Vec<f32>> {
    let mut random = Random::new(values.len() as u64);
    values
        .iter()
        .map(|value| random.values(value.elements(), 2.0))
        .collect()
}

/// Prints how many networks are right and why others are refused; gives the wrong ones.
fn summary<'t>(tried: &'t [Tried], judge: &Judge) -> Vec<(&'t Variant, &'t str)> {
    let mut refusals: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut right, mut wrong) = (0, Vec::new());
    for Tried { variant, outcome } in tried {
        match outcome {
            Outcome::Right => right += 1,
            Outcome::Refused(nodes) => {
                let reason = nodes.first().and_then(|node| node.split_once(' '));
                *refusals
                    .entry(reason.map_or("", |(_, reason)| reason))
                    .or_default() += 1;
            }
            Outcome::Wrong(why) => wrong.push((variant, why.as_str())),
        }
    }
    let refused: usize = refusals.values().sum();
    println!(
        "judge: {judge:?}; {} networks: {right} right, {refused} refused, {} wrong",
        tried.len(),
        wrong.len()
    );
    for (reason, count) in &refusals {
        println!("{count:6} refused: {reason}");
    }
    wrong
}

/// The wrong networks, made small, written, and described.
fn shrunk(wrong: &[(&Variant, &str)], judge: &Judge) -> String {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("random_graphs");
    fs::create_dir_all(&folder).unwrap();
    let small = wrong.par_iter().take(MAX_SHRUNK).map(|(variant, why)| {
        let network = shrink::shrink(&variant.network, |candidates| {
            first_wrong(candidates, judge)
        });
        let path = folder.join(&variant.name).with_extension("onnx");
        fs::write(&path, network.encode()).unwrap();
        format!(
            "{}: {why}\n  {network}\n  {}\n",
            variant.name,
            path.display()
        )
    });
    let rest = wrong
        .iter()
        .skip(MAX_SHRUNK)
        .map(|(variant, why)| format!("{}: {why}\n", variant.name));
    small.collect::<String>() + &rest.collect::<String>()
}

fn first_wrong(networks: &[Network], judge: &Judge) -> Option<usize> {
    let names: Vec<String> = (0..networks.len())
        .map(|index| format!("{index:03}"))
        .collect();
    let named: Vec<_> = names.iter().map(String::as_str).zip(networks).collect();
    let outcomes = judged(&named, judge, |_| Depth::Float);
    outcomes
        .iter()
        .position(|outcome| matches!(outcome, Outcome::Wrong(_)))
}
