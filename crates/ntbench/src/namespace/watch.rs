//! Directories that somebody watches for changes (`NtNotifyChangeDirectoryFile`; MS-FSA 2.1.4.1, MS-FSCC 2.7.1).
//!
//! The first question about an open directory says what is watched for as long as that is open, and how much is kept of
//! what happens between one question and the next. More than that is lost, and the next answer says that everything is to
//! be listed again. Changes that the host's other programs make are not told.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::Stat;

use super::links::Place;
use super::listing;
use super::open::OpenFile;
use crate::abi::status::NtStatus;

pub(crate) const CHANGE_FILE_NAME: u32 = 0x1;
pub(crate) const CHANGE_DIR_NAME: u32 = 0x2;
pub(crate) const CHANGE_ATTRIBUTES: u32 = 0x4;
pub(crate) const CHANGE_SIZE: u32 = 0x8;
pub(crate) const CHANGE_LAST_WRITE: u32 = 0x10;
pub(crate) const CHANGE_LAST_ACCESS: u32 = 0x20;
pub(crate) const CHANGE_CREATION: u32 = 0x40;
pub(crate) const CHANGE_EA: u32 = 0x80;
pub(crate) const CHANGE_SECURITY: u32 = 0x100;
pub(crate) const CHANGE_STREAM_NAME: u32 = 0x200;
pub(crate) const CHANGE_STREAM_SIZE: u32 = 0x400;
pub(crate) const CHANGE_STREAM_WRITE: u32 = 0x800;
/// `FILE_NOTIFY_VALID_MASK`.
pub(crate) const CHANGE_ANY: u32 = 0xFFF;

/// `FILE_ACTION_…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Added = 1,
    Removed = 2,
    Modified = 3,
    RenamedOld = 4,
    RenamedNew = 5,
    AddedStream = 6,
    RemovedStream = 7,
    ModifiedStream = 8,
}

/// Something that happened to a name.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    /// Every component from the root.
    pub(crate) components: &'a [String],
    /// The named stream that it happened to.
    pub(crate) stream: Option<String>,
    /// `FILE_NOTIFY_CHANGE_…`: what it is for those who ask for some changes alone.
    pub(crate) filter: u32,
    pub(crate) action: Action,
    pub(crate) about: About,
}

/// What `FILE_NOTIFY_EXTENDED_INFORMATION` tells of the file beside its name.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct About {
    times: [i64; 4],
    allocated: i64,
    size: i64,
    attributes: u32,
    tag: u32,
    id: u64,
    parent: u64,
}

impl About {
    fn new(stat: &Stat, created: Option<i64>, attributes: u32, parent: &OwnedFd) -> Self {
        let parent = rustix::fs::fstat(parent).ok();
        let [created, accessed, written, changed] = listing::times(stat, created);
        Self {
            times: [created, written, changed, accessed],
            allocated: stat.st_blocks * 512,
            size: stat.st_size,
            attributes,
            tag: 0,
            id: stat.st_ino,
            parent: parent.map_or(0, |parent| parent.st_ino),
        }
    }
}

/// How a question is answered: the status, and the records.
pub(crate) type Answer = Box<dyn FnOnce(NtStatus, Vec<u8>) + Send>;

/// A question.
pub(crate) struct Question<'a> {
    /// The file object that asks.
    pub(crate) file: usize,
    /// The directory that it has open.
    pub(crate) directory: &'a Arc<OpenFile>,
    /// Which changes, of the first question.
    pub(crate) filter: u32,
    /// Whether what is in folders of the folder counts too, of the first question.
    pub(crate) tree: bool,
    /// Whether as `FILE_NOTIFY_EXTENDED_INFORMATION`, of the first question.
    pub(crate) extended: bool,
    /// How many bytes of records it can be given.
    pub(crate) room: usize,
}

struct Asking {
    number: usize,
    room: usize,
    answer: Answer,
}

struct Watch {
    file: usize,
    directory: Arc<OpenFile>,
    filter: u32,
    tree: bool,
    extended: bool,
    room: usize,
    /// What happened since the last answer.
    records: Records,
    overflown: bool,
    asking: VecDeque<Asking>,
}

/// Records, one behind the other.
#[derive(Default)]
struct Records {
    bytes: Vec<u8>,
    last: usize,
}

impl Records {
    fn push(&mut self, record: &[u8]) {
        let at = self.bytes.len().next_multiple_of(8);
        if at != 0 {
            let distance = u32::try_from(at - self.last).unwrap_or(0);
            self.bytes[self.last..self.last + 4].copy_from_slice(&distance.to_le_bytes());
        }
        self.bytes.resize(at, 0);
        self.bytes.extend(record);
        self.last = at;
    }
}

