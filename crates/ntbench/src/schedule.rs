//! placeholder
pub(crate) fn point(_at: &str) {}
