//! What crosses between the process that asks and the process that is the machine.
//!
//! One request and one reply are one line of JSON each, paired by a number, so that several simulated threads can be
//! in flight at once. A bug check arrives as a message of its own: the machine sends it and dies.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use crate::status::NtStatus;

/// How a simulated machine is made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MachineConfig {
    /// The executable that becomes the machine. `None`: the running one, whose `main` must begin with
    /// [`host_main`](crate::host_main).
    #[serde(skip)]
    pub host: Option<PathBuf>,
    /// After so many milliseconds without a reply the machine is stopped. `None`: 30 seconds.
    pub time_limit_ms: Option<u64>,
    /// Stack segments and their limit.
    pub stack: StackConfig,
    /// What can be opened.
    pub namespace: NamespaceConfig,
    /// What is made to fail.
    pub faults: Vec<FaultRule>,
    /// Names of modelled frames (`nt!KiSwapContext`) at whose entry a [`StackListing`] is put into the trace.
    pub snapshot_at: Vec<String>,
    /// The newest so many trace events are kept. `None`: 65,536.
    pub trace_capacity: Option<usize>,
}

/// Kernel stack segments.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct StackConfig {
    /// How many extra segments the whole machine may have in use before `KeExpandKernelStackAndCalloutEx` answers
    /// `STATUS_STACK_OVERFLOW`. Windows has such a limit and documents no number.
    pub segment_limit: u32,
    /// How many free segments are kept for the next use.
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
}

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
        }
    }
}

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

/// A request to the machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// The first one.
    Boot(Box<MachineConfig>),
    /// Maps a driver and calls its `DriverEntry`.
    LoadDriver(DriverSpec),
    /// Unloads a driver by its service name, as `fltmc unload` or `sc stop` does.
    UnloadDriver {
        /// The service's name.
        service: String,
    },
    /// Starts a thread.
    StartThread(ThreadSpec),
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
    /// Replaces the fault rules and starts their counts afresh.
    SetFaults(Vec<FaultRule>),
    /// Asks every busy thread where it is; the machine ends after it.
    Interrogate,
    /// Unloads nothing, reports, ends.
    Shutdown,
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
    /// `NtClose`.
    Close {
        /// The handle.
        handle: u64,
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
    /// A symbol's address.
    Address(u64),
    /// Memory.
    Memory(#[serde(with = "hex")] Vec<u8>),
    /// The trace.
    Trace(Trace),
    /// Modules.
    Modules(Vec<ModuleInfo>),
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

/// What happened, oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Trace {
    /// The events.
    pub events: Vec<TraceEvent>,
    /// How many older ones were dropped for want of room.
    pub dropped: u64,
}

/// One thing that happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum TraceEvent {
    /// A filter's callback was entered (and, if it has returned, with what).
    Callback(CallbackEvent),
    /// A line of debug output.
    DbgPrint {
        /// The thread's id.
        tid: u64,
        /// The line, without its line end.
        text: String,
    },
    /// A stack listing asked for by `snapshot_at`.
    Snapshot(Box<StackListing>),
    /// The verifier found something.
    Finding(Finding),
}

/// One callback into a filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallbackEvent {
    /// The number of this callback on the machine.
    pub id: u64,
    /// The filter's name.
    pub filter: String,
    /// `pre`, `post`, `setup`, ….
    pub phase: String,
    /// `IRP_MJ_CREATE`, ….
    pub operation: String,
    /// The path, as far as it is known.
    pub path: String,
    /// The thread's id.
    pub tid: u64,
    /// How many creates are under way on this thread, this one included.
    pub nest: u32,
    /// Kernel stack left at entry.
    pub remaining: u64,
    /// The current segment's low limit.
    pub segment_low: u64,
    /// The current segment's high limit.
    pub segment_high: u64,
    /// The lowest stack pointer that the bench saw in the callback, on the segment it was entered on.
    pub lowest_sp: Option<u64>,
    /// What it returned, once it has.
    pub returned: Option<u64>,
}

/// Something that a driver must not do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule's name.
    pub rule: String,
    /// What was seen, and how to mend it.
    pub text: String,
    /// Where in the driver, `module!function+0x12 (file:line)`.
    pub site: Option<String>,
    /// The thread's id; 0: none.
    pub tid: u64,
}

/// What a machine says at its end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FinalReport {
    /// Contract violations, in order.
    pub findings: Vec<Finding>,
    /// What is left of the trace.
    pub trace: Trace,
    /// How often each fault rule's function was called, and how often it was made to fail.
    pub faults: Vec<FaultCount>,
}

/// A fault rule's use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultCount {
    /// The function.
    pub call: String,
    /// Its calls.
    pub calls: u64,
    /// Those made to fail.
    pub failed: u64,
}

/// A dead machine's report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BugCheckReport {
    /// The code.
    pub code: u32,
    /// Its name, e.g. `UNEXPECTED_KERNEL_MODE_TRAP`.
    pub name: String,
    /// The four parameters.
    pub parameters: [u64; 4],
    /// What each parameter means.
    pub meaning: [String; 4],
    /// What happened, in a sentence.
    pub text: String,
    /// The thread's id.
    pub tid: u64,
    /// Its process's id.
    pub pid: u64,
    /// Its process's image.
    pub process_image: String,
    /// Its IRQL.
    pub irql: u8,
    /// The stack.
    pub stack: StackListing,
    /// The trace until then.
    pub trace: Trace,
    /// What the verifier found until then.
    pub findings: Vec<Finding>,
}

/// A thread's kernel stack, as a debugger's `k` lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackListing {
    /// Why it was taken: a frame's name, or a bug check.
    pub taken_at: String,
    /// The thread's id.
    pub tid: u64,
    /// The segments, newest first.
    pub segments: Vec<SegmentInfo>,
    /// The frames, newest first.
    pub frames: Vec<FrameInfo>,
    /// Bytes of stack by module, most first.
    pub by_module: Vec<(String, u64)>,
}

/// A stack segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentInfo {
    /// The lowest address that may be used now.
    pub low: u64,
    /// One past the highest.
    pub high: u64,
    /// The lowest address it may grow to.
    pub reserve_low: u64,
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameInfo {
    /// RSP in the function's body, as WinDbg's Child-SP column has it.
    pub child_sp: u64,
    /// The distance to the next older frame's Child-SP; `None`: the oldest of its segment.
    pub bytes_to_older: Option<u64>,
    /// `module!function+0x12`, or a modelled frame's name.
    pub symbol: String,
    /// `file:line`, where the .pdb has it.
    pub source: Option<String>,
    /// Real driver code, or a modelled frame.
    pub kind: FrameKind,
    /// Index into [`StackListing::segments`].
    pub segment: usize,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FrameKind {
    /// The driver's own code, unwound from the stack.
    Driver,
    /// A frame charged from the cost model.
    Modelled,
}

mod hex {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        use std::fmt::Write as _;
        let mut text = String::with_capacity(bytes.len() * 2);
        for byte in bytes {
            let _ = write!(text, "{byte:02x}");
        }
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        text.as_bytes()
            .chunks(2)
            .map(|pair| match *pair {
                [high, low] => digit(high)
                    .zip(digit(low))
                    .and_then(|(h, l)| u8::try_from(h * 16 + l).ok()),
                _ => None,
            })
            .collect::<Option<Vec<u8>>>()
            .ok_or_else(|| {
                serde::de::Error::custom("memory is not an even number of hexadecimal digits")
            })
    }
}
