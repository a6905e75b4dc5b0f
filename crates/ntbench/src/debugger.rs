//! Tells a debugger of this process where a driver lies and what its functions are called.
//!
//! By GDB's JIT interface ("JIT Compilation Interface" in GDB's manual), which LLDB reads as well: a list of symbol files in memory, and a
//! function that is called whenever it changes, where the debugger has a breakpoint of its own. So a breakpoint that waits for a
//! driver's function is set before `DriverEntry` runs. The symbol files are ELF with a table of names, made of the driver's .pdb;
//! they say nothing of source lines and of frames.

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
    let file: &'static [u8] = symbol_file(image, &symbols.all(image)).leak();
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

const HEADER: u64 = 64;
const SECTIONS: u16 = 5;
const SECTION_NAMES: &[u8] = b"\0.text\0.symtab\0.strtab\0.shstrtab\0";

/// An ELF file that holds names alone: its only code section is where the image is, and holds nothing itself.
fn symbol_file(image: &Image, symbols: &[(u32, String)]) -> Vec<u8> {
    let mut names = vec![0_u8];
    let mut table = vec![0_u8; 24];
    for (rva, name) in symbols {
        let at = u32::try_from(names.len()).unwrap_or(0);
        names.extend(name.bytes().filter(|byte| *byte != 0));
        names.push(0);
        // STB_GLOBAL and STT_FUNC or STT_OBJECT, in section 1.
        let kind = if image.is_code(*rva) { 0x12 } else { 0x11 };
        table.extend(at.to_le_bytes());
        table.extend([kind, 0, 1, 0]);
        table.extend((image.base as u64 + u64::from(*rva)).to_le_bytes());
        table.extend(0_u64.to_le_bytes());
    }
    let (table_at, names_at) = (HEADER, HEADER + table.len() as u64);
    let section_names_at = names_at + names.len() as u64;
    let headers_at = (section_names_at + SECTION_NAMES.len() as u64).next_multiple_of(8);

    let mut file = Vec::new();
    file.extend(*b"\x7FELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    // ET_EXEC, EM_X86_64, version 1.
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    for word in [image.entry as u64, 0, headers_at] {
        file.extend(word.to_le_bytes());
    }
    file.extend(0_u32.to_le_bytes());
    for half in [64, 56, 0, 64, SECTIONS, SECTIONS - 1] {
        file.extend(half.to_le_bytes());
    }
    file.extend(&table);
    file.extend(&names);
    file.extend(SECTION_NAMES);
    file.resize(usize::try_from(headers_at).unwrap_or(0), 0);
    // Name, type, flags, address, offset, size, link, info, alignment, size of an entry.
    let mut section = |name: u32, kind: u32, rest: [u64; 4], link: [u32; 2], last: [u64; 2]| {
        file.extend([name, kind].into_iter().flat_map(u32::to_le_bytes));
        file.extend(rest.into_iter().flat_map(u64::to_le_bytes));
        file.extend(link.into_iter().flat_map(u32::to_le_bytes));
        file.extend(last.into_iter().flat_map(u64::to_le_bytes));
    };
    let (base, size) = (image.base as u64, image.size as u64);
    section(0, 0, [0; 4], [0; 2], [0; 2]);
    section(1, 8, [6, base, 0, size], [0; 2], [4096, 0]);
    section(7, 2, [0, 0, table_at, table.len() as u64], [3, 1], [8, 24]);
    section(15, 3, [0, 0, names_at, names.len() as u64], [0; 2], [1, 0]);
    let length = SECTION_NAMES.len() as u64;
    section(23, 3, [0, 0, section_names_at, length], [0; 2], [1, 0]);
    file
}

#[cfg(test)]
mod tests {
    use object::{Object as _, ObjectSymbol as _};

    use super::*;

    #[test]
    fn another_reader_finds_the_names_where_they_lie() {
        let image = Image::of(&[0; 0x3000], 0x1234_5000, (0, 0));
        let symbols = [(0x1000, "a::b".to_owned()), (0x2010, "c".to_owned())];
        let file = symbol_file(&image, &symbols);
        let read = object::File::parse(&*file).expect("an ELF file");
        let found: Vec<_> = read
            .symbols()
            .map(|symbol| (symbol.address(), symbol.name().expect("a name").to_owned()))
            .collect();
        assert_eq!(
            found,
            [
                (0x1234_6000, "a::b".to_owned()),
                (0x1234_7010, "c".to_owned())
            ]
        );
    }
}
