//! Random numbers that spread what many do at the same time. Not for secrets.

use std::hash::{BuildHasher as _, RandomState};

/// A number between 0 and 1.
pub fn chance() -> f64 {
    let bits = u32::try_from(RandomState::new().hash_one(()) >> 32).unwrap_or_default();
    f64::from(bits) / f64::from(u32::MAX)
}
