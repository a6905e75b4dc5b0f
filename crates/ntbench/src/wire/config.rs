//! What a machine, a driver, a thread and a create are made from.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::status::NtStatus;

/// How a simulated machine is made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MachineConfig {
    /// The executable that becomes the machine. `None`: the running one, whose `main` must begin with
    /// [`host_main`](crate::host_main).
    #[serde(skip)]
    pub host: Option<PathBuf>,
    /// After so many milliseconds without a reply the machine is stopped. `None`: 30 seconds. Booting is given no less than these.
    pub time_limit_ms: Option<u64>,
    /// Stack segments and their limit.
    pub stack: StackConfig,
    /// What can be opened.
    pub namespace: NamespaceConfig,
    /// What is made to fail.
    pub faults: Vec<FaultRule>,
    /// Gather the driver's call stacks of each call that can be made to fail, but for those with these hashes. `None`:
    /// gather none.
    pub call_stacks: Option<Vec<u64>>,
    /// Names of modelled frames (`nt!KiSwapContext`) at whose entry a [`StackListing`](super::StackListing) is put into the trace.
    pub snapshot_at: Vec<String>,
    /// Images whose processes run without an administrator's rights: `notepad.exe`.
    pub limited: Vec<String>,
    /// The newest so many trace events are kept. `None`: 65,536.
    pub trace_capacity: Option<usize>,
    /// Where a bug check leaves a crash dump (a 64-bit complete memory dump). `None`: it leaves none.
    pub crash_dump: Option<PathBuf>,
    /// The build of Windows that the machine says it is (`RtlGetVersion`, `KUSER_SHARED_DATA`). `None`: [`WINDOWS_BUILD`].
    pub windows: Option<u32>,
    /// Which event providers are enabled.
    pub etw: Vec<EtwSession>,
    /// Completes reads and writes at `DISPATCH_LEVEL` in another thread, as a disk's interrupt does.
    pub raised_completions: bool,
    /// How the file systems' devices want the buffers of reads, writes and directory queries.
    pub buffers: Buffers,
    /// What drivers' memory is held to.
    pub verifier: VerifierConfig,
    /// Lets a seed choose which thread runs from one kernel call to the next: the same seed runs the same way again. `None`: the host
    /// chooses.
    pub schedule: Option<ScheduleConfig>,
    /// Functions that return a status and are made to fail where they are called, beside those that know how to fail.
    pub fail_also: Vec<String>,
    /// Each create begins with so many bytes left of its thread's kernel stack. `None`: with all that a system call has.
    pub low_stack: Option<u32>,
    /// Tell a debugger that is attached to the machine's process of each driver and its functions.
    pub debugger: bool,
}

/// How a device wants the buffers of reads, writes and directory queries: by the flags of its `DEVICE_OBJECT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Buffers {
    /// Neither flag: the caller's own address, as at NTFS and the redirector.
    #[default]
    Neither,
    /// `DO_BUFFERED_IO`: a system buffer, from and to which the I/O manager copies.
    Buffered,
    /// `DO_DIRECT_IO`: the caller's buffer, locked and described by a memory descriptor list.
    Direct,
}

impl Buffers {
    /// The flag of the device.
    pub(crate) fn flag(self) -> u32 {
        match self {
            Self::Neither => 0,
            Self::Buffered => 0x4,
            Self::Direct => 0x10,
        }
    }
}

/// A schedule that can be had again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleConfig {
    /// What it depends on alone.
    pub seed: u64,
}

/// The checks that cost time with every allocation and every change of IRQL. All others are always on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VerifierConfig {
    /// Each pool block on pages of its own, against one that is not there; freed ones are gone.
    pub special_pool: bool,
    /// Paged pool and pageable sections are taken away whenever a thread raises to `DISPATCH_LEVEL`.
    pub force_irql: bool,
    /// Freed blocks that are not in special pool are filled and kept a while, so that a write into one is found.
    pub quarantine: bool,
    /// How many bytes of pool all drivers together may hold; beyond it allocations fail. `None`: 512 MB.
    pub pool_limit: Option<u64>,
    /// What callbacks use of their stack between two calls of theirs is looked for, too.
    pub stack_use: bool,
    /// How many bytes of its caller's stack a callback's own frames may take; more is a finding. `None`: any.
    pub stack_limit: Option<u64>,
}

