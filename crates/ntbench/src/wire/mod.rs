//! What crosses between the process that asks and the process that is the machine.
//!
//! One request and one reply are one line of JSON each, paired by a number, so that several simulated threads can be
//! in flight at once. A bug check arrives as a message of its own: the machine sends it and dies.

mod config;
mod hex;
mod inf;
mod io;
mod measure;
mod port;
mod report;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use crate::status::NtStatus;
pub use config::*;
pub use io::*;
pub use measure::*;
pub use port::*;
pub use report::*;

/// How a system call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// The status returned.
    pub status: NtStatus,
    /// `IO_STATUS_BLOCK.Information`.
    pub information: u64,
    /// The handle, if one was opened; else 0.
    pub handle: u64,
    /// The file attributes that an attribute query returned; else 0.
    pub attributes: u32,
}

/// The number of the thread that the machine loads and unloads drivers in.
pub(crate) const SYSTEM_THREAD: u32 = 0;

/// A request to the machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// The first one.
    Boot(Box<MachineConfig>),
    /// Maps a driver and calls its `DriverEntry`.
    LoadDriver(DriverSpec),
    /// Installs a driver without starting it: a filter may have it loaded (`FltLoadFilter`).
    InstallDriver(DriverSpec),
    /// Unloads a driver by its service name.
    UnloadDriver {
        /// The service's name.
        service: String,
        /// As `sc stop` does, which a filter cannot refuse; else as `fltmc unload`.
        #[serde(default)]
        mandatory: bool,
    },
    /// Starts a thread.
    StartThread(ThreadSpec),
    /// Starts a process, with one thread.
    StartProcess {
        /// By which thread.
        thread: u32,
        /// Which.
        spec: ProcessSpec,
    },
    /// Ends a process with all its threads, whatever they wait for, as `NtTerminateProcess` does.
    EndProcess {
        /// Its id.
        pid: u64,
    },
    /// Ends a thread.
    EndThread {
        /// Which.
        thread: u32,
    },
    /// Runs a system call on a thread.
    SystemCall {
        /// On which thread.
        thread: u32,
        /// Which call.
        call: SystemCall,
    },
    /// Does something with a communication port on a thread.
    Port {
        /// On which thread.
        thread: u32,
        /// What.
        call: PortCall,
    },
    /// Does the same many times on a thread.
    Measure {
        /// On which thread.
        thread: u32,
        /// What.
        measure: Measure,
    },
    /// The address of `module!name`.
    Symbol {
        /// `module!name`.
        name: String,
    },
    /// Reads memory as a debugger would.
    Read {
        /// From where.
        address: u64,
        /// How many bytes.
        length: usize,
    },
    /// Takes the trace gathered so far.
    Trace,
    /// What is known of a driver's image.
    Modules,
    /// What memory is in use now.
    Usage,
    /// Which threads there are, and which of them wait.
    Threads,
    /// The names of the communication ports that filters offer.
    Ports,
    /// The names of the filters that are registered.
    Filters,
    /// These threads will make calls at the same time.
    Together {
        /// Which.
        threads: Vec<u32>,
    },
    /// A thread makes no more calls at the same time as others.
    Leave {
        /// Which.
        thread: u32,
    },
    /// Replaces the fault rules and starts their counts afresh.
    SetFaults(Vec<FaultRule>),
    /// Asks every busy thread where it is; the machine ends after it.
    Interrogate,
    /// Tells the filters of a volume that its device is to go, stays, or is gone.
    PlugAndPlay {
        /// The volume's device.
        device: String,
        /// What happens to it.
        what: PlugAndPlay,
    },
    /// Unloads nothing, reports, ends.
    Shutdown,
}

/// What happens to a volume's device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlugAndPlay {
    /// `IRP_MN_QUERY_REMOVE_DEVICE`: may it be removed?
    QueryRemove,
    /// `IRP_MN_CANCEL_REMOVE_DEVICE`: it stays.
    CancelRemove,
    /// `IRP_MN_REMOVE_DEVICE`: it is removed in order.
    Remove,
    /// `IRP_MN_SURPRISE_REMOVAL`: somebody has pulled it out.
    SurpriseRemoval,
}

/// A system call that a thread makes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum SystemCall {
    /// `NtCreateFile`.
    CreateFile(CreateFile),
    /// `NtQueryAttributesFile`.
    QueryAttributes {
        /// The object name.
        name: String,
        /// `RootDirectory`; 0: none.
        root: u64,
    },
    /// `NtCancelSynchronousIoFile`: cancels what another thread is waiting for.
    CancelIo {
        /// That thread's id ([`ThreadInfo::tid`]).
        tid: u64,
    },
    /// A call on an open file; answered with [`Reply::Transferred`].
    File(IoCall),
    /// `NtCreateTransaction`; the handle is in the answer.
    CreateTransaction,
    /// `NtCommitTransaction`, or `NtRollbackTransaction`.
    EndTransaction {
        /// The transaction's handle.
        handle: u64,
        /// Commits; else rolls back.
        commit: bool,
    },
    /// `NtOpenProcess`; the handle and, as information, the access granted are in the answer.
    OpenProcess {
        /// The process's id.
        pid: u64,
        /// The access wanted.
        access: u32,
    },
    /// Something that a program does to the registry.
    Registry(RegistryCall),
    /// What a program asks of a filter's instances.
    Instance(InstanceCall),
    /// `NtClose`.
    Close {
        /// The handle.
        handle: u64,
    },
}

