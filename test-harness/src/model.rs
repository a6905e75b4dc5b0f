//! What a run showed, whatever machine it ran on.

mod hex;
mod open;
mod sweep;

use std::collections::{HashMap, VecDeque};

use protocol::{Anchor, Flags, NtStatus, Record};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use hex::Hex;
use hex::addresses;
pub use open::{Action, Count, Counts, Open};
pub use sweep::{Sweep, SweepEnd, SweepRow};

/// Size of an ordinary thread's kernel stack on x64.
pub const KERNEL_STACK_BYTES: u64 = 0x6000;

/// Size of a large kernel stack, which is also what an expansion switches to.
pub const LARGE_STACK_BYTES: u64 = 0x12000;

/// What the driver is told to do about stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expand {
    /// Expand for each inspection.
    Always,
    /// Expand where less than `RedZoneBytes` of stack is left.
    RedZone,
    /// Inspect on the caller's stack.
    Never,
}

impl Expand {
    /// The value of the driver's `ExpandPolicy`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::RedZone => "RedZone",
            Self::Never => "Never",
        }
    }
}

/// One scenario run on one machine under one policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// The policy.
    pub expand: Expand,
    /// The opens that the scenario itself made, in order.
    pub opens: Vec<Open>,
    /// Every create that arrived at the driver, in order, as the machine saw it.
    pub arrivals: Vec<Arrival>,
    /// The driver's own records, in order.
    pub records: Vec<RecordView>,
    /// What the driver lost of them; `None` where the machine died before they could be read.
    pub losses: Option<Losses>,
    /// Listings taken where the scenario asked for one.
    pub listings: Vec<Listing>,
    /// Contract violations that the machine's verifier found.
    pub findings: Vec<String>,
    /// How it ended.
    pub end: End,
    /// What its calls came to, also those that are not in [`opens`](Self::opens) because there were too many.
    #[serde(default, skip_serializing_if = "no_counts")]
    pub counts: Counts,
    /// Arrivals that the machine has forgotten for want of room.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub arrivals_dropped: u64,
    /// Ctrl-C ended it early.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
    /// Why there are no records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unrecorded: Option<String>,
}

fn no_counts(counts: &Counts) -> bool {
    counts.0.is_empty()
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How a run ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum End {
    /// Every open came back, and the driver was unloaded.
    Completed,
    /// The machine died.
    BugCheck(Box<BugCheck>),
}

/// A create's arrival in the driver's pre-create callback.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Arrival {
    /// How many creates were under way on the thread, this one included.
    pub depth: u32,
    /// The thread's id; 0: not known.
    #[serde(default)]
    pub thread_id: u64,
    /// The path, as far as the machine knows it.
    pub path: String,
    /// Stack left at the callback's first instruction.
    pub remaining: u64,
    /// Low end of the stack segment.
    #[serde(with = "addresses")]
    pub segment_low: u64,
    /// High end of the stack segment.
    #[serde(with = "addresses")]
    pub segment_high: u64,
}

/// One of the driver's records, in words.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecordView {
    /// Number of the record.
    pub sequence: u64,
    /// How many creates were under way on the thread, this one included: as the driver counts them, its own, until
    /// [`Run::count_all_creates`] puts the machine's count in its place.
    pub depth: u32,
    /// The path, or its end with an ellipsis in front.
    pub path: String,
    /// The process's image name.
    pub process: String,
    /// The process.
    #[serde(default)]
    pub process_id: u32,
    /// The thread.
    #[serde(default)]
    pub thread_id: u32,
    /// System time when the create arrived: 100 ns units since 1601-01-01 UTC.
    #[serde(default)]
    pub system_time: u64,
    /// Stack left before the expansion.
    pub before: Option<u32>,
    /// Stack left where the inspection started.
    pub inside: Option<u32>,
    /// Stack left after the return.
    pub after: Option<u32>,
    /// Caller's segment.
    #[serde(with = "addresses")]
    pub caller_segment: [u64; 2],
    /// Segment of the inspection.
    #[serde(with = "addresses")]
    pub inside_segment: [u64; 2],
    /// The policy that decided.
    pub policy: String,
    /// Where the inspection ran.
    pub outcome: String,
    /// Bytes asked for.
    pub reservation_bytes: u32,
    /// What the expansion returned.
    #[serde(with = "status")]
    pub reservation_status: NtStatus,
    /// The inspection's first failure.
    #[serde(with = "status")]
    pub inspect_status: NtStatus,
    /// What the create came to.
    #[serde(with = "optional_status")]
    pub create_status: Option<NtStatus>,
    /// Ancestors that were opened.
    pub ancestors_opened: u16,
    /// Duration of the inspection in ticks of the performance counter.
    pub inspect_ticks: u64,
    /// What the driver says about the record.
    pub flags: String,
}

