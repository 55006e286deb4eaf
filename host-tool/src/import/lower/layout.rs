//! Where tract's axes are in our NHWC tensors.
//!
//! tract moves, adds and removes axes freely. Nothing of that moves data: a tensor's elements are
//! seen as a row-major box of *atoms* (factors of its height, width and channels), and each of
//! tract's axes is a list of atoms. Data moves only when an operator needs another order.

use super::Builder;
use super::constant::gather;
use crate::graph::{Op, Shape, TensorId};
use std::collections::{HashMap, VecDeque};

/// A tract value in one of our tensors.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::import) struct Lowered {
    /// The tensor.
    pub(in crate::import) tensor: TensorId,
    /// Sizes of the factors of the tensor's elements, outermost first, none of them 1.
    pub(super) atoms: Vec<usize>,
    /// For each of tract's axes the atoms it is made of, outermost first; none for a unit axis.
    pub(super) axes: Vec<Vec<usize>>,
}

impl Lowered {
    /// A tensor whose elements have the order of tract's axes.
    pub(super) fn row_major(tensor: TensorId, dims: &[usize]) -> Self {
        Self::ordered(tensor, dims, &(0..dims.len()).collect::<Vec<_>>())
    }

    /// A tensor whose elements have the order of `order`, a permutation of tract's axes.
    pub(super) fn ordered(tensor: TensorId, dims: &[usize], order: &[usize]) -> Self {
        let mut atoms = Vec::new();
        let mut axes = vec![Vec::new(); dims.len()];
        for &axis in order {
            if dims[axis] != 1 {
                axes[axis].push(atoms.len());
                atoms.push(dims[axis]);
            }
        }
        Self {
            tensor,
            atoms,
            axes,
        }
    }

    /// The same axes in another tensor of the same shape.
    pub(super) fn with_tensor(&self, tensor: TensorId) -> Self {
        Self {
            tensor,
            ..self.clone()
        }
    }

    /// Size of one of tract's axes.
    pub(super) fn dim(&self, axis: usize) -> usize {
        self.axes[axis]
            .iter()
            .map(|&atom| self.atoms[atom])
            .product()
    }

    /// Sizes of tract's axes.
    pub(super) fn dims(&self) -> Vec<usize> {
        (0..self.axes.len()).map(|axis| self.dim(axis)).collect()
    }

    /// The atoms of the given axes, in order.
    pub(super) fn atoms_of(&self, axes: &[usize]) -> Vec<usize> {
        axes.iter()
            .flat_map(|&axis| self.axes[axis].iter().copied())
            .collect()
    }

    /// The product of the sizes of some atoms.
    pub(super) fn size_of(&self, atoms: &[usize]) -> usize {
        atoms.iter().map(|&atom| self.atoms[atom]).product()
    }

    /// tract's non-unit axes in the order of the tensor's elements, if each is whole.
    pub(super) fn axis_order(&self) -> Option<Vec<usize>> {
        let mut order: Vec<usize> = (0..self.axes.len())
            .filter(|&i| !self.axes[i].is_empty())
            .collect();
        order.sort_by_key(|&i| self.axes[i][0]);
        let identity = self.atoms_of(&order).into_iter().eq(0..self.atoms.len());
        identity.then_some(order)
    }

    /// For the height, width and channels of the tensor, tract's non-unit axes that make it up.
    pub(super) fn composition(&self, shape: Shape) -> Option<[Vec<usize>; 3]> {
        let mut order = VecDeque::from(self.axis_order()?);
        let mut parts = [const { Vec::new() }; 3];
        for (part, &size) in parts.iter_mut().zip(&shape[1..]) {
            let mut product = 1;
            while product < size {
                let axis = order.pop_front()?;
                product *= self.dim(axis);
                part.push(axis);
            }
            if product != size {
                return None;
            }
        }
        order.is_empty().then_some(parts)
    }

