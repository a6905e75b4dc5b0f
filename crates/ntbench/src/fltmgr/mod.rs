//! The Filter Manager.

use crate::export::Export;

/// What this module lets drivers import.
pub(crate) fn tables() -> Vec<&'static [Export]> {
    Vec::new()
}
