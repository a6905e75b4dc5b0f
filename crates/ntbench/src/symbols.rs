//! Addresses to names.

/// `module!function+0x12 (file:line)`, or as much of it as is known.
pub(crate) fn describe(address: usize) -> String {
    format!("{address:#x}")
}
