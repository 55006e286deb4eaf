//! TFLite files written by hand: what other exporters write and the zoo does not hold.

use super::options::{Options, Window};
use super::write::write_options;
use flatbuffers::FlatBufferBuilder;
use tract_tflite::tflite::*;

/// A tensor of a file.
pub(super) struct Item {
    dims: Vec<i32>,
    kind: TensorType,
    data: Vec<u8>,
    scales: Vec<f32>,
    zero_points: Vec<i64>,
    axis: i32,
}

/// A file in the making. Tensors are numbered from 0 and named `t0`, `t1`, ...
#[derive(Default)]
pub(super) struct File {
    items: Vec<Item>,
    operators: Vec<Step>,
}

struct Step {
    kind: BuiltinOperator,
    custom: Option<&'static str>,
    options: Option<Options>,
    inputs: Vec<i32>,
    output: i32,
}

impl File {
    fn item(&mut self, dims: &[i32], kind: TensorType, data: Vec<u8>) -> i32 {
        self.items.push(Item {
            dims: dims.to_vec(),
            kind,
            data,
            scales: Vec::new(),
            zero_points: Vec::new(),
            axis: 0,
        });
        self.items.len() as i32 - 1
    }

    /// A computed tensor or an input.
    pub(super) fn tensor(&mut self, dims: &[i32]) -> i32 {
        self.item(dims, TensorType::FLOAT32, Vec::new())
    }

    pub(super) fn floats(&mut self, dims: &[i32], values: &[f32]) -> i32 {
        let data = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.item(dims, TensorType::FLOAT32, data)
    }

    pub(super) fn integers(&mut self, dims: &[i32], values: &[i32]) -> i32 {
        let data = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.item(dims, TensorType::INT32, data)
    }

    /// Codes of one byte, or a computed tensor if there are none.
    pub(super) fn codes(
        &mut self,
        dims: &[i32],
        kind: TensorType,
        codes: &[u8],
        scales: &[f32],
        zero_points: &[i64],
    ) -> i32 {
        let id = self.item(dims, kind, codes.to_vec());
        let item = &mut self.items[id as usize];
        item.scales = scales.to_vec();
        item.zero_points = zero_points.to_vec();
        id
    }

    /// Appends an operator with the options of its type, and returns its output.
    pub(super) fn step(
        &mut self,
        kind: BuiltinOperator,
        options: Options,
        inputs: &[i32],
        output: i32,
    ) -> i32 {
        self.operators.push(Step {
            kind,
            custom: None,
            options: Some(options),
            inputs: inputs.to_vec(),
            output,
        });
        output
    }

    /// Appends an operator without options.
    pub(super) fn foreign(
        &mut self,
        kind: BuiltinOperator,
        custom: Option<&'static str>,
        input: i32,
        output: i32,
    ) -> i32 {
        self.operators.push(Step {
            kind,
            custom,
            options: None,
            inputs: vec![input],
            output,
        });
        output
    }

    /// The file from input `input` to output `output`.
    pub(super) fn bytes(&self, input: i32, output: i32) -> Vec<u8> {
        let mut fb = FlatBufferBuilder::new();
        let mut buffers = vec![Buffer::create(&mut fb, &BufferArgs { data: None })];
        let mut tensors = Vec::new();
        for (index, item) in self.items.iter().enumerate() {
            let mut buffer = 0;
            if !item.data.is_empty() {
                let data = Some(fb.create_vector(&item.data));
                buffer = buffers.len() as u32;
                buffers.push(Buffer::create(&mut fb, &BufferArgs { data }));
            }
            tensors.push(item.write(&mut fb, index, buffer));
        }
        let mut codes = Vec::new();
        let mut operators = Vec::new();
        for step in &self.operators {
            let custom_code = step.custom.map(|name| fb.create_string(name));
            let args = OperatorCodeArgs {
                deprecated_builtin_code: step.kind.0.min(127) as i8,
                custom_code,
                builtin_code: step.kind,
                ..OperatorCodeArgs::default()
            };
            codes.push(OperatorCode::create(&mut fb, &args));
            let options = step.options.as_ref();
            let options =
                options.map(|options| write_options(&mut fb, step.kind, options).unwrap());
            let (builtin_options_type, builtin_options) =
                options.unwrap_or((BuiltinOptions::NONE, None));
            let args = OperatorArgs {
                opcode_index: codes.len() as u32 - 1,
                inputs: Some(fb.create_vector(&step.inputs)),
                outputs: Some(fb.create_vector(&[step.output])),
                builtin_options_type,
                builtin_options,
                ..OperatorArgs::default()
            };
            operators.push(Operator::create(&mut fb, &args));
        }
        let graph = SubGraphArgs {
            tensors: Some(fb.create_vector(&tensors)),
            inputs: Some(fb.create_vector(&[input])),
            outputs: Some(fb.create_vector(&[output])),
            operators: Some(fb.create_vector(&operators)),
            ..SubGraphArgs::default()
        };
        let graph = SubGraph::create(&mut fb, &graph);
        let model = ModelArgs {
            version: 3,
            operator_codes: Some(fb.create_vector(&codes)),
            subgraphs: Some(fb.create_vector(&[graph])),
            buffers: Some(fb.create_vector(&buffers)),
            ..ModelArgs::default()
        };
        let model = Model::create(&mut fb, &model);
        finish_model_buffer(&mut fb, model);
        fb.finished_data().to_vec()
    }
}

impl Item {
    fn write<'f>(
        &self,
        fb: &mut FlatBufferBuilder<'f>,
        index: usize,
        buffer: u32,
    ) -> flatbuffers::WIPOffset<Tensor<'f>> {
        let quantization = (!self.scales.is_empty()).then(|| {
            let args = QuantizationParametersArgs {
                scale: Some(fb.create_vector(&self.scales)),
                zero_point: Some(fb.create_vector(&self.zero_points)),
                quantized_dimension: self.axis,
                ..QuantizationParametersArgs::default()
            };
            QuantizationParameters::create(fb, &args)
        });
        let args = TensorArgs {
            shape: Some(fb.create_vector(&self.dims)),
            name: Some(fb.create_string(&format!("t{index}"))),
            type_: self.kind,
            buffer,
            quantization,
            ..TensorArgs::default()
        };
        Tensor::create(fb, &args)
    }
}

/// Options of a window of stride 1.
pub(super) fn window(same: bool, size: [usize; 2], activation: ActivationFunctionType) -> Options {
    Options::Window {
        window: Window {
            same,
            stride: [1, 1],
            dilation: [1, 1],
            size,
        },
        activation,
    }
}

/// Options of a fully connected layer.
pub(super) fn dense(keep_dims: bool, activation: ActivationFunctionType) -> Options {
    Options::FullyConnected {
        keep_dims,
        shuffled: false,
        activation,
    }
}
