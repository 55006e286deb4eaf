//! The order of a sample's elements: as in the source model, or height-width-channels.

use crate::graph::{Layout, Port};

/// What one model input wants of a sample.
#[derive(Clone, Debug)]
pub(super) struct InputForm {
    /// Name in the source model.
    pub(super) name: String,
    /// Dimensions of one sample in the source model, without the batch.
    pub(super) source: Vec<usize>,
    /// How edgeprune reads the source's dimensions.
    graph_layout: Layout,
    /// How the input specification reads them; as the graph does if it does not say.
    layout: Layout,
}

/// Order of the elements of an array's sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// As in the source model.
    Source,
    /// Height, width, channels.
    Hwc,
}

impl InputForm {
    pub(super) fn new(port: &Port, layout: Option<Layout>) -> Self {
        // A first dimension of 1 is the batch; any other is a part of the sample.
        let source = match port.source_shape.as_slice() {
            [1, sample @ ..] => sample,
            sample => sample,
        };
        Self {
            name: port.name.clone(),
            source: source.to_vec(),
            graph_layout: port.layout,
            layout: layout.unwrap_or(port.layout),
        }
    }

    /// Number of elements.
    pub(super) fn elements(&self) -> usize {
        self.source.iter().product()
    }

    /// Height, width and channels, if the input can be an image.
    pub(super) fn hwc(&self) -> Option<[usize; 3]> {
        match (self.source.as_slice(), self.layout) {
            (&[c, h, w], Layout::Nchw) | (&[h, w, c], Layout::Nhwc) => Some([h, w, c]),
            (&[h, w], _) => Some([h, w, 1]),
            _ => None,
        }
    }

    /// The order of a sample with dimensions `shape`, `None` if it does not fit. Dimensions of 1
    /// may be left out or added.
    pub(super) fn order_of(&self, shape: &[usize]) -> Option<Order> {
        let fits = |wanted: &[usize]| squeezed(shape) == squeezed(wanted);
        if fits(&self.source) || shape == [self.elements()] {
            return Some(Order::Source);
        }
        self.hwc().filter(|hwc| fits(hwc)).map(|_| Order::Hwc)
    }

    /// The shapes that fit, for messages.
    pub(super) fn wanted(&self) -> String {
        let source = format!("{:?}", self.source);
        match self.hwc() {
            Some(hwc) if hwc != self.source[..] => {
                format!("{source} (as in the model) or {hwc:?} (height, width, channels)")
            }
            _ => source,
        }
    }

    /// A sample's elements in the order of edgeprune's graph.
    pub(super) fn arrange(&self, values: Vec<f32>, order: Order) -> Vec<f32> {
        let &[a, b, c] = self.source.as_slice() else {
            return values;
        };
        let from_hwc = order == Order::Hwc && self.layout == Layout::Nchw;
        match (from_hwc, self.graph_layout) {
            (true, Layout::Nchw) | (false, Layout::Nhwc) => values,
            (true, Layout::Nhwc) => transposed(&values, b * c, a),
            (false, Layout::Nchw) => transposed(&values, a, b * c),
        }
    }
}

fn squeezed(shape: &[usize]) -> Vec<usize> {
    shape.iter().copied().filter(|&d| d != 1).collect()
}

/// The transpose of a matrix of `rows` rows.
pub(super) fn transposed<T: Copy>(values: &[T], rows: usize, columns: usize) -> Vec<T> {
    (0..columns)
        .flat_map(|column| (0..rows).map(move |row| values[row * columns + column]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(shape: &[usize], graph: Layout, layout: Option<Layout>) -> InputForm {
        let port = Port {
            name: "x".into(),
            tensor: 0,
            source_shape: shape.to_vec(),
            layout: graph,
        };
        InputForm::new(&port, layout)
    }

    fn count(n: usize) -> Vec<f32> {
        (0..n).map(|i| i as f32).collect()
    }

    #[test]
    fn channels_first_samples_become_channels_last() {
        let form = form(&[1, 2, 1, 3], Layout::Nchw, None);
        assert_eq!(form.order_of(&[2, 1, 3]), Some(Order::Source));
        assert_eq!(
            form.arrange(count(6), Order::Source),
            [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]
        );
    }

    #[test]
    fn channels_last_samples_stay() {
        let form = form(&[1, 3, 4, 5], Layout::Nchw, None);
        assert_eq!(form.order_of(&[4, 5, 3]), Some(Order::Hwc));
        assert_eq!(form.arrange(count(60), Order::Hwc), count(60));
    }

    #[test]
    fn a_spec_can_read_the_source_otherwise_than_the_graph() {
        let form = form(&[1, 4, 5, 3], Layout::Nchw, Some(Layout::Nhwc));
        assert_eq!(form.hwc(), Some([4, 5, 3]));
        let arranged = form.arrange(count(60), Order::Hwc);
        assert_eq!(arranged[..4], [0.0, 15.0, 30.0, 45.0]);
    }

    #[test]
    fn dimensions_of_one_do_not_matter() {
        let form = form(&[1, 49, 10, 1], Layout::Nhwc, None);
        for shape in [&[49, 10, 1][..], &[49, 10], &[490], &[1, 49, 10]] {
            assert_eq!(form.order_of(shape), Some(Order::Source), "{shape:?}");
        }
        assert_eq!(form.order_of(&[10, 49]), None);
    }
}
