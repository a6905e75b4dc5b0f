//! What a machine tells: its trace, its findings, its stack, its end.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
    /// An enabled provider wrote an event.
    Etw(Box<EtwEvent>),
    /// Under a seeded schedule: another thread runs.
    Switch {
        /// The thread that ran.
        tid: u64,
        /// Where it was: an import, or empty at the beginning of a callback.
        at: String,
        /// The one that runs now.
        to: u64,
    },
}

/// An event of a provider (Event Tracing for Windows).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtwEvent {
    /// The thread's id.
    pub tid: u64,
    /// The provider's GUID.
    pub provider: String,
    /// Its name, where it told one (`EventProviderSetTraits`).
    pub provider_name: Option<String>,
    /// The event's name, where its metadata has one, as TraceLogging's has.
    pub name: Option<String>,
    /// `EVENT_DESCRIPTOR.Id`.
    pub id: u16,
    /// `EVENT_DESCRIPTOR.Version`.
    pub version: u8,
    /// `EVENT_DESCRIPTOR.Channel`.
    pub channel: u8,
    /// `EVENT_DESCRIPTOR.Level`.
    pub level: u8,
    /// `EVENT_DESCRIPTOR.Opcode`.
    pub opcode: u8,
    /// `EVENT_DESCRIPTOR.Task`.
    pub task: u16,
    /// `EVENT_DESCRIPTOR.Keyword`.
    pub keyword: u64,
    /// The activity's GUID.
    pub activity: Option<String>,
    /// What describes the fields (data descriptors of type 1).
    #[serde(with = "super::hex")]
    pub metadata: Vec<u8>,
    /// The fields.
    #[serde(with = "super::hex")]
    pub payload: Vec<u8>,
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
    /// The most that a callout of `KeExpandKernelStackAndCalloutEx` used in it, on another segment or this one; 0: there was none.
    #[serde(default)]
    pub elsewhere: u64,
    /// What it returned, once it has.
    pub returned: Option<u64>,
}

/// What the calls of one callback of a driver's for one operation used of the kernel stack, at the most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackUse {
    /// The driver's service.
    pub driver: String,
    /// `pre`, `post`, `setup`, ….
    pub callback: String,
    /// `IRP_MJ_CREATE`, …; empty where it is for none.
    pub operation: String,
    /// How often it was called.
    pub calls: u64,
    /// Bytes of its caller's stack that the driver's own frames reached.
    pub own: u64,
    /// The same with the frames of the kernel's functions that it called, and of what these called.
    pub with_callees: u64,
    /// Bytes that callouts of `KeExpandKernelStackAndCalloutEx` had, on another segment or, where it was large enough, the same one: what was
    /// asked for is not counted in `own`. 0: there was none.
    pub expanded: u64,
    /// The driver's call that was as deep as `own`, or, from its beginning, the function below which it was.
    pub deepest: Option<String>,
}

/// Something that a driver must not do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule's name.
    pub rule: String,
    /// What was seen.
    pub text: String,
    /// How to mend it.
    #[serde(default)]
    pub advice: String,
    /// Where in the driver, `module!function+0x12 (file:line)`: the call that did it or took what is left, or the routine that returned so.
    pub site: Option<String>,
    /// The thread's id; 0: none.
    pub tid: u64,
    /// The service of the driver that did it; `None`: the machine cannot tell.
    #[serde(default)]
    pub driver: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.text)?;
        if let Some(site) = &self.site {
            write!(f, " (at {site})")?;
        }
        write!(f, "; to mend it: {}", self.advice)
    }
}

/// What a machine says at its end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FinalReport {
    /// Contract violations, in order.
    pub findings: Vec<Finding>,
    /// What each callback used of the stack.
    #[serde(default)]
    pub stack_use: Vec<StackUse>,
    /// What is left of the trace.
    pub trace: Trace,
    /// How often each fault rule's function was called, and how often it was made to fail.
    pub faults: Vec<FaultCount>,
    /// The call stacks gathered, in the order in which they were first seen.
    #[serde(default)]
    pub call_stacks: Vec<CallStack>,
}

/// How a driver came to a call that can be made to fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallStack {
    /// The function called.
    pub call: String,
    /// The same for the same call and code of the same image, wherever it is loaded.
    pub hash: u64,
    /// The driver's frames, newest first: `module!function+0x12 (file:line)`.
    pub frames: Vec<String>,
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
    /// What each callback that has returned used of the stack.
    #[serde(default)]
    pub stack_use: Vec<StackUse>,
    /// The crash dump, if one was asked for ([`MachineConfig::crash_dump`](super::MachineConfig::crash_dump)).
    #[serde(default)]
    pub dump: Option<DumpOutcome>,
}

/// What became of a crash dump.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DumpOutcome {
    /// It is there.
    Written {
        /// Where.
        path: PathBuf,
        /// How long it is.
        bytes: u64,
    },
    /// It is not.
    Failed {
        /// Where it was to be.
        path: PathBuf,
        /// Why.
        why: String,
    },
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