    /// The elements of the tensor in the order of tract's axes.
    pub(in crate::import) fn source_order(&self, data: &[f32]) -> Vec<f32> {
        let mut strides = vec![1; self.atoms.len()];
        for atom in (1..self.atoms.len()).rev() {
            strides[atom - 1] = strides[atom] * self.atoms[atom];
        }
        let all: Vec<usize> = (0..self.axes.len()).collect();
        let loops = self.atoms_of(&all);
        let loops = loops.iter().map(|&atom| (self.atoms[atom], strides[atom]));
        gather(data, &loops.collect::<Vec<_>>())
    }

    /// Adds a unit axis.
    pub(super) fn add_axis(&mut self, axis: usize) {
        self.axes.insert(axis, Vec::new());
    }

    /// Moves an axis.
    pub(super) fn move_axis(&mut self, from: usize, to: usize) {
        let axis = self.axes.remove(from);
        self.axes.insert(to, axis);
    }

    /// Replaces the axes from `at` on, `from` of them, by axes of the sizes `to`. `None` if the
    /// boundaries of the sizes do not fit the boundaries of the atoms.
    pub(super) fn reshape(&self, at: usize, from: usize, to: &[usize]) -> Option<Self> {
        let old: Vec<usize> = (at..at + from).collect();
        let mut queue: VecDeque<(usize, usize)> = self
            .atoms_of(&old)
            .into_iter()
            .map(|atom| (atom, self.atoms[atom]))
            .collect();
        // Pieces: (old atom, size), in the order of the new axes.
        let mut pieces: Vec<Vec<(usize, usize)>> = Vec::new();
        for &size in to {
            let mut axis = Vec::new();
            let mut need = size;
            while need > 1 {
                let (atom, has) = queue.pop_front()?;
                if need % has == 0 {
                    axis.push((atom, has));
                    need /= has;
                } else if has % need == 0 {
                    axis.push((atom, need));
                    queue.push_front((atom, has / need));
                    need = 1;
                } else {
                    return None;
                }
            }
            pieces.push(axis);
        }
        queue.is_empty().then(|| self.split(at, from, &pieces))
    }

    /// Renumbers the atoms after some were split into `pieces`, which become the new axes.
    fn split(&self, at: usize, from: usize, pieces: &[Vec<(usize, usize)>]) -> Self {
        let mut parts: Vec<Vec<usize>> = self.atoms.iter().map(|_| Vec::new()).collect();
        for &(atom, size) in pieces.iter().flatten() {
            parts[atom].push(size);
        }
        for (atom, part) in parts.iter_mut().enumerate() {
            if part.is_empty() {
                part.push(self.atoms[atom]);
            }
        }
        let starts: Vec<usize> = parts
            .iter()
            .scan(0, |start, part| {
                let here = *start;
                *start += part.len();
                Some(here)
            })
            .collect();
        let renumber = |axis: &Vec<usize>| {
            let whole = |&atom: &usize| starts[atom]..starts[atom] + parts[atom].len();
            axis.iter().flat_map(whole).collect::<Vec<_>>()
        };
        let mut axes: Vec<Vec<usize>> = self.axes[..at].iter().map(renumber).collect();
        let mut used: HashMap<usize, usize> = HashMap::new();
        for axis in pieces {
            let number = |&(atom, _): &(usize, usize)| {
                let count = used.entry(atom).or_default();
                *count += 1;
                starts[atom] + *count - 1
            };
            axes.push(axis.iter().map(number).collect());
        }
        axes.extend(self.axes[at + from..].iter().map(renumber));
        Self {
            tensor: self.tensor,
            atoms: parts.concat(),
            axes,
        }
    }
}

impl Builder {
    /// A tensor of dimensions `shape` whose elements are those of `value` with the atoms in `order`.
    pub(super) fn arrange(
        &mut self,
        value: &Lowered,
        order: &[usize],
        shape: Shape,
        name: &str,
    ) -> TensorId {
        let permuted = self.permute(value.tensor, &value.atoms, order, name);
        self.reshape_to(permuted, shape, name)
    }

    /// A tensor whose height, width and channels are the given axes of tract.
    pub(super) fn arrange_axes(
        &mut self,
        value: &Lowered,
        parts: [&[usize]; 3],
        name: &str,
    ) -> TensorId {
        let order = value.atoms_of(&parts.concat());
        let size = |axes: &[usize]| axes.iter().map(|&axis| value.dim(axis)).product::<usize>();
        let shape = [1, size(parts[0]), size(parts[1]), size(parts[2])];
        self.arrange(value, &order, shape, name)
    }

