//! Runs a package.
#![cfg_attr(not(feature = "std"), no_std)]