impl From<&Record> for RecordView {
    fn from(record: &Record) -> Self {
        let sampled = |flag, value| record.flags.contains(flag).then_some(value);
        let tail = String::from_utf16_lossy(record.tail());
        Self {
            sequence: record.sequence,
            depth: record.nest_depth + 1,
            path: if record.path_is_whole() {
                tail
            } else {
                format!("…{tail}")
            },
            process: String::from_utf8_lossy(record.image()).into_owned(),
            process_id: record.process_id,
            thread_id: record.thread_id,
            system_time: record.system_time,
            before: sampled(Flags::BEFORE_SAMPLED, record.before_remaining),
            inside: sampled(Flags::INSIDE_SAMPLED, record.inside_remaining),
            after: sampled(Flags::AFTER_SAMPLED, record.after_remaining),
            caller_segment: [record.before_low, record.before_high],
            inside_segment: [record.inside_low, record.inside_high],
            policy: record.policy.to_string(),
            outcome: record.outcome.to_string(),
            reservation_bytes: record.reservation_bytes,
            reservation_status: record.reservation_status,
            inspect_status: record.inspect_status,
            create_status: record.create_status(),
            ancestors_opened: record.ancestors_opened,
            inspect_ticks: record.inspect_ticks,
            flags: record.flags.to_string(),
        }
    }
}

/// What the driver's ring says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Losses {
    /// Records written.
    pub written: u64,
    /// Records that newer ones replaced.
    pub overwritten: u64,
    /// Records not written for want of a slot.
    pub skipped: u64,
    /// Records not written for want of stack.
    pub skipped_low_stack: u64,
    /// Ticks per second of the counter that [`RecordView::inspect_ticks`] is told in; 0: not told.
    #[serde(default)]
    pub ticks_per_second: u64,
}

impl From<&Anchor> for Losses {
    fn from(anchor: &Anchor) -> Self {
        Self {
            written: anchor.written,
            overwritten: anchor.overwritten,
            skipped: anchor.skipped,
            skipped_low_stack: anchor.skipped_low_stack,
            ticks_per_second: anchor.qpc_frequency,
        }
    }
}

/// A dead machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BugCheck {
    /// The code.
    pub code: u32,
    /// Its name.
    pub name: String,
    /// Its parameters.
    #[serde(with = "addresses")]
    pub parameters: [u64; 4],
    /// What happened.
    pub text: String,
    /// What became of the crash dump, if one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash_dump: Option<String>,
    /// The stack that it died of.
    pub stack: Listing,
}

impl BugCheck {
    /// UNEXPECTED_KERNEL_MODE_TRAP.
    pub const UNEXPECTED_KERNEL_MODE_TRAP: u32 = 0x7f;

    /// A double fault, which is how a kernel stack overflow ends: bug check 0x7F with first parameter 8.
    #[must_use]
    pub const fn is_double_fault(&self) -> bool {
        self.code == Self::UNEXPECTED_KERNEL_MODE_TRAP && self.parameters[0] == 8
    }
}

/// A stack, newest frame first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Listing {
    /// Why it was taken.
    pub taken_at: String,
    /// The frames.
    pub frames: Vec<Frame>,
    /// Low and high end of each segment, newest first.
    #[serde(with = "addresses")]
    pub segments: Vec<[u64; 2]>,
    /// Bytes by module, most first.
    pub by_module: Vec<(String, u64)>,
}

/// A frame.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Frame {
    /// RSP in the function's body.
    #[serde(with = "addresses")]
    pub child_sp: u64,
    /// Distance to the next older frame; `None` for the oldest of its segment.
    pub bytes_to_older: Option<u64>,
    /// `module!function+offset`.
    pub symbol: String,
    /// `file:line` where that is known.
    pub source: Option<String>,
    /// Whether real code of a loaded driver ran here; else the frame was charged from a model.
    pub real: bool,
    /// Index into [`Listing::segments`].
    pub segment: usize,
}

