use super::*;
use proptest::prelude::*;

const PATTERNS: [Pattern; 4] = [
    Pattern::Unstructured,
    Pattern::TwoOfFour,
    Pattern::Block1x4,
    Pattern::Block4x4,
];

fn pruned(mask: &[bool]) -> usize {
    mask.iter().filter(|&&stays| !stays).count()
}

/// Whether nothing that `smaller` keeps is missing in `larger`.
fn within(smaller: &[Option<Vec<bool>>], larger: &[Option<Vec<bool>>]) -> bool {
    let layers = smaller.iter().flatten().zip(larger.iter().flatten());
    layers.into_iter().all(|(smaller, larger)| {
        let mut weights = smaller.iter().zip(larger);
        weights.all(|(&smaller, &larger)| larger || !smaller)
    })
}

/// The masks of one layer of one run.
fn single(scores: &[f32], sparsity: f64) -> Vec<bool> {
    let layout = WeightLayout::dense(1, scores.len());
    let masks = masks(
        &[Some(layout)],
        &[Some(scores.to_vec())],
        sparsity,
        Scope::Local,
        Pattern::Unstructured,
        &[],
    );
    masks.into_iter().next().flatten().unwrap()
}

fn letters(mask: &[bool]) -> String {
    mask.iter()
        .map(|&stays| if stays { 'k' } else { '.' })
        .collect()
}

#[test]
fn the_least_scores_go_and_of_equal_ones_the_earlier() {
    assert_eq!(letters(&single(&[3.0, 1.0, 2.0, 0.0], 0.5)), "k.k.");
    assert_eq!(letters(&single(&[1.0; 6], 0.5)), "...kkk");
    assert_eq!(letters(&single(&[2.0, 1.0, 1.0, 1.0, 0.0], 0.6)), "k..k.");
}

#[test]
fn nothing_goes_at_a_sparsity_of_zero_and_one_weight_stays_at_one() {
    assert_eq!(letters(&single(&[0.0, 2.0, 1.0], 0.0)), "kkk");
    assert_eq!(letters(&single(&[0.0, 2.0, 1.0], 1.0)), ".k.");
}

#[test]
fn scores_that_are_no_positive_number_count_as_zero() {
    let scores = [-0.0, f32::NAN, -3.0, f32::MIN_POSITIVE, f32::INFINITY, 1.0];
    assert_eq!(letters(&single(&scores, 0.5)), "...kkk");
    assert_eq!(letters(&single(&scores, 0.7)), "....k.");
}

#[test]
fn a_share_that_a_product_rounds_up_takes_no_weight_more() {
    assert_eq!(least_count(100, 0.07), 7);
    assert_eq!(least_count(10, 0.1), 1);
    assert_eq!(least_count(10, 0.11), 2);
    assert_eq!(least_count(3, 1.0), 3);
    assert_eq!(least_count(0, 0.5), 0);
}

#[test]
fn a_global_threshold_takes_from_another_layer_before_one_collapses() {
    let layouts = [Some(WeightLayout::dense(1, 1000)); 2];
    let rising = |from: f32| (0..1000).map(|i| from + i as f32).collect::<Vec<_>>();
    let scores = [Some(rising(0.0)), Some(rising(5000.0))];
    let masks = |sparsity| {
        masks(
            &layouts,
            &scores,
            sparsity,
            Scope::Global,
            Pattern::Unstructured,
            &[],
        )
    };
    let counts = |sparsity| {
        let masks = masks(sparsity);
        [0, 1].map(|layer| pruned(masks[layer].as_ref().unwrap()))
    };
    assert_eq!(counts(0.49), [980, 0]);
    assert_eq!(counts(0.5), [995, 5]);
    assert_eq!(counts(0.995), [995, 995]);
    assert_eq!(counts(0.9975), [999, 996]);
    assert_eq!(counts(1.0), [999, 999]);
}

#[test]
fn short_blocks_rank_by_their_mean() {
    let masks = masks(
        &[Some(WeightLayout::dense(1, 7))],
        &[Some(vec![1.0, 1.0, 1.0, 1.0, 1.2, 1.2, 1.2])],
        0.3,
        Scope::Local,
        Pattern::Block1x4,
        &[],
    );
    assert_eq!(letters(masks[0].as_ref().unwrap()), "....kkk");
}

#[test]
fn two_of_four_leaves_depthwise_layers_and_narrow_ones_dense() {
    let depthwise = WeightLayout {
        weights: 72,
        channels: 8,
        runs: 9,
        outputs: 1,
        positions: 1,
        depthwise: true,
    };
    let layouts = [
        depthwise,
        WeightLayout::dense(9, 3),
        WeightLayout::dense(9, 8),
    ];
    let scores = layouts.map(|layout| Some(vec![1.0; layout.weights]));
    for scope in [Scope::Local, Scope::Global] {
        let masks = masks(
            &layouts.map(Some),
            &scores,
            0.5,
            scope,
            Pattern::TwoOfFour,
            &[],
        );
        let counts: Vec<usize> = masks.iter().flatten().map(|mask| pruned(mask)).collect();
        assert_eq!(counts, [0, 0, 36]);
    }
}

