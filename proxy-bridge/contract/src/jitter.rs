//! A little chance, so that those that try again do not all do so at once.

use std::hash::{BuildHasher as _, RandomState};

/// From 0 to 1. The keys of a new `RandomState` are as random as spreading out tries needs.
pub fn jitter() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}
