//! The part of `cargo xtask` that its tests hold against measurements: what a driver puts on a kernel stack.

pub mod budget;
