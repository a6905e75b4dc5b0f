//! The cache manager, which the bench does not have: a filter that owns file objects and caches their data by it finds each function
//! by name, and is told that nothing was done.

use super::memory::Guest;
use crate::abi::io::IoStatusBlock;
use crate::status::NtStatus;
use crate::verifier;

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

    /// Refused.
    refused "STATUS_NOT_SUPPORTED in the status block"
    fn CcFlushCache(_sections: usize, _offset: usize, _length: u32, status: Guest<IoStatusBlock>) {
        not_done("CcFlushCache", status);
    }

    /// Refused.
    refused "FALSE: nothing is purged"
    fn CcPurgeCacheSection(_sections: usize, _offset: usize, _length: u32, _flags: u32) -> u8 {
        refuse("CcPurgeCacheSection");
        0
    }

    /// Refused.
    refused "no list, and STATUS_NOT_SUPPORTED in the status block"
    fn CcMdlRead(_file: usize, _offset: usize, _length: u32, chain: Guest<usize>, status: Guest<IoStatusBlock>) {
        chain.write(0);
        not_done("CcMdlRead", status);
    }
}
