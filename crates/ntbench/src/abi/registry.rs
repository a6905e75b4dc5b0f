//! Registry values as `ZwQueryValueKey` returns them.

use super::layout;

pub(crate) const REG_SZ: u32 = 1;
pub(crate) const REG_DWORD: u32 = 4;

/// `KeyValueBasicInformation`.
pub(crate) const KEY_VALUE_BASIC: u32 = 0;
/// `KeyValueFullInformation`.
pub(crate) const KEY_VALUE_FULL: u32 = 1;
/// `KeyValuePartialInformation`.
pub(crate) const KEY_VALUE_PARTIAL: u32 = 2;
/// `KeyValuePartialInformationAlign64`.
pub(crate) const KEY_VALUE_PARTIAL_ALIGN64: u32 = 4;

/// The fixed part of `KEY_VALUE_BASIC_INFORMATION`; the name follows.
#[repr(C)]
pub(crate) struct KeyValueBasic {
    pub(crate) title_index: u32,
    pub(crate) kind: u32,
    pub(crate) name_length: u32,
}
layout!(KeyValueBasic, 12, name_length @ 8);

/// The fixed part of `KEY_VALUE_FULL_INFORMATION`; the name, then the data follow.
#[repr(C)]
pub(crate) struct KeyValueFull {
    pub(crate) title_index: u32,
    pub(crate) kind: u32,
    pub(crate) data_offset: u32,
    pub(crate) data_length: u32,
    pub(crate) name_length: u32,
}
layout!(KeyValueFull, 20, data_offset @ 8, data_length @ 12, name_length @ 16);

/// The fixed part of `KEY_VALUE_PARTIAL_INFORMATION`; the data follow.
#[repr(C)]
pub(crate) struct KeyValuePartial {
    pub(crate) title_index: u32,
    pub(crate) kind: u32,
    pub(crate) data_length: u32,
}
layout!(KeyValuePartial, 12, data_length @ 8);

/// `KeyBasicInformation`.
pub(crate) const KEY_BASIC: u32 = 0;
/// `KeyNodeInformation`.
pub(crate) const KEY_NODE: u32 = 1;
/// `KeyFullInformation`.
pub(crate) const KEY_FULL: u32 = 2;
/// `KeyNameInformation`.
pub(crate) const KEY_NAME: u32 = 3;
/// `KeyCachedInformation`.
pub(crate) const KEY_CACHED: u32 = 4;
