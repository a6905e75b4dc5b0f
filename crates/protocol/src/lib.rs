//! What crosses from the Headroom driver into user mode, crash dumps and debuggers.
//!
//! The driver writes these layouts, everyone else only reads them, and the readers are not always of the driver's own
//! version: a dump is opened years later, a debugger looks at whatever is loaded. Three rules follow.
//!
//! * **No type has an invalid value.** Enumerations are numbers with names ([`Outcome`], [`Policy`]): a value that this
//!   version does not know stays the number it is, and is printed as one.
//! * **No padding.** `zerocopy` refuses to derive [`IntoBytes`] for a type that has any, so no byte of kernel memory that
//!   nobody wrote can leave the kernel through these types.
//! * **Offsets are asserted**, because a debugger script and an old reader know them as numbers.
//!
//! How a reader finds its way: the [`Anchor`] is a static of the driver, symbol [`ANCHOR_SYMBOL`], and starts with
//! [`SIGNATURE`], so it is found by name with symbols and by a search of memory without. It gives the address of an array
//! of slots, each a [`SlotHeader`] followed by one [`Record`]. The [`Watermarks`] and the settings ([`ConfigBlock`]) are two
//! more statics, found the same way.
//! A client of the running driver talks to its [`port`].
//!
//! [`IntoBytes`]: zerocopy::IntoBytes

#![no_std]
#![forbid(unsafe_code)]

mod anchor;
mod codes;
mod config;
mod decode;
mod hash;
mod named;
pub mod port;
mod record;
mod settings;
mod slot;
mod status;
mod watermarks;

/// The build of the oldest Windows that has everything the driver calls: Windows 10, version 2004. Whatever installs the driver asks for it, since
/// an INF cannot; `cargo xtask check-image` holds it to what the image imports.
pub const OLDEST_BUILD: u32 = 19_041;

pub use anchor::{ANCHOR_SYMBOL, Anchor, LAYOUT_VERSION, SIGNATURE};
pub use codes::{AncestorScope, Flags, OnExpandFailure, Outcome, Policy};
pub use config::{
    CONFIG_VERSION, Config, MAXIMUM_LOG_CAPACITY, MAXIMUM_NEST_DEPTH, Reason, Rejection, Setting,
};
use decode::check_size;
pub use decode::{DecodeError, find_anchors};
pub use hash::fnv1a64;
pub use record::{IMAGE_NAME_BYTES, PATH_TAIL_UNITS, Record};
pub use settings::{CONFIG_SIGNATURE, CONFIG_SYMBOL, ConfigBlock, find_configs};
pub use slot::{Phase, SLOT_BYTES, SlotHeader, SlotView, completion};
pub use status::NtStatus;
pub use watermarks::{
    MARKS_SIGNATURE, MARKS_VERSION, MarkWords, Marks, NEST_SLOTS, PROCESS_SLOTS, PROCESS_WAYS,
    ProcessWords, WATERMARKS_SYMBOL, Watermarks, entry, find_watermarks, highest, lowest,
    process_key, tally,
};