    /// A tensor whose elements have the order of tract's axes.
    pub(super) fn put_row_major(&mut self, value: &Lowered, name: &str) -> Lowered {
        let dims = value.dims();
        let axes: Vec<usize> = (0..dims.len()).collect();
        let order = value.atoms_of(&axes);
        if order.iter().copied().eq(0..value.atoms.len()) {
            return value.clone();
        }
        let tensor = self.permute(value.tensor, &value.atoms, &order, name);
        Lowered::row_major(tensor, &dims)
    }

    /// The same elements in the same order with other dimensions.
    pub(super) fn reshape_to(&mut self, tensor: TensorId, shape: Shape, name: &str) -> TensorId {
        if self.graph.shape(tensor) == shape {
            return tensor;
        }
        self.node(&format!("{name}_reshape"), Op::Reshape, vec![tensor], shape)
    }

    /// Moves atoms, by as few transposes as possible.
    fn permute(
        &mut self,
        tensor: TensorId,
        atoms: &[usize],
        order: &[usize],
        name: &str,
    ) -> TensorId {
        let mut current = tensor;
        let mut sizes = atoms.to_vec();
        for step in transposes(order) {
            let [a, b] = step.cuts;
            let size = |range: std::ops::Range<usize>| sizes[range].iter().product::<usize>();
            let shape = [1, size(0..a), size(a..b), size(b..sizes.len())];
            current = self.reshape_to(current, shape, name);
            let perm = [0, step.perm[0] + 1, step.perm[1] + 1, step.perm[2] + 1];
            let out = perm.map(|axis| shape[axis]);
            current = self.node(
                &format!("{name}_transpose"),
                Op::Transpose { perm },
                vec![current],
                out,
            );
            sizes = step.apply(&sizes);
        }
        current
    }
}

/// One transpose: the atoms are cut into three runs, which are permuted.
#[derive(Clone, Copy, Debug)]
struct Step {
    cuts: [usize; 2],
    perm: [usize; 3],
}

impl Step {
    fn apply<T: Clone>(&self, items: &[T]) -> Vec<T> {
        let [a, b] = self.cuts;
        let runs = [&items[..a], &items[a..b], &items[b..]];
        self.perm
            .iter()
            .flat_map(|&run| runs[run].to_vec())
            .collect()
    }
}

/// Most blocks for which the fewest transposes are searched: 720 orders.
const MAX_SEARCHED: usize = 6;

/// Transposes that bring atoms `0..n` into `order`. Atoms that stay side by side move as one block;
/// up to [`MAX_SEARCHED`] blocks take the fewest transposes, more take at most one a block.
fn transposes(order: &[usize]) -> Vec<Step> {
    let (mut sizes, goal) = blocks(order);
    let steps = match goal.len() {
        ..=MAX_SEARCHED => shortest(&goal),
        _ => greedy(&goal),
    };
    let in_atoms = |step: Step| {
        let cuts = step.cuts.map(|cut| sizes[..cut].iter().sum());
        sizes = step.apply(&sizes);
        Step { cuts, ..step }
    };
    steps.into_iter().map(in_atoms).collect()
}

/// The runs of atoms that are consecutive before and after: their lengths before, and their order
/// after.
fn blocks(order: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let runs: Vec<&[usize]> = order.chunk_by(|a, b| a + 1 == *b).collect();
    let mut places: Vec<usize> = (0..runs.len()).collect();
    places.sort_by_key(|&place| runs[place][0]);
    let sizes = places.iter().map(|&place| runs[place].len()).collect();
    let mut goal = vec![0; runs.len()];
    for (block, &place) in places.iter().enumerate() {
        goal[place] = block;
    }
    (sizes, goal)
}

