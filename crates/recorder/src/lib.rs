//! A lock-free ring of fixed-size records, and watermarks, whose losses are counted, never silent.
//!
//! Made for a kernel driver's create path: a writer never waits, never allocates and needs a few words of stack; the
//! record is filled where it stays. [`Recorder`] is that ring as a static which a debugger finds by name and a dump's
//! reader by signature. [`ring::Ring`] is the algorithm alone, which loom can explore.
//!
//! # How it works
//!
//! Each slot has one owner at a time, and one word says who: the sequence in its upper bits, the phase below. Changing
//! hands is one compare-and-swap on that word, so a writer or a reader either owns the slot for as long as it needs, or
//! does not touch it.
//!
//! * A **writer** claims the slot of the next sequence. Where the slot is still held from a lap before (its writer is slow,
//!   or a reader looks at it), the writer steps over that sequence and tries the next one; after a bounded number of tries
//!   it gives up and the record is counted as skipped. So a lapped writer can neither damage another's record nor have
//!   half of one taken for whole, and nobody ever waits. Who moves the head decides what a sequence is: the one who has taken
//!   its slot gives it a record, anybody else makes it void, and the one who loses that race gives the slot up.
//! * A **reader** holds a slot only while it looks at one record. It keeps writers off that one slot, which matters only
//!   to a writer that is exactly one lap ahead, about to overwrite what is being read.
//! * The **completion**, a value known long after the record was committed, goes into a word of its own that carries the
//!   record's sequence: one compare-and-swap stores it or finds that the record is gone.
//!
//! A ring forgets. [`Watermarks`] keep the extremes: [`mark`] is one set of them, [`table`] those of the process images.
//! [`images`] keeps the names of process images, which the kernel is slow to tell.

#![no_std]

pub mod attached;
pub mod images;
pub mod mark;
pub mod ring;
mod slot;
mod sync;
pub mod table;

#[cfg(not(feature = "loom"))]
mod recorder;
#[cfg(not(feature = "loom"))]
mod watermarks;
#[cfg(feature = "loom")]
pub mod weaken;

pub use mark::Sample;
#[cfg(not(feature = "loom"))]
pub use recorder::{AttachError, Recorder};
pub use ring::{Claim, Drained, ReadError, Ring};
pub use slot::Slot;
#[cfg(not(feature = "loom"))]
pub use watermarks::Watermarks;
