//! `IRP_MJ_QUERY_EA` and `IRP_MJ_SET_EA`: local volumes keep extended attributes, the redirector's server does not.

use super::{Answer, Context};
use crate::abi::io::{SL_INDEX_SPECIFIED, SL_RESTART_SCAN, SL_RETURN_SINGLE_ENTRY};
use crate::abi::params::{QueryEa, SetEa};
use crate::abi::status;
use crate::namespace::DeviceId;
use crate::namespace::eas::{self, Query};
use crate::ntos::memory::Guest;
use crate::status::NtStatus;

fn supported(context: &Context<'_>) -> Result<(), NtStatus> {
    if context.file.volume.device == DeviceId::Mup {
        return Err(status::EAS_NOT_SUPPORTED);
    }
    Ok(())
}

pub(super) fn query(context: &Context<'_>) -> Answer {
    supported(context)?;
    let arm: QueryEa = context.arm();
    let flags = context.block.operation_flags;
    let names = if arm.list == 0 {
        None
    } else {
        let list = Guest::<u8>::at(arm.list).read_many(arm.list_length as usize);
        Some(eas::names(&list)?)
    };
    let query = Query {
        names,
        restart: flags & SL_RESTART_SCAN != 0,
        index: (flags & SL_INDEX_SPECIFIED != 0).then_some(arm.index),
        single: flags & SL_RETURN_SINGLE_ENTRY != 0,
    };
    let (status, bytes) = context.open.query_eas(&query, arm.length as usize)?;
    context.put(arm.buffer, arm.mdl, &bytes)?;
    Ok((status, bytes.len()))
}

pub(super) fn set(context: &Context<'_>) -> Answer {
    supported(context)?;
    let arm: SetEa = context.arm();
    let bytes = context.get(arm.buffer, arm.mdl, arm.length as usize)?;
    context.open.set_eas(&bytes)?;
    Ok((NtStatus::SUCCESS, 0))
}
