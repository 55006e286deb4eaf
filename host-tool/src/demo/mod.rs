//! The whole path on the network that comes with edgeprune: pack at three budgets, score, measure
//! on emulated boards, report.

mod assets;

use crate::bench::{self, BenchOptions, BoardVm, Destination, Job};
use crate::cli::output::{human_bytes, json, note};
use crate::cli::write::write_file;
use crate::dataset::{Dataset, InputSpec};
use crate::eval::{Opened, evaluate};
use crate::graph::Graph;
use crate::pack::{Goal, pack};
use crate::progress::Progress;
use crate::report::describe::Description;
use crate::report::record::{Bench, Record};
use crate::report::{Report, html};
use crate::study::Cache;
use crate::{Error, import};
use assets::Files;
use edgeprune_boards::Board;
use std::path::{Path, PathBuf};

/// Budgets as shares of the int8 package, with the names of their packages.
const BUDGETS: [(&str, f64); 2] = [("medium", 0.5), ("tight", 0.2)];
/// Calibration samples.
const CALIBRATION: usize = 128;
/// What a demonstration gave.
#[derive(Debug)]
pub struct Outcome {
    /// Everything that was measured.
    pub report: Report,
    /// The HTML report.
    pub html: PathBuf,
    /// Boards that could not be emulated, and what would change that.
    pub missing: Vec<String>,
}

/// Runs it, and with `board_vm` also on an emulated board that ssh reaches. Packages, records and the report go to
/// `folder`.
///
/// # Errors
/// Files that cannot be written; a board without a toolchain or emulator is no error.
pub fn run(folder: &Path, board_vm: bool, progress: &Progress) -> Result<Outcome, Error> {
    let files = Files::write(&folder.join("network"))?;
    let mut demo = Demo::new(folder, &files, progress)?;
    let int8 = demo.variant("int8", None)?;
    for (name, share) in BUDGETS {
        let budget = (int8 as f64 * share / 1e3) as u64 * 1000;
        demo.variant(name, Some(budget))?;
    }
    demo.measure()?;
    if board_vm {
        demo.measure_by_ssh()?;
    }
    demo.finish()
}

struct Demo<'a> {
    folder: &'a Path,
    progress: &'a Progress,
    spec: Option<InputSpec>,
    original: Graph,
    calibration: Dataset,
    test: Dataset,
    packages: Vec<PathBuf>,
    records: Vec<Record>,
    missing: Vec<String>,
}

impl<'a> Demo<'a> {
    fn new(folder: &'a Path, files: &Files, progress: &'a Progress) -> Result<Self, Error> {
        let model = files.model();
        let spec = InputSpec::find(&model, None)?.map(|(spec, _)| spec);
        let original = import::load(&model)?;
        let inputs = &original.inputs;
        let calibration = Dataset::open(&files.calibration(), None, spec.as_ref(), inputs)?;
        let test = Dataset::open(
            &files.images(),
            Some(&files.labels()),
            spec.as_ref(),
            inputs,
        )?;
        Ok(Self {
            folder,
            progress,
            calibration: calibration.spread(CALIBRATION),
            test,
            spec,
            original,
            packages: Vec::new(),
            records: Vec::new(),
            missing: Vec::new(),
        })
    }

    /// Packs and scores; returns the length of the package.
    fn variant(&mut self, name: &str, max_size: Option<u64>) -> Result<u64, Error> {
        let goal = max_size.map_or_else(
            || "int8, no limit".into(),
            |size| format!("at most {}", human_bytes(size)),
        );
        note(format!("packing `{name}`: {goal}"));
        let goal = Goal {
            max_size,
            ..Goal::default()
        };
        let spec = self.spec.as_ref();
        let packed = pack(
            &self.original,
            goal,
            &self.calibration,
            spec,
            &Cache::none(),
            self.progress,
        )?;
        let path = self.folder.join(format!("{name}.epk"));
        write_file(&path, &packed.bytes)?;
        let mut record = Description::of(&path, &packed.bytes)?.pack()?;
        record.source_bytes = Some(packed.source_bytes);
        self.keep(&format!("{name}.pack.json"), Record::Pack(record))?;
        let opened = Opened::new(&path, &packed.bytes)?;
        let eval = evaluate(&opened, &self.test, Some(&self.original), self.progress)?;
        self.keep(&format!("{name}.eval.json"), Record::Eval(eval))?;
        self.packages.push(path);
        Ok(packed.bytes.len() as u64)
    }

    /// Benchmarks every package on this machine and on each emulated core.
    fn measure(&mut self) -> Result<(), Error> {
        for package in self.packages.clone() {
            self.keep_bench(&package, bench::host(&package, BenchOptions::default())?)?;
        }
        for board in cores() {
            note(format!(
                "measuring on the emulated {} of {}",
                board.cpu.core, board.name
            ));
            match self.measure_on(board) {
                Err(Error::Toolchain(cause)) => {
                    let missing = format!("{} was not measured: {cause}", board.name);
                    self.missing.push(missing);
                }
                other => other?,
            }
        }
        Ok(())
    }

    fn measure_on(&mut self, board: &Board) -> Result<(), Error> {
        for package in self.packages.clone() {
            let job = Job::new(&package, bench::EMULATED);
            self.keep_bench(&package, bench::emulated(board, job)?)?;
        }
        Ok(())
    }

    /// On a board with Linux, emulated.
    fn measure_by_ssh(&mut self) -> Result<(), Error> {
        let Some(board) = cores().into_iter().rfind(|board| board.is_64_bit()) else {
            return Ok(());
        };
        note(format!("booting an emulated {}", board.name));
        let vm = BoardVm::boot(board, &[])?;
        let destination = Destination {
            address: BoardVm::ADDRESS.to_owned(),
            board: board.clone(),
        };
        for package in self.packages.clone() {
            let job = Job::new(&package, bench::EMULATED);
            let destinations = std::slice::from_ref(&destination);
            for result in bench::remote(destinations, &vm.ssh(), job, *self.progress)? {
                self.keep_bench(&package, result?)?;
            }
        }
        Ok(())
    }

    fn keep_bench(&mut self, package: &Path, bench: Bench) -> Result<(), Error> {
        let stem = package.file_stem().unwrap_or_default().to_string_lossy();
        let place = bench.host.as_ref().unwrap_or(&bench.board);
        let file = format!("{stem}.bench-{place}.json");
        self.keep(&file, Record::Bench(bench))
    }

    fn keep(&mut self, file: &str, record: Record) -> Result<(), Error> {
        let text = match &record {
            Record::Pack(record) => json(record)?,
            Record::Eval(record) => json(record)?,
            Record::Bench(record) => json(record)?,
        };
        write_file(&self.folder.join(file), text.as_bytes())?;
        self.records.push(record);
        Ok(())
    }

    fn finish(self) -> Result<Outcome, Error> {
        let report = Report::join(self.records);
        let html = self.folder.join("report.html");
        write_file(&html, html::render(&report, None).as_bytes())?;
        Ok(Outcome {
            report,
            html,
            missing: self.missing,
        })
    }
}

/// One board for each core that an emulator knows.
fn cores() -> Vec<&'static Board> {
    let mut boards: Vec<&Board> = Vec::new();
    for board in edgeprune_boards::all() {
        if boards
            .iter()
            .all(|other| other.emulator.cpu != board.emulator.cpu)
        {
            boards.push(board);
        }
    }
    boards
}
