//! Which models describe the elements in the fewest bits, and which of them each row takes.

use super::encode::{bits, packed};
use super::{MAX_MODELS, MAX_ORDER, MAX_SCALE_BITS, MIN_SCALE_BITS, choice_bits};
use alloc::vec;
use alloc::vec::Vec;

extern crate std;

/// Rounds of giving every row the model that codes it best, and making the models anew.
const PASSES: usize = 4;
/// Elements of a row below which naming a model for it cannot pay.
const LEAST_ROW: usize = 16;

/// The model of each row, numbered from 0, as the encoder chooses them; empty where one model
/// serves all rows.
pub fn row_models(elements: &[i8], row: usize) -> Vec<u8> {
    match Models::best(elements, row) {
        Some(models) if models.models.len() > 1 => models.choices,
        _ => Vec::new(),
    }
}

/// The models of a tensor.
pub(super) struct Models {
    pub(super) scale_bits: u32,
    pub(super) models: Vec<Model>,
    /// The model of each row.
    pub(super) choices: Vec<u8>,
    /// Bits of the models, the rows' choices and the elements.
    pub(super) cost: f64,
}

impl Models {
    /// The cheapest models found, `None` where there is nothing to encode.
    pub(super) fn best(elements: &[i8], row: usize) -> Option<Self> {
        let rows = Rows::new(elements, row)?;
        let mut best = Self::with(&rows, 1);
        let mut number = 2;
        while number <= MAX_MODELS.min(rows.len()) {
            let next = Self::with(&rows, number);
            if next.cost >= best.cost {
                break;
            }
            best = next;
            number *= 2;
        }
        Some(best)
    }

    /// The model of a row.
    pub(super) fn of_row(&self, row: usize) -> Option<&Model> {
        match self.models.as_slice() {
            [only] => Some(only),
            models => models.get(usize::from(*self.choices.get(row)?)),
        }
    }

    fn with(rows: &Rows, number: usize) -> Self {
        let mut choices = rows.by_magnitude(number);
        if number > 1 {
            for _ in 0..PASSES {
                let prices: Vec<_> = rows.sums(&choices).iter().map(|c| prices(c)).collect();
                choices = rows.cheapest(&prices);
            }
        }
        let sums = rows.sums(&choices);
        let most = sums.iter().map(|sum| used(sum)).max().unwrap_or(0);
        let at = |scale_bits| {
            let models: Vec<_> = sums
                .iter()
                .filter_map(|sum| Model::new(sum, rows.lowest, scale_bits))
                .collect();
            let choosing = match number {
                1 => 0.0,
                _ => 32.0 + f64::from(choice_bits(models.len())) * rows.len() as f64,
            };
            Self {
                cost: choosing + models.iter().map(|model| model.cost).sum::<f64>(),
                scale_bits,
                models,
                choices: choices.clone(),
            }
        };
        (MIN_SCALE_BITS..MAX_SCALE_BITS)
            .filter(|scale_bits| most <= 1 << scale_bits)
            .map(at)
            .fold(
                at(MAX_SCALE_BITS),
                |a, b| if b.cost < a.cost { b } else { a },
            )
    }
}

/// How often each symbol occurs in each row.
struct Rows {
    lowest: i8,
    symbols: usize,
    /// `rows x symbols`.
    counts: Vec<u32>,
}

impl Rows {
    fn new(elements: &[i8], row: usize) -> Option<Self> {
        let lowest = *elements.iter().min()?;
        let highest = *elements.iter().max()?;
        let symbols = (i16::from(highest) - i16::from(lowest)) as usize + 1;
        let row = if row < LEAST_ROW { elements.len() } else { row };
        let mut counts = vec![0; elements.len().div_ceil(row) * symbols];
        for (elements, counts) in elements.chunks(row).zip(counts.chunks_exact_mut(symbols)) {
            for &element in elements {
                let symbol = (i16::from(element) - i16::from(lowest)) as usize;
                if let Some(count) = counts.get_mut(symbol) {
                    *count += 1;
                }
            }
        }
        Some(Self {
            lowest,
            symbols,
            counts,
        })
    }

    fn len(&self) -> usize {
        self.counts.len() / self.symbols
    }

    fn iter(&self) -> impl Iterator<Item = &[u32]> {
        self.counts.chunks_exact(self.symbols)
    }

    /// The rows in `number` parts of equal size, by the sum of their magnitudes.
    fn by_magnitude(&self, number: usize) -> Vec<u8> {
        let magnitude = |symbol: usize| (i64::from(self.lowest) + symbol as i64).unsigned_abs();
        let sum = |row: &[u32]| -> u64 {
            let counts = row.iter().enumerate();
            counts
                .map(|(symbol, &count)| u64::from(count) * magnitude(symbol))
                .sum()
        };
        let mut order: Vec<(u64, usize)> = self.iter().map(sum).zip(0..).collect();
        order.sort_unstable();
        let mut parts = vec![0; order.len()];
        for (rank, (_, row)) in order.iter().enumerate() {
            if let Some(part) = parts.get_mut(*row) {
                *part = (rank * number / order.len()) as u8;
            }
        }
        parts
    }

