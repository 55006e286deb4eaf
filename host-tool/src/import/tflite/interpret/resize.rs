//! Resizing of images.

use super::{Value, elements};

/// Which pixels of the input an output pixel is made of.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    align_corners: bool,
    half_pixel_centers: bool,
    bilinear: bool,
}

/// Two input positions and the weight of the second.
struct Tap {
    at: [usize; 2],
    weight: f32,
}

impl Grid {
    /// # Errors
    /// Bilinear kernels refuse both options at once.
    pub(super) fn new(
        align_corners: bool,
        half_pixel_centers: bool,
        bilinear: bool,
    ) -> Result<Self, String> {
        if align_corners && half_pixel_centers && bilinear {
            return Err("align_corners and half_pixel_centers exclude each other".into());
        }
        Ok(Self {
            align_corners,
            half_pixel_centers,
            bilinear,
        })
    }

    /// The taps of all output positions along an axis. Coordinates are in single precision, as in
    /// TensorFlow's kernels: they decide which neighbour is the nearest.
    fn taps(&self, size: usize, out: usize) -> Vec<Tap> {
        let scale = match self.align_corners && out > 1 {
            true => (size - 1) as f32 / (out - 1) as f32,
            false => size as f32 / out as f32,
        };
        let half = if self.half_pixel_centers { 0.5 } else { 0.0 };
        let last = size - 1;
        let tap = |x: usize| {
            let at = (x as f32 + half) * scale;
            if self.bilinear {
                let at = at - half;
                let low = at.floor().max(0.0);
                let high = (at.ceil().max(0.0) as usize).min(last);
                return Tap {
                    at: [(low as usize).min(last), high],
                    weight: at - low,
                };
            }
            let nearest = if self.align_corners {
                at.round()
            } else {
                at.floor()
            };
            let nearest = (nearest as usize).min(last);
            Tap {
                at: [nearest, nearest],
                weight: 0.0,
            }
        };
        (0..out).map(tap).collect()
    }
}

/// Resizes height and width to two given numbers.
pub(super) fn resize(input: &Value, size: &Value, grid: Grid) -> Result<Value, String> {
    let [batch, height, width, channels] = input.image()?;
    let &[out_height, out_width] = size.integers().as_slice() else {
        return Err("a size that is not a height and a width".into());
    };
    let dimension = |size: i64| usize::try_from(size).ok().filter(|&size| size > 0);
    let sizes = dimension(out_height).zip(dimension(out_width));
    let (out_height, out_width) = sizes.ok_or("a size that is not positive")?;
    if input.data.is_empty() {
        return Err("a resize of an empty image".into());
    }
    let dims = vec![batch, out_height, out_width, channels];
    let mut data = Vec::with_capacity(elements(&dims)?);
    let (rows, columns) = (grid.taps(height, out_height), grid.taps(width, out_width));
    for n in 0..batch {
        for row in &rows {
            for column in &columns {
                for c in 0..channels {
                    let pixel = |i: usize, j: usize| {
                        let line = (n * height + row.at[i]) * width + column.at[j];
                        input.data[line * channels + c]
                    };
                    let mix = |a: f32, b: f32, weight: f32| a * (1.0 - weight) + b * weight;
                    let top = mix(pixel(0, 0), pixel(0, 1), column.weight);
                    let bottom = mix(pixel(1, 0), pixel(1, 1), column.weight);
                    data.push(mix(top, bottom, row.weight));
                }
            }
        }
    }
    Ok(Value::new(dims, data))
}
