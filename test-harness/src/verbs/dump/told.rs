//! What a dump tells, in words: for the page and for JSON.

use crashdump::{Analysis, How};
use protocol::Setting;
use serde::Serialize;

use crate::model::{Hex, Losses, RecordView};
use crate::report::stats::Stats;

/// Grows by one whenever a field changes its meaning or goes.
const VERSION: u32 = 1;

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub struct Told {
    /// `headroom-dump`
    pub format: &'static str,
    /// The version of this layout.
    pub version: u32,
    /// What happened, in a sentence.
    pub sentence: String,
    /// Whether the kernel stack was full.
    pub overflow: bool,
    /// The file.
    pub dump: DumpFile,
    /// The code.
    pub bug_check: u32,
    /// Its name.
    pub bug_check_name: Option<&'static str>,
    /// Its parameters.
    pub parameters: [Hex; 4],
    /// The thread.
    pub thread: Option<Thread>,
    /// Its segments, newest first.
    pub segments: Vec<Segment>,
    /// Its frames, newest first.
    pub frames: Vec<Frame>,
    /// Loaded modules.
    pub modules: Vec<Module>,
    /// The driver's leavings.
    pub driver: Option<Driver>,
    /// What could not be read, or was guessed.
    pub notes: Vec<String>,
}

/// The file.
#[derive(Clone, Debug, Serialize)]
pub struct DumpFile {
    /// Its kind.
    pub kind: &'static str,
    /// Pages of memory in it.
    pub pages: u64,
    /// The build of Windows.
    pub build: u32,
    /// When it was written: 100 ns units since 1601-01-01 UTC.
    pub system_time: u64,
    /// What its writer says.
    pub comment: String,
}

/// The thread that stopped the machine.
#[derive(Clone, Debug, Serialize)]
pub struct Thread {
    /// Its KTHREAD.
    pub address: Hex,
    /// Its id.
    pub id: Option<u64>,
    /// Its process's id.
    pub process_id: Option<u64>,
    /// Its process's image.
    pub process: Option<String>,
}

/// A stack segment.
#[derive(Clone, Debug, Serialize)]
pub struct Segment {
    /// One past its highest address.
    pub base: Hex,
    /// Its lowest usable address.
    pub limit: Hex,
    /// Bytes that frames take.
    pub used: u64,
    /// Bytes by module, most first.
    pub by_module: Vec<(String, u64)>,
    /// Whether the thread itself told its bounds.
    pub told_by_thread: bool,
}

/// A frame.
#[derive(Clone, Debug, Serialize)]
pub struct Frame {
    /// RSP in the function's body.
    pub child_sp: Hex,
    /// Distance to the next older frame of its segment.
    pub bytes: Option<u64>,
    /// The code's address.
    pub address: Hex,
    /// Its name.
    pub symbol: String,
    /// Its module.
    pub module: Option<String>,
    /// `file:line`
    pub source: Option<String>,
    /// Index of its segment.
    pub segment: Option<usize>,
    /// `context`, `unwound` or `searched`.
    pub found: &'static str,
}

/// A module.
#[derive(Clone, Debug, Serialize)]
pub struct Module {
    /// Its short name.
    pub name: String,
    /// Its file.
    pub file: String,
    /// Where it lies.
    pub base: Hex,
    /// How long it is.
    pub size: u64,
}

/// What the driver left.
#[derive(Clone, Debug, Serialize)]
pub struct Driver {
    /// Its module.
    pub module: Option<String>,
    /// Its records, oldest first.
    pub records: Vec<RecordView>,
    /// Records of creates that were under way: what stands in them until then.
    pub unfinished: Vec<RecordView>,
    /// What was lost.
    pub losses: Losses,
    /// The watermarks.
    pub watermarks: Option<Stats>,
    /// The settings, by their registry values' names.
    pub settings: Option<Vec<(String, String)>>,
}

impl From<&Analysis> for Told {
    fn from(analysis: &Analysis) -> Self {
        Self {
            format: "headroom-dump",
            version: VERSION,
            sentence: analysis.sentence(),
            overflow: analysis.overflowed(),
            dump: DumpFile {
                kind: analysis.kind,
                pages: analysis.pages,
                build: analysis.build,
                system_time: analysis.system_time,
                comment: analysis.comment.clone(),
            },
            bug_check: analysis.bug_check.code,
            bug_check_name: analysis.bug_check.name(),
            parameters: analysis.bug_check.parameters.map(Hex),
            thread: analysis.thread.as_ref().map(|thread| Thread {
                address: Hex(thread.address),
                id: thread.id,
                process_id: thread.process_id,
                process: thread.process.clone(),
            }),
            segments: analysis.segments.iter().map(Segment::from).collect(),
            frames: analysis.frames.iter().map(Frame::from).collect(),
            modules: analysis.modules.iter().map(Module::from).collect(),
            driver: analysis.driver.as_ref().map(Driver::from),
            notes: analysis.notes.clone(),
        }
    }
}

impl From<&crashdump::Segment> for Segment {
    fn from(segment: &crashdump::Segment) -> Self {
        Self {
            base: Hex(segment.base),
            limit: Hex(segment.limit),
            used: segment.used(),
            by_module: segment.by_module.clone(),
            told_by_thread: segment.told,
        }
    }
}

impl From<&crashdump::Frame> for Frame {
    fn from(frame: &crashdump::Frame) -> Self {
        Self {
            child_sp: Hex(frame.child_sp),
            bytes: frame.bytes,
            address: Hex(frame.address),
            symbol: frame.symbol.clone(),
            module: frame.module.clone(),
            source: frame.source.clone(),
            segment: frame.segment,
            found: match frame.how {
                How::Context => "context",
                How::Unwound => "unwound",
                How::Searched => "searched",
            },
        }
    }
}

impl From<&crashdump::Module> for Module {
    fn from(module: &crashdump::Module) -> Self {
        Self {
            name: module.name.clone(),
            file: module.file.clone(),
            base: Hex(module.base),
            size: module.size,
        }
    }
}

impl From<&crashdump::Driver> for Driver {
    fn from(driver: &crashdump::Driver) -> Self {
        Self {
            module: driver.module.clone(),
            records: driver.records.iter().map(RecordView::from).collect(),
            unfinished: driver.unfinished.iter().map(RecordView::from).collect(),
            losses: Losses::from(&driver.anchor),
            watermarks: driver
                .watermarks
                .as_ref()
                .map(|marks| Stats::of(marks, None)),
            settings: driver.config.as_ref().map(settings),
        }
    }
}

/// Each setting's name and value, in the registry's words where it has some.
fn settings(config: &protocol::Config) -> Vec<(String, String)> {
    let told = |setting: &Setting| {
        let value = config.get(*setting)?;
        let word = setting.words().iter().find(|(_, number)| *number == value);
        let value = word.map_or_else(|| value.to_string(), |(word, _)| (*word).to_owned());
        Some((setting.to_string(), value))
    };
    Setting::ALL.iter().filter_map(told).collect()
}
