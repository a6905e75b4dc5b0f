//! What a handle must have been opened with for each call, and the frames that the call puts on the stack.

use crate::abi::file::{
    DELETE, FILE_APPEND_DATA, FILE_ATTRIBUTE_TAG_INFORMATION_CLASS, FILE_BASIC_INFORMATION_CLASS,
    FILE_NETWORK_OPEN_INFORMATION_CLASS, FILE_READ_ATTRIBUTES, FILE_READ_DATA, FILE_READ_EA,
    FILE_WRITE_ATTRIBUTES, FILE_WRITE_DATA,
};
use crate::fltmgr::{frame, op};
use crate::namespace::open::granted;
use crate::stack::Frame;
use crate::status::NtStatus;
use crate::wire::FileCall;

/// `READ_CONTROL`.
const READ_CONTROL: u32 = 0x2_0000;
/// `WRITE_DAC`, `WRITE_OWNER`.
const WRITE_DAC: u32 = 0x4_0000;
const WRITE_OWNER: u32 = 0x8_0000;
/// `FILE_WRITE_EA`.
const FILE_WRITE_EA: u32 = 0x10;

/// The rights of which one is needed; 0: none is.
fn needed(call: &FileCall) -> u32 {
    match call {
        FileCall::Read { paging, .. } | FileCall::Write { paging, .. } if *paging => 0,
        FileCall::Read { .. }
        | FileCall::QueryDirectory { .. }
        | FileCall::NotifyDirectory { .. } => FILE_READ_DATA,
        FileCall::Write { .. } | FileCall::Flush => FILE_WRITE_DATA | FILE_APPEND_DATA,
        FileCall::QueryInformation { class, .. } => match *class {
            FILE_BASIC_INFORMATION_CLASS
            | FILE_NETWORK_OPEN_INFORMATION_CLASS
            | FILE_ATTRIBUTE_TAG_INFORMATION_CLASS
            | op::ALL => FILE_READ_ATTRIBUTES,
            op::FULL_EA => FILE_READ_EA,
            _ => 0,
        },
        FileCall::SetInformation { class, .. } => match *class {
            FILE_BASIC_INFORMATION_CLASS => FILE_WRITE_ATTRIBUTES,
            class if op::deletes(class) => DELETE,
            class if op::resizes(class) => FILE_WRITE_DATA,
            _ => 0,
        },
        FileCall::FsControl { code, .. } | FileCall::DeviceControl { code, .. } => {
            // Bits 14 and 15 of a control code: read access, write access.
            let read = if code & 0x4000 == 0 {
                0
            } else {
                FILE_READ_DATA
            };
            let write = if code & 0x8000 == 0 {
                0
            } else {
                FILE_WRITE_DATA
            };
            read | write
        }
        FileCall::SetVolume { .. } => FILE_WRITE_DATA,
        FileCall::Lock { .. } | FileCall::Unlock { .. } => FILE_READ_DATA | FILE_WRITE_DATA,
        FileCall::QuerySecurity { .. } => READ_CONTROL,
        FileCall::SetSecurity { information, .. } => match information & 3 {
            0 => WRITE_DAC,
            _ => WRITE_OWNER,
        },
        FileCall::QueryEa { .. } => FILE_READ_EA,
        FileCall::SetEa { .. } => FILE_WRITE_EA,
        FileCall::QueryQuota { .. } | FileCall::SetQuota { .. } => 0,
        FileCall::MappedRead { .. } | FileCall::MdlRead { .. } => FILE_READ_DATA,
        FileCall::MappedWrite { .. } | FileCall::MdlWrite { .. } => FILE_WRITE_DATA,
        FileCall::QueryVolume { .. } => 0,
    }
}

/// Whether a handle's rights do.
pub(super) fn check(call: &FileCall, rights: u32) -> Result<(), NtStatus> {
    let needed = needed(call);
    // A control code that says read and write needs both.
    let controls = matches!(
        call,
        FileCall::FsControl { .. } | FileCall::DeviceControl { .. }
    );
    let has = granted(rights) & needed;
    if needed == 0 || (controls && has == needed) || (!controls && has != 0) {
        Ok(())
    } else {
        Err(NtStatus::ACCESS_DENIED)
    }
}

/// The call's frames, down to where the Filter Manager is called.
pub(super) fn frames(call: &FileCall) -> [Frame; 2] {
    let service = match call {
        FileCall::Read { .. } => "nt!NtReadFile",
        FileCall::Write { .. } => "nt!NtWriteFile",
        FileCall::QueryInformation { .. } => "nt!NtQueryInformationFile",
        FileCall::SetInformation { .. } => "nt!NtSetInformationFile",
        FileCall::QueryDirectory { .. } => "nt!NtQueryDirectoryFile",
        FileCall::NotifyDirectory { .. } => "nt!NtNotifyChangeDirectoryFile",
        FileCall::FsControl { .. } => "nt!NtFsControlFile",
        FileCall::DeviceControl { .. } => "nt!NtDeviceIoControlFile",
        FileCall::QueryVolume { .. } => "nt!NtQueryVolumeInformationFile",
        FileCall::SetVolume { .. } => "nt!NtSetVolumeInformationFile",
        FileCall::Flush => "nt!NtFlushBuffersFile",
        FileCall::Lock { .. } => "nt!NtLockFile",
        FileCall::Unlock { .. } => "nt!NtUnlockFile",
        FileCall::QuerySecurity { .. } => "nt!NtQuerySecurityObject",
        FileCall::SetSecurity { .. } => "nt!NtSetSecurityObject",
        FileCall::QueryEa { .. } => "nt!NtQueryEaFile",
        FileCall::SetEa { .. } => "nt!NtSetEaFile",
        FileCall::QueryQuota { .. } => "nt!NtQueryQuotaInformationFile",
        FileCall::SetQuota { .. } => "nt!NtSetQuotaInformationFile",
        FileCall::MappedRead { .. } | FileCall::MappedWrite { .. } => "nt!NtCreateSection",
        FileCall::MdlRead { .. } => "nt!FsRtlMdlReadDev",
        FileCall::MdlWrite { .. } => "nt!FsRtlPrepareMdlWriteDev",
    };
    [frame(service), frame("nt!IopSynchronousServiceTail")]
}
