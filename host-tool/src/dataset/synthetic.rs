//! Made-up inputs for packing without calibration data: deterministic, and the same on every
//! machine, for they use only exactly rounded arithmetic.

use super::images;
use super::order::{InputForm, Order};
use super::spec::InputSpec;
use edgeprune_format::manifest::ChannelOrder;

/// A number of made-up samples.
#[derive(Debug)]
pub(super) struct Synthetic {
    count: usize,
}

impl Synthetic {
    pub(super) fn new(count: usize) -> Self {
        Self { count }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn sample(
        &self,
        index: usize,
        spec: Option<&InputSpec>,
        forms: &[InputForm],
    ) -> Vec<Vec<f32>> {
        forms
            .iter()
            .enumerate()
            .map(|(input, form)| {
                let mut random = Random::new((index as u64) << 8 | input as u64);
                input_values(&mut random, spec, form)
            })
            .collect()
    }
}

fn input_values(random: &mut Random, spec: Option<&InputSpec>, form: &InputForm) -> Vec<f32> {
    match (spec, form.hwc()) {
        (Some(spec), Some([height, width, channels])) if channels == spec.channels() => {
            let pixels = picture(random, height, width, channels);
            let order: &[usize] = match spec.preprocess.channel_order {
                ChannelOrder::Gray => &[0],
                ChannelOrder::Rgb => &[0, 1, 2],
                ChannelOrder::Bgr => &[2, 1, 0],
            };
            form.arrange(images::normalised(&pixels, order, spec), Order::Hwc)
        }
        _ => (0..form.elements()).map(|_| random.normal()).collect(),
    }
}

/// A picture with the statistics that matter to convolutions: broad shading, soft blobs, straight
/// edges and a little noise, in correlated colours.
fn picture(random: &mut Random, height: usize, width: usize, channels: usize) -> Vec<u8> {
    let mut canvas = Canvas::new(height, width, channels, random);
    for cells in [2, 4, 9] {
        let strength = 110.0 / cells as f32 + 12.0;
        canvas.shade(cells, strength, random);
    }
    for _ in 0..3 + random.below(4) {
        canvas.blob(random);
    }
    for _ in 0..2 + random.below(4) {
        canvas.edge(random);
    }
    canvas.pixels(random)
}

struct Canvas {
    size: [usize; 2],
    channels: usize,
    values: Vec<f32>,
}

impl Canvas {
    fn new(height: usize, width: usize, channels: usize, random: &mut Random) -> Self {
        let base = random.colour(channels, 110.0, 45.0);
        Self {
            size: [height, width],
            channels,
            values: base.repeat(height * width),
        }
    }

    /// Calls `change` with the coordinates (0..1) and the values of every pixel.
    fn each(&mut self, mut change: impl FnMut(f32, f32, &mut [f32])) {
        let [height, width] = self.size;
        for (i, pixel) in self.values.chunks_exact_mut(self.channels).enumerate() {
            let y = (i / width) as f32 / height as f32;
            let x = (i % width) as f32 / width as f32;
            change(y, x, pixel);
        }
    }

    /// Noise on a coarse grid, interpolated.
    fn shade(&mut self, cells: usize, strength: f32, random: &mut Random) {
        let side = cells + 1;
        let colours: Vec<Vec<f32>> = (0..side * side)
            .map(|_| random.colour(self.channels, 0.0, strength))
            .collect();
        self.each(|y, x, pixel| {
            let (row, down) = cell(y, cells);
            let (column, right) = cell(x, cells);
            let corner = row * side + column;
            for (c, value) in pixel.iter_mut().enumerate() {
                let top = mix(colours[corner][c], colours[corner + 1][c], right);
                let below = corner + side;
                let bottom = mix(colours[below][c], colours[below + 1][c], right);
                *value += mix(top, bottom, down);
            }
        });
    }

    /// A soft round spot.
    fn blob(&mut self, random: &mut Random) {
        let (cy, cx) = (random.unit(), random.unit());
        let radius = 0.05 + 0.25 * random.unit();
        let colour = random.colour(self.channels, 0.0, 70.0);
        self.each(|y, x, pixel| {
            let d = ((y - cy) * (y - cy) + (x - cx) * (x - cx)) / (radius * radius);
            let weight = 1.0 / ((1.0 + d) * (1.0 + d));
            add(pixel, &colour, weight);
        });
    }

    /// Another colour on one side of a line.
    fn edge(&mut self, random: &mut Random) {
        let (cy, cx) = (random.unit(), random.unit());
        let (dy, dx) = (random.unit() - 0.5, random.unit() - 0.5);
        let length = (dy * dy + dx * dx).sqrt().max(1e-3);
        let sharpness = 8.0 + 120.0 * random.unit();
        let colour = random.colour(self.channels, 0.0, 40.0);
        self.each(|y, x, pixel| {
            let side = ((y - cy) * dy + (x - cx) * dx) / length;
            let weight = (0.5 + side * sharpness).clamp(0.0, 1.0);
            add(pixel, &colour, weight);
        });
    }

    fn pixels(&self, random: &mut Random) -> Vec<u8> {
        self.values
            .iter()
            .map(|value| (value + 5.0 * random.normal()).clamp(0.0, 255.0) as u8)
            .collect()
    }
}

fn cell(position: f32, cells: usize) -> (usize, f32) {
    let scaled = position * cells as f32;
    let cell = (scaled as usize).min(cells - 1);
    (cell, scaled - cell as f32)
}

fn mix(a: f32, b: f32, weight: f32) -> f32 {
    a + (b - a) * weight
}

fn add(pixel: &mut [f32], colour: &[f32], weight: f32) {
    for (value, change) in pixel.iter_mut().zip(colour) {
        *value += weight * change;
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xd134_2543_de82_ef95) ^ 0x5851_f42d_4c95_7f2d)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Uniform in 0..1.
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / 16_777_216.0
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Nearly normal, mean 0 and variance 1: the sum of twelve uniform numbers.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.unit()).sum::<f32>() - 6.0
    }

    /// Channels that vary together, as colours in photographs do.
    fn colour(&mut self, channels: usize, mean: f32, spread: f32) -> Vec<f32> {
        let common = self.normal();
        (0..channels)
            .map(|_| mean + spread * (0.85 * common + 0.5 * self.normal()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_fill_the_range_and_differ() {
        let pixels = |seed| picture(&mut Random::new(seed), 32, 32, 3);
        let mean = |p: &[u8]| p.iter().map(|&v| f64::from(v)).sum::<f64>() / p.len() as f64;
        let (a, b) = (pixels(1), pixels(2));
        assert_ne!(a, b);
        assert_eq!(a, pixels(1));
        let all: Vec<u8> = (0..16).flat_map(pixels).collect();
        assert!((60.0..190.0).contains(&mean(&all)), "{}", mean(&all));
        let spread = all.iter().map(|&v| (f64::from(v) - mean(&all)).powi(2));
        let deviation = (spread.sum::<f64>() / all.len() as f64).sqrt();
        assert!((35.0..100.0).contains(&deviation), "{deviation}");
    }

    #[test]
    fn normal_numbers_have_mean_zero_and_variance_one() {
        let mut random = Random::new(7);
        let values: Vec<f32> = (0..20_000).map(|_| random.normal()).collect();
        let mean = values.iter().sum::<f32>() / 20_000.0;
        let variance = values.iter().map(|v| v * v).sum::<f32>() / 20_000.0;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05);
    }
}
