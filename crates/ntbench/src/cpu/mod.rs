//! What the processor does: GS, pages, CR8, faults.

pub(crate) mod emulate;
pub(crate) mod fault;
pub(crate) mod guarded;
pub(crate) mod memory;
mod page_fault;
pub(crate) mod pcr;
pub(crate) mod shared_data;
pub(crate) mod unhandled;
mod verdict;