/// A status by its name, or as `0x…` where it has none.
pub(crate) mod status {
    use super::{Deserialize, Deserializer, NtStatus, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(
        status: &NtStatus,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(status)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<NtStatus, D::Error> {
        read(&String::deserialize(deserializer)?)
    }

    pub(super) fn read<E: de::Error>(text: &str) -> Result<NtStatus, E> {
        NtStatus::from_text(text)
            .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &"the name of an NTSTATUS"))
    }
}

/// A status, or null.
mod optional_status {
    use super::{Deserialize, Deserializer, NtStatus, Serializer, status};

    pub(super) fn serialize<S: Serializer>(
        status: &Option<NtStatus>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match status {
            Some(status) => serializer.collect_str(status),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<NtStatus>, D::Error> {
        Option::<String>::deserialize(deserializer)?
            .map(|text| status::read(&text))
            .transpose()
    }
}

impl Run {
    /// A run in which nothing has been seen yet.
    #[must_use]
    pub const fn new(expand: Expand) -> Self {
        Self {
            expand,
            opens: Vec::new(),
            arrivals: Vec::new(),
            records: Vec::new(),
            losses: None,
            listings: Vec::new(),
            findings: Vec::new(),
            end: End::Completed,
            counts: Counts(Vec::new()),
            arrivals_dropped: 0,
            interrupted: false,
            unrecorded: None,
        }
    }

    /// Gives each record the depth that the machine counted as its create arrived. The driver knows of the creates that
    /// it issued itself; that others issue creates inside creates, as the DFS client does, only the machine sees.
    pub fn count_all_creates(&mut self) {
        let depths: Vec<Option<u32>> = self
            .pairs()
            .iter()
            .map(|(_, arrival)| Some(arrival.as_ref()?.depth))
            .collect();
        for (record, depth) in self.records.iter_mut().zip(depths) {
            record.depth = depth.unwrap_or(record.depth);
        }
    }

    /// Each record with the arrival that it tells of: the first on its thread, of its path, that no other record tells of.
    /// Paths that the record has only the end of are found by that.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&RecordView, Option<&Arrival>)> {
        let mut by_path: HashMap<u64, HashMap<&str, VecDeque<usize>>> = HashMap::new();
        for (index, arrival) in self.arrivals.iter().enumerate() {
            let of_thread = by_path.entry(arrival.thread_id).or_default();
            let of_path = of_thread.entry(arrival.path.as_str()).or_default();
            of_path.push_back(index);
        }
        let mut taken = vec![false; self.arrivals.len()];
        let mut arrival_of = |record: &RecordView| {
            let thread = u64::from(record.thread_id);
            let whole = by_path
                .get_mut(&thread)
                .and_then(|paths| paths.get_mut(record.path.as_str()))
                .and_then(VecDeque::pop_front);
            let index = whole.or_else(|| {
                let end = record.path.trim_start_matches('…');
                let mut arrivals = self.arrivals.iter().enumerate();
                arrivals.position(|(index, arrival)| {
                    !taken[index] && arrival.thread_id == thread && arrival.path.ends_with(end)
                })
            })?;
            taken[index] = true;
            self.arrivals.get(index)
        };
        self.records
            .iter()
            .map(|record| (record, arrival_of(record)))
            .collect()
    }

    /// Of the listings that were asked for, the one with the most stack in it.
    #[must_use]
    pub fn deepest_listing(&self) -> Option<&Listing> {
        self.listings.iter().max_by_key(|listing| listing.bytes())
    }
}

impl Run {
    /// The stack that the run has to show: the one the machine died of, else the deepest that was asked for.
    #[must_use]
    pub fn told_stack(&self) -> Option<&Listing> {
        match &self.end {
            End::BugCheck(bug_check) => Some(&bug_check.stack),
            End::Completed => self.deepest_listing(),
        }
    }
}

impl Listing {
    /// Bytes between the newest frame and the oldest of each segment.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.frames
            .iter()
            .filter_map(|frame| frame.bytes_to_older)
            .sum()
    }
}
