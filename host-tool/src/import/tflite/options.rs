//! The options of operators, read from a file.

use tract_tflite::tflite::{self, ActivationFunctionType, BuiltinOperator, Padding};

/// What an operator does beyond its type.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Options {
    /// The type says it all.
    Plain,
    /// Sum, difference, product or quotient.
    Arithmetic {
        activation: ActivationFunctionType,
    },
    BatchMatmul {
        adjoint: [bool; 2],
    },
    Concat {
        axis: i32,
        activation: ActivationFunctionType,
    },
    /// Convolution or pooling. A convolution's size is that of its kernel.
    Window {
        window: Window,
        activation: ActivationFunctionType,
    },
    FullyConnected {
        keep_dims: bool,
        shuffled: bool,
        activation: ActivationFunctionType,
    },
    LeakyRelu {
        alpha: f32,
    },
    Reduce {
        keep_dims: bool,
    },
    Reshape {
        shape: Option<Vec<i32>>,
    },
    Resize {
        align_corners: bool,
        half_pixel_centers: bool,
    },
    Softmax {
        beta: f32,
    },
    Squeeze {
        axes: Vec<i32>,
    },
    StridedSlice(Masks),
}

/// A sliding window; height before width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) same: bool,
    pub(super) stride: [usize; 2],
    pub(super) dilation: [usize; 2],
    /// Of a pooling.
    pub(super) size: [usize; 2],
}

/// The bits of a STRIDED_SLICE, one for each axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Masks {
    pub(super) begin: i32,
    pub(super) end: i32,
    pub(super) ellipsis: i32,
    pub(super) new_axis: i32,
    pub(super) shrink_axis: i32,
    /// Whether the end counts from the begin.
    pub(super) offset: bool,
}

impl Window {
    fn new(
        padding: Padding,
        stride: [i32; 2],
        dilation: [i32; 2],
        size: [i32; 2],
    ) -> Result<Self, String> {
        let positive = |pair: [i32; 2], what: &str| {
            let [h, w] = pair.map(|value| usize::try_from(value).ok().filter(|&value| value > 0));
            h.zip(w)
                .map(|(h, w)| [h, w])
                .ok_or(format!("a window with a {what} of {pair:?}"))
        };
        Ok(Self {
            same: padding == Padding::SAME,
            stride: positive(stride, "stride")?,
            dilation: positive(dilation, "dilation")?,
            size: positive(size, "size")?,
        })
    }
}

impl Options {
    /// Reads the options of an operator that edgeprune knows. Where a file has none, the defaults
    /// of the schema hold, as in TensorFlow.
    ///
    /// # Errors
    /// If an operator that cannot go without has none, or a window has no size.
    pub(super) fn read(
        kind: BuiltinOperator,
        source: &tflite::Operator<'_>,
    ) -> Result<Self, String> {
        let missing = || {
            let name = kind.variant_name().unwrap_or_default();
            format!("damaged TFLite file: an operator {name} without options")
        };
        Ok(match kind {
            BuiltinOperator::CONV_2D
            | BuiltinOperator::DEPTHWISE_CONV_2D
            | BuiltinOperator::AVERAGE_POOL_2D
            | BuiltinOperator::MAX_POOL_2D => Self::read_window(source)?.ok_or_else(missing)?,
            BuiltinOperator::ADD
            | BuiltinOperator::SUB
            | BuiltinOperator::MUL
            | BuiltinOperator::DIV => Self::Arithmetic {
                activation: read_arithmetic(source),
            },
            BuiltinOperator::FULLY_CONNECTED => {
                let options = source.builtin_options_as_fully_connected_options();
                let options = options.ok_or_else(missing)?;
                let format = options.weights_format();
                Self::FullyConnected {
                    keep_dims: options.keep_num_dims(),
                    shuffled: format != tflite::FullyConnectedOptionsWeightsFormat::DEFAULT,
                    activation: options.fused_activation_function(),
                }
            }
            BuiltinOperator::CONCATENATION => {
                let options = source.builtin_options_as_concatenation_options();
                let options = options.ok_or_else(missing)?;
                Self::Concat {
                    axis: options.axis(),
                    activation: options.fused_activation_function(),
                }
            }
            BuiltinOperator::RESHAPE => {
                let options = source.builtin_options_as_reshape_options();
                let shape = options.and_then(|options| options.new_shape());
                Self::Reshape {
                    shape: shape.map(|shape| shape.iter().collect()),
                }
            }
            BuiltinOperator::SQUEEZE => {
                let options = source.builtin_options_as_squeeze_options();
                let axes = options.and_then(|options| options.squeeze_dims());
                Self::Squeeze {
                    axes: axes.into_iter().flatten().collect(),
                }
            }
            _ => Self::read_scalars(kind, source),
        })
    }

