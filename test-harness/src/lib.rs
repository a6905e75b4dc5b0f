//! Exercises `headroom.sys` with opens that nest, and shows what they did to the kernel stack.
//!
//! A [`scenario`] says what is opened; a [`backend`] is the machine it is opened on; a [`model::Run`] is what was seen;
//! [`table`], [`listing`], [`report`] and [`summary`] show it, and [`verdict`] says whether it is what had to be seen. [`cli`]
//! names the [`verbs`] of the program.

#![forbid(unsafe_code)]

pub mod backend;
pub mod cli;
pub mod interrupt;
pub mod link;
pub mod listing;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod machine;
pub mod model;
pub mod report;
pub mod scenario;
pub mod settings;
pub mod summary;
pub mod table;
pub mod tally;
pub mod verbs;
pub mod verdict;
