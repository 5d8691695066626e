//! What the product knows without asking anybody: no I/O, no clock, no environment.

pub mod catalog;
pub mod duration;
pub mod embedded;
pub mod excerpt;
pub mod external;
pub mod fields;
pub mod go_quote;
pub mod go_regex;
pub mod kinds;
pub mod lint;
pub mod names;
pub mod nearest;
pub mod nesting;
pub mod plan;
pub mod pointwise;
pub mod quantity;
pub mod reading;
pub mod resource;
pub mod rules;
pub mod samples;
pub mod seeds;
pub mod selector;
pub mod series;
pub mod template;
pub mod window;
pub mod yaml;
