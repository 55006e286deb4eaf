//! A seeded generator of numbers (SplitMix64): the same choices on every machine.

/// A stream of random numbers.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `low..=high`
    pub(crate) fn size(&mut self, low: usize, high: usize) -> usize {
        low + (self.next() >> 11) as usize % (high - low + 1)
    }

    /// Whether something happens that does so in `percent` of all cases.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.size(0, 99) < percent
    }

    pub(crate) fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.size(0, choices.len() - 1)].clone()
    }

    /// `low..high`
    pub(crate) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Values of `-limit..limit`.
    pub(crate) fn values(&mut self, count: usize, limit: f32) -> Vec<f32> {
        (0..count).map(|_| self.between(-limit, limit)).collect()
    }

    /// Weights that keep the variance of what they multiply, with `taps` for each sum.
    pub(crate) fn weights(&mut self, count: usize, taps: usize) -> Vec<f32> {
        self.values(count, (3.0 / taps.max(1) as f32).sqrt())
    }

    /// Some of `choices`, in their order; never none unless there are none.
    pub(crate) fn subset(&mut self, choices: &[usize]) -> Vec<usize> {
        let mut chosen: Vec<usize> = choices.to_vec();
        chosen.retain(|_| self.chance(50));
        if chosen.is_empty() && !choices.is_empty() {
            chosen.push(self.pick(choices));
        }
        chosen
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.size(0, i));
        }
    }
}
