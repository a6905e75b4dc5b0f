//! The pages of user space.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use super::owners;
use crate::cpu::memory::PAGE;

/// Where the arena begins: an address that looks like a Windows program's heap.
pub(super) const BASE: usize = 0x200_0000_0000;
/// How many pages it has: 1 GB, of which only what is touched costs memory.
pub(super) const PAGES: usize = 1 << 18;

/// What a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    /// Not there.
    Absent = 0,
    /// May be read.
    ReadOnly = 1,
    /// May be read and written.
    ReadWrite = 2,
}

impl State {
    /// The one that this number stands for.
    pub(super) const fn of(number: u8) -> Self {
        match number {
            1 => Self::ReadOnly,
            2 => Self::ReadWrite,
            _ => Self::Absent,
        }
    }
}

static STATES: [AtomicU8; PAGES] = [const { AtomicU8::new(0) }; PAGES];

/// Runs of pages: first page and number, in order.
type Runs = Vec<(usize, usize)>;

/// The machine's physical memory behind the arena: a file, so that a page can have a system address too.
static MEMORY: LazyLock<io::Result<OwnedFd>> = LazyLock::new(|| {
    let name = "ntbench-user";
    let memory = rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)?;
    rustix::fs::ftruncate(&memory, (PAGES * PAGE) as u64)?;
    Ok(memory)
});

fn memory() -> io::Result<&'static OwnedFd> {
    MEMORY
        .as_ref()
        .map_err(|error| io::Error::new(error.kind(), "there is no memory for user space"))
}

/// What is free.
static FREE: LazyLock<io::Result<Mutex<Runs>>> = LazyLock::new(|| {
    let flags = libc::MAP_SHARED | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
    let base = std::ptr::with_exposed_provenance_mut(BASE);
    let fd = memory()?.as_raw_fd();
    // SAFETY: MAP_FIXED_NOREPLACE takes the range only if nobody has it.
    let got = unsafe { libc::mmap(base, PAGES * PAGE, libc::PROT_NONE, flags, fd, 0) };
    if got == base {
        Ok(Mutex::new(vec![(0, PAGES)]))
    } else {
        Err(io::Error::last_os_error())
    }
});

/// A second address of a program's pages, in system space: it stays while the program's own goes.
#[derive(Debug)]
pub(crate) struct Alias {
    base: usize,
    length: usize,
    offset: usize,
}

impl Alias {
    /// Maps the pages that hold `length` bytes from a user address on.
    pub(crate) fn new(address: usize, length: usize) -> io::Result<Self> {
        let first = address & !(PAGE - 1);
        let end = (address + length).next_multiple_of(PAGE);
        if first < BASE || end > BASE + PAGES * PAGE {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let bits = libc::PROT_READ | libc::PROT_WRITE;
        let fd = memory()?.as_raw_fd();
        let at = libc::off_t::try_from(first - BASE).map_err(io::Error::other)?;
        let null = std::ptr::null_mut();
        // SAFETY: a new mapping, wherever there is room.
        let got = unsafe { libc::mmap(null, end - first, bits, libc::MAP_SHARED, fd, at) };
        if got == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            base: got.expose_provenance(),
            length: end - first,
            offset: address - first,
        })
    }

    /// The system address of the first byte.
    pub(crate) fn address(&self) -> usize {
        self.base + self.offset
    }
}

impl Drop for Alias {
    fn drop(&mut self) {
        let base = std::ptr::with_exposed_provenance_mut(self.base);
        // SAFETY: the mapping is this value's own.
        unsafe { libc::munmap(base, self.length) };
    }
}

/// Whether every page of a range is in that state.
pub(super) fn all(address: usize, length: usize, state: State) -> bool {
    every(address, length, |page| page == state as u8)
}

/// Whether every page of a range is there.
pub(super) fn there(address: usize, length: usize) -> bool {
    every(address, length, |page| page != State::Absent as u8)
}

fn every(address: usize, length: usize, is: impl Fn(u8) -> bool) -> bool {
    let inside = |address: usize| (BASE..BASE + PAGES * PAGE).contains(&address);
    if !inside(address) || !inside(address + length - 1) {
        return false;
    }
    let (first, last) = (
        (address - BASE) / PAGE,
        (address + length - 1 - BASE) / PAGE,
    );
    STATES[first..=last]
        .iter()
        .all(|page| is(page.load(Ordering::Acquire)))
}

/// Pages of a program, with one behind them that is never there. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Pages {
    first: usize,
    count: usize,
}

impl Pages {
    /// Fresh zeroed pages that may be read and written, of the process that the current thread is in.
    pub(crate) fn new(count: usize) -> io::Result<Self> {
        Self::of(super::current(), count)
    }

    /// The same, of that process; 0: of all.
    pub(crate) fn of(pid: u64, count: usize) -> io::Result<Self> {
        let free = FREE
            .as_ref()
            .map_err(|error| io::Error::new(error.kind(), "user space could not be mapped"))?;
        let mut free = free.lock().unwrap_or_else(PoisonError::into_inner);
        let index = free
            .iter()
            .position(|(_, room)| *room > count)
            .ok_or(io::ErrorKind::OutOfMemory)?;
        let (first, room) = free[index];
        if room == count + 1 {
            free.remove(index);
        } else {
            free[index] = (first + count + 1, room - count - 1);
        }
        drop(free);
        let pages = Self { first, count };
        owners::own(first, count, pid);
        pages.set(0, count, State::ReadWrite)?;
        Ok(pages)
    }