/// The watched directories of a volume or share.
#[derive(Default)]
pub(crate) struct Watches {
    watches: Mutex<Vec<Watch>>,
    /// How many there are: most changes are told to nobody, and need not be put into words.
    count: AtomicUsize,
}

impl std::fmt::Debug for Watches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} watches", self.count.load(Ordering::Relaxed))
    }
}

/// An answer that is due; given when nothing is locked any more.
type Due = (Answer, NtStatus, Vec<u8>);

fn give(due: Vec<Due>) {
    for (answer, status, records) in due {
        answer(status, records);
    }
}

impl Watches {
    fn lock(&self) -> MutexGuard<'_, Vec<Watch>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody watches.
    pub(crate) fn any(&self) -> bool {
        self.count.load(Ordering::Acquire) != 0
    }

    /// Asks what changed. What has happened since the last answer is the answer; else `wait` is asked once for somebody
    /// to give it to, and for how to be told of that question later.
    pub(crate) fn ask(
        &self,
        question: &Question<'_>,
        wait: impl FnOnce(usize) -> Result<Answer, NtStatus>,
    ) -> Result<Option<(NtStatus, Vec<u8>)>, NtStatus> {
        static NUMBERS: AtomicUsize = AtomicUsize::new(0);
        let mut watches = self.lock();
        let known = watches.iter().position(|watch| watch.file == question.file);
        let at = known.unwrap_or_else(|| {
            watches.push(Watch {
                file: question.file,
                directory: Arc::clone(question.directory),
                filter: question.filter,
                tree: question.tree,
                extended: question.extended,
                room: question.room,
                records: Records::default(),
                overflown: false,
                asking: VecDeque::new(),
            });
            self.count.fetch_add(1, Ordering::AcqRel);
            watches.len() - 1
        });
        let watch = &mut watches[at];
        let kept = std::mem::take(&mut watch.records).bytes;
        if std::mem::take(&mut watch.overflown) || kept.len() > question.room {
            return Ok(Some((NtStatus::NOTIFY_ENUM_DIR, Vec::new())));
        }
        if !kept.is_empty() {
            return Ok(Some((NtStatus::SUCCESS, kept)));
        }
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let answer = wait(number)?;
        watch.asking.push_back(Asking {
            number,
            room: question.room,
            answer,
        });
        Ok(None)
    }

    /// A question is not asked any more.
    pub(crate) fn cancel(&self, number: usize) {
        let mut due = Vec::new();
        for watch in self.lock().iter_mut() {
            let at = watch
                .asking
                .iter()
                .position(|asking| asking.number == number);
            if let Some(asking) = at.and_then(|at| watch.asking.remove(at)) {
                due.push((asking.answer, NtStatus::CANCELLED, Vec::new()));
            }
        }
        give(due);
    }

    /// The handle by which a directory was watched is closed.
    pub(crate) fn clean_up(&self, file: usize) {
        if !self.any() {
            return;
        }
        let mut watches = self.lock();
        let at = watches.iter().position(|watch| watch.file == file);
        let gone = at.map(|at| watches.swap_remove(at));
        drop(watches);
        let Some(watch) = gone else { return };
        self.count.fetch_sub(1, Ordering::AcqRel);
        let all = watch.asking.into_iter();
        give(
            all.map(|asking| (asking.answer, NtStatus::NOTIFY_CLEANUP, Vec::new()))
                .collect(),
        );
    }

    /// A directory is to be deleted: who waits for changes in it waits no longer.
    pub(crate) fn deleted(&self, directory: &OpenFile) {
        if !self.any() {
            return;
        }
        let mut due = Vec::new();
        for watch in self.lock().iter_mut() {
            if watch.directory.file_id() == directory.file_id() {
                let all = watch.asking.drain(..);
                due.extend(all.map(|asking| (asking.answer, NtStatus::DELETE_PENDING, Vec::new())));
            }
        }
        give(due);
    }

