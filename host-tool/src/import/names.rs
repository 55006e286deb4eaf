//! Short, unique, recognizable names for nodes.

use crate::graph::Graph;
use std::collections::{BTreeSet, HashSet};

/// Most characters of a name.
const LONGEST: usize = 40;

/// Endings that converters add and that say nothing.
const NOISE: [&str; 15] = [
    ".einsum",
    ".ab",
    ".bias",
    ".sum",
    ".norm",
    ".mul",
    ".low",
    ".min",
    ".max",
    "_reshape",
    "/ReadVariableOp/resource",
    "/ReadVariableOp",
    "/FusedBatchNormV3",
    "/BiasAdd",
    "/Conv",
];

/// A name, or a text that holds names, without what moves the cursor, changes colours or turns the
/// direction of a terminal: such characters are spelled out, as `\u{1b}`.
pub(super) fn printable(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let spelled = |c: char| match hidden(c) {
        true => c.escape_unicode().to_string(),
        false => c.to_string(),
    };
    text.chars().map(spelled).collect()
}

/// Renames every node, and makes all names printable.
pub(super) fn shorten(graph: &mut Graph) {
    for port in graph.inputs.iter_mut().chain(&mut graph.outputs) {
        port.name = printable(&port.name);
    }
    let nodes = graph.nodes.iter();
    let names: Vec<String> = nodes.map(|node| clean(&printable(&node.name))).collect();
    let prefix = common_prefix(&names);
    let mut taken = HashSet::new();
    for (node, name) in graph.nodes.iter_mut().zip(&names) {
        let short = last_characters(name.strip_prefix(&prefix).unwrap_or(name));
        let short = match short.is_empty() {
            true => node.op.name().to_string(),
            false => short,
        };
        node.name = unique(short, &mut taken);
    }
}

/// The telling part of one source name.
fn clean(name: &str) -> String {
    let mut name = untangle(choose(name)).trim_matches('/');
    while let Some(short) = NOISE.iter().find_map(|noise| name.strip_suffix(noise)) {
        name = short;
    }
    collapse(name)
}

/// tract calls a node that it moved `1.old-0.before-1`: take what it was moved before.
fn untangle(name: &str) -> &str {
    let Some((_, last)) = name.rsplit_once("-0.") else {
        return name;
    };
    last.trim_end_matches(|c: char| c.is_ascii_digit())
        .trim_end_matches('-')
}

/// TFLite joins the names of all operators that were fused: take the one that names the layer.
fn choose(name: &str) -> &str {
    let parts: BTreeSet<&str> = name.split(';').collect();
    let layer = |part: &&str| {
        let scope = part
            .trim_end_matches("/Conv2D1")
            .trim_end_matches("/resource1");
        (
            !scope.contains("activation") && scope.contains("BiasAdd"),
            !scope.contains("activation"),
        )
    };
    if parts.len() < 2 {
        return name;
    }
    name.split(';')
        .max_by_key(|part| (layer(part), std::cmp::Reverse(part.len())))
        .unwrap_or(name)
}

/// Drops a segment of a path that the next one repeats, such as `conv.0` in `conv.0/conv.0.1`.
fn collapse(name: &str) -> String {
    let segments: Vec<&str> = name.split('/').collect();
    let repeated = |i: usize| {
        segments
            .get(i + 1)
            .is_some_and(|next| next.starts_with(segments[i]))
    };
    let kept: Vec<&str> = (0..segments.len())
        .filter(|&i| !repeated(i))
        .map(|i| segments[i])
        .collect();
    kept.join("/")
}

/// The first segment of the paths among the names, if they all share it.
fn common_prefix(names: &[String]) -> String {
    let mut paths = names.iter().filter_map(|name| name.split_once('/'));
    match paths.next() {
        Some((first, _)) if paths.all(|(segment, _)| segment == first) => format!("{first}/"),
        _ => String::new(),
    }
}

/// The end of a long name, from a separator on.
fn last_characters(name: &str) -> String {
    let count = name.chars().count();
    if count <= LONGEST {
        return name.to_string();
    }
    let tail: String = name.chars().skip(count - LONGEST).collect();
    match tail.find(['/', '.', '_', ';']) {
        Some(at) if at + 1 < tail.len() => tail[at + 1..].to_string(),
        _ => tail,
    }
}

fn unique(name: String, taken: &mut HashSet<String>) -> String {
    if taken.insert(name.clone()) {
        return name;
    }
    let numbered = (2..).map(|n| {
        let suffix = format!("_{n}");
        let room: String = name.chars().take(LONGEST - suffix.len()).collect();
        room + &suffix
    });
    let mut free = numbered.skip_while(|candidate| taken.contains(candidate));
    let name = free.next().unwrap_or(name);
    taken.insert(name.clone());
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converter_noise_is_dropped() {
        assert_eq!(
            clean("/features/features.3/conv/conv.1/conv.1.0/Conv"),
            "features.3/conv.1.0"
        );
        assert_eq!(clean("bn2a_branch2a.mul"), "bn2a_branch2a");
        assert_eq!(
            clean(
                "model/activation/Relu;model/batch_normalization/FusedBatchNormV3;model/conv2d/BiasAdd/ReadVariableOp/resource;model/conv2d/BiasAdd;model/conv2d_2/Conv2D;model/conv2d/Conv2D1"
            ),
            "model/conv2d"
        );
    }

    #[test]
    fn what_a_terminal_would_obey_is_spelled_out() {
        assert_eq!(printable("a\u{1b}[31m\n\0b"), "a\\u{1b}[31m\\u{a}\\u{0}b");
        assert_eq!(printable("x\u{202e}y\u{9b}z"), "x\\u{202e}y\\u{9b}z");
        assert_eq!(printable("Übertragung/卷积_1"), "Übertragung/卷积_1");
    }

    #[test]
    fn moved_nodes_are_called_after_their_place() {
        assert_eq!(clean("1.activation_9_relu.low-0.add_2-1"), "add_2");
        assert_eq!(clean("conv-0"), "conv-0");
    }

    #[test]
    fn equal_names_are_numbered_and_long_ones_cut() {
        let mut taken = HashSet::new();
        assert_eq!(unique("conv".into(), &mut taken), "conv");
        assert_eq!(unique("conv".into(), &mut taken), "conv_2");
        assert_eq!(unique("conv".into(), &mut taken), "conv_3");
        let long = "encoder/layer.11/attention/self/query/MatMul_quantized";
        assert_eq!(
            last_characters(long),
            "attention/self/query/MatMul_quantized"
        );
    }
}
