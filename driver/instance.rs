//! What is kept with each instance.
//!
//! An instance that is torn down has to let go of creates that wait, and a worker that gets to one of them has to know.
//! Nothing is kept with an open file: no later operation on it is looked at.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// See the module.
pub(crate) struct Instance {
    closing: AtomicBool,
}

impl Instance {
    pub(crate) const fn new() -> Self {
        Self {
            closing: AtomicBool::new(false),
        }
    }

    /// From here on a create that waits is let go uninspected. The Filter Manager lets none begin to wait any more.
    pub(crate) fn close(&self) {
        self.closing.store(true, Relaxed);
    }

    /// Whether the instance is being torn down.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Relaxed)
    }
}
