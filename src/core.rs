//! What the product knows without asking anybody: no I/O, no clock, no environment.