    /// The lowest address.
    pub(crate) fn base(&self) -> usize {
        BASE + self.first * PAGE
    }

    /// How many bytes.
    pub(crate) fn length(&self) -> usize {
        self.count * PAGE
    }

    /// Changes `count` pages from the `from`-th on.
    pub(crate) fn set(&self, from: usize, count: usize, state: State) -> io::Result<()> {
        self.protect(from, count, state)?;
        for page in &STATES[self.first + from..self.first + from + count] {
            page.store(state as u8, Ordering::Release);
        }
        Ok(())
    }

    /// As [`set`](Self::set), behind the back of the probes: what happens between a probe and a touch.
    pub(crate) fn protect(&self, from: usize, count: usize, state: State) -> io::Result<()> {
        assert!(from + count <= self.count, "pages of another buffer");
        protect(self.base() + from * PAGE, count * PAGE, state)
    }

    /// Shows a file of the host in the pages, from an offset of it on: a view of a section.
    pub(crate) fn cover(&self, file: &OwnedFd, offset: u64, write: bool) -> io::Result<()> {
        let state = if write {
            State::ReadWrite
        } else {
            State::ReadOnly
        };
        let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
        let bits = bits(state);
        let flags = libc::MAP_SHARED | libc::MAP_FIXED;
        let base = std::ptr::with_exposed_provenance_mut(self.base());
        // SAFETY: the pages are this buffer's, and hold nothing that anybody refers to yet.
        let got = unsafe { libc::mmap(base, self.length(), bits, flags, file.as_raw_fd(), offset) };
        if got != base {
            return Err(io::Error::last_os_error());
        }
        self.set(0, self.count, state)
    }

    /// Shows the arena's own memory in them again.
    pub(crate) fn uncover(&self) -> io::Result<()> {
        let offset = libc::off_t::try_from(self.first * PAGE).map_err(io::Error::other)?;
        let flags = libc::MAP_SHARED | libc::MAP_NORESERVE | libc::MAP_FIXED;
        let base = std::ptr::with_exposed_provenance_mut(self.base());
        let fd = memory()?.as_raw_fd();
        // SAFETY: the pages are this buffer's; what was shown in them goes, as its owner wants.
        let got = unsafe { libc::mmap(base, self.length(), libc::PROT_NONE, flags, fd, offset) };
        if got == base {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Puts bytes at an offset, whatever the page's state was before, and leaves the page readable and writable.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(
            offset + bytes.len() <= self.length(),
            "bytes outside the buffer"
        );
        let to: *mut u8 = std::ptr::with_exposed_provenance_mut(self.base() + offset);
        // SAFETY: the range is this buffer's (asserted), and `new` made it writable.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    }

    /// The bytes at an offset. The pages must be readable.
    pub(crate) fn read(&self, offset: usize, length: usize) -> Vec<u8> {
        assert!(offset + length <= self.length(), "bytes outside the buffer");
        let mut bytes = vec![0; length];
        let from: *const u8 = std::ptr::with_exposed_provenance(self.base() + offset);
        // SAFETY: the range is this buffer's (asserted) and readable, which the caller sees to.
        unsafe { std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), length) };
        bytes
    }
}

fn bits(state: State) -> libc::c_int {
    match state {
        State::Absent => libc::PROT_NONE,
        State::ReadOnly => libc::PROT_READ,
        State::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
    }
}

/// Changes pages of the arena. Safe in a signal handler.
pub(super) fn protect(address: usize, length: usize, state: State) -> io::Result<()> {
    owners::show(address, length, state);
    access(address, length, state)
}

/// As [`protect`], whatever their owner may do with them.
pub(super) fn access(address: usize, length: usize, state: State) -> io::Result<()> {
    let bits = bits(state);
    // SAFETY: callers name pages of the arena alone, which holds nothing of the host's.
    if unsafe { libc::mprotect(std::ptr::with_exposed_provenance_mut(address), length, bits) } != 0
    {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

impl Drop for Pages {
    fn drop(&mut self) {
        let base = std::ptr::with_exposed_provenance_mut(self.base());
        owners::disown(self.first, self.count);
        // SAFETY: the pages are this buffer's; their contents are forgotten.
        unsafe { libc::madvise(base, self.length(), libc::MADV_REMOVE) };
        if self.set(0, self.count, State::Absent).is_err() {
            // Never to be handed out again, then.
            return;
        }
        let Ok(free) = FREE.as_ref() else { return };
        let mut free = free.lock().unwrap_or_else(PoisonError::into_inner);
        let index = free.partition_point(|(first, _)| *first < self.first);
        free.insert(index, (self.first, self.count + 1));
        // Neighbours become one.
        for index in [index, index.wrapping_sub(1)] {
            if let Some(&[(first, count), (next, more)]) =
                free.get(index..).and_then(|rest| rest.first_chunk())
                && first + count == next
            {
                free[index] = (first, count + more);
                free.remove(index + 1);
            }
        }
    }
}
