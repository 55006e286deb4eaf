//! How a node is divided among threads: its output into parts that follow each other, each computed from the
//! whole input with scratch of its own. A part computes what it would as part of the whole, bit for bit.

use core::ops::Range;
use edgeprune_format::ALIGNMENT;

/// What a node has to do.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(feature = "std"),
    expect(dead_code, reason = "there are no threads")
)]
pub(crate) struct Work {
    /// Pieces of one length that the output consists of: positions, rows, channels or elements.
    pub(crate) pieces: usize,
    /// A part begins at a multiple of so many pieces.
    pub(crate) grain: usize,
    /// Products of an integer convolution that take about as long.
    pub(crate) cost: u64,
}

impl Work {
    /// An output that is not divided.
    pub(crate) const WHOLE: Self = Self {
        pieces: 1,
        grain: 1,
        cost: 0,
    };

    /// Elements, each at a cost, computed one by one.
    pub(crate) fn of_elements(elements: usize, cost: u64) -> Self {
        Self {
            pieces: elements,
            grain: ALIGNMENT,
            cost: (elements as u64).saturating_mul(cost),
        }
    }

    /// Positions of an output, of which each element has a cost.
    pub(crate) fn of_positions([height, width, channels]: [usize; 3], cost: u64) -> Self {
        let positions = height * width;
        Self {
            pieces: positions,
            grain: 1,
            cost: ((positions * channels) as u64).saturating_mul(cost),
        }
    }

    /// All pieces.
    pub(crate) fn all(self) -> Range<usize> {
        0..self.pieces
    }
}

#[cfg(feature = "std")]
mod threads {
    use super::Work;
    use crate::ops::{Memory, Step};
    use crate::pool::{MAX_THREADS, Pool};
    use std::sync::Mutex;

    impl Step {
        /// Computes the output on the threads of a pool, as far as it is worth one. `memory` has `scratch` bytes
        /// of working memory for each.
        pub(crate) fn run_on(
            &self,
            pool: &mut Pool,
            mut memory: Memory<'_>,
            scratch: usize,
        ) -> Option<()> {
            let work = self.work();
            let least = pool.least_microseconds() * memory.kernels.products_per_microsecond();
            let parts = work.parts(pool.threads(), least);
            if parts == 1 {
                return self.run(&mut memory.split_off(work, work.pieces, scratch)?);
            }
            // each thread locks its own
            let tasks: [Mutex<Option<Memory<'_>>>; MAX_THREADS] = Default::default();
            for (part, task) in tasks.iter().enumerate().take(parts) {
                *task.lock().ok()? =
                    Some(memory.split_off(work, work.end(part, parts)?, scratch)?);
            }
            pool.run(parts, &|part| {
                let mut task = tasks.get(part)?.lock().ok()?;
                self.run(task.as_mut()?)
            })
        }
    }

    impl Work {
        /// Parts that are worth a thread each, of which there are `threads`, where one must have `least` to do.
        pub(super) fn parts(self, threads: usize, least: u64) -> usize {
            let worth = self
                .cost
                .checked_div(least)
                .map_or(threads, |parts| parts as usize);
            threads.min(worth).min(self.grains()).max(1)
        }

        /// Where a part of so many ends.
        pub(super) fn end(self, part: usize, parts: usize) -> Option<usize> {
            let grains = (self.grains() * (part + 1)).checked_div(parts)?;
            Some(self.pieces.min(grains * self.grain))
        }

        fn grains(self) -> usize {
            self.pieces.div_ceil(self.grain.max(1))
        }
    }

    impl<'s> Memory<'s> {
        /// Takes the pieces before `end`, and their working memory, away from the rest.
        fn split_off(&mut self, work: Work, end: usize, scratch: usize) -> Option<Self> {
            let pieces = self.pieces.start..end;
            let bytes = self.output.len().checked_div(self.pieces.len())? * pieces.len();
            let (output, rest) = core::mem::take(&mut self.output).split_at_mut_checked(bytes)?;
            let (scratch, other) =
                core::mem::take(&mut self.scratch).split_at_mut_checked(scratch)?;
            (self.output, self.scratch, self.pieces) = (rest, other, end..work.pieces);
            Some(Self {
                output,
                scratch,
                pieces,
                ..*self
            })
        }
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_all_pieces_and_begin_at_whole_grains() {
        for pieces in 1..100 {
            for grain in [1, 4, 16, 64] {
                for threads in 1..=16 {
                    let work = Work {
                        pieces,
                        grain,
                        cost: 1,
                    };
                    let parts = work.parts(threads, 0);
                    assert!((1..=threads).contains(&parts));
                    let mut first = 0;
                    for part in 0..parts {
                        let end = work.end(part, parts).unwrap();
                        assert!(end > first && first.is_multiple_of(grain));
                        first = end;
                    }
                    assert_eq!(first, pieces);
                }
            }
        }
    }

    #[test]
    fn a_thread_gets_a_part_that_is_worth_it() {
        let work = Work {
            pieces: 100,
            grain: 1,
            cost: 5000,
        };
        assert_eq!(work.parts(16, 1000), 5);
        assert_eq!(work.parts(4, 1000), 4);
        assert_eq!(work.parts(16, 5001), 1);
        assert_eq!(Work::WHOLE.parts(16, 0), 1);
    }
}