#[test]
fn groups_that_lost_more_than_half_keep_what_they_have() {
    let fixed = vec![false, true, false, false, true, true, true, false];
    let masks = masks(
        &[Some(WeightLayout::dense(1, 8))],
        &[Some(vec![9.0, 1.0, 9.0, 9.0, 1.0, 2.0, 3.0, 9.0])],
        0.5,
        Scope::Global,
        Pattern::TwoOfFour,
        &[Some(fixed)],
    );
    assert_eq!(letters(masks[0].as_ref().unwrap()), ".k...kk.");
}

#[test]
fn blocks_of_four_channels_go_where_they_save_multiplications() {
    let layouts = [1, 10].map(|positions| WeightLayout {
        positions,
        ..WeightLayout::dense(8, 8)
    });
    let scores = layouts.map(|layout| Some(vec![2.0; layout.weights]));
    let masks = masks(
        &layouts.map(Some),
        &scores,
        0.4,
        Scope::Global,
        Pattern::Block4x4,
        &[],
    );
    let counts: Vec<usize> = masks.iter().flatten().map(|mask| pruned(mask)).collect();
    // 2 x 16 x 10 of 11 x 64
    assert_eq!(counts, [0, 32]);
    let second = masks[1].as_ref().unwrap();
    assert_eq!(letters(&second[..8]), "........");
    assert_eq!(letters(&second[24..40]), "........kkkkkkkk");
}

/// Layers without weights among others, with scores that are often equal.
#[derive(Clone, Debug)]
struct Network {
    layouts: Vec<Option<WeightLayout>>,
    scores: Vec<Option<Vec<f32>>>,
}

impl Network {
    fn masks(
        &self,
        sparsity: f64,
        scope: Scope,
        pattern: Pattern,
        fixed: &[Option<Vec<bool>>],
    ) -> Vec<Option<Vec<bool>>> {
        masks(&self.layouts, &self.scores, sparsity, scope, pattern, fixed)
    }

    fn weights(&self) -> usize {
        self.layouts
            .iter()
            .flatten()
            .map(|layout| layout.weights)
            .sum()
    }
}

fn network() -> impl Strategy<Value = Network> {
    let layer = (1usize..13, 1usize..30, any::<bool>(), any::<u64>());
    let layer = layer.prop_map(|(channels, runs, depthwise, seed)| {
        let layout = match depthwise {
            true => WeightLayout {
                runs,
                outputs: 1,
                depthwise,
                ..WeightLayout::dense(runs, channels)
            },
            false => WeightLayout::dense(runs, channels),
        };
        (layout, random(layout.weights, seed))
    });
    prop::collection::vec(prop::option::weighted(0.8, layer), 0..6).prop_map(|layers| {
        let (layouts, scores) = layers.into_iter().map(Option::unzip).unzip();
        Network { layouts, scores }
    })
}

/// Scores on a scale of the layer's own.
fn random(count: usize, mut seed: u64) -> Vec<f32> {
    let scale = 10f32.powi((seed % 7) as i32 - 3);
    (0..count)
        .map(|_| {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (seed >> 58) as f32 * scale
        })
        .collect()
}

fn scope() -> impl Strategy<Value = Scope> {
    prop::sample::select(&[Scope::Local, Scope::Global][..])
}

fn pattern() -> impl Strategy<Value = Pattern> {
    prop::sample::select(&PATTERNS[..])
}

/// Weights that may go: all but one of each layer.
fn prunable(layout: &WeightLayout) -> usize {
    layout.weights - 1
}

