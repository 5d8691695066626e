//! What the product knows without asking anybody: no I/O, no clock, no environment.

#![cfg_attr(not(test), warn(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod autoscaler;
pub mod budgets;
pub mod catalog;
pub mod duration;
pub mod embedded;
pub mod excerpt;
pub mod external;
pub mod fields;
pub mod go_quote;
pub mod go_regex;
pub mod key_path;
pub mod kinds;
pub mod lint;
pub mod memory;
pub mod names;
pub mod nearest;
pub mod nesting;
pub mod oddity;
pub mod order;
pub mod plan;
pub mod pointwise;
pub mod prefetch;
pub mod quantity;
pub mod reading;
pub mod repeats;
pub mod resource;
pub mod rules;
pub mod samples;
pub mod selector;
pub mod series;
pub mod sharing;
pub mod template;
pub mod window;
pub mod yaml;
