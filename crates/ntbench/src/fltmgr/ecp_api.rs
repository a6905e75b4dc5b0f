//! Extra create parameters by the Filter Manager's names.

use std::sync::atomic::Ordering;

use super::{ecp, flight, objects};
use crate::abi::base::Guid;
use crate::abi::io::IRP_MJ_CREATE;
use crate::ntos::irql;
use crate::ntos::memory::Guest;
use crate::status::NtStatus;
use crate::thread::APC_LEVEL;

exports! { "fltmgr.sys";
    /// Makes an empty list.
    partial "the flags (quota) change nothing"
    fn FltAllocateExtraCreateParameterList(filter: usize, _flags: u32, list: Guest<usize>) -> NtStatus {
        let _ = objects::filter(filter, "FltAllocateExtraCreateParameterList");
        ecp::new_list(list, "FltAllocateExtraCreateParameterList")
    }

    /// Frees a list and what is in it.
    fn FltFreeExtraCreateParameterList(filter: usize, list: usize) {
        irql::at_most("FltFreeExtraCreateParameterList", APC_LEVEL);
        let _ = objects::filter(filter, "FltFreeExtraCreateParameterList");
        ecp::free_list(list);
    }

    /// Makes a context.
    partial "the flags (quota, non-paged) and the tag change nothing"
    fn FltAllocateExtraCreateParameter(
        filter: usize,
        kind: Guest<Guid>,
        size: u32,
        _flags: u32,
        cleanup: usize,
        _tag: u32,
        context: Guest<usize>,
    ) -> NtStatus {
        irql::at_most("FltAllocateExtraCreateParameter", APC_LEVEL);
        let _ = objects::filter(filter, "FltAllocateExtraCreateParameter");
        ecp::allocate(kind.read(), size, cleanup, context, "FltAllocateExtraCreateParameter")
    }

    /// Frees a context that is in no list.
    fn FltFreeExtraCreateParameter(filter: usize, context: usize) {
        let _ = objects::filter(filter, "FltFreeExtraCreateParameter");
        ecp::free_alone(context, "FltFreeExtraCreateParameter");
    }

    /// Puts a context into a list.
    fn FltInsertExtraCreateParameter(filter: usize, list: usize, context: usize) -> NtStatus {
        let _ = objects::filter(filter, "FltInsertExtraCreateParameter");
        ecp::insert(list, context, "FltInsertExtraCreateParameter")
    }

    /// Takes a context out of a list; it is the caller's now.
    fn FltRemoveExtraCreateParameter(
        filter: usize,
        list: usize,
        kind: Guest<Guid>,
        context: Guest<usize>,
        size: Guest<u32>,
    ) -> NtStatus {
        let _ = objects::filter(filter, "FltRemoveExtraCreateParameter");
        ecp::remove(list, kind, (context, size), "FltRemoveExtraCreateParameter")
    }

    /// Finds a context by its type.
    fn FltFindExtraCreateParameter(
        filter: usize,
        list: usize,
        kind: Guest<Guid>,
        context: Guest<usize>,
        size: Guest<u32>,
    ) -> NtStatus {
        let _ = objects::filter(filter, "FltFindExtraCreateParameter");
        ecp::look_up(list, kind, (context, size), "FltFindExtraCreateParameter")
    }

    /// The context after a given one, or the first.
    fn FltGetNextExtraCreateParameter(
        filter: usize,
        list: usize,
        current: usize,
        kind: Guest<Guid>,
        next: Guest<usize>,
        size: Guest<u32>,
    ) -> NtStatus {
        let _ = objects::filter(filter, "FltGetNextExtraCreateParameter");
        ecp::next_of(list, current, kind, (next, size), "FltGetNextExtraCreateParameter")
    }

    /// Marks a context as seen by somebody who understands it.
    fn FltAcknowledgeEcp(filter: usize, context: usize) {
        let _ = objects::filter(filter, "FltAcknowledgeEcp");
        ecp::acknowledge(context, "FltAcknowledgeEcp");
    }

    /// Whether it was.
    fn FltIsEcpAcknowledged(filter: usize, context: usize) -> u8 {
        let _ = objects::filter(filter, "FltIsEcpAcknowledged");
        u8::from(ecp::is_acknowledged(context, "FltIsEcpAcknowledged"))
    }

    /// Whether a context came from user mode: none does here.
    partial "FALSE always: programs here send none"
    fn FltIsEcpFromUserMode(filter: usize, context: usize) -> u8 {
        let _ = objects::filter(filter, "FltIsEcpFromUserMode");
        let _ = ecp::is_acknowledged(context, "FltIsEcpFromUserMode");
        0
    }

    /// The list that a create carries; NULL: none.
    fn FltGetEcpListFromCallbackData(filter: usize, data: usize, list: Guest<usize>) -> NtStatus {
        irql::at_most("FltGetEcpListFromCallbackData", APC_LEVEL);
        let _ = objects::filter(filter, "FltGetEcpListFromCallbackData");
        list.write(0);
        match flight::at(data) {
            Some(operation) if operation.major == IRP_MJ_CREATE => {
                list.write(operation.ecps.load(Ordering::Acquire));
                NtStatus::SUCCESS
            }
            _ => NtStatus::INVALID_PARAMETER,
        }
    }

    /// Gives a create a list where it has none; it is freed with the create.
    fn FltSetEcpListIntoCallbackData(filter: usize, data: usize, list: usize) -> NtStatus {
        irql::at_most("FltSetEcpListIntoCallbackData", APC_LEVEL);
        let _ = objects::filter(filter, "FltSetEcpListIntoCallbackData");
        let Some(operation) = flight::at(data).filter(|operation| operation.major == IRP_MJ_CREATE) else {
            return NtStatus::INVALID_PARAMETER;
        };
        if !ecp::is_list(list) {
            ecp::wrong(list, "FltSetEcpListIntoCallbackData", "list of extra create parameters");
        }
        match operation.ecps.compare_exchange(0, list, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => NtStatus::SUCCESS,
            Err(_) => NtStatus::INVALID_PARAMETER,
        }
    }
}
