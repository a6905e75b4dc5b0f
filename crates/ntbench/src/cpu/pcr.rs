//! The processor control region behind GS, one for each simulated thread, and the bench's own block beyond it.
//!
//! Drivers reach the KPCR through `gs:` (`gs:[0x188]` is the current thread). The bench keeps what its gates need in
//! the same segment, far above anything that Windows's headers name, because that is the one place that code running
//! on a foreign stack can find without a register to spare.

use std::cell::Cell;
use std::io;
use std::sync::{Mutex, PoisonError};

use super::memory::{Mapping, read_word};
use crate::gate::Import;

/// The KPRCB's place in the KPCR, as public debugger output shows it.
const PRCB: usize = 0x180;
/// Where the bench's own block begins: above the 0xC000-odd bytes of KPCR and KPRCB.
pub(crate) const BLOCK: usize = 0x1_0000;
const BYTES: usize = BLOCK + 0x1000;

/// What the gates need to know, at fixed offsets from GS.
#[repr(C)]
pub(crate) struct Block {
    /// The host's stack pointer while a driver runs.
    pub(crate) host_rsp: Cell<usize>,
    /// Child-SP of the newest frame on the kernel stack while the host runs.
    pub(crate) kernel_sp: Cell<usize>,
    /// The driver's RSP at entry to the import that runs now: the return address lies there. 0: none.
    pub(crate) import_sp: Cell<usize>,
    /// The driver's RBP then, which may be its frame register.
    pub(crate) import_rbp: Cell<usize>,
    /// That import's descriptor.
    pub(crate) import: Cell<usize>,
    /// Not 0 while the driver's code runs, on a stack of its choosing.
    pub(crate) in_driver: Cell<usize>,
    /// Not 0 when the import that runs now has raised an exception.
    pub(crate) raised: Cell<usize>,
    /// The lowest stack pointer of a frame that was charged, or of a callback that is over.
    pub(crate) lowest: Cell<usize>,
    /// The lowest stack pointer that the driver called an import with.
    pub(crate) own_lowest: Cell<usize>,
    /// What that call returns to, or what else is known of it: see `stack::usage`.
    pub(crate) deepest: Cell<usize>,
    /// The current segment's lowest usable address.
    pub(crate) low: Cell<usize>,
    /// One past its highest.
    pub(crate) high: Cell<usize>,
    /// The lowest address of its guard.
    pub(crate) guard: Cell<usize>,
    /// Where a pattern tells how far the current callback has written: see `stack::usage`.
    pub(crate) painted: Cell<(usize, usize)>,
    /// The most bytes that one of its callouts had.
    pub(crate) elsewhere: Cell<u64>,
}

// What `gdb/ntbench.gdb` walks by: change it there, too.
const _: () = {
    use std::mem::offset_of;
    assert!(BLOCK + offset_of!(Block, host_rsp) == 0x1_0000);
    assert!(BLOCK + offset_of!(Block, low) == 0x1_0050);
};

/// Offsets of [`Block`]'s fields from GS, for assembly.
pub(crate) mod offset {
    use super::{BLOCK, Block};
    use std::mem::offset_of;

    pub(crate) const HOST_RSP: usize = BLOCK + offset_of!(Block, host_rsp);
    pub(crate) const KERNEL_SP: usize = BLOCK + offset_of!(Block, kernel_sp);
    pub(crate) const IMPORT_SP: usize = BLOCK + offset_of!(Block, import_sp);
    pub(crate) const IMPORT: usize = BLOCK + offset_of!(Block, import);
    pub(crate) const IMPORT_RBP: usize = BLOCK + offset_of!(Block, import_rbp);
    pub(crate) const IN_DRIVER: usize = BLOCK + offset_of!(Block, in_driver);
    pub(crate) const RAISED: usize = BLOCK + offset_of!(Block, raised);
    pub(crate) const OWN_LOWEST: usize = BLOCK + offset_of!(Block, own_lowest);
    pub(crate) const DEEPEST: usize = BLOCK + offset_of!(Block, deepest);
}

/// Each simulated thread's object, and where its region is.
static REGIONS: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

thread_local! {
    static CURRENT: Cell<Option<&'static Block>> = const { Cell::new(None) };
}

/// The current thread's block.
///
/// # Panics
/// On a host thread that is no simulated one.
#[inline]
pub(crate) fn block() -> &'static Block {
    try_block().expect("this host thread has no kernel stack")
}

/// The current thread's block, if it is a simulated one.
#[inline]
pub(crate) fn try_block() -> Option<&'static Block> {
    CURRENT.get()
}

/// Where the current thread's control region is.
pub(crate) fn region() -> Option<usize> {
    try_block().map(|block| std::ptr::from_ref(block).addr() - BLOCK)
}

/// What another thread's block says, while that thread may change it.
pub(crate) struct Seen {
    /// Child-SP of its newest frame as of its last import.
    pub(crate) kernel_sp: usize,
    /// Its current segment.
    pub(crate) low: usize,
    /// One past its highest address.
    pub(crate) high: usize,
}

/// Looks at the block of the thread with that object.
pub(crate) fn seen_from_afar(thread_object: usize) -> Option<Seen> {
    let regions = REGIONS.lock().unwrap_or_else(PoisonError::into_inner);
    let (_, base) = *regions
        .iter()
        .find(|(object, _)| *object == thread_object)?;
    let word = |field: usize| read_word(base + BLOCK + field);
    Some(Seen {
        kernel_sp: word(std::mem::offset_of!(Block, kernel_sp))?,
        low: word(std::mem::offset_of!(Block, low))?,
        high: word(std::mem::offset_of!(Block, high))?,
    })
}

impl Block {
    /// The import that the host is in.
    #[inline]
    pub(crate) fn import(&self) -> Import {
        Import {
            sp: self.import_sp.get(),
            rbp: self.import_rbp.get(),
            descriptor: self.import.get(),
        }
    }
}

/// Gives this host thread a KPCR whose current thread is `thread_object`. It lives as long as the process.
pub(crate) fn install(thread_object: usize) -> io::Result<()> {
    let mapping = Mapping::read_write(BYTES)?;
    let base = mapping.base();
    mapping.leak();
    let write = |offset: usize, value: usize| {
        let slot = std::ptr::with_exposed_provenance_mut::<usize>(base + offset);
        // SAFETY: the offset lies in the mapping just made, which nobody else knows yet.
        unsafe { slot.write(value) };
    };
    write(0x18, base); // KPCR.Self
    write(0x20, base + PRCB); // KPCR.CurrentPrcb
    write(PRCB + 8, thread_object); // KPRCB.CurrentThread
    write(PRCB + 24, thread_object); // KPRCB.IdleThread: never null
    write(BLOCK + std::mem::offset_of!(Block, lowest), usize::MAX);
    write(BLOCK + std::mem::offset_of!(Block, own_lowest), usize::MAX);
    const ARCH_SET_GS: libc::c_int = 0x1001;
    // SAFETY: Linux programs do not use GS; the region it now points at is mapped for ever.
    if unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_SET_GS, base) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let block = std::ptr::with_exposed_provenance::<Block>(base + BLOCK);
    // SAFETY: the block lies in the leaked mapping, zeroed, aligned, and only this thread uses it.
    CURRENT.set(Some(unsafe { &*block }));
    REGIONS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push((thread_object, base));
    Ok(())
}
