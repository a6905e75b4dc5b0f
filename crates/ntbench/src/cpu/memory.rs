//! Pages of the host's address space.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// A page's size, the same on both systems.
pub(crate) const PAGE: usize = 0x1000;

/// Pages owned; unmapped when dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: usize,
    length: usize,
    retired: AtomicBool,
}

/// What may be done with pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// May be written.
    pub(crate) write: bool,
    /// May be run.
    pub(crate) execute: bool,
    /// May be read at all.
    pub(crate) read: bool,
}

impl Access {
    /// Nothing.
    pub(crate) const NONE: Self = Self {
        read: false,
        write: false,
        execute: false,
    };
    /// Data.
    pub(crate) const READ_WRITE: Self = Self {
        read: true,
        write: true,
        execute: false,
    };
    /// Code.
    pub(crate) const READ_EXECUTE: Self = Self {
        read: true,
        write: false,
        execute: true,
    };

    fn bits(self) -> libc::c_int {
        let bit = |on: bool, bit: libc::c_int| if on { bit } else { libc::PROT_NONE };
        bit(self.read, libc::PROT_READ)
            | bit(self.write, libc::PROT_WRITE)
            | bit(self.execute, libc::PROT_EXEC)
    }
}

impl Mapping {
    /// Fresh zeroed pages that may be read and written.
    pub(crate) fn read_write(length: usize) -> io::Result<Self> {
        Self::new(length, Access::READ_WRITE)
    }

    /// The same at that address, a page's first; an error where something is there already.
    pub(crate) fn read_write_at(base: usize, length: usize) -> io::Result<Self> {
        Self::map(base, length, Access::READ_WRITE, libc::MAP_FIXED_NOREPLACE)
    }

    /// Address space that nobody may touch.
    pub(crate) fn reserve(length: usize) -> io::Result<Self> {
        Self::new(length, Access::NONE)
    }

    fn new(length: usize, access: Access) -> io::Result<Self> {
        Self::map(0, length, access, 0)
    }

    fn map(at: usize, length: usize, access: Access, how: libc::c_int) -> io::Result<Self> {
        let length = length.next_multiple_of(PAGE);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | how;
        let at = std::ptr::with_exposed_provenance_mut(at);
        // SAFETY: a fresh anonymous mapping, at an address of the kernel's choosing or where nothing is, disturbs nobody.
        let base = unsafe { libc::mmap(at, length, access.bits(), flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            base: base.expose_provenance(),
            length,
            retired: AtomicBool::new(false),
        })
    }

    /// The lowest address.
    pub(crate) fn base(&self) -> usize {
        self.base
    }

    /// One past the highest.
    pub(crate) fn end(&self) -> usize {
        self.base + self.length
    }

    /// Changes what may be done with the pages of `[start, end)`, which must lie in this mapping.
    pub(crate) fn protect(&self, start: usize, end: usize, access: Access) -> io::Result<()> {
        assert!(
            self.base <= start && start <= end && end <= self.end(),
            "pages of another mapping"
        );
        protect(start, end, access)
    }

    /// Takes the pages of `[start, end)`, which must lie in this mapping, and what is in them, away until they are protected anew.
    pub(crate) fn discard(&self, start: usize, end: usize) -> io::Result<()> {
        self.protect(start, end, Access::NONE)?;
        let pointer = std::ptr::with_exposed_provenance_mut(start);
        // SAFETY: the pages are this mapping's (asserted above), nobody may touch them, and anonymous ones read as zeroes afterwards.
        if unsafe { libc::madvise(pointer, end - start, libc::MADV_DONTNEED) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Gives the memory back and keeps the addresses, which fault from now on and are never given to anything else.
    pub(crate) fn retire(&self) {
        let base = std::ptr::with_exposed_provenance_mut(self.base);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
        // SAFETY: replaces pages that are ours alone with empty ones that nobody may touch.
        let fresh = unsafe { libc::mmap(base, self.length, libc::PROT_NONE, flags, -1, 0) };
        // Where even that fails the memory stays what it was, and only the strictness is lost.
        self.retired.store(fresh == base, Ordering::Release);
    }

    /// Never unmaps: for what lives as long as the process.
    pub(crate) fn leak(self) {
        std::mem::forget(self);
    }
}

/// Changes what may be done with the pages of `[start, end)`, which belong to a [`Mapping`]. Safe in a signal handler.
pub(crate) fn protect(start: usize, end: usize, access: Access) -> io::Result<()> {
    let start = start & !(PAGE - 1);
    let length = end.next_multiple_of(PAGE) - start;
    let pointer = std::ptr::with_exposed_provenance_mut(start);
    // SAFETY: the pages are the bench's to change, by the caller's word; whoever touches them wrongly faults.
    if unsafe { libc::mprotect(pointer, length, access.bits()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.retired.load(Ordering::Acquire) {
            return;
        }
        // SAFETY: the mapping is ours, and whoever drops it says that no pointer into it is left.
        unsafe {
            libc::munmap(
                std::ptr::with_exposed_provenance_mut(self.base),
                self.length,
            )
        };
    }
}

/// Reads memory that may not be there, as a debugger would: through the kernel, which answers instead of faulting.
pub(crate) fn read_checked(address: usize, buffer: &mut [u8]) -> bool {
    let local = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let remote = libc::iovec {
        iov_base: std::ptr::with_exposed_provenance_mut(address),
        iov_len: buffer.len(),
    };
    let own = std::process::id().cast_signed();
    // SAFETY: the local vector describes `buffer`; the remote one is checked by the kernel.
    let read = unsafe { libc::process_vm_readv(own, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(read) == Ok(buffer.len())
}

/// [`read_checked`] of one pointer-sized word.
pub(crate) fn read_word(address: usize) -> Option<usize> {
    let mut word = [0; 8];
    read_checked(address, &mut word).then(|| usize::from_le_bytes(word))
}