    /// Tells what happened, in order and at once.
    pub(crate) fn tell(&self, changes: &[Change<'_>]) {
        let mut due = Vec::new();
        for watch in self.lock().iter_mut() {
            let mut told = Records::default();
            for change in changes
                .iter()
                .filter(|change| watch.filter & change.filter != 0)
            {
                if let Some(name) = watch.name_of(change) {
                    told.push(&record(&name, change, watch.extended));
                }
            }
            if told.bytes.is_empty() {
                continue;
            }
            if let Some(asking) = watch.asking.pop_front() {
                due.push(if told.bytes.len() > asking.room {
                    (asking.answer, NtStatus::NOTIFY_ENUM_DIR, Vec::new())
                } else {
                    (asking.answer, NtStatus::SUCCESS, told.bytes)
                });
                continue;
            }
            watch.keep(&told.bytes);
        }
        give(due);
    }
}

impl Watch {
    /// The name of what a change happened to as this watch tells it; `None`: it happened elsewhere.
    fn name_of(&self, change: &Change<'_>) -> Option<String> {
        let place = self.directory.place();
        let directory: &[String] = place.as_ref().map_or(&[], |place| &place.components);
        let below = change.components.strip_prefix(directory)?;
        if below.is_empty() || (below.len() > 1 && !self.tree) {
            return None;
        }
        let mut name = below.join("\\");
        if let Some(stream) = &change.stream {
            name.push(':');
            name.push_str(stream);
        }
        Some(name)
    }

    /// Keeps records for the next question, if they find room.
    fn keep(&mut self, records: &[u8]) {
        let at = self.records.bytes.len().next_multiple_of(8);
        if self.overflown || at + records.len() > self.room {
            self.overflown = true;
            self.records = Records::default();
            return;
        }
        self.records.push(records);
        // The last of those that were put there together.
        while let Some(next) = self.records.bytes[self.records.last..].first_chunk() {
            match u32::from_le_bytes(*next) as usize {
                0 => break,
                next => self.records.last += next,
            }
        }
    }
}

/// `FILE_NOTIFY_INFORMATION`, or `FILE_NOTIFY_EXTENDED_INFORMATION`; the offset to the next one is left 0.
fn record(name: &str, change: &Change<'_>, extended: bool) -> Vec<u8> {
    let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let length = u32::try_from(units.len()).unwrap_or(0);
    let mut bytes = vec![0; 4];
    bytes.extend((change.action as u32).to_le_bytes());
    if extended {
        let about = &change.about;
        let quads = about.times.into_iter().chain([about.allocated, about.size]);
        bytes.extend(quads.flat_map(i64::to_le_bytes));
        bytes.extend(about.attributes.to_le_bytes());
        bytes.extend(about.tag.to_le_bytes());
        bytes.extend(about.id.to_le_bytes());
        bytes.extend(about.parent.to_le_bytes());
    }
    bytes.extend(length.to_le_bytes());
    bytes.extend(units);
    bytes
}

impl OpenFile {
    /// Tells those who watch that something happened to this file; `filter` and `action` are of its own data, those of a
    /// named stream follow from them.
    pub(crate) fn tell(&self, filter: u32, action: Action) {
        let watched = self.tree().is_some_and(|tree| tree.watches.any());
        if let Some(place) = self.place().filter(|_| watched) {
            self.tell_at(&place, filter, action);
        }
    }

    /// The same, of a name that it has, had or gets.
    pub(crate) fn tell_at(&self, place: &Place, filter: u32, action: Action) {
        if let Some(tree) = self.tree().filter(|tree| tree.watches.any()) {
            tree.watches.tell(&[self.change(place, filter, action)]);
        }
    }

    /// What happened to it, under a name.
    pub(crate) fn change<'a>(&self, place: &'a Place, filter: u32, action: Action) -> Change<'a> {
        let stat = self.stat();
        let about = stat.map(|stat| {
            let known = self.tree().zip(self.file_id());
            let created = known.and_then(|(tree, id)| tree.created(id));
            About::new(&stat, created, self.attributes_of(&stat), &place.parent)
        });
        Change {
            components: &place.components,
            stream: self.stream_name(),
            filter,
            action,
            about: About {
                tag: self.reparse_tag(),
                ..about.unwrap_or_default()
            },
        }
    }

    /// Its name's kind, for those who watch the names of files, of directories or of streams alone.
    pub(crate) fn name_kind(&self) -> u32 {
        match (&self.stream, self.is_directory()) {
            (Some(_), _) => CHANGE_STREAM_NAME,
            (None, true) => CHANGE_DIR_NAME,
            (None, false) => CHANGE_FILE_NAME,
        }
    }

    /// Its data or length changed.
    pub(crate) fn tell_written(&self, resized: bool) {
        let (filter, action) = if self.stream.is_some() {
            let size = if resized { CHANGE_STREAM_SIZE } else { 0 };
            (CHANGE_STREAM_WRITE | size, Action::ModifiedStream)
        } else {
            let size = if resized { CHANGE_SIZE } else { 0 };
            (CHANGE_LAST_WRITE | size, Action::Modified)
        };
        self.tell(filter, action);
    }
}
