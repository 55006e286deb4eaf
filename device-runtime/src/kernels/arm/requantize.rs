//! What requantization needs in every lane.

use crate::quantize::{Codes, MAGIC};

/// Least and greatest step, what rounds to a whole number, and what makes this a code, four times each.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Requantize([[u32; 4]; 4]);

impl Requantize {
    #[inline(always)]
    pub(super) fn new(codes: Codes) -> Self {
        let (zero_point, [least, greatest]) = codes.parts();
        let to_code = zero_point.cast_unsigned().wrapping_sub(MAGIC.to_bits());
        Self([
            [least.to_bits(); 4],
            [greatest.to_bits(); 4],
            [MAGIC.to_bits(); 4],
            [to_code; 4],
        ])
    }

    #[inline(always)]
    pub(super) fn as_ptr(&self) -> *const u32 {
        self.0.as_ptr().cast()
    }
}
