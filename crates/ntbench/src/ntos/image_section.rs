//! Whether a stream is mapped, asked by its section pointers: what a file system asks before it cuts or deletes a file.
//!
//! `MmFlushImageSection`, `MmForceSectionClosed`, `MmDoesFileHaveUserWritableReferences`, `MmCanFileBeTruncated`.

use super::memory::Guest;
use super::{fcb, irql, section};
use crate::bugcheck;
use crate::namespace::sharing::FileId;
use crate::thread::APC_LEVEL;

/// `MmFlushForDelete`.
const FOR_DELETE: u32 = 0;

fn stream(call: &str, pointers: usize) -> FileId {
    irql::at_most(call, APC_LEVEL);
    fcb::stream_of_sections(pointers).unwrap_or_else(|| {
        bugcheck::raise(
            0x3B,
            [0xC000_0005, 0, pointers as u64, 0],
            format!("{call} was given {pointers:#x}, which are no open stream's section pointers"),
        )
    })
}

exports! { "ntoskrnl.exe";
    /// Whether a file's image section, if it has one, is out of use; for a deletion, its data section too.
    partial "nothing is mapped as an image here"
    fn MmFlushImageSection(pointers: usize, kind: u32) -> u8 {
        let stream = stream("MmFlushImageSection", pointers);
        u8::from(kind != FOR_DELETE || !section::is_mapped(stream))
    }

    /// Whether a file's sections are out of use.
    fn MmForceSectionClosed(pointers: usize, _delay: u8) -> u8 {
        u8::from(!section::is_mapped(stream("MmForceSectionClosed", pointers)))
    }

    /// How often a file is mapped so that it can be written to.
    fn MmDoesFileHaveUserWritableReferences(pointers: usize) -> u32 {
        section::writable_views(stream("MmDoesFileHaveUserWritableReferences", pointers))
    }

    /// Whether a file may be cut to a length: no view shows what would go.
    fn MmCanFileBeTruncated(pointers: usize, length: Guest<i64>) -> u8 {
        let stream = stream("MmCanFileBeTruncated", pointers);
        u8::from(!section::shown_behind(stream, length.read_opt().unwrap_or(0)))
    }
}
