//! Progress of a long job: bars on a terminal, nothing in a pipe; and lines for what is worth keeping.

use crate::cli::output::note;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// Between two pictures of a line that moves.
const TICK: Duration = Duration::from_millis(120);

/// Where progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Bars on standard error where that is a terminal, lines wherever it goes.
    Terminal,
    /// Nothing.
    Silent,
}

/// One stage of a job. Its bar goes away when it is dropped.
#[derive(Debug)]
pub struct Stage(ProgressBar);

impl Progress {
    /// Starts a stage of `total` steps.
    pub fn stage(&self, name: &'static str, total: usize) -> Stage {
        let bar = ProgressBar::with_draw_target(Some(total as u64), self.target());
        let style = ProgressStyle::with_template("{msg:>14} {wide_bar} {pos}/{len} {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(name);
        Stage(bar)
    }

    fn target(&self) -> ProgressDrawTarget {
        match self {
            Self::Terminal => ProgressDrawTarget::stderr(),
            Self::Silent => ProgressDrawTarget::hidden(),
        }
    }

    /// Says a line that stays, between two stages.
    pub fn say(&self, line: impl AsRef<str>) {
        match self {
            Self::Terminal => note(line),
            Self::Silent => (),
        }
    }
}

impl Stage {
    /// `steps` more are done.
    pub fn advance(&self, steps: usize) {
        self.0.inc(steps as u64);
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Lines that change, one for each of several jobs at once.
#[derive(Debug)]
pub struct Lines(MultiProgress);

/// What one of them is doing. Its line goes away when it is dropped.
#[derive(Debug)]
pub struct Line(ProgressBar);

impl Progress {
    /// Room for lines.
    pub fn lines(&self) -> Lines {
        Lines(MultiProgress::with_draw_target(self.target()))
    }
}

impl Lines {
    /// A line for a job.
    pub fn add(&self, name: &str) -> Line {
        let bar = self.0.add(ProgressBar::new_spinner());
        let style = ProgressStyle::with_template("{spinner} {prefix}: {msg} ({elapsed})");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_prefix(name.to_owned());
        bar.enable_steady_tick(TICK);
        Line(bar)
    }
}

impl Line {
    /// What the job does now.
    pub fn say(&self, what: impl Into<String>) {
        self.0.set_message(what.into());
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
