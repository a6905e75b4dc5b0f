//! Extra create parameters by the kernel's own names: what `FltXxxExtraCreateParameter` does, for drivers that need not be filters.

use super::ecp;
use crate::abi::base::Guid;
use crate::abi::io::IRP_MJ_CREATE;
use crate::ntos::memory::Guest;
use crate::ntos::{irp, irql, lookaside};
use crate::status::NtStatus;
use crate::thread::APC_LEVEL;

/// `FSRTL_ECP_LOOKASIDE_FLAG_NONPAGED_POOL`.
const NON_PAGED: u32 = 2;

exports! { "ntoskrnl.exe";
    /// Makes an empty list.
    partial "the flags (quota) change nothing"
    fn FsRtlAllocateExtraCreateParameterList(_flags: u32, list: Guest<usize>) -> NtStatus {
        ecp::new_list(list, "FsRtlAllocateExtraCreateParameterList")
    }

    /// Frees a list and what is in it.
    fn FsRtlFreeExtraCreateParameterList(list: usize) {
        irql::at_most("FsRtlFreeExtraCreateParameterList", APC_LEVEL);
        ecp::free_list(list);
    }

    /// Makes a context.
    partial "the flags (quota, non-paged) and the tag change nothing"
    fn FsRtlAllocateExtraCreateParameter(
        kind: Guest<Guid>, size: u32, _flags: u32, cleanup: usize, _tag: u32, context: Guest<usize>,
    ) -> NtStatus {
        const NAME: &str = "FsRtlAllocateExtraCreateParameter";
        irql::at_most(NAME, APC_LEVEL);
        ecp::allocate(kind.read(), size, cleanup, context, NAME)
    }

    /// Frees a context that is in no list.
    fn FsRtlFreeExtraCreateParameter(context: usize) {
        ecp::free_alone(context, "FsRtlFreeExtraCreateParameter");
    }

    /// Initialises a lookaside list for contexts of a size.
    fn FsRtlInitExtraCreateParameterLookasideList(list: usize, flags: u32, size: usize, tag: u32) {
        const NAME: &str = "FsRtlInitExtraCreateParameterLookasideList";
        irql::at_most(NAME, APC_LEVEL);
        lookaside::initialise_plain(list, flags & NON_PAGED == 0, size, tag, NAME);
    }

    /// Deletes such a list.
    fn FsRtlDeleteExtraCreateParameterLookasideList(list: usize, _flags: u32) {
        const NAME: &str = "FsRtlDeleteExtraCreateParameterLookasideList";
        irql::at_most(NAME, APC_LEVEL);
        lookaside::delete(list, NAME);
    }

    /// Makes a context, of the memory that such a list keeps.
    partial "the memory comes from the pool and goes back there, whatever the list could hold"
    fn FsRtlAllocateExtraCreateParameterFromLookasideList(
        kind: Guest<Guid>, size: u32, _flags: u32, cleanup: usize, list: usize, out: Guest<usize>,
    ) -> NtStatus {
        const NAME: &str = "FsRtlAllocateExtraCreateParameterFromLookasideList";
        irql::at_most(NAME, APC_LEVEL);
        lookaside::check(list, NAME);
        ecp::allocate(kind.read(), size, cleanup, out, NAME)
    }

    /// Puts a context into a list.
    fn FsRtlInsertExtraCreateParameter(list: usize, context: usize) -> NtStatus {
        ecp::insert(list, context, "FsRtlInsertExtraCreateParameter")
    }

    /// Takes a context out of a list; it is the caller's now.
    fn FsRtlRemoveExtraCreateParameter(list: usize, kind: Guest<Guid>, context: Guest<usize>, size: Guest<u32>) -> NtStatus {
        ecp::remove(list, kind, (context, size), "FsRtlRemoveExtraCreateParameter")
    }

    /// Finds a context by its type.
    fn FsRtlFindExtraCreateParameter(list: usize, kind: Guest<Guid>, context: Guest<usize>, size: Guest<u32>) -> NtStatus {
        ecp::look_up(list, kind, (context, size), "FsRtlFindExtraCreateParameter")
    }

    /// The context after a given one, or the first.
    fn FsRtlGetNextExtraCreateParameter(
        list: usize, current: usize, kind: Guest<Guid>, next: Guest<usize>, size: Guest<u32>,
    ) -> NtStatus {
        ecp::next_of(list, current, kind, (next, size), "FsRtlGetNextExtraCreateParameter")
    }

    /// Makes a context as it was before somebody acknowledged it, for another create.
    fn FsRtlPrepareToReuseEcp(context: usize) {
        irql::at_most("FsRtlPrepareToReuseEcp", APC_LEVEL);
        ecp::forget_acknowledgment(context, "FsRtlPrepareToReuseEcp");
    }

    /// Marks a context as seen by somebody who understands it.
    fn FsRtlAcknowledgeEcp(context: usize) {
        ecp::acknowledge(context, "FsRtlAcknowledgeEcp");
    }

    /// Whether it was.
    fn FsRtlIsEcpAcknowledged(context: usize) -> u8 {
        u8::from(ecp::is_acknowledged(context, "FsRtlIsEcpAcknowledged"))
    }

    /// Whether a context came from user mode: none does here.
    partial "FALSE always: programs here send none"
    fn FsRtlIsEcpFromUserMode(context: usize) -> u8 {
        let _ = ecp::is_acknowledged(context, "FsRtlIsEcpFromUserMode");
        0
    }

    /// The list that a create's packet carries.
    partial "NULL always: no create of a driver's own device carries one"
    fn FsRtlGetEcpListFromIrp(irp: usize, list: Guest<usize>) -> NtStatus {
        irql::at_most("FsRtlGetEcpListFromIrp", APC_LEVEL);
        list.write(0);
        if irp::major_of(irp, "FsRtlGetEcpListFromIrp") == IRP_MJ_CREATE {
            NtStatus::SUCCESS
        } else {
            NtStatus::INVALID_PARAMETER
        }
    }
}
