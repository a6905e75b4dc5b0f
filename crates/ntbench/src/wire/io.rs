//! System calls on open files, as they cross between the process that asks and the machine.

use serde::{Deserialize, Serialize};

use super::hex;

/// A system call on an open file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IoCall {
    /// The file's handle.
    pub handle: u64,
    /// Which call.
    pub call: FileCall,
}

/// What is done with an open file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FileCall {
    /// `NtReadFile`.
    Read {
        /// `Length`.
        length: u32,
        /// `ByteOffset`; `None`: where a file opened for synchronous I/O is.
        offset: Option<i64>,
        /// As the memory manager reads: paging I/O into system memory.
        #[serde(default)]
        paging: bool,
    },
    /// `NtWriteFile`.
    Write {
        /// What to write.
        #[serde(with = "hex")]
        data: Vec<u8>,
        /// `ByteOffset`; `None`: where a file opened for synchronous I/O is. -1: at the end.
        offset: Option<i64>,
        /// As the memory manager writes: paging I/O from system memory, never beyond the end.
        #[serde(default)]
        paging: bool,
    },
    /// `NtQueryInformationFile`.
    QueryInformation {
        /// `FileInformationClass`.
        class: u32,
        /// `Length`.
        length: u32,
    },
    /// `NtSetInformationFile`.
    SetInformation {
        /// `FileInformationClass`.
        class: u32,
        /// The information.
        #[serde(with = "hex")]
        data: Vec<u8>,
    },
    /// `NtQueryDirectoryFile`.
    QueryDirectory {
        /// `FileInformationClass`.
        class: u32,
        /// `Length`.
        length: u32,
        /// `FileName`.
        pattern: Option<String>,
        /// `RestartScan`.
        restart: bool,
        /// `ReturnSingleEntry`.
        single: bool,
    },
    /// `NtFsControlFile`.
    FsControl {
        /// `FsControlCode`.
        code: u32,
        /// `InputBuffer`.
        #[serde(with = "hex")]
        input: Vec<u8>,
        /// `OutputBufferLength`.
        output: u32,
    },
    /// `NtDeviceIoControlFile`.
    DeviceControl {
        /// `IoControlCode`.
        code: u32,
        /// `InputBuffer`.
        #[serde(with = "hex")]
        input: Vec<u8>,
        /// `OutputBufferLength`.
        output: u32,
    },
    /// `NtQueryVolumeInformationFile`.
    QueryVolume {
        /// `FsInformationClass`.
        class: u32,
        /// `Length`.
        length: u32,
    },
    /// `NtSetVolumeInformationFile`.
    SetVolume {
        /// `FsInformationClass`.
        class: u32,
        /// The information.
        #[serde(with = "hex")]
        data: Vec<u8>,
    },
    /// `NtFlushBuffersFile`.
    Flush,
    /// `NtLockFile`.
    Lock {
        /// `ByteOffset`.
        offset: i64,
        /// `Length`.
        length: i64,
        /// `Key`.
        key: u32,
        /// `ExclusiveLock`.
        exclusive: bool,
        /// `FailImmediately`.
        fail_immediately: bool,
    },
    /// `NtUnlockFile`.
    Unlock {
        /// `ByteOffset`.
        offset: i64,
        /// `Length`.
        length: i64,
        /// `Key`.
        key: u32,
    },
    /// `NtQuerySecurityObject`.
    QuerySecurity {
        /// `SecurityInformation`.
        information: u32,
        /// `Length`.
        length: u32,
    },
    /// `NtSetSecurityObject`.
    SetSecurity {
        /// `SecurityInformation`.
        information: u32,
        /// The self-relative `SECURITY_DESCRIPTOR`.
        #[serde(with = "hex")]
        descriptor: Vec<u8>,
    },
    /// `NtQueryEaFile`.
    QueryEa {
        /// `EaList`; empty: all.
        names: Vec<String>,
        /// `Length`.
        length: u32,
        /// `RestartScan`.
        restart: bool,
        /// `ReturnSingleEntry`.
        single: bool,
    },
    /// `NtSetEaFile`.
    SetEa {
        /// `FILE_FULL_EA_INFORMATION`.
        #[serde(with = "hex")]
        data: Vec<u8>,
    },
    /// `NtQueryQuotaInformationFile`.
    QueryQuota {
        /// `Length`.
        length: u32,
    },
    /// `NtSetQuotaInformationFile`.
    SetQuota {
        /// `FILE_QUOTA_INFORMATION`.
        #[serde(with = "hex")]
        data: Vec<u8>,
    },
    /// A part of the file is read through a view of a section (`NtCreateSection`, `NtMapViewOfSection`).
    MappedRead {
        /// Where the part begins.
        offset: i64,
        /// How long it is.
        length: u32,
    },
    /// A part of the file is changed through a view of a section, and the pages are written.
    MappedWrite {
        /// Where the part begins.
        offset: i64,
        /// What is put there.
        #[serde(with = "hex")]
        data: Vec<u8>,
    },
    /// Read as a file server reads for its clients: by pages that the file system lends (`FsRtlMdlReadDev`).
    MdlRead {
        /// Where to begin.
        offset: i64,
        /// How much.
        length: u32,
    },
    /// Written as a file server writes for its clients (`FsRtlPrepareMdlWriteDev`).
    MdlWrite {
        /// Where to begin.
        offset: i64,
        /// What to write.
        #[serde(with = "hex")]
        data: Vec<u8>,
    },
    /// `NtNotifyChangeDirectoryFile`.
    NotifyDirectory {
        /// `CompletionFilter`.
        filter: u32,
        /// `Length`.
        length: u32,
        /// `WatchTree`.
        tree: bool,
        /// Whether by `NtNotifyChangeDirectoryFileEx`, for `FILE_NOTIFY_EXTENDED_INFORMATION`.
        extended: bool,
        /// Whether the call waits for a change. If not, it is cancelled as soon as it is pended: what has happened since the last
        /// one is told, and from the first one on that is kept.
        wait: bool,
    },
}

/// How such a call ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transferred {
    /// Its status.
    pub status: super::NtStatus,
    /// `IO_STATUS_BLOCK.Information`.
    pub information: u64,
    /// What was read or answered; for a call that failed, nothing.
    #[serde(with = "hex")]
    pub data: Vec<u8>,
}
