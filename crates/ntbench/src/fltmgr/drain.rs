//! Operations that are on their way below an instance when it is torn down.
//!
//! Their post-operation callbacks are called early, with `FLTFL_POST_OPERATION_DRAINING`, so that the filter gives back
//! what it keeps for them; when the operations come up again the instance is left out. Whoever comes first, the teardown
//! or the operation, calls; the other one waits until that call is over, since the operation's data lives no longer.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, PoisonError};

use super::callback::{self, About, argument, related};
use super::flight::name_of;
use super::objects::Instance;
use crate::abi::flt::FLTFL_POST_OPERATION_DRAINING;
use crate::ntos::file::File;

const NOT_CALLED: u8 = 0;
const CALLING: u8 = 1;
const CALLED: u8 = 2;

/// A post-operation callback that is to be called.
pub(crate) struct Outstanding {
    data: u64,
    major: u8,
    file: Arc<File>,
    context: usize,
    state: AtomicU8,
}

impl Outstanding {
    /// Notes with the instance that it is to be called.
    pub(super) fn note(
        instance: &Instance,
        data: u64,
        major: u8,
        file: &Arc<File>,
        context: usize,
    ) -> Arc<Self> {
        let outstanding = Arc::new(Self {
            data,
            major,
            file: Arc::clone(file),
            context,
            state: AtomicU8::new(NOT_CALLED),
        });
        instance
            .outstanding
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&outstanding));
        outstanding
    }

    fn claim(&self) -> bool {
        self.state
            .compare_exchange(NOT_CALLED, CALLING, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// The operation is back; whether its callback is to be called now.
    pub(super) fn is_due(self: &Arc<Self>, instance: &Instance) -> bool {
        instance
            .outstanding
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|other| !Arc::ptr_eq(self, other));
        if self.claim() {
            return true;
        }
        while self.state.load(Ordering::Acquire) != CALLED {
            crate::schedule::poll(Arc::as_ptr(self).addr());
        }
        false
    }
}

/// Calls the post-operation callbacks of the operations that are below the instance.
pub(super) fn drain(instance: &Arc<Instance>) {
    let below = instance
        .outstanding
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    for outstanding in below {
        if !outstanding.claim() {
            continue;
        }
        let routine = instance
            .filter
            .operation(outstanding.major)
            .map_or(0, |operation| operation.post_operation);
        let about = About {
            filter: &instance.filter.service,
            phase: "drain",
            operation: name_of(outstanding.major),
            path: outstanding.file.full_name(),
        };
        let objects = related(instance, Some(&outstanding.file));
        let arguments = [
            outstanding.data,
            argument(&*objects),
            outstanding.context as u64,
            u64::from(FLTFL_POST_OPERATION_DRAINING),
        ];
        // What it returns counts for nothing: the operation goes on without it.
        callback::call(about, routine, &arguments);
        outstanding.state.store(CALLED, Ordering::Release);
        instance.rundown.leave();
    }
}
