//! A session, its inputs and its outputs as bytes.

use crate::Error;
use edgeprune_runtime::{Arena, MAX_NODES, Package, Session, SessionError};
use sha2::{Digest as _, Sha256};

/// A session with room for [`MAX_NODES`] nodes.
pub type Network<'p, 'a> = Session<'p, 'a, MAX_NODES>;

/// Memory for a session.
///
/// # Errors
/// The system does not have as much.
pub(crate) fn arena(bytes: usize) -> Result<Arena, Error> {
    let what = "the arena";
    Arena::try_new(bytes).ok_or(Error::Memory { what, bytes })
}

/// A session of `package` in `arena`, of [`Package::arena_bytes`]. Leave it where it is returned: it has room for
/// [`MAX_NODES`], and every copy is as much memory.
///
/// # Errors
/// Too many nodes, or a constant that does not decode.
pub fn open<'p, 'a>(
    package: &'p Package<'_>,
    arena: &'a mut [u8],
) -> Result<Network<'p, 'a>, SessionError> {
    Network::with_capacity(package, arena)
}

/// SHA-256 over the bytes of all outputs, sample after sample: equal digests, equal computations.
#[derive(Clone, Debug, Default)]
pub struct Digest(Sha256);

impl Digest {
    /// Adds every output of the last run.
    ///
    /// # Errors
    /// None for a network that has run.
    pub fn add(&mut self, network: &Network<'_, '_>) -> Result<(), Error> {
        for index in 0..usize::from(network.package().manifest().head.counts.outputs) {
            self.0.update(network.output(index)?);
        }
        Ok(())
    }

    /// In hexadecimal.
    pub fn hex(self) -> String {
        hexadecimal(&self.0.finalize())
    }
}

/// Bytes as text, two digits each.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 over the bytes of the last run's outputs, in hexadecimal.
///
/// # Errors
/// None for a network that has run.
pub fn digest(network: &Network<'_, '_>) -> Result<String, Error> {
    let mut digest = Digest::default();
    digest.add(network)?;
    Ok(digest.hex())
}