/// The fewest transposes, breadth first.
fn shortest(order: &[usize]) -> Vec<Step> {
    let start: Vec<usize> = (0..order.len()).collect();
    let mut paths: HashMap<Vec<usize>, Vec<Step>> = HashMap::from([(start.clone(), Vec::new())]);
    let mut queue = VecDeque::from([start]);
    while let Some(state) = queue.pop_front() {
        let path = paths[&state].clone();
        if state == order {
            return path;
        }
        for step in steps(order.len()) {
            let next = step.apply(&state);
            if !paths.contains_key(&next) {
                let mut path = path.clone();
                path.push(step);
                paths.insert(next.clone(), path);
                queue.push_back(next);
            }
        }
    }
    Vec::new()
}

/// Transposes that each put as many more neighbours side by side as one can. There always is one
/// that gains: it moves the block that belongs before the sorted tail there.
fn greedy(order: &[usize]) -> Vec<Step> {
    let n = order.len();
    let mut place = vec![0; n];
    order
        .iter()
        .enumerate()
        .for_each(|(to, &block)| place[block] = to);
    // Neighbours as in the end; the last block counts as one of the end itself.
    let sorted = |state: &[usize]| {
        let inner = state.windows(2).filter(|pair| pair[0] + 1 == pair[1]);
        inner.count() + usize::from(state[n - 1] == n - 1)
    };
    let mut path = Vec::new();
    while sorted(&place) < n {
        let Some(best) = steps(n).max_by_key(|step| sorted(&step.apply(&place))) else {
            break;
        };
        place = best.apply(&place);
        path.push(best);
    }
    path
}

/// Every transpose of `n` atoms, those that keep the outer axes in place first.
fn steps(n: usize) -> impl Iterator<Item = Step> {
    const PERMS: [[usize; 3]; 5] = [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    PERMS.into_iter().flat_map(move |perm| {
        (0..=n).flat_map(move |a| (a..=n).map(move |b| Step { cuts: [a, b], perm }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitting_and_merging_axes_keeps_track_of_atoms() {
        // N, C, H, W in an NHWC tensor.
        let value = Lowered::ordered(0, &[1, 12, 4, 5], &[0, 2, 3, 1]);
        assert_eq!(value.atoms, [4, 5, 12]);
        let split = value.reshape(1, 1, &[3, 4]).unwrap();
        assert_eq!(split.dims(), [1, 3, 4, 4, 5]);
        assert_eq!(split.axes[1..3], [vec![2], vec![3]]);
        let flat = value.reshape(1, 3, &[240]).unwrap();
        assert_eq!(flat.axes[1], [2, 0, 1]);
        assert_eq!(flat.reshape(1, 1, &[12, 20]).unwrap().axes[2], [0, 1]);
        assert!(flat.reshape(1, 1, &[5, 48]).is_none());
    }

    fn moved(order: &[usize], path: &[Step]) -> Vec<usize> {
        let start: Vec<usize> = (0..order.len()).collect();
        path.iter().fold(start, |atoms, step| step.apply(&atoms))
    }

    #[test]
    fn transposes_reach_every_order_of_five_atoms() {
        let pixel_shuffle = [0, 2, 1, 3, 4];
        let path = transposes(&pixel_shuffle);
        assert_eq!(moved(&pixel_shuffle, &path), pixel_shuffle);
        assert_eq!(transposes(&[0, 2, 1]).len(), 1);
        assert!(transposes(&[0, 1, 2]).is_empty());
    }

    #[test]
    fn blocks_that_stay_together_move_at_once() {
        let order: Vec<usize> = (20..30).chain(0..20).collect();
        assert_eq!(transposes(&order).len(), 1);
    }

    #[test]
    fn many_scrambled_atoms_take_at_most_one_transpose_each() {
        for n in 7..24 {
            // A stride without a common divisor visits every atom.
            let stride = (5..)
                .find(|stride| n % stride != 0 && stride % n != 1)
                .unwrap();
            let mut order: Vec<usize> = (0..n).collect();
            order.sort_by_key(|&atom| (atom * stride % n, atom % 3, atom));
            let path = transposes(&order);
            assert_eq!(moved(&order, &path), order);
            assert!(path.len() < n, "{n} atoms took {} transposes", path.len());
        }
    }
}