impl VerifierConfig {
    /// None of them: for measuring.
    pub const OFF: Self = Self {
        special_pool: false,
        force_irql: false,
        quarantine: false,
        pool_limit: None,
        stack_use: false,
        stack_limit: None,
    };
}

impl Default for VerifierConfig {
    fn default() -> Self {
        Self {
            special_pool: true,
            force_irql: true,
            quarantine: true,
            pool_limit: None,
            stack_use: true,
            stack_limit: None,
        }
    }
}

/// An event provider that somebody listens to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EtwSession {
    /// Its GUID, as 8-4-4-4-12 hexadecimal digits; `*`: every provider that is not named itself.
    pub provider: String,
    /// Events up to this level: 1 critical, 2 error, 3 warning, 4 information, 5 verbose.
    pub level: u8,
    /// Events with one of these keywords (`MatchAnyKeyword`).
    pub any: u64,
    /// Events with all of these keywords (`MatchAllKeyword`).
    pub all: u64,
}

impl Default for EtwSession {
    fn default() -> Self {
        Self {
            provider: "*".to_owned(),
            level: 5,
            any: u64::MAX,
            all: 0,
        }
    }
}

/// Kernel stack segments.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct StackConfig {
    /// How many extra segments the whole machine may have in use before `KeExpandKernelStackAndCalloutEx` answers
    /// `STATUS_STACK_OVERFLOW`. Windows has such a limit and documents no number.
    pub segment_limit: u32,
    /// How many free segments are kept for the next use, beside the last one that each thread gave back; 0: none at all.
    pub pooled_segments: u32,
}

impl Default for StackConfig {
    fn default() -> Self {
        Self {
            segment_limit: 1024,
            pooled_segments: 32,
        }
    }
}

/// What can be opened on the machine.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NamespaceConfig {
    /// SMB servers behind `\Device\Mup`.
    pub servers: Vec<Server>,
    /// DFS namespaces.
    pub dfs: Vec<DfsNamespace>,
    /// Local volumes.
    pub volumes: Vec<Volume>,
}

/// A file server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Server {
    /// Its name, without backslashes.
    pub name: String,
    /// Its shares. `IPC$` exists without being named here.
    pub shares: Vec<Share>,
}

/// A share backed by a folder of the host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Share {
    /// Its name.
    pub name: String,
    /// The host's folder behind it.
    pub folder: PathBuf,
}

/// A DFS namespace `\\server\root` whose links lead to shares.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DfsNamespace {
    /// The namespace server (or domain) name.
    pub server: String,
    /// The root's name.
    pub root: String,
    /// Its links.
    pub links: Vec<DfsLink>,
}

/// One link of a DFS namespace.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DfsLink {
    /// The link's path below the root, e.g. `projects` or `a\b`.
    pub path: String,
    /// The target's server.
    pub server: String,
    /// The target's share.
    pub share: String,
    /// The folder in the target share, empty for its root.
    #[serde(default)]
    pub folder: String,
}

/// A local volume backed by a folder of the host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Volume {
    /// The device's name, e.g. `\Device\HarddiskVolume1`.
    pub device: String,
    /// The DOS drive letter that leads to it.
    pub letter: Option<char>,
    /// The host's folder behind it.
    pub folder: PathBuf,
}

/// Makes one kernel function fail.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FaultRule {
    /// The function's exported name, e.g. `KeExpandKernelStackAndCalloutEx`, `ExAllocatePool2`.
    pub call: String,
    /// The status it answers; where it answers with a pointer, any value means NULL.
    pub status: NtStatus,
    /// Which calls.
    pub when: When,
}

/// Which calls a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum When {
    /// Each one.
    Always,
    /// Only the n-th, counted from 1.
    Nth(u64),
    /// The n-th and all later.
    From(u64),
    /// Only the first whose driver's call stack has this hash, as in [`CallStack`](super::CallStack).
    Stack(u64),
}

/// The build of Windows 10 that a machine says it is where nothing else is asked for.
pub const WINDOWS_BUILD: u32 = 19_045;

/// A driver to load.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DriverSpec {
    /// The .sys file.
    pub image: PathBuf,
    /// The .pdb; `None`: beside the image, under its name, if it is there.
    pub pdb: Option<PathBuf>,
    /// The service key's name; empty: the image's file stem.
    pub service: String,
    /// Values below `Parameters`.
    pub parameters: Vec<(String, RegistryValue)>,
    /// The instances that an INF would have written below `Instances`; the first is the default one. Empty: none.
    pub instances: Vec<InstanceSpec>,
    /// Further values of the service's key, as an INF writes them ([`installed`](Self::installed)); `parameters` and `instances`
    /// go over them.
    pub values: Vec<KeyValue>,
}