/// What a program asks of a filter's instances, by `fltlib.dll`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InstanceCall {
    /// `FilterAttach`; with an altitude, `FilterAttachAtAltitude`.
    Attach {
        /// The filter's name.
        filter: String,
        /// The volume's: a drive letter with its colon, or a device.
        volume: String,
        /// The instance's name; `None`: the default one of the registry, or with an altitude a made-up one.
        instance: Option<String>,
        /// Where; `None`: as the registry says.
        altitude: Option<String>,
    },
    /// `FilterDetach`.
    Detach {
        /// The filter's name.
        filter: String,
        /// The volume's.
        volume: String,
        /// The instance's name; `None`: the filter's highest one there.
        instance: Option<String>,
    },
}

/// A reply.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// Done, nothing to say.
    Done,
    /// A driver was loaded; `DriverEntry`'s status is in it.
    Loaded(LoadedDriver),
    /// The unload's status.
    Unloaded(NtStatus),
    /// A thread was started.
    Thread(ThreadInfo),
    /// A system call ended.
    Completion(Completion),
    /// A call on an open file ended.
    Transferred(Transferred),
    /// A call on a port ended.
    Port(PortAnswer),
    /// A run of messages ended.
    Fuzzed(FuzzReport),
    /// Something was done many times.
    Measured(Timing),
    /// A symbol's address.
    Address(u64),
    /// Memory.
    Memory(#[serde(with = "hex")] Vec<u8>),
    /// The trace.
    Trace(Trace),
    /// Modules.
    Modules(Vec<ModuleInfo>),
    /// Memory in use.
    Usage(Usage),
    /// Threads that have not ended.
    Threads(Vec<ThreadState>),
    /// Names.
    Names(Vec<String>),
    /// The end.
    Final(FinalReport),
    /// It could not be done; why.
    Refused(Refusal),
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The image was not loaded.
    #[error("{0}")]
    Image(String),
    /// No such driver, thread or symbol; memory that is not there.
    #[error("{0}")]
    NotThere(String),
    /// The configuration makes no sense.
    #[error("{0}")]
    Config(String),
    /// A driver did not let a process be created.
    #[error(
        "the process {image} was not created: {status}, from a driver's process-notify routine"
    )]
    Process {
        /// Its image's name.
        image: String,
        /// `PS_CREATE_NOTIFY_INFO.CreationStatus`.
        status: NtStatus,
    },
}

/// From machine to client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Message {
    /// An answer to the request of that number.
    Reply {
        /// The request's number.
        id: u64,
        /// The answer.
        reply: Reply,
    },
    /// The machine is dead.
    BugCheck(Box<BugCheckReport>),
    /// Where a busy thread was when the machine was asked to end.
    Stuck(Box<StackListing>),
    /// What the verifier has found, before a machine is stopped that does not answer.
    Found(Vec<Finding>),
    /// The bench itself failed.
    HostFault(String),
}

/// From client to machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Envelope {
    /// The request's number.
    pub id: u64,
    /// The request.
    pub request: Request,
}

/// A driver as loaded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadedDriver {
    /// What `DriverEntry` returned. Not a success: the image is no longer there.
    pub status: NtStatus,
    /// The image.
    pub module: ModuleInfo,
}

/// A mapped image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleInfo {
    /// Its name, without extension.
    pub name: String,
    /// Where it lies.
    pub base: u64,
    /// How long it is.
    pub size: u64,
    /// The .pdb found.
    pub pdb: Option<PathBuf>,
    /// A .pdb that lies beside the image and is of another build, so that nothing was read from it.
    pub stale_pdb: Option<PathBuf>,
}

/// Memory in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Pool blocks that drivers hold.
    pub pool_blocks: u64,
    /// Their bytes, as asked for.
    pub pool_bytes: u64,
    /// Memory of the machine's process that is resident and not shared with a file, in bytes: the bench's own with the drivers'.
    pub resident_bytes: u64,
    /// What system threads have been given to do and have not done: work items, and the ends of a filter's own I/O.
    pub work_under_way: u64,
}

/// A thread that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadState {
    /// Its thread id.
    pub tid: u64,
    /// Whether it waits in the kernel for what somebody else does, or for a time.
    pub waits: bool,
}

/// A thread as started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadInfo {
    /// The number that requests name it by.
    pub thread: u32,
    /// Its process id.
    pub pid: u64,
    /// Its thread id.
    pub tid: u64,
    /// Its kernel stack's low end.
    pub stack_low: u64,
    /// Its kernel stack's high end.
    pub stack_high: u64,
}
