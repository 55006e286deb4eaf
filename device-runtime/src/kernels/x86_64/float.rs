//! Floats, eight or sixteen channels to a register: fused multiply-adds by an input that is broadcast from memory.

use crate::kernels::float::Lanes;
use core::arch::x86_64::*;

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Lanes for __m256 {
    const LANES: usize = 8;
    const SUMS: usize = 12;
    type Four = *const f32;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller has seen to the instructions, here and in what follows.
        unsafe { _mm256_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn load_some(from: *const f32, count: usize) -> Self {
        // SAFETY: the caller's; what the mask leaves out is not read.
        unsafe { _mm256_maskload_ps(from, mask(count)) }
    }

    #[inline(always)]
    unsafe fn codes(from: *const i8) -> Self {
        // SAFETY: the caller's.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast()))) }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the caller's.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn four(from: *const f32) -> *const f32 {
        from
    }

    #[inline(always)]
    unsafe fn spread<const I: i32>(four: *const f32) -> Self {
        // SAFETY: the caller's: there are four.
        unsafe { _mm256_set1_ps(four.add(I as usize).read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn fused(self, x: Self, w: Self) -> Self {
        // SAFETY: the caller's.
        unsafe { _mm256_fmadd_ps(x, w, self) }
    }

    #[inline(always)]
    unsafe fn clamp(self, min: Self, max: Self) -> Self {
        // SAFETY: the caller's. Where the operands are not in order, the second is the result.
        unsafe { _mm256_min_ps(_mm256_max_ps(self, min), max) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's.
        unsafe { _mm256_storeu_ps(to, self) }
    }

    #[inline(always)]
    unsafe fn store_some(self, to: *mut f32, count: usize) {
        // SAFETY: the caller's; what the mask leaves out is not written.
        unsafe { _mm256_maskstore_ps(to, mask(count), self) }
    }
}

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Lanes for __m512 {
    const LANES: usize = 16;
    const SUMS: usize = 16;
    type Four = *const f32;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller has seen to the instructions, here and in what follows.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn load_some(from: *const f32, count: usize) -> Self {
        // SAFETY: the caller's; what the mask leaves out is not read.
        unsafe { _mm512_maskz_loadu_ps(mask16(count), from) }
    }

    #[inline(always)]
    unsafe fn codes(from: *const i8) -> Self {
        // SAFETY: the caller's.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()))) }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the caller's.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn four(from: *const f32) -> *const f32 {
        from
    }

    #[inline(always)]
    unsafe fn spread<const I: i32>(four: *const f32) -> Self {
        // SAFETY: the caller's: there are four.
        unsafe { _mm512_set1_ps(four.add(I as usize).read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn fused(self, x: Self, w: Self) -> Self {
        // SAFETY: the caller's.
        unsafe { _mm512_fmadd_ps(x, w, self) }
    }

    #[inline(always)]
    unsafe fn clamp(self, min: Self, max: Self) -> Self {
        // SAFETY: the caller's. Where the operands are not in order, the second is the result.
        unsafe { _mm512_min_ps(_mm512_max_ps(self, min), max) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's.
        unsafe { _mm512_storeu_ps(to, self) }
    }

    #[inline(always)]
    unsafe fn store_some(self, to: *mut f32, count: usize) {
        // SAFETY: the caller's; what the mask leaves out is not written.
        unsafe { _mm512_mask_storeu_ps(to, mask16(count), self) }
    }
}

/// All bits in the first `count` of eight lanes.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
unsafe fn mask(count: usize) -> __m256i {
    // SAFETY: the caller's.
    unsafe {
        let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), lanes)
    }
}

/// A bit for each of the first `count` of sixteen lanes.
#[inline(always)]
fn mask16(count: usize) -> __mmask16 {
    ((1u32 << count) - 1) as __mmask16
}
