//! What travels with an operation beside its parameters, as an IRP's extension does: the priority hint and the activity id
//! that filters set.

use crate::abi::base::Guid;
use crate::abi::flt::{CallbackData, FLTFL_CALLBACK_DATA_IRP_OPERATION};
use crate::maps::Sparse;
use crate::ntos::irql;
use crate::ntos::memory::Guest;
use crate::status::NtStatus;
use crate::thread::DISPATCH_LEVEL;

/// An operation's.
#[derive(Clone, Copy, Default)]
pub(super) struct Extension {
    /// `IO_PRIORITY_HINT`.
    pub(super) priority: Option<u32>,
    /// The activity id.
    pub(super) activity: Option<Guid>,
}

/// By the address of the callback data.
static EXTENSIONS: Sparse<Extension> = Sparse::new();

/// Whether callback data stands for an IRP, which alone has an extension.
pub(super) fn is_irp(data: usize) -> bool {
    Guest::<CallbackData>::at(data).flags() & FLTFL_CALLBACK_DATA_IRP_OPERATION != 0
}

/// An operation's extension.
pub(super) fn of(data: usize) -> Extension {
    EXTENSIONS.get(data).unwrap_or_default()
}

/// Changes it.
pub(super) fn change(data: usize, change: impl FnOnce(&mut Extension)) {
    EXTENSIONS.with(|all| change(all.entry(data).or_default()));
}

/// Adds what one operation's has to another's.
pub(super) fn copy(from: usize, to: usize) {
    let source = of(from);
    if source.priority.is_none() && source.activity.is_none() {
        return;
    }
    change(to, |target| {
        target.priority = source.priority.or(target.priority);
        target.activity = source.activity.or(target.activity);
    });
}

/// The operation is over, or made new.
pub(super) fn forget(data: usize) {
    EXTENSIONS.remove(data);
}

exports! { "fltmgr.sys";
    /// Gives an operation what another one's IRP carries beside its parameters.
    partial "the priority hint and the activity id, which is all that an extension holds here"
    fn FltPropagateIrpExtension(source: usize, target: usize, flags: u32) -> NtStatus {
        irql::at_most("FltPropagateIrpExtension", DISPATCH_LEVEL);
        if let Some(status) = crate::faults::check("FltPropagateIrpExtension") {
            return status;
        }
        if flags != 0 || !is_irp(source) || !is_irp(target) {
            return NtStatus::INVALID_PARAMETER;
        }
        copy(source, target);
        NtStatus::SUCCESS
    }
}
