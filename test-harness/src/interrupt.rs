//! Ctrl-C: noticed, not obeyed at once, so that what was begun is ended and told.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);
static HANDLER: Once = Once::new();

/// From here on Ctrl-C (and the signals that end a process) set a flag; a second one ends the process at once.
pub fn heed() {
    HANDLER.call_once(|| {
        // Without a handler the process ends at the first, which is no harm.
        let _ = ctrlc::set_handler(|| {
            if ASKED.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        });
    });
}

/// Whether the user wants it to end.
#[must_use]
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}
