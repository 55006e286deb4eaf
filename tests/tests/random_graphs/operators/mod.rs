//! The operators that networks are made of, each with attributes at random and in the spelling of
//! the network's opset.

mod activation;
mod arithmetic;
mod movement;
mod product;
mod reduction;
mod resize;
mod window;

pub(crate) use movement::{strided_slice, unsqueezed};
pub(crate) use resize::resize;
pub(crate) use window::pool;

use super::generator::Generator;
use super::network::Value;

/// Appends an operator on a value, unless it cannot take one of such dimensions.
type Operator = fn(&mut Generator, &Value) -> Option<Value>;

/// Each operator, and how often it is chosen.
pub(crate) const OPERATORS: &[(usize, Operator)] = &[
    (14, window::convolution),
    (6, window::pool),
    (2, window::global_pool),
    (12, activation::activation),
    (2, activation::clip),
    (2, activation::parametric_relu),
    (3, activation::positive),
    (3, activation::spelled_out),
    (5, arithmetic::with_constant),
    (4, arithmetic::with_activation),
    (2, arithmetic::gate),
    (1, arithmetic::sum),
    (3, arithmetic::batch_norm),
    (4, product::general_product),
    (4, product::matrix_product),
    (3, reduction::reduce),
    (3, reduction::softmax),
    (1, reduction::layer_norm),
    (1, reduction::instance_norm),
    (4, movement::concat),
    (3, movement::pad),
    (3, movement::slice),
    (3, movement::strided_slice_of_any_axis),
    (2, movement::split),
    (4, movement::transpose),
    (4, movement::reshape),
    (2, movement::flatten),
    (2, movement::squeeze),
    (2, movement::unsqueeze),
    (1, movement::expand),
    (2, movement::shuffle),
    (1, movement::depth_to_space),
    (5, resize::resize),
];
