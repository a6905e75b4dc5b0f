//! Extended attributes, quotas and security: `NtQueryEaFile`, `NtSetEaFile`, `NtQueryQuotaInformationFile`,
//! `NtSetQuotaInformationFile`, `NtSetSecurityObject`.

use std::sync::Arc;

use super::super::file::File;
use super::buffers::SystemBuffer;
use super::io::{Done, buffered, send};
use crate::abi::io::{
    IRP_MJ_QUERY_EA, IRP_MJ_QUERY_QUOTA, IRP_MJ_SET_EA, IRP_MJ_SET_QUOTA, IRP_MJ_SET_SECURITY,
    SL_RESTART_SCAN, SL_RETURN_SINGLE_ENTRY,
};
use crate::abi::params::{Parameters, QueryEa, QueryQuota, SetEa, SetSecurity};
use crate::fltmgr::Request;
use crate::status::NtStatus;

/// `FILE_GET_EA_INFORMATION` for each name.
fn ea_names(names: &[String]) -> Vec<u8> {
    let mut bytes: Vec<u8> = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let entry = (5 + name.len() + 1).next_multiple_of(4);
        let next = if index + 1 < names.len() { entry } else { 0 };
        let begin = bytes.len();
        bytes.extend(u32::try_from(next).unwrap_or(0).to_le_bytes());
        bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        bytes.extend(name.as_bytes());
        bytes.resize(begin + entry, 0);
    }
    bytes
}

pub(super) fn query_ea(
    file: &Arc<File>,
    names: &[String],
    length: u32,
    (restart, single): (bool, bool),
) -> Done {
    let list = SystemBuffer::new(0, &ea_names(names))?;
    let buffer = SystemBuffer::new(length as usize, &[])?;
    let parameters = Parameters::of(QueryEa {
        length,
        pad0: 0,
        list: list.address(),
        list_length: u32::try_from(ea_names(names).len()).unwrap_or(0),
        pad1: 0,
        index: 0,
        pad2: 0,
        buffer: buffer.address(),
        mdl: 0,
    });
    let flags =
        if restart { SL_RESTART_SCAN } else { 0 } | if single { SL_RETURN_SINGLE_ENTRY } else { 0 };
    let request = Request {
        flags,
        ..buffered(IRP_MJ_QUERY_EA, false, parameters)
    };
    let block = send(file, request);
    Ok((block, buffer.taken(block, length)))
}

pub(super) fn set_ea(file: &Arc<File>, data: &[u8]) -> Done {
    set_list(file, IRP_MJ_SET_EA, data)
}

pub(super) fn set_quota(file: &Arc<File>, data: &[u8]) -> Done {
    set_list(file, IRP_MJ_SET_QUOTA, data)
}

/// `SetQuota` has the shape of `SetEa`.
fn set_list(file: &Arc<File>, major: u8, data: &[u8]) -> Done {
    let buffer = SystemBuffer::new(0, data)?;
    let parameters = Parameters::of(SetEa {
        length: u32::try_from(data.len()).map_err(|_| NtStatus::INVALID_PARAMETER)?,
        pad0: 0,
        buffer: buffer.address(),
        mdl: 0,
        pad1: [0; 3],
    });
    let block = send(file, buffered(major, true, parameters));
    Ok((block, Vec::new()))
}

pub(super) fn query_quota(file: &Arc<File>, length: u32) -> Done {
    let buffer = SystemBuffer::new(length as usize, &[])?;
    let parameters = Parameters::of(QueryQuota {
        length,
        pad0: 0,
        start_sid: 0,
        list: 0,
        list_length: 0,
        pad1: 0,
        buffer: buffer.address(),
        mdl: 0,
    });
    let request = Request {
        flags: SL_RESTART_SCAN,
        ..buffered(IRP_MJ_QUERY_QUOTA, false, parameters)
    };
    let block = send(file, request);
    Ok((block, buffer.taken(block, length)))
}

pub(super) fn set_security(file: &Arc<File>, information: u32, descriptor: &[u8]) -> Done {
    // The descriptor's revision, control word and four offsets.
    if descriptor.len() < 20 || descriptor[0] != 1 {
        return Err(NtStatus(0xC000_0079_u32.cast_signed()));
    }
    let captured = SystemBuffer::new(0, descriptor)?;
    let parameters = Parameters::of(SetSecurity {
        information,
        pad0: 0,
        descriptor: captured.address(),
        pad1: [0; 4],
    });
    let block = send(file, Request::new(IRP_MJ_SET_SECURITY, parameters));
    Ok((block, Vec::new()))
}
