//! Tells a debugger of this process where a driver lies and what its functions are called.
//!
//! By GDB's JIT interface ("JIT Compilation Interface" in GDB's manual), which LLDB reads as well: a list of symbol files in memory, and a
//! function that is called whenever it changes, where the debugger has a breakpoint of its own. So a breakpoint that waits for a
//! driver's function is set before `DriverEntry` runs. The symbol files are ELF with a table of names and DWARF: source lines, from the
//! driver's .pdb ([`lines`]), and how its frames are walked, from its exception directory ([`frames`]).

mod elf;
mod frames;
mod lines;

use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::loader::Image;
use crate::symbols::Symbols;

#[repr(C)]
struct Entry {
    next: AtomicPtr<Entry>,
    previous: AtomicPtr<Entry>,
    file: *const u8,
    length: u64,
}

#[repr(C)]
struct Descriptor {
    version: u32,
    action: AtomicU32,
    relevant: AtomicPtr<Entry>,
    first: AtomicPtr<Entry>,
}

const REGISTER: u32 = 1;

/// The list, by the name under which debuggers look for it.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "the name is the interface's")]
static __jit_debug_descriptor: Descriptor = Descriptor {
    version: 1,
    action: AtomicU32::new(0),
    relevant: AtomicPtr::new(std::ptr::null_mut()),
    first: AtomicPtr::new(std::ptr::null_mut()),
};

/// Where debuggers stop to read the list again.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn __jit_debug_register_code() {
    // Something that is not optimised away.
    std::hint::black_box(&__jit_debug_descriptor);
}

static WANTED: AtomicBool = AtomicBool::new(false);
static LIST: Mutex<()> = Mutex::new(());

/// Whether drivers are announced at all: reading all symbols costs time.
pub(crate) fn configure(wanted: bool) {
    WANTED.store(wanted, Ordering::Relaxed);
}

/// Announces a driver that is mapped and has not run yet. What is announced stays so: a driver's addresses are never used again.
pub(crate) fn announce(image: &Image, symbols: &Symbols) {
    if !WANTED.load(Ordering::Relaxed) {
        return;
    }
    let file = elf::symbol_file(image, &symbols.all(image), &sections(image));
    let file: &'static [u8] = file.leak();
    let _guard = LIST.lock().unwrap_or_else(PoisonError::into_inner);
    let list = &__jit_debug_descriptor;
    let next = list.first.load(Ordering::Acquire);
    let entry: &'static Entry = Box::leak(Box::new(Entry {
        next: AtomicPtr::new(next),
        previous: AtomicPtr::new(std::ptr::null_mut()),
        file: file.as_ptr(),
        length: file.len() as u64,
    }));
    let entry = std::ptr::from_ref(entry).cast_mut();
    // SAFETY: entries are leaked, so that every one in the list is there for ever; none is ever borrowed mutably.
    if let Some(next) = unsafe { next.as_ref() } {
        next.previous.store(entry, Ordering::Release);
    }
    list.first.store(entry, Ordering::Release);
    list.relevant.store(entry, Ordering::Release);
    list.action.store(REGISTER, Ordering::Release);
    __jit_debug_register_code();
}

/// The DWARF sections that there is something to say in, by their names. What cannot be made is left out: a debugger is a help.
fn sections(image: &Image) -> Vec<(&'static str, Vec<u8>)> {
    let mut sections = lines::sections(image).unwrap_or_default();
    sections.extend(frames::section(image));
    sections
}
