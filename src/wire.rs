//! The wire formats: URL paths in, the metrics APIs' JSON out. Pure.

#![cfg_attr(not(test), warn(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod answer;
pub mod attributes;
pub mod custom;
pub mod delegated;
pub mod discovery;
pub mod explanation;
pub mod external;
mod list;
pub mod openapi;
pub mod page;
pub mod path;
pub mod resource;
pub mod status;
pub mod table;
