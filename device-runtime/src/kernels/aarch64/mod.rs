//! Kernels for 64-bit ARM: for its baseline (NEON), for cores with the dot product extension
//! (Cortex-A55, A75 and later), and for those with matrix multiplication (Cortex-A510, A715 and later). Everything else in [`portable`] is compiled for NEON already.

/// `sums += dot(w's four codes in each lane, x's)`: those of one lane of x, or of the same. The intrinsics, `vdotq_laneq_s32`
/// and `vdotq_s32`, are not stable.
macro_rules! sdot {
    ($sums:expr, $w:expr, $x:expr, $lane:literal) => {
        sdot!(@ $sums, $w, $x, concat!("sdot {sums:v}.4s, {w:v}.16b, {x:v}.4b[", $lane, "]"))
    };
    ($sums:expr, $w:expr, $x:expr) => {
        sdot!(@ $sums, $w, $x, "sdot {sums:v}.4s, {w:v}.16b, {x:v}.16b")
    };
    (@ $sums:expr, $w:expr, $x:expr, $instruction:expr) => {
        core::arch::asm!(
            ".arch_extension dotprod",
            $instruction,
            sums = inout(vreg) $sums,
            w = in(vreg) $w,
            x = in(vreg) $x,
            options(pure, nomem, nostack, preserves_flags),
        )
    };
}

/// The next 64 codes from `$at` on, which moves past them: by one instruction, where the intrinsic, `vld1q_s8_x4`, is four loads.
macro_rules! next_64 {
    ($at:expr) => {{
        let (a, b, c, d): (int8x16_t, int8x16_t, int8x16_t, int8x16_t);
        core::arch::asm!(
            "ld1 {{v28.16b-v31.16b}}, [{at}], #64",
            at = inout(reg) $at,
            out("v28") a,
            out("v29") b,
            out("v30") c,
            out("v31") d,
            options(pure, readonly, nostack, preserves_flags),
        );
        [a, b, c, d]
    }};
}

mod add;
mod columns;
mod convolution;
mod depthwise;
mod dotprod;
mod float;
mod i8mm;
mod neon;
mod requantize;
mod sparse;
mod winograd;

use super::Table;
use super::portable;
use super::sparse::{DOTPROD as DOTPROD_COST, I8MM as I8MM_COST, NEON as NEON_COST, Sparse};
use super::tile::gemm_i8;
use super::winograd::Winograd;
use super::winograd::convolve::{convolve, transform_weights};

pub(super) static NEON: Table = Table {
    name: "neon",
    products_per_microsecond: 8_000,
    panel: <neon::Neon as super::tile::Tile>::PANEL,
    tile: <neon::Neon as super::tile::Tile>::SIZE,
    gemm_i8: |gemm, out| gemm_i8::<neon::Neon, neon::Neon, neon::Neon>(gemm, out),
    depthwise_i8: kernel_of!("depthwise_conv_2d", depthwise::depthwise_i8, depthwise, out),
    rows_f32: 4,
    gemm_f32: kernel_of!("float_layers", float::gemm_f32, gemm, out, stride),
    depthwise_f32: kernel_of!("float_layers", float::depthwise_f32, depthwise, out),
    add_i8: add::add_i8,
    winograd_i8: Some(Winograd {
        transform_weights: kernel_of!(
            "conv_2d",
            transform_weights::<winograd::Neon>,
            codes,
            channels,
            points
        ),
        convolve: kernel_of!(
            "conv_2d",
            convolve::<winograd::Neon>,
            convolution,
            scratch,
            out
        ),
    }),
    sparse: Some(Sparse {
        cost: NEON_COST,
        gemm_i8: kernel_of!(
            "conv_2d",
            sparse::gemm_i8::<sparse::Neon>,
            gemm,
            scratch,
            out
        ),
    }),
    ..portable::TABLE
};

static DOTPROD: Table = Table {
    name: "neondot",
    products_per_microsecond: 50_000,
    panel: <dotprod::DotProduct as super::tile::Tile>::PANEL,
    tile: <dotprod::DotProduct as super::tile::Tile>::SIZE,
    gemm_i8: |gemm, out| {
        gemm_i8::<dotprod::DotProduct, dotprod::DotProduct, dotprod::DotProduct>(gemm, out)
    },
    depthwise_3x3: Some(kernel_of!(
        "depthwise_conv_2d",
        columns::depthwise_3x3,
        depthwise,
        codes,
        out
    )),
    winograd_i8: None,
    convolution_3x3: Some(kernel_of!(
        "conv_2d",
        convolution::convolve,
        convolution,
        codes,
        out
    )),
    sparse: Some(Sparse {
        cost: DOTPROD_COST,
        gemm_i8: kernel_of!(
            "conv_2d",
            sparse::gemm_i8::<sparse::DotProduct>,
            gemm,
            scratch,
            out
        ),
    }),
    ..NEON
};

static I8MM: Table = Table {
    name: "neoni8mm",
    products_per_microsecond: 64_000,
    panel: <i8mm::MatrixProduct as super::tile::Tile>::PANEL,
    tile: <i8mm::MatrixProduct as super::tile::Tile>::SIZE,
    gemm_i8: |gemm, out| {
        gemm_i8::<i8mm::MatrixProduct, i8mm::MatrixProduct, i8mm::MatrixProduct>(gemm, out)
    },
    convolution_3x3: None,
    sparse: Some(Sparse {
        cost: I8MM_COST,
        gemm_i8: kernel_of!(
            "conv_2d",
            sparse::gemm_i8::<sparse::DotProduct>,
            gemm,
            scratch,
            out
        ),
    }),
    ..DOTPROD
};

/// The kernels with dot products, if this processor can run them: if it says so (with the feature
/// `std`), or if the program is compiled for such processors alone.
pub(super) fn dotprod() -> Option<&'static Table> {
    #[cfg(feature = "std")]
    let detected = std::arch::is_aarch64_feature_detected!("dotprod");
    #[cfg(not(feature = "std"))]
    let detected = cfg!(target_feature = "dotprod");
    detected.then_some(&DOTPROD)
}

/// The kernels with matrix multiplication, under the same conditions; they use dot products as well.
pub(super) fn i8mm() -> Option<&'static Table> {
    #[cfg(feature = "std")]
    let detected = std::arch::is_aarch64_feature_detected!("i8mm");
    #[cfg(not(feature = "std"))]
    let detected = cfg!(target_feature = "i8mm");
    (detected && dotprod().is_some()).then_some(&I8MM)
}

#[cfg(not(target_feature = "neon"))]
compile_error!("the runtime needs NEON on 64-bit ARM");
