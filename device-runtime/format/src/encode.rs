//! Writing packages.
