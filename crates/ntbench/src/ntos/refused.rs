//! Functions that the bench knows by name and does not do: filters that keep files of their own (layered file systems, caches)
//! import them, and load. A call is a finding, and changes nothing.

use super::memory::Guest;
use crate::abi::io::IoStatusBlock;
use crate::status::NtStatus;
use crate::verifier;

fn refuse(function: &str, why: &str) {
    verifier::finding("refused", format!("{function} is not modelled: {why}"));
}

/// Declares functions that answer one value; an answer that is a status says so.
macro_rules! refusals {
    ($($why:literal: $($name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $value:expr;)*)*) => {
        exports! { "ntoskrnl.exe";
            $($(
                /// Refused.
                refused $why
                fn $name($($arg: $ty),*) -> $ret {
                    refuse(stringify!($name), $why);
                    $value
                }
            )*)*
        }
    };
}

refusals! {
    "FALSE: nothing is cached":
    CcCanIWrite(_file: usize, _bytes: u32, _wait: u8, _retrying: u8) -> u8 = 0;
    CcMapData(_file: usize, _offset: usize, _length: u32, _flags: u32, _bcb: usize, _buffer: usize) -> u8 = 0;
    CcPinRead(_file: usize, _offset: usize, _length: u32, _flags: u32, _bcb: usize, _buffer: usize) -> u8 = 0;
    CcPinMappedData(_file: usize, _offset: usize, _length: u32, _flags: u32, _bcb: usize) -> u8 = 0;
    CcPreparePinWrite(_file: usize, _offset: usize, _length: u32, _zero: u8, _flags: u32, _bcb: usize, _buffer: usize) -> u8 = 0;
    CcZeroData(_file: usize, _start: usize, _end: usize, _wait: u8) -> u8 = 0;
    FsRtlCopyRead(_file: usize, _offset: usize, _length: u32, _wait: u8, _key: u32, _buffer: usize, _status: usize, _device: usize) -> u8 = 0;
    FsRtlCopyWrite(_file: usize, _offset: usize, _length: u32, _wait: u8, _key: u32, _buffer: usize, _status: usize, _device: usize) -> u8 = 0;

    "nothing: nothing is cached":
    CcDeferWrite(_file: usize, _routine: usize, _one: usize, _other: usize, _bytes: u32, _retrying: u8) -> u64 = 0;
    CcFastCopyRead(_file: usize, _offset: u32, _length: u32, _pages: u32, _buffer: usize, _status: usize) -> u64 = 0;
    CcFastCopyWrite(_file: usize, _offset: u32, _length: u32, _buffer: usize) -> u64 = 0;
    CcMdlReadComplete(_file: usize, _chain: usize) -> u64 = 0;
    CcMdlWriteComplete(_file: usize, _offset: usize, _chain: usize) -> u64 = 0;
    CcMdlWriteAbort(_file: usize, _chain: usize) -> u64 = 0;
    CcScheduleReadAhead(_file: usize, _offset: usize, _length: u32) -> u64 = 0;
    CcSetAdditionalCacheAttributes(_file: usize, _no_ahead: u8, _no_behind: u8) -> u64 = 0;
    CcSetDirtyPageThreshold(_file: usize, _threshold: u32) -> u64 = 0;
    CcSetReadAheadGranularity(_file: usize, _granularity: u32) -> u64 = 0;
    CcSetDirtyPinnedData(_bcb: usize, _lsn: usize) -> u64 = 0;
    CcUnpinData(_bcb: usize) -> u64 = 0;

    "nothing: there was none":
    MmFreePagesFromMdl(_list: usize) -> u64 = 0;
    MmUnmapIoSpace(_base: usize, _bytes: usize) -> u64 = 0;

    "STATUS_NOT_SUPPORTED: nothing is cached":
    CcSetFileSizesEx(_file: usize, _sizes: usize) -> NtStatus = NtStatus::NOT_SUPPORTED;

    "STATUS_NOT_SUPPORTED: an undocumented way to objects; open them by their own services":
    ObReferenceObjectByName(
        _name: usize, _attributes: u32, _state: usize, _access: u32, _kind: usize, _mode: i8, _context: usize, _out: usize
    ) -> NtStatus = NtStatus::NOT_SUPPORTED;
    ObCreateObject(
        _mode: i8, _kind: usize, _attributes: usize, _owner: i8, _context: usize, _size: u32, _paged: u32, _pool: u32,
        _out: usize
    ) -> NtStatus = NtStatus::NOT_SUPPORTED;
    ObInsertObject(
        _object: usize, _state: usize, _access: u32, _references: u32, _out: usize, _handle: usize
    ) -> NtStatus = NtStatus::NOT_SUPPORTED;

    "STATUS_NOT_SUPPORTED: drivers are loaded and unloaded from outside of the machine":
    ZwLoadDriver(_name: usize) -> NtStatus = NtStatus::NOT_SUPPORTED;
    ZwUnloadDriver(_name: usize) -> NtStatus = NtStatus::NOT_SUPPORTED;

    "STATUS_NOT_SUPPORTED: there are no hives behind the registry":
    ZwLoadKey(_key: usize, _file: usize) -> NtStatus = NtStatus::NOT_SUPPORTED;
    ZwUnloadKey(_key: usize) -> NtStatus = NtStatus::NOT_SUPPORTED;
    ZwSaveKey(_key: u64, _file: u64) -> NtStatus = NtStatus::NOT_SUPPORTED;
    ZwRestoreKey(_key: u64, _file: u64, _flags: u32) -> NtStatus = NtStatus::NOT_SUPPORTED;
    ZwReplaceKey(_new: usize, _key: u64, _old: usize) -> NtStatus = NtStatus::NOT_SUPPORTED;

    "NULL: physical memory and devices' registers are not modelled":
    MmMapIoSpace(_physical: u64, _bytes: usize, _cache: u32) -> usize = 0;
    MmMapIoSpaceEx(_physical: u64, _bytes: usize, _protection: u32) -> usize = 0;
    MmGetVirtualForPhysical(_physical: u64) -> usize = 0;
    MmAllocatePagesForMdl(_low: u64, _high: u64, _skip: u64, _bytes: usize) -> usize = 0;
    MmAllocatePagesForMdlEx(_low: u64, _high: u64, _skip: u64, _bytes: usize, _cache: u32, _flags: u32) -> usize = 0;

    "STATUS_NOT_SUPPORTED: views of sections are user memory here":
    MmMapViewInSystemSpace(_section: usize, _base: usize, _size: usize) -> NtStatus = NtStatus::NOT_SUPPORTED;
    MmUnmapViewInSystemSpace(_base: usize) -> NtStatus = NtStatus::NOT_SUPPORTED;
}

/// What answers by a status block.
mod by_block {
    use super::{Guest, IoStatusBlock, NtStatus, refuse};

    exports! { "ntoskrnl.exe";
        /// Refused.
        refused "STATUS_NOT_SUPPORTED in the status block: nothing is cached"
        fn CcCoherencyFlushAndPurgeCache(
            _sections: usize, _offset: usize, _length: u32, status: Guest<IoStatusBlock>, _flags: u32,
        ) {
            refuse("CcCoherencyFlushAndPurgeCache", "nothing is cached");
            status.write_opt(IoStatusBlock::new(NtStatus::NOT_SUPPORTED, 0));
        }

        /// The file object through which a stream is cached: none is.
        fn CcGetFileObjectFromSectionPtrs(_sections: usize) -> usize {
            0
        }

        /// The same, referenced.
        fn CcGetFileObjectFromSectionPtrsRef(_sections: usize) -> usize {
            0
        }
    }
}

/// What this module lets drivers import, besides [`exports`].
pub(super) fn others() -> &'static [crate::export::Export] {
    by_block::exports()
}
