//! Extra create parameters that are made and used often: from lookaside lists, and once more after they were acknowledged.

use super::{ecp, objects};
use crate::abi::base::Guid;
use crate::ntos::memory::Guest;
use crate::ntos::{irql, lookaside};
use crate::status::NtStatus;
use crate::thread::APC_LEVEL;

/// `FSRTL_ECP_LOOKASIDE_FLAG_NONPAGED_POOL`.
const NON_PAGED: u32 = 2;

exports! { "fltmgr.sys";
    /// Initialises a lookaside list for contexts of a size.
    fn FltInitExtraCreateParameterLookasideList(filter: usize, list: usize, flags: u32, size: usize, tag: u32) {
        const NAME: &str = "FltInitExtraCreateParameterLookasideList";
        irql::at_most(NAME, APC_LEVEL);
        let _ = objects::filter(filter, NAME);
        lookaside::initialise_plain(list, flags & NON_PAGED == 0, size, tag, NAME);
    }

    /// Deletes such a list.
    fn FltDeleteExtraCreateParameterLookasideList(filter: usize, list: usize, _flags: u32) {
        const NAME: &str = "FltDeleteExtraCreateParameterLookasideList";
        irql::at_most(NAME, APC_LEVEL);
        let _ = objects::filter(filter, NAME);
        lookaside::delete(list, NAME);
    }

    /// Makes a context, of the memory that such a list keeps.
    partial "the memory comes from the pool and goes back there, whatever the list could hold"
    fn FltAllocateExtraCreateParameterFromLookasideList(
        filter: usize, kind: Guest<Guid>, size: u32, _flags: u32, cleanup: usize, list: usize, out: Guest<usize>,
    ) -> NtStatus {
        const NAME: &str = "FltAllocateExtraCreateParameterFromLookasideList";
        irql::at_most(NAME, APC_LEVEL);
        let _ = objects::filter(filter, NAME);
        lookaside::check(list, NAME);
        ecp::allocate(kind.read(), size, cleanup, out, NAME)
    }

    /// Makes a context as it was before somebody acknowledged it, for another create.
    fn FltPrepareToReuseEcp(filter: usize, context: usize) {
        irql::at_most("FltPrepareToReuseEcp", APC_LEVEL);
        let _ = objects::filter(filter, "FltPrepareToReuseEcp");
        ecp::forget_acknowledgment(context, "FltPrepareToReuseEcp");
    }
}
