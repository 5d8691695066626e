//! The wire formats: URL paths in, the metrics APIs' JSON out. Pure.

pub mod custom;
pub mod discovery;
pub mod path;
pub mod status;
