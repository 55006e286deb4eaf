//! Where commands keep what was measured of a network.

use crate::study::Cache;
use std::path::PathBuf;

/// Environment variable that names the folder, in place of the user's cache folder.
const VARIABLE: &str = "EDGEPRUNE_CACHE";

/// Flags of commands that measure.
#[derive(Debug, clap::Args)]
pub(super) struct CacheArgs {
    /// Keep what is measured of the network in this folder, so that the next budget takes seconds
    /// [default: $EDGEPRUNE_CACHE, or `edgeprune` in the user's cache folder].
    #[arg(long, value_name = "FOLDER")]
    cache: Option<PathBuf>,
    /// Measure anew, and keep nothing.
    #[arg(long, conflicts_with = "cache")]
    no_cache: bool,
}

impl CacheArgs {
    pub(super) fn open(&self) -> Cache {
        if self.no_cache {
            return Cache::none();
        }
        let named = self.cache.clone();
        let variable = || std::env::var_os(VARIABLE).map(PathBuf::from);
        let usual = || Some(dirs::cache_dir()?.join("edgeprune"));
        named
            .or_else(variable)
            .or_else(usual)
            .map_or_else(Cache::none, Cache::new)
    }
}
