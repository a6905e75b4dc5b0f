//! The cache manager. Transfers reach the file as they come here, so nothing is ever dirty, and there is nothing to flush: what a filter
//! asks of a file system's cached streams is answered as when that is so. A filter that owns file objects and caches their data by
//! it finds each function by name, and is told that nothing was done.

use super::memory::Guest;
use super::{fcb, irql, object, section};
use crate::abi::io::IoStatusBlock;
use crate::namespace::sharing::FileId;
use crate::status::NtStatus;
use crate::thread::APC_LEVEL;
use crate::verifier;
use std::sync::LazyLock;

/// `SECTION_OBJECT_POINTERS`: where `SharedCacheMap` is; `DataSectionObject` comes first.
const SHARED_CACHE_MAP: usize = 8;
/// What caches point to: nobody may look into it.
static MAP: LazyLock<usize> = LazyLock::new(|| object::allocate(16));

/// Caching begins for a file object: what its `PrivateCacheMap` is to be. Its stream's section pointers say so, too.
pub(crate) fn begin(sections: usize) -> usize {
    if sections != 0 && fcb::stream_of_sections(sections).is_some() {
        let pointers = Guest::<usize>::at(sections);
        if pointers.read() == 0 {
            pointers.write(*MAP);
        }
        Guest::at(sections + SHARED_CACHE_MAP).write(*MAP);
    }
    *MAP
}

/// The stream that is to be flushed or purged; `None`: the pointers are a filter's own, whose data nobody caches.
fn cached(function: &str, sections: usize) -> Option<FileId> {
    irql::at_most(function, APC_LEVEL);
    let stream = fcb::stream_of_sections(sections);
    if stream.is_none() {
        refuse(function);
    }
    stream
}

fn flush(function: &str, sections: usize, status: Guest<IoStatusBlock>) {
    let done = match cached(function, sections) {
        Some(_) => NtStatus::SUCCESS,
        None => NtStatus::NOT_SUPPORTED,
    };
    status.write_opt(IoStatusBlock::new(done, 0));
}

fn refuse(function: &str) {
    verifier::finding(
        "refused",
        format!(
            "{function}: the bench has no cache manager; data of file objects that a filter owns are not cached here, so \
             read and write them yourself"
        ),
    );
}

fn not_done(function: &str, status: Guest<IoStatusBlock>) {
    refuse(function);
    status.write_opt(IoStatusBlock::new(NtStatus::NOT_SUPPORTED, 0));
}

exports! { "ntoskrnl.exe";
    /// Refused.
    refused "nothing is cached; PrivateCacheMap stays as it is"
    fn CcInitializeCacheMap(_file: usize, _sizes: usize, _pin: u8, _callbacks: usize, _context: usize) {
        refuse("CcInitializeCacheMap");
    }

    /// Refused.
    refused "FALSE: there was nothing to take away"
    fn CcUninitializeCacheMap(_file: usize, _size: usize, _event: usize) -> u8 {
        refuse("CcUninitializeCacheMap");
        0
    }

    /// Refused.
    refused "nothing: there is no cache whose sizes there would be"
    fn CcSetFileSizes(_file: usize, _sizes: usize) {
        refuse("CcSetFileSizes");
    }

    /// Refused.
    refused "FALSE, and STATUS_NOT_SUPPORTED in the status block"
    fn CcCopyRead(_file: usize, _offset: usize, _length: u32, _wait: u8, _buffer: usize, status: Guest<IoStatusBlock>) -> u8 {
        not_done("CcCopyRead", status);
        0
    }

    /// Refused.
    refused "FALSE: nothing is copied"
    fn CcCopyWrite(_file: usize, _offset: usize, _length: u32, _wait: u8, _buffer: usize) -> u8 {
        refuse("CcCopyWrite");
        0
    }

    /// Writes what is dirty: nothing is.
    partial "nothing is ever dirty, so no paging write comes of it; refused for section pointers that are a filter's own"
    fn CcFlushCache(sections: usize, _offset: usize, _length: u32, status: Guest<IoStatusBlock>) {
        flush("CcFlushCache", sections, status);
    }

    /// Throws what is cached away, unless a view of the file keeps it.
    partial "nothing is kept; FALSE while anybody has a view of the stream; refused for section pointers that are a filter's own"
    fn CcPurgeCacheSection(sections: usize, _offset: usize, _length: u32, _flags: u32) -> u8 {
        let stream = cached("CcPurgeCacheSection", sections);
        u8::from(stream.is_some_and(|stream| !section::is_mapped(stream)))
    }

    /// Both; views do not keep it from that.
    partial "nothing is ever dirty, and no page is locked: STATUS_CACHE_PAGE_LOCKED never; refused for section pointers of a filter's own"
    fn CcCoherencyFlushAndPurgeCache(
        sections: usize, _offset: usize, _length: u32, status: Guest<IoStatusBlock>, _flags: u32,
    ) {
        flush("CcCoherencyFlushAndPurgeCache", sections, status);
    }

    /// Waits for what the lazy writer has begun: nothing.
    fn CcWaitForCurrentLazyWriterActivity() -> NtStatus {
        irql::at_most("CcWaitForCurrentLazyWriterActivity", APC_LEVEL);
        NtStatus::SUCCESS
    }

    /// Whether a volume has dirty data: none has.
    fn CcIsThereDirtyData(_vpb: usize) -> u8 {
        irql::at_most("CcIsThereDirtyData", APC_LEVEL);
        0
    }

    /// Refused.
    refused "no list, and STATUS_NOT_SUPPORTED in the status block"
    fn CcMdlRead(_file: usize, _offset: usize, _length: u32, chain: Guest<usize>, status: Guest<IoStatusBlock>) {
        chain.write(0);
        not_done("CcMdlRead", status);
    }
}
