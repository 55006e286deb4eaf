//! What each random network is followed by, one at a time: a strided slice, a pool, a resize.

use super::generator::Generator;
use super::network::{Network, Value};
use super::operators::{pool, resize, strided_slice, unsqueezed};

/// How often an operator is tried with other attributes until it fits.
const TRIES: usize = 20;

/// A network and what it is called: its seed and what follows.
pub(crate) struct Variant {
    pub(crate) name: String,
    pub(crate) network: Network,
}

/// The network itself, then with each follower.
pub(crate) fn variants(seed: u64, network: Network) -> Vec<Variant> {
    let end = network.outputs[0].clone();
    let mut variants = Vec::new();
    for axis in 0..end.rank() {
        let name = format!("{seed}-strided{axis}");
        let slice = |g: &mut Generator, x: &Value| strided_slice(g, x, axis);
        variants.extend(followed(seed, &network, name, slice));
    }
    variants.extend(followed(seed, &network, format!("{seed}-pooled"), pooled));
    variants.extend(followed(seed, &network, format!("{seed}-resized"), resized));
    let name = seed.to_string();
    variants.insert(0, Variant { name, network });
    variants
}

fn followed(
    seed: u64,
    network: &Network,
    name: String,
    follow: impl Fn(&mut Generator, &Value) -> Option<Value>,
) -> Option<Variant> {
    let end = &network.outputs[0];
    let mut generator = Generator::after(network.clone(), seed);
    let last = (0..TRIES).find_map(|_| follow(&mut generator, end))?;
    let network = generator.finish_with(&last);
    Some(Variant { name, network })
}

/// With the batch and channels that a pool wants.
fn pooled(g: &mut Generator, x: &Value) -> Option<Value> {
    let mut x = x.clone();
    if x.rank() < 2 || x.dims[0] != 1 {
        x = unsqueezed(g, &x, 0);
    }
    while x.rank() < 3 {
        x = unsqueezed(g, &x, 1);
    }
    pool(g, &x)
}

fn resized(g: &mut Generator, x: &Value) -> Option<Value> {
    let x = match x.rank() {
        ..2 => unsqueezed(g, x, 0),
        _ => x.clone(),
    };
    resize(g, &x)
}
