//! Buffers of a simulated program, honest and otherwise.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::cpu::memory::PAGE;
use crate::user::{Pages, State, Trap, UserBuffer};
use crate::wire::BufferKind;

/// What a heap aligns to.
const HEAP: usize = 16;
/// More than this is never really there, whatever the program says.
const MOST: usize = 64 << 20;

/// A buffer for the time of one call.
pub(super) struct Buffer {
    shown: UserBuffer,
    /// How many bytes there are, and where in the pages.
    backed: usize,
    offset: usize,
    /// In this order: whatever disturbs the pages ends before they do.
    _trap: Option<Trap>,
    _racer: Option<Racer>,
    pages: Option<Arc<Pages>>,
}

impl Buffer {
    /// A buffer of `backed` bytes that begins with `bytes` and that the program says is `length` long.
    pub(super) fn new(
        kind: BufferKind,
        bytes: &[u8],
        backed: usize,
        length: u32,
    ) -> io::Result<Self> {
        let nowhere = |address: u64| Self {
            shown: UserBuffer { address, length },
            backed: 0,
            offset: 0,
            _trap: None,
            _racer: None,
            pages: None,
        };
        let backed = backed.max(bytes.len()).min(MOST);
        match kind {
            BufferKind::Null => return Ok(nowhere(0)),
            BufferKind::At(address) => return Ok(nowhere(address)),
            _ => {}
        }
        let (count, offset) = place(kind, backed);
        let pages = Arc::new(Pages::new(count)?);
        pages.write(offset, bytes);
        let (mut trap, mut racer) = (None, None);
        match kind {
            BufferKind::ReadOnly => pages.set(0, count, State::ReadOnly)?,
            BufferKind::CutAt {
                offset: cut,
                probed,
            } => {
                let from = (offset + cut as usize) / PAGE;
                if from < count && probed {
                    pages.protect(from, count - from, State::Absent)?;
                } else if from < count {
                    pages.set(from, count - from, State::Absent)?;
                }
            }
            BufferKind::GoneAtTouch(nth) => trap = Some(Trap::set(&pages, nth)?),
            BufferKind::Racing => racer = Some(Racer::start(&pages)?),
            _ => {}
        }
        Ok(Self {
            shown: UserBuffer {
                address: (pages.base() + offset) as u64,
                length,
            },
            backed,
            offset,
            _trap: trap,
            _racer: racer,
            pages: Some(pages),
        })
    }

    /// What the program shows.
    pub(super) fn shown(&self) -> UserBuffer {
        self.shown
    }

    /// The first `length` bytes, or as many as there are.
    pub(super) fn take(self, length: u32) -> Vec<u8> {
        let Some(pages) = self.pages.clone() else {
            return Vec::new();
        };
        let (backed, offset) = (self.backed, self.offset);
        drop(self);
        if pages
            .set(0, pages.length() / PAGE, State::ReadWrite)
            .is_err()
        {
            return Vec::new();
        }
        pages.read(
            offset,
            backed.min(usize::try_from(length).unwrap_or(usize::MAX)),
        )
    }
}

/// How many pages, and where in them the buffer begins.
fn place(kind: BufferKind, backed: usize) -> (usize, usize) {
    let whole = backed.max(1);
    match kind {
        BufferKind::Misaligned(by) => ((whole + by as usize).div_ceil(PAGE), by as usize),
        // The cut falls between two pages.
        BufferKind::CutAt { offset, .. } => {
            let offset = offset as usize;
            let start = offset.next_multiple_of(PAGE) - offset;
            (
                (start + whole)
                    .div_ceil(PAGE)
                    .max((start + offset) / PAGE)
                    .max(1),
                start,
            )
        }
        _ => {
            let whole = whole.next_multiple_of(HEAP);
            let count = whole.div_ceil(PAGE);
            (count, count * PAGE - whole)
        }
    }
}

/// A thread that takes pages away and gives them back until it is dropped.
pub(super) struct Racer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Between two changes: enough for a few thousand instructions of the driver.
const BEAT: Duration = Duration::from_micros(20);

impl Racer {
    pub(super) fn start(pages: &Arc<Pages>) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, pages) = (Arc::clone(&stop), Arc::clone(pages));
        let thread = std::thread::Builder::new()
            .name("racer".to_owned())
            .spawn(move || {
                let count = pages.length() / PAGE;
                let mut present = true;
                while !stopped.load(Ordering::Acquire) {
                    present = !present;
                    let state = if present {
                        State::ReadWrite
                    } else {
                        State::Absent
                    };
                    let _ = pages.protect(0, count, state);
                    std::thread::sleep(BEAT);
                }
                let _ = pages.protect(0, count, State::ReadWrite);
            })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // It does nothing that could panic; were it otherwise, the machine would have ended.
            let _ = thread.join();
        }
    }
}
