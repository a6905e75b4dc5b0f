//! The rest of the cache manager: what filters that keep and cache files of their own call.

use super::refusals;
use crate::status::NtStatus;

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

    "STATUS_NOT_SUPPORTED: nothing is cached":
    CcSetFileSizesEx(_file: usize, _sizes: usize) -> NtStatus = NtStatus::NOT_SUPPORTED;

    "NULL: nothing is cached, and a stream's file objects are those that were opened":
    IoCreateStreamFileObject(_file: usize, _device: usize) -> usize = 0;
    IoCreateStreamFileObjectLite(_file: usize, _device: usize) -> usize = 0;
    IoCreateStreamFileObjectEx(_file: usize, _device: usize, _handle: usize) -> usize = 0;
}

/// What has nothing to say.
pub(super) mod by_stream {
    exports! { "ntoskrnl.exe";
        /// The file object through which a stream is cached: none is.
        partial "NULL: no file object keeps a stream cached"
        fn CcGetFileObjectFromSectionPtrs(_sections: usize) -> usize {
            0
        }

        /// The same, referenced.
        partial "NULL: no file object keeps a stream cached"
        fn CcGetFileObjectFromSectionPtrsRef(_sections: usize) -> usize {
            0
        }
    }
}