    /// The counts of all rows of each model.
    fn sums(&self, choices: &[u8]) -> Vec<Vec<u32>> {
        let number = choices
            .iter()
            .max()
            .map_or(0, |&last| usize::from(last) + 1);
        let mut sums = vec![vec![0; self.symbols]; number];
        for (row, &choice) in self.iter().zip(choices) {
            if let Some(sum) = sums.get_mut(usize::from(choice)) {
                sum.iter_mut()
                    .zip(row)
                    .for_each(|(sum, count)| *sum += count);
            }
        }
        sums
    }

    /// The model under whose prices each row costs least; models that no row takes are dropped.
    fn cheapest(&self, prices: &[Vec<f32>]) -> Vec<u8> {
        let cost = |row: &[u32], prices: &[f32]| -> f32 {
            row.iter()
                .zip(prices)
                .map(|(&count, price)| count as f32 * price)
                .sum()
        };
        let choose = |row| {
            let costs = prices.iter().map(|prices| cost(row, prices)).zip(0..);
            costs
                .min_by(|a, b| a.0.total_cmp(&b.0))
                .map_or(0, |(_, choice)| choice)
        };
        let choices: Vec<u8> = self.iter().map(choose).collect();
        let taken = |choice: &u8| choices.contains(choice);
        let names: Vec<u8> = (0..prices.len() as u8).filter(taken).collect();
        let renamed = |choice| names.iter().position(|&name| name == choice).unwrap_or(0) as u8;
        choices.into_iter().map(renamed).collect()
    }
}

/// Bits of each symbol in a model with these counts, which a row may leave.
fn prices(counts: &[u32]) -> Vec<f32> {
    let share = |count: u32| f64::from(count) + 0.5;
    let total: f64 = counts.iter().map(|&count| share(count)).sum();
    let price = |&count: &u32| std::primitive::f64::log2(total / share(count)) as f32;
    counts.iter().map(price).collect()
}

fn used(counts: &[u32]) -> usize {
    counts.iter().filter(|&&count| count > 0).count()
}

/// A model of some rows.
pub(super) struct Model {
    k: u32,
    pub(super) lowest: i8,
    pub(super) frequencies: Vec<u32>,
    pub(super) starts: Vec<u32>,
    /// Bits of the model and of the elements.
    cost: f64,
}

impl Model {
    /// `counts` begin with the symbol `lowest`; `None` where all are 0.
    fn new(counts: &[u32], lowest: i8, scale_bits: u32) -> Option<Self> {
        let first = counts.iter().position(|&c| c > 0)?;
        let last = counts.iter().rposition(|&c| c > 0)?;
        let counts = counts.get(first..=last)?;
        let frequencies = normalize(counts, 1 << scale_bits);
        let table = |k: u32| -> u32 { frequencies.iter().map(|&f| golomb_bits(f, k)).sum() };
        let k = (0..=u32::from(MAX_ORDER))
            .min_by_key(|&k| table(k))
            .unwrap_or(0);
        let elements: f64 = counts
            .iter()
            .zip(&frequencies)
            .filter(|(c, _)| **c > 0)
            .map(|(&c, &f)| f64::from(c) * (f64::from(scale_bits) - log2(f)))
            .sum();
        let starts = frequencies
            .iter()
            .scan(0, |sum, &f| {
                *sum += f;
                Some(*sum - f)
            })
            .collect();
        Some(Self {
            cost: f64::from(24 + table(k).next_multiple_of(8)) + elements,
            k,
            lowest: (i16::from(lowest) + first as i16) as i8,
            frequencies,
            starts,
        })
    }

    pub(super) fn write(&self, stream: &mut Vec<u8>) {
        let last = self.frequencies.len() - 1;
        stream.extend([self.k as u8, self.lowest as u8, last as u8]);
        let codes = self.frequencies.iter().flat_map(|&frequency| {
            let value = frequency + (1 << self.k);
            let width = value.ilog2();
            bits(0, width - self.k).chain(bits(value, width + 1))
        });
        stream.extend(packed(codes));
    }
}

fn golomb_bits(value: u32, k: u32) -> u32 {
    2 * (value + (1 << k)).ilog2() + 1 - k
}

fn log2(value: u32) -> f64 {
    std::primitive::f64::log2(f64::from(value))
}

/// Frequencies that sum to `total`, at least 1 where the count is not 0, close to least cost.
fn normalize(counts: &[u32], total: u32) -> Vec<u32> {
    let sum: f64 = counts.iter().map(|&c| f64::from(c)).sum();
    let share = |c: u32| f64::from(c) * f64::from(total) / sum;
    let mut frequencies: Vec<u32> = counts
        .iter()
        .map(|&c| if c == 0 { 0 } else { (share(c) as u32).max(1) })
        .collect();
    loop {
        let have: u32 = frequencies.iter().sum();
        if have == total {
            return frequencies;
        }
        let up = have < total;
        // Bits lost (or gained, negated) by one step on this symbol; the least loss goes.
        let loss = |(&c, &f): (&u32, &u32)| -> f64 {
            let next = if up { f + 1 } else { f - 1 };
            f64::from(c) * (log2(f) - log2(next))
        };
        let best = counts
            .iter()
            .zip(&frequencies)
            .enumerate()
            .filter(|(_, (_, f))| **f > u32::from(!up))
            .min_by(|a, b| loss(a.1).total_cmp(&loss(b.1)))
            .map(|(i, _)| i);
        match best.and_then(|i| frequencies.get_mut(i)) {
            Some(f) if up => *f += 1,
            Some(f) => *f -= 1,
            None => return frequencies,
        }
    }
}