/// A value in the service's key or below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyValue {
    /// The key, relative to the service's; empty: the service's own.
    pub subkey: String,
    /// The value's name.
    pub name: String,
    /// The value.
    pub value: RegistryValue,
}

/// An instance in the service key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InstanceSpec {
    /// The instance's name.
    pub name: String,
    /// The altitude, a decimal string.
    pub altitude: String,
    /// The `Flags` value; 0: attaches automatically and on request.
    pub flags: u32,
}

/// A registry value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegistryValue {
    /// `REG_DWORD`.
    Dword(u32),
    /// `REG_QWORD`.
    Qword(u64),
    /// `REG_SZ`.
    Sz(String),
    /// `REG_MULTI_SZ`.
    MultiSz(Vec<String>),
    /// `REG_BINARY`.
    Binary(Vec<u8>),
    /// `REG_EXPAND_SZ`.
    ExpandSz(String),
    /// `REG_NONE`.
    None(Vec<u8>),
}

/// A simulated thread to start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ThreadSpec {
    /// The process's image name, e.g. `explorer.exe`. Threads of one name and one `process` share a process.
    pub process_image: String,
    /// Tells processes of one image name apart.
    #[serde(default)]
    pub process: u32,
    /// Its kernel stack.
    #[serde(default)]
    pub stack: StackKind,
}

/// What a program does to a key, which it opens for that and closes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryCall {
    /// The key's full name: `\\Registry\\Machine\\Software\\…`.
    pub key: String,
    /// What.
    pub act: RegistryAct,
}

/// What is done to a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegistryAct {
    /// Nothing: it is opened.
    Open,
    /// It is opened or made.
    Create,
    /// It is deleted.
    Delete,
    /// A value is set; the key is made where it is not there.
    Set {
        /// Its name.
        name: String,
        /// What it is.
        value: RegistryValue,
    },
    /// A value is read.
    Query {
        /// Its name.
        name: String,
    },
    /// A value is deleted.
    DeleteValue {
        /// Its name.
        name: String,
    },
}

/// A process that a thread starts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// Its image's name, e.g. `notepad.exe`.
    pub image: String,
    /// What it is started with. `None`: the image's path.
    #[serde(default)]
    pub command_line: Option<String>,
    /// The kernel stack of its first thread.
    #[serde(default)]
    pub stack: StackKind,
}

/// A thread's kernel stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum StackKind {
    /// 24 KB.
    #[default]
    Ordinary,
    /// 72 KB reserved, 24 KB committed: what a GUI thread has.
    Large,
}

/// `NtCreateFile`'s parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CreateFile {
    /// The object name, e.g. `\??\UNC\server\share\a`.
    pub name: String,
    /// `RootDirectory`; 0: none.
    pub root: u64,
    /// `DesiredAccess`.
    pub access: u32,
    /// `ShareAccess`.
    pub share: u32,
    /// `CreateDisposition`.
    pub disposition: u32,
    /// `CreateOptions`.
    pub options: u32,
    /// `FileAttributes`.
    pub attributes: u32,
    /// `OBJECT_ATTRIBUTES.Attributes`.
    pub object_attributes: u32,
    /// The transaction that the file is opened in, by its handle; 0: none (`CreateFileTransacted`).
    pub transaction: u64,
    /// With `FILE_OPEN_BY_FILE_ID`: the file's id, whose eight bytes are the end of the name.
    pub file_id: Option<u64>,
    /// `EaBuffer`: a list of `FILE_FULL_EA_INFORMATION`.
    #[serde(default, with = "super::hex")]
    pub eas: Vec<u8>,
}

impl Default for CreateFile {
    /// Opens an existing file or folder for its attributes, shared with all, case-insensitively.
    fn default() -> Self {
        Self {
            name: String::new(),
            root: 0,
            access: 0x0010_0080,
            share: 7,
            disposition: 1,
            options: 0x20,
            attributes: 0x80,
            object_attributes: 0x40,
            transaction: 0,
            file_id: None,
            eas: Vec::new(),
        }
    }
}
