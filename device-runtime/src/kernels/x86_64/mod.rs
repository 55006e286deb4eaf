//! The portable bodies, compiled for AVX2 with FMA and for AVX-512 with VNNI, and their products. For the host, which scores packages with the runtime itself.

mod avx2;
mod avx512;
mod float;
mod vector;
mod windows;

use super::tile::{Tile, gemm_i8};
use super::winograd::Winograd;
use super::winograd::convolve::{convolve, transform_weights};
use super::{BinaryCodes, Depthwise, DepthwiseF32, Gemm, GemmF32, Out, Table, Taps};
use super::{float as floats, portable};
use core::arch::x86_64::{__m256, __m512};

/// The AVX2 kernels, if this processor can run them.
pub(super) fn avx2() -> Option<&'static Table> {
    let all = std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma");
    all.then_some(&AVX2)
}

/// The AVX-512 kernels, if this processor can run them.
pub(super) fn avx512() -> Option<&'static Table> {
    let all = std::is_x86_feature_detected!("avx2")
        && std::is_x86_feature_detected!("fma")
        && std::is_x86_feature_detected!("avx512f")
        && std::is_x86_feature_detected!("avx512bw")
        && std::is_x86_feature_detected!("avx512dq")
        && std::is_x86_feature_detected!("avx512vl")
        && std::is_x86_feature_detected!("avx512vnni");
    all.then_some(&AVX512)
}

/// A table of bodies compiled for some features, behind functions that are safe to call because
/// only a checked constructor gives the table out.
macro_rules! set {
    ($table:ident {
        name: $name:literal,
        features: $features:literal,
        products_per_microsecond: $products:literal,
        tiles: [$tile:ty, $fewer:ty, $last:ty],
        depthwise: $depthwise:ty,
        winograd: $winograd:expr,
        floats: $floats:ty,
        vectors_of_panel: $panel:literal,
        vectors_of_lone_row: $lone:literal,
        held_taps: $held:literal,
    }) => {
        static $table: Table = {
            set! { @ $features
                fn gemm(product: &Gemm<'_>, out: Out<'_>) -> Option<()> {
                    gemm_i8::<$tile, $fewer, $last>(product, out)
                }
                fn depthwise_i8(depthwise: &Depthwise<'_>, out: Out<'_>) -> Option<()> {
                    windows::depthwise_i8::<$depthwise>(depthwise, out)
                }
                fn gemm_f32(gemm: &GemmF32<'_>, out: &mut [f32], stride: usize) -> Option<()> {
                    floats::gemm_f32::<$floats, $panel, $lone>(gemm, out, stride)
                }
                fn depthwise_f32(depthwise: &DepthwiseF32<'_>, out: &mut [f32]) -> Option<()> {
                    floats::depthwise_f32::<$floats, 1, $held>(depthwise, out)
                }
                fn max_i8(taps: &Taps<'_, i8>, out: &mut [i8]) -> Option<()> {
                    portable::max_i8(taps, out)
                }
                fn max_f32(taps: &Taps<'_, f32>, out: &mut [f32]) -> Option<()> {
                    portable::max_f32(taps, out)
                }
                fn sum_i8(taps: &Taps<'_, i8>, acc: &mut [i32]) -> Option<()> {
                    portable::sum_i8(taps, acc)
                }
                fn sum_f32(taps: &Taps<'_, f32>, acc: &mut [f32]) -> Option<()> {
                    portable::sum_f32(taps, acc)
                }
                fn add_i8(a: &[i8], b: &[i8], operands: &BinaryCodes, out: &mut [i8]) -> () {
                    portable::add_i8(a, b, operands, out)
                }
            }
            Table {
                name: $name,
                products_per_microsecond: $products,
                panel: <$tile as Tile>::PANEL,
                tile: <$tile as Tile>::SIZE,
                sparse: None,
                gemm_i8: gemm,
                depthwise_i8,
                depthwise_3x3: None,
                winograd_i8: $winograd,
                convolution_3x3: None,
                rows_f32: if $panel == 1 { 8 } else { 4 },
                gemm_f32,
                depthwise_f32,
                max_i8,
                max_f32,
                sum_i8,
                sum_f32,
                add_i8,
            }
        };
    };
    (@ $features:literal $(fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty $body:block)*) => {
        $(
            #[expect(unsafe_code, reason = "the call of a function for more instructions")]
            fn $name($($arg: $type),*) -> $result {
                #[target_feature(enable = $features)]
                fn body($($arg: $type),*) -> $result $body
                // SAFETY: this function is reached through the table alone, which is given out only
                // after the processor has reported these features.
                unsafe { body($($arg),*) }
            }
        )*
    };
}

set!(AVX2 {
    name: "avx2",
    features: "avx2,fma",
    products_per_microsecond: 60_000,
    tiles: [avx2::Signs<4>, avx2::Signs<2>, avx2::Signs<1>],
    depthwise: avx2::depthwise::Most,
    winograd: Some(Winograd {
        transform_weights: transform_weights::<avx2::winograd::Avx2>,
        convolve: convolve::<avx2::winograd::Avx2>,
    }),
    floats: __m256,
    vectors_of_panel: 2,
    vectors_of_lone_row: 8,
    held_taps: 9,
});
set!(AVX512 {
    name: "avx512vnni",
    features: "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni",
    products_per_microsecond: 200_000,
    tiles: [avx512::TwoPanels, avx512::OnePanel, avx512::OnePanel],
    depthwise: avx512::columns::Longest,
    winograd: None,
    floats: __m512,
    vectors_of_panel: 1,
    vectors_of_lone_row: 4,
    held_taps: 25,
});
