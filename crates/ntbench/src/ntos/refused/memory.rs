//! Physical memory, devices' registers, and views in system space.

use super::refusals;
use crate::status::NtStatus;

refusals! {
    "nothing: there was none":
    MmFreePagesFromMdl(_list: usize) -> u64 = 0;
    MmUnmapIoSpace(_base: usize, _bytes: usize) -> u64 = 0;

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
