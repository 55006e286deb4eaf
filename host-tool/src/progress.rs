//! Progress of a long job: bars on a terminal, nothing in a pipe; and lines for what is worth keeping.

use crate::cli::output::note;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

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
        let target = match self {
            Self::Terminal => ProgressDrawTarget::stderr(),
            Self::Silent => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(total as u64), target);
        let style = ProgressStyle::with_template("{msg:>14} {wide_bar} {pos}/{len} {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(name);
        Stage(bar)
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
