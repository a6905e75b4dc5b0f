//! Size, alignment and offsets of the Filter Manager's structures on 64-bit Windows, each stated once.
//!
//! `POINTER_ALIGNMENT` in the C headers aligns a member as a pointer is aligned. On 64-bit Windows that opens gaps before
//! narrow members, in the arms of `FLT_PARAMETERS` above all, and metadata that is generated from the headers without it
//! has them wrong.

/// One structure's layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Name of the type in this crate.
    pub name: &'static str,
    /// How C spells the type.
    pub c_type: &'static str,
    /// How C spells the path from that type to the structure described, with its dot; empty for the type itself.
    pub c_path: &'static str,
    /// Size in bytes.
    pub size: usize,
    /// Alignment in bytes.
    pub align: usize,
    /// Each member and its offset.
    pub fields: &'static [(&'static str, usize)],
}

/// Hands the table to a macro, so that each of the checks is made from the same numbers.
macro_rules! with_layouts {
    ($check:ident) => {
        $check! {
            FLT_OPERATION_REGISTRATION = "FLT_OPERATION_REGISTRATION" "", 32, 8 {
                MajorFunction: 0, Flags: 4, PreOperation: 8, PostOperation: 16, Reserved1: 24,
            }
            FLT_CONTEXT_REGISTRATION = "FLT_CONTEXT_REGISTRATION" "", 56, 8 {
                ContextType: 0, Flags: 2, ContextCleanupCallback: 8, Size: 16, PoolTag: 24,
                ContextAllocateCallback: 32, ContextFreeCallback: 40, Reserved1: 48,
            }
            FLT_REGISTRATION = "FLT_REGISTRATION" "", 112, 8 {
                Size: 0, Version: 2, Flags: 4, ContextRegistration: 8, OperationRegistration: 16,
                FilterUnloadCallback: 24, InstanceSetupCallback: 32, InstanceQueryTeardownCallback: 40,
                InstanceTeardownStartCallback: 48, InstanceTeardownCompleteCallback: 56,
                GenerateFileNameCallback: 64, NormalizeNameComponentCallback: 72,
                NormalizeContextCleanupCallback: 80, TransactionNotificationCallback: 88,
                NormalizeNameComponentExCallback: 96, SectionNotificationCallback: 104,
            }
            FLT_RELATED_OBJECTS = "FLT_RELATED_OBJECTS" "", 48, 8 {
                Size: 0, TransactionContext: 2, Filter: 8, Volume: 16, Instance: 24, FileObject: 32, Transaction: 40,
            }
            FLT_PARAMETERS_CREATE = "FLT_PARAMETERS" "Create.", 48, 8 {
                SecurityContext: 0, Options: 8, FileAttributes: 16, ShareAccess: 18, EaLength: 24, EaBuffer: 32,
                AllocationSize: 40,
            }
            FLT_PARAMETERS = "FLT_PARAMETERS" "", 48, 8 {
                Create: 0, Others: 0,
            }
            FLT_IO_PARAMETER_BLOCK = "FLT_IO_PARAMETER_BLOCK" "", 72, 8 {
                IrpFlags: 0, MajorFunction: 4, MinorFunction: 5, OperationFlags: 6, Reserved: 7, TargetFileObject: 8,
                TargetInstance: 16, Parameters: 24,
            }
            FLT_CALLBACK_DATA = "FLT_CALLBACK_DATA" "", 88, 8 {
                Flags: 0, Thread: 8, Iopb: 16, IoStatus: 24, TagData: 40, FilterContext: 48, RequestorMode: 80,
            }
            FLT_FILE_NAME_INFORMATION = "FLT_FILE_NAME_INFORMATION" "", 120, 8 {
                Size: 0, NamesParsed: 2, Format: 4, Name: 8, Volume: 24, Share: 40, Extension: 56, Stream: 72,
                FinalComponent: 88, ParentDir: 104,
            }
            IO_DRIVER_CREATE_CONTEXT = "IO_DRIVER_CREATE_CONTEXT" "", 40, 8 {
                Size: 0, ExtraCreateParameter: 8, DeviceObjectHint: 16, TxnParameters: 24, SiloContext: 32,
            }
        }
    };
}
#[cfg(any(windows, test))]
pub(crate) use with_layouts;

macro_rules! table {
    ($($name:ident = $c_type:literal $c_path:literal, $size:literal, $align:literal {
        $($field:ident: $offset:literal,)*
    })*) => {
        /// Every structure that [`crate`] declares.
        pub const LAYOUTS: &[Layout] = &[$(Layout {
            name: stringify!($name),
            c_type: $c_type,
            c_path: $c_path,
            size: $size,
            align: $align,
            fields: &[$((stringify!($field), $offset),)*],
        },)*];
    };
}
with_layouts!(table);

/// On the Windows target the compiler holds the declared types against the table.
#[cfg(windows)]
mod asserted {
    use core::mem::offset_of;

    use crate::types::*;

    macro_rules! hold {
        ($($name:ident = $c_type:literal $c_path:literal, $size:literal, $align:literal {
            $($field:ident: $offset:literal,)*
        })*) => {
            $(const _: () = {
                assert!(size_of::<$name>() == $size, concat!("size of ", stringify!($name)));
                assert!(align_of::<$name>() == $align, concat!("alignment of ", stringify!($name)));
                $(assert!(
                    offset_of!($name, $field) == $offset,
                    concat!("offset of ", stringify!($name), ".", stringify!($field))
                );)*
            };)*
        };
    }
    super::with_layouts!(hold);
}
