//! Create parameters, attributes and the information classes of a file.

// Access masks.
pub(crate) const FILE_READ_DATA: u32 = 0x1;
pub(crate) const FILE_WRITE_DATA: u32 = 0x2;
pub(crate) const FILE_APPEND_DATA: u32 = 0x4;
pub(crate) const FILE_READ_EA: u32 = 0x8;
pub(crate) const FILE_EXECUTE: u32 = 0x20;
pub(crate) const FILE_READ_ATTRIBUTES: u32 = 0x80;
pub(crate) const FILE_WRITE_ATTRIBUTES: u32 = 0x100;
pub(crate) const DELETE: u32 = 0x1_0000;
pub(crate) const SYNCHRONIZE: u32 = 0x10_0000;
pub(crate) const GENERIC_ALL: u32 = 0x1000_0000;
pub(crate) const GENERIC_EXECUTE: u32 = 0x2000_0000;
pub(crate) const GENERIC_WRITE: u32 = 0x4000_0000;
pub(crate) const GENERIC_READ: u32 = 0x8000_0000;

// Share access.
pub(crate) const FILE_SHARE_READ: u32 = 1;
pub(crate) const FILE_SHARE_WRITE: u32 = 2;
pub(crate) const FILE_SHARE_DELETE: u32 = 4;

// Create dispositions.
pub(crate) const FILE_SUPERSEDE: u32 = 0;
pub(crate) const FILE_OPEN: u32 = 1;
pub(crate) const FILE_CREATE: u32 = 2;
pub(crate) const FILE_OPEN_IF: u32 = 3;
pub(crate) const FILE_OVERWRITE: u32 = 4;
pub(crate) const FILE_OVERWRITE_IF: u32 = 5;

// Create options: the low 24 bits of Create.Options; the disposition is in the high 8.
pub(crate) const FILE_DIRECTORY_FILE: u32 = 0x1;
pub(crate) const FILE_WRITE_THROUGH: u32 = 0x2;
pub(crate) const FILE_SEQUENTIAL_ONLY: u32 = 0x4;
pub(crate) const FILE_NO_INTERMEDIATE_BUFFERING: u32 = 0x8;
pub(crate) const FILE_SYNCHRONOUS_IO_ALERT: u32 = 0x10;
pub(crate) const FILE_SYNCHRONOUS_IO_NONALERT: u32 = 0x20;
pub(crate) const FILE_NON_DIRECTORY_FILE: u32 = 0x40;
pub(crate) const FILE_NO_EA_KNOWLEDGE: u32 = 0x200;
pub(crate) const FILE_RANDOM_ACCESS: u32 = 0x800;
pub(crate) const FILE_DELETE_ON_CLOSE: u32 = 0x1000;
pub(crate) const FILE_OPEN_BY_FILE_ID: u32 = 0x2000;
pub(crate) const FILE_OPEN_REQUIRING_OPLOCK: u32 = 0x1_0000;
pub(crate) const FILE_OPEN_REPARSE_POINT: u32 = 0x20_0000;
/// `FILE_VALID_OPTION_FLAGS`.
/// `FILE_COMPLETE_IF_OPLOCKED`, `FILE_RESERVE_OPFILTER`.
pub(crate) const FILE_COMPLETE_IF_OPLOCKED: u32 = 0x100;
pub(crate) const FILE_RESERVE_OPFILTER: u32 = 0x0010_0000;
pub(crate) const FILE_VALID_OPTIONS: u32 = 0x00FF_FFFF;

// IoStatus.Information of a create.
pub(crate) const FILE_SUPERSEDED: usize = 0;
pub(crate) const FILE_OPENED: usize = 1;
pub(crate) const FILE_CREATED: usize = 2;
pub(crate) const FILE_OVERWRITTEN: usize = 3;
/// `IO_REPARSE`: the file object's name was replaced, and the create starts again.
pub(crate) const IO_REPARSE: usize = 0;
pub(crate) const IO_REPARSE_TAG_SYMLINK: u32 = 0xA000_000C;
pub(crate) const IO_REPARSE_TAG_MOUNT_POINT: u32 = 0xA000_0003;
/// `FILE_EXISTS` and `FILE_DOES_NOT_EXIST`: what a create for the directory of a rename's target says of the target.
pub(crate) const FILE_EXISTS: usize = 4;
pub(crate) const FILE_DOES_NOT_EXIST: usize = 5;

// Attributes.
pub(crate) const FILE_ATTRIBUTE_READONLY: u32 = 0x1;
pub(crate) const FILE_ATTRIBUTE_DIRECTORY: u32 = 0x10;
pub(crate) const FILE_ATTRIBUTE_ARCHIVE: u32 = 0x20;
pub(crate) const FILE_ATTRIBUTE_NORMAL: u32 = 0x80;
pub(crate) const FILE_ATTRIBUTE_REPARSE_POINT: u32 = 0x400;

// Information classes.
pub(crate) const FILE_BASIC_INFORMATION_CLASS: u32 = 4;
pub(crate) const FILE_STANDARD_INFORMATION_CLASS: u32 = 5;
pub(crate) const FILE_INTERNAL_INFORMATION_CLASS: u32 = 6;
pub(crate) const FILE_ATTRIBUTE_TAG_INFORMATION_CLASS: u32 = 35;
pub(crate) const FILE_NETWORK_OPEN_INFORMATION_CLASS: u32 = 34;
