//! The user-mode Windows calls that the test harness needs, made safe: the one crate of it that holds `unsafe`.
//!
//! Nothing here knows Headroom. Each module is one part of Windows: the native file calls that a scenario opens paths with (`nt`), the
//! Filter Manager's user library (`filter`, `port`), services, registry, shares, trust, and facts about the system. A call that fails
//! says which one it was and the code with its name (`Error`); what to do about it is the caller's to say, since only the caller knows
//! what it was for.
//!
//! Elsewhere than on Windows the crate is empty. Wine lacks the Filter Manager: there its calls fail with `Error::NoFilterManager`.
#![cfg(windows)]

pub mod certificate;
mod error;
pub mod filter;
pub mod inf;
pub mod nt;
pub mod port;
pub mod registry;
pub mod service;
pub mod share;
pub mod system;
pub mod trust;
mod wide;
pub mod wine;

pub use error::{Code, Error};
pub use wide::Wide;

/// What a call of this crate gives.
pub type Result<T> = std::result::Result<T, Error>;
