//! The Windows structures that cross between a driver and this host, declared from the public documentation.
//!
//! Our own declarations rather than a metadata crate's: Microsoft's metadata is wrong wherever a C
//! header says `POINTER_ALIGNMENT` (it packs what the header pads), and just those unions are what
//! a minifilter reads. Every offset that the host relies on is asserted at compile time; a test
//! then compares with `windows-sys`, whose known errors it lists.
//!
//! Names follow Rust's conventions, not the headers': `FLT_CALLBACK_DATA.Iopb` is
//! [`flt::CallbackData::iopb`].

pub(crate) mod base;
pub(crate) mod etw;
pub(crate) mod file;
pub(crate) mod flt;
pub(crate) mod io;
pub(crate) mod irp;
pub(crate) mod ob;
pub(crate) mod params;
pub(crate) mod ps;
pub(crate) mod registry;
pub(crate) mod status;
#[cfg(test)]
mod witness;

/// Asserts a structure's size and the offsets of its fields at compile time.
macro_rules! layout {
    ($type:ty, $size:literal $(, $field:ident @ $offset:literal)* $(,)?) => {
        const _: () = {
            assert!(core::mem::size_of::<$type>() == $size);
            $(assert!(core::mem::offset_of!($type, $field) == $offset);)*
        };
    };
}
pub(crate) use layout;