    fn read_window(source: &tflite::Operator<'_>) -> Result<Option<Self>, String> {
        let window = |padding, stride, dilation, size, activation| {
            let window = Window::new(padding, stride, dilation, size)?;
            Ok(Some(Self::Window { window, activation }))
        };
        if let Some(o) = source.builtin_options_as_conv_2_doptions() {
            let stride = [o.stride_h(), o.stride_w()];
            let dilation = [o.dilation_h_factor(), o.dilation_w_factor()];
            let activation = o.fused_activation_function();
            window(o.padding(), stride, dilation, [1, 1], activation)
        } else if let Some(o) = source.builtin_options_as_depthwise_conv_2_doptions() {
            let stride = [o.stride_h(), o.stride_w()];
            let dilation = [o.dilation_h_factor(), o.dilation_w_factor()];
            let activation = o.fused_activation_function();
            window(o.padding(), stride, dilation, [1, 1], activation)
        } else if let Some(o) = source.builtin_options_as_pool_2_doptions() {
            let stride = [o.stride_h(), o.stride_w()];
            let size = [o.filter_height(), o.filter_width()];
            let activation = o.fused_activation_function();
            window(o.padding(), stride, [1, 1], size, activation)
        } else {
            Ok(None)
        }
    }

    fn read_scalars(kind: BuiltinOperator, source: &tflite::Operator<'_>) -> Self {
        match kind {
            BuiltinOperator::BATCH_MATMUL => {
                let options = source.builtin_options_as_batch_mat_mul_options();
                Self::BatchMatmul {
                    adjoint: options.map_or([false; 2], |o| [o.adj_x(), o.adj_y()]),
                }
            }
            BuiltinOperator::LEAKY_RELU => {
                let options = source.builtin_options_as_leaky_relu_options();
                Self::LeakyRelu {
                    alpha: options.map_or(0.0, |o| o.alpha()),
                }
            }
            BuiltinOperator::MEAN
            | BuiltinOperator::SUM
            | BuiltinOperator::REDUCE_MAX
            | BuiltinOperator::REDUCE_MIN
            | BuiltinOperator::REDUCE_PROD => {
                let options = source.builtin_options_as_reducer_options();
                Self::Reduce {
                    keep_dims: options.is_some_and(|o| o.keep_dims()),
                }
            }
            BuiltinOperator::RESIZE_BILINEAR => {
                let options = source.builtin_options_as_resize_bilinear_options();
                Self::Resize {
                    align_corners: options.is_some_and(|o| o.align_corners()),
                    half_pixel_centers: options.is_some_and(|o| o.half_pixel_centers()),
                }
            }
            BuiltinOperator::RESIZE_NEAREST_NEIGHBOR => {
                let options = source.builtin_options_as_resize_nearest_neighbor_options();
                Self::Resize {
                    align_corners: options.is_some_and(|o| o.align_corners()),
                    half_pixel_centers: options.is_some_and(|o| o.half_pixel_centers()),
                }
            }
            BuiltinOperator::SOFTMAX => {
                let options = source.builtin_options_as_softmax_options();
                Self::Softmax {
                    beta: options.map_or(0.0, |o| o.beta()),
                }
            }
            BuiltinOperator::STRIDED_SLICE => Self::StridedSlice(
                source
                    .builtin_options_as_strided_slice_options()
                    .map_or(Masks::NONE, |o| Masks {
                        begin: o.begin_mask(),
                        end: o.end_mask(),
                        ellipsis: o.ellipsis_mask(),
                        new_axis: o.new_axis_mask(),
                        shrink_axis: o.shrink_axis_mask(),
                        offset: ends_are_offsets(&o),
                    }),
            ),
            _ => Self::Plain,
        }
    }

    /// The function that the operator applies to its result.
    pub(super) fn activation(&self) -> ActivationFunctionType {
        match self {
            Self::Arithmetic { activation }
            | Self::Concat { activation, .. }
            | Self::Window { activation, .. }
            | Self::FullyConnected { activation, .. } => *activation,
            _ => ActivationFunctionType::NONE,
        }
    }

    /// Where [`Self::activation`] is kept.
    pub(super) fn activation_mut(&mut self) -> Option<&mut ActivationFunctionType> {
        match self {
            Self::Arithmetic { activation }
            | Self::Concat { activation, .. }
            | Self::Window { activation, .. }
            | Self::FullyConnected { activation, .. } => Some(activation),
            _ => None,
        }
    }
}

impl Masks {
    pub(super) const NONE: Self = Self {
        begin: 0,
        end: 0,
        ellipsis: 0,
        new_axis: 0,
        shrink_axis: 0,
        offset: false,
    };
}

/// A field of later schemas than the bindings': whether ends count from the begins.
fn ends_are_offsets(options: &tflite::StridedSliceOptions<'_>) -> bool {
    const VT_OFFSET: u16 = 14;
    let table = &options._tab;
    let place = usize::from(table.vtable().get(VT_OFFSET));
    place != 0 && table.buf().get(table.loc() + place) == Some(&1)
}

fn read_arithmetic(source: &tflite::Operator<'_>) -> ActivationFunctionType {
    let add = source.builtin_options_as_add_options();
    let sub = source.builtin_options_as_sub_options();
    let mul = source.builtin_options_as_mul_options();
    let div = source.builtin_options_as_div_options();
    let found = add
        .map(|o| o.fused_activation_function())
        .or(sub.map(|o| o.fused_activation_function()))
        .or(mul.map(|o| o.fused_activation_function()))
        .or(div.map(|o| o.fused_activation_function()));
    found.unwrap_or(ActivationFunctionType::NONE)
}