proptest! {
    #[test]
    fn exactly_the_weights_that_the_sparsity_needs_go(network in network(), sparsity in 0.0f64..1.0) {
        let network_masks = network.masks(sparsity, Scope::Global, Pattern::Unstructured, &[]);
        let gone: usize = network_masks.iter().flatten().map(|mask| pruned(mask)).sum();
        let most: usize = network.layouts.iter().flatten().map(prunable).sum();
        prop_assert_eq!(gone, least_count(network.weights(), sparsity).min(most));

        let layer_masks = network.masks(sparsity, Scope::Local, Pattern::Unstructured, &[]);
        for (layout, mask) in network.layouts.iter().zip(&layer_masks) {
            prop_assert_eq!(layout.is_some(), mask.is_some());
            if let (Some(layout), Some(mask)) = (layout, mask) {
                let wanted = least_count(layout.weights, sparsity);
                prop_assert_eq!(pruned(mask), wanted.min(prunable(layout)));
            }
        }
    }

    #[test]
    fn a_layer_loses_the_weights_that_a_sort_would_put_first(network in network(), sparsity in 0.0f64..1.0) {
        let masks = network.masks(sparsity, Scope::Local, Pattern::Unstructured, &[]);
        for (scores, mask) in network.scores.iter().flatten().zip(masks.iter().flatten()) {
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
            let mut sorted = vec![true; scores.len()];
            order[..pruned(mask)].iter().for_each(|&i| sorted[i] = false);
            prop_assert_eq!(mask, &sorted);
        }
    }

    #[test]
    fn a_sparser_mask_is_within_a_denser_one(
        network in network(),
        sparsity in 0.0f64..1.0,
        more in 0.0f64..1.0,
        scope in scope(),
        pattern in pattern(),
    ) {
        let sparser = sparsity + (1.0 - sparsity) * more;
        let dense = network.masks(sparsity, scope, pattern, &[]);
        let sparse = network.masks(sparser, scope, pattern, &[]);
        prop_assert!(within(&sparse, &dense));
    }

    #[test]
    fn no_layer_collapses(
        network in network(),
        sparsity in 0.0f64..=1.0,
        scope in scope(),
        pattern in pattern(),
    ) {
        let masks = network.masks(sparsity, scope, pattern, &[]);
        for mask in masks.iter().flatten() {
            prop_assert!(mask.contains(&true));
        }
    }

    #[test]
    fn what_is_pruned_stays_so_and_counts(
        network in network(),
        first in 0.0f64..1.0,
        second in 0.0f64..1.0,
        seed in any::<u64>(),
        scope in scope(),
        pattern in pattern(),
    ) {
        let fixed = network.masks(first, scope, pattern, &[]);
        let mut rescored = network.clone();
        for scores in rescored.scores.iter_mut().flatten() {
            *scores = random(scores.len(), seed);
        }
        let again = rescored.masks(second, scope, pattern, &fixed);
        prop_assert!(within(&again, &fixed));
        if pattern == Pattern::Unstructured && scope == Scope::Global {
            let gone = |masks: &[Option<Vec<bool>>]| -> usize {
                masks.iter().flatten().map(|mask| pruned(mask)).sum()
            };
            let most: usize = network.layouts.iter().flatten().map(prunable).sum();
            let wanted = least_count(network.weights(), second).min(most);
            prop_assert_eq!(gone(&again), wanted.max(gone(&fixed)));
        }
    }

    #[test]
    fn every_group_of_two_of_four_has_two_zeros_and_the_rest_of_a_run_none(
        network in network(),
        sparsity in 0.5f64..1.0,
        scope in scope(),
    ) {
        let masks = network.masks(sparsity, scope, Pattern::TwoOfFour, &[]);
        for (layout, mask) in network.layouts.iter().flatten().zip(masks.iter().flatten()) {
            for run in mask.chunks(layout.channels) {
                let (groups, rest) = run.as_chunks::<4>();
                let zeros = if layout.depthwise { 0 } else { 2 };
                prop_assert!(groups.iter().all(|group| pruned(group) == zeros));
                prop_assert_eq!(pruned(rest), 0);
            }
        }
    }

    #[test]
    fn blocks_live_or_die_as_one_and_few_weights_too_many_go(
        network in network(),
        sparsity in 0.0f64..1.0,
        scope in scope(),
    ) {
        let masks = network.masks(sparsity, scope, Pattern::Block1x4, &[]);
        for (layout, mask) in network.layouts.iter().flatten().zip(masks.iter().flatten()) {
            let mut blocks = mask.chunks(layout.channels).flat_map(|run| run.chunks(4));
            prop_assert!(blocks.all(|block| block.iter().all(|stays| *stays == block[0])));
            if scope == Scope::Local {
                let wanted = least_count(layout.weights, sparsity);
                prop_assert!(pruned(mask) < wanted + 4);
                prop_assert!(pruned(mask) >= wanted.min(layout.weights - layout.channels.min(4)));
            }
        }
    }
}

#[test]
fn a_global_mask_over_a_network_of_the_size_of_resnet_50_has_the_exact_count() {
    let layouts = [Some(WeightLayout::dense(1000, 510)); 50];
    let scores: Vec<_> = (0..50).map(|seed| Some(random(510_000, seed))).collect();
    let masks = masks(
        &layouts,
        &scores,
        0.9,
        Scope::Global,
        Pattern::Unstructured,
        &[],
    );
    let gone: usize = masks.iter().flatten().map(|mask| pruned(mask)).sum();
    assert_eq!(gone, 22_950_000);
}
