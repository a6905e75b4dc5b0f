//! Reads 64-bit Windows kernel crash dumps as far as a stack overflow asks for: which thread stopped the machine, which
//! segments its kernel stack has, whose frames lie on them, and what the Headroom driver had recorded until then.
//!
//! The file's formats and the page tables are the `kdmp-parser` crate's work. What is found by itself here needs no
//! symbols of the kernel: offsets come from the debugger's data block in the dump and from the code of exported functions
//! in it (`kernel`), frames from the unwind data of the images in it (`stack`), names from .pdb files where there are
//! some, else from export directories (`symbols`).
//!
//! A dump is somebody else's file and may be damaged: every length is checked against the file before anything is made
//! from it (`preflight`), every walk has a bound, and what cannot be read is told as a note and left out.
#![forbid(unsafe_code)]

mod bytes;
mod driver;
mod error;
mod kernel;
mod memory;
mod module;
mod preflight;
mod sentence;
mod stack;
mod symbols;
mod unwind;

use std::path::{Path, PathBuf};

pub use driver::Driver;
pub use error::{Error, Foreign};
pub use kernel::{BugCheck, Thread};
pub use memory::Dump;
pub use module::Module;
pub use stack::{Frame, How, Segment};

/// What a dump tells.
#[derive(Debug)]
pub struct Analysis {
    /// The kind of dump, in words.
    pub kind: &'static str,
    /// Pages in it.
    pub pages: u64,
    /// The build of Windows.
    pub build: u32,
    /// When it was written: 100 ns units since 1601-01-01 UTC.
    pub system_time: u64,
    /// What its writer says about it.
    pub comment: String,
    /// What stopped the machine.
    pub bug_check: BugCheck,
    /// The thread that did, if it could be found.
    pub thread: Option<Thread>,
    /// Its stack's segments, newest first.
    pub segments: Vec<Segment>,
    /// Its frames, newest first.
    pub frames: Vec<Frame>,
    /// The loaded modules, in the system's order.
    pub modules: Vec<Module>,
    /// What the Headroom driver left.
    pub driver: Option<Driver>,
    /// What could not be read, or only guessed.
    pub notes: Vec<String>,
}

/// Reads a dump; `pdbs`: files, or folders to look for a module's .pdb in. The dump's own folder is looked in, too.
///
/// # Errors
/// [`Error`]: what the file is instead, or what is wrong with it.
pub fn analyse(path: &Path, pdbs: &[PathBuf]) -> Result<Analysis, Error> {
    let dump = Dump::open(path)?;
    let mut places = pdbs.to_vec();
    places.push(match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    });
    Ok(analyse_dump(&dump, &places))
}

/// As [`analyse`], of a dump that is open.
#[must_use]
pub fn analyse_dump(dump: &Dump, pdbs: &[PathBuf]) -> Analysis {
    let mut notes = Vec::new();
    let header = dump.header();
    let block = kernel::DebuggerData::read(dump, &mut notes);
    let (modules, whole) = module::list(dump, &mut notes);
    let accessors = kernel::Accessors::find(dump, &modules);
    let thread = kernel::thread(dump, block.as_ref(), &accessors, &mut notes);
    let symbols = symbols::Symbols::new(dump, &modules, pdbs, &mut notes);
    let mut segments = stack::segments(dump, thread.as_ref(), header.context.rsp(), &mut notes);
    let frames = stack::walk(
        dump,
        &modules,
        &symbols,
        &header.context,
        &segments,
        &mut notes,
    );
    stack::charge(&mut segments, &frames);
    let driver = driver::find(dump, &modules, whole, &mut notes);
    Analysis {
        kind: header.kind,
        pages: dump.pages(),
        build: header.build,
        system_time: header.system_time,
        comment: header.comment.clone(),
        bug_check: header.bug_check,
        thread,
        segments,
        frames,
        modules,
        driver,
        notes,
    }
}

#[cfg(test)]
mod tests;
