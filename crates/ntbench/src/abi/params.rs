//! `FLT_PARAMETERS`: 48 bytes whose meaning the operation tells. `POINTER_ALIGNMENT` in the header puts most narrow
//! members at multiples of eight.

use super::{base::Ptr, io::IoSecurityContext, layout};

/// The union.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parameters(pub(crate) [u64; 6]);

/// An arm of the union.
///
/// # Safety
/// The type is 48 bytes of numbers and pointers without hidden padding: any bytes are one, and all its bytes are set.
pub(crate) unsafe trait Arm: Copy {}

impl Parameters {
    /// As that arm has it.
    pub(crate) fn of<A: Arm>(arm: A) -> Self {
        const { assert!(size_of::<A>() == size_of::<Self>()) };
        // SAFETY: both are 48 bytes, all set (`Arm`).
        unsafe { std::mem::transmute_copy(&arm) }
    }

    /// Read as that arm.
    pub(crate) fn get<A: Arm>(&self) -> A {
        const { assert!(size_of::<A>() == size_of::<Self>()) };
        // SAFETY: both are 48 bytes, and any bytes are an `A` (`Arm`).
        unsafe { std::mem::transmute_copy(self) }
    }
}

macro_rules! arms {
    ($($(#[$meta:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? } ($($at:ident @ $offset:literal),*))*) => {$(
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $name {
            $(pub(crate) $field: $type),*
        }
        layout!($name, 48, $($at @ $offset),*);
        // SAFETY: numbers and pointers alone; the padding is spelled out.
        unsafe impl Arm for $name {}
    )*};
}

arms! {
    /// `Create`, `CreatePipe` and `CreateMailslot`.
    CreateParameters {
        security_context: *mut IoSecurityContext, options: u32, pad0: u32, file_attributes: u16, share_access: u16,
        pad1: u32, ea_length: u32, pad2: u32, ea_buffer: Ptr, allocation_size: i64,
    } (options @ 8, file_attributes @ 16, share_access @ 18, ea_length @ 24, ea_buffer @ 32, allocation_size @ 40)

    /// `Read` and `Write`.
    Transfer {
        length: u32, pad0: u32, key: u32, pad1: u32, offset: i64, buffer: usize, mdl: usize, pad2: u64,
    } (key @ 8, offset @ 16, buffer @ 24, mdl @ 32)

    /// `QueryFileInformation`, and `QueryVolumeInformation` and `SetVolumeInformation`, which have the same shape.
    QueryInformation {
        length: u32, pad0: u32, class: u32, pad1: u32, buffer: usize, pad2: [u64; 3],
    } (class @ 8, buffer @ 16)

    /// `SetFileInformation`.
    SetInformation {
        length: u32, pad0: u32, class: u32, pad1: u32, parent_of_target: usize, replace_if_exists: u8, advance_only: u8,
        pad2: u16, pad3: u32, buffer: usize, pad4: u64,
    } (class @ 8, parent_of_target @ 16, replace_if_exists @ 24, advance_only @ 25, buffer @ 32)

    /// `DirectoryControl.QueryDirectory`.
    QueryDirectory {
        length: u32, pad0: u32, file_name: usize, class: u32, pad1: u32, file_index: u32, pad2: u32, buffer: usize,
        mdl: usize,
    } (file_name @ 8, class @ 16, file_index @ 24, buffer @ 32, mdl @ 40)

    /// `DirectoryControl.NotifyDirectory`.
    NotifyDirectory {
        length: u32, pad0: u32, filter: u32, pad1: u32, spare: [u64; 2], buffer: usize, mdl: usize,
    } (filter @ 8, buffer @ 32, mdl @ 40)

    /// `DirectoryControl.NotifyDirectoryEx`.
    NotifyDirectoryEx {
        length: u32, pad0: u32, filter: u32, pad1: u32, class: u32, pad2: u32, spare: u64, buffer: usize, mdl: usize,
    } (filter @ 8, class @ 16, buffer @ 32, mdl @ 40)

    /// `FileSystemControl.Neither` and `DeviceIoControl.Neither`. `Buffered` has its system buffer where `input` is, and
    /// so has `Direct`.
    Control {
        output_length: u32, pad0: u32, input_length: u32, pad1: u32, code: u32, pad2: u32, input: usize, output: usize,
        output_mdl: usize,
    } (input_length @ 8, code @ 16, input @ 24, output @ 32, output_mdl @ 40)

    /// `LockControl`.
    LockControl {
        length: usize, key: u32, pad0: u32, offset: i64, process: usize, fail_immediately: u8, exclusive: u8, pad1: u16,
        pad2: u32, pad3: u64,
    } (key @ 8, offset @ 16, process @ 24, fail_immediately @ 32, exclusive @ 33)

    /// `QuerySecurity`.
    QuerySecurity {
        information: u32, pad0: u32, length: u32, pad1: u32, buffer: usize, mdl: usize, pad2: [u64; 2],
    } (length @ 8, buffer @ 16, mdl @ 24)

    /// `SetSecurity`.
    SetSecurity { information: u32, pad0: u32, descriptor: usize, pad1: [u64; 4] } (descriptor @ 8)

    /// `QueryEa`.
    QueryEa {
        length: u32, pad0: u32, list: usize, list_length: u32, pad1: u32, index: u32, pad2: u32, buffer: usize,
        mdl: usize,
    } (list @ 8, list_length @ 16, index @ 24, buffer @ 32, mdl @ 40)

    /// `SetEa`.
    SetEa { length: u32, pad0: u32, buffer: usize, mdl: usize, pad1: [u64; 3] } (buffer @ 8, mdl @ 16)

    /// `QueryQuota`.
    QueryQuota {
        length: u32, pad0: u32, start_sid: usize, list: usize, list_length: u32, pad1: u32, buffer: usize, mdl: usize,
    } (start_sid @ 8, list @ 16, list_length @ 24, buffer @ 32, mdl @ 40)

    /// `AcquireForSectionSynchronization`.
    AcquireForSection {
        kind: u32, pad0: u32, protection: u32, pad1: u32, output: usize, pad2: [u64; 3],
    } (protection @ 8, output @ 16)

    /// `AcquireForModifiedPageWriter`.
    AcquireForModWrite { ending: usize, resource: usize, pad0: [u64; 4] } (resource @ 8)

    /// `NetworkQueryOpen`.
    NetworkQueryOpen { irp: usize, information: usize, pad0: [u64; 4] } (information @ 8)

    /// `MdlRead` and `PrepareMdlWrite`.
    MdlTransfer {
        offset: i64, length: u32, pad0: u32, key: u32, pad1: u32, chain: usize, pad2: [u64; 2],
    } (length @ 8, key @ 16, chain @ 24)

    /// `MdlReadComplete`.
    MdlComplete { chain: usize, pad0: [u64; 5] } (chain @ 0)

    /// `MdlWriteComplete`.
    MdlWriteComplete { offset: i64, chain: usize, pad0: [u64; 4] } (chain @ 8)
}
