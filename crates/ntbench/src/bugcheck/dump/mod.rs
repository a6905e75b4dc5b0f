//! A crash dump of the machine, as Windows writes one: a 64-bit complete memory dump that kernel debuggers and other
//! readers of such files open.
//!
//! What is in it: the loaded drivers' images as they are in memory; the kernel stacks; the pool blocks that are live; the
//! thread, process and processor objects; images for the modules that the bench models; the debugger's data block and the
//! lists that it leads to. Other memory of the bench is none of the machine's and is left out.
//!
//! What differs from a dump of Windows: drivers, stacks and pool keep the addresses that they have in this process,
//! which Windows would give to programs; the page tables translate them all the same. Modelled frames and the modules that
//! they are in are made up for the dump ([`frames`], [`images`]): their names, sizes and call sites are the cost model's.
//! There are no symbols for them beyond their export directories.

mod bytes;
mod capture;
mod file;
mod frames;
mod header;
mod images;
mod kernel;
mod layout;
mod objects;
mod pe;
mod space;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use self::frames::Word;
use self::images::Images;
use self::kernel::Module;
use self::layout::variable;
use self::space::{Rights, Space};
use super::code;
use crate::cpu::fault;
use crate::cpu::pcr;
use crate::seh::Processor;
use crate::stack::{self, Context};
use crate::wire::DumpOutcome;
use crate::{export, gate, machine, thread, user};

static REQUESTED: OnceLock<PathBuf> = OnceLock::new();

/// Has a dump written there if the machine ends with a bug check.
pub(crate) fn request(path: PathBuf) {
    let _ = REQUESTED.set(path);
}

/// `STATUS_BREAKPOINT`: what the record says where no exception of the processor's ended the machine.
const STATUS_BREAKPOINT: u32 = 0x8000_0003;
/// `STATUS_ACCESS_VIOLATION`
const STATUS_ACCESS_VIOLATION: u32 = 0xC000_0005;

/// Writes the dump that was asked for, if one was.
pub(super) fn write(
    code: u32,
    parameters: [u64; 4],
    text: &str,
    context: Context,
) -> Option<DumpOutcome> {
    let path = REQUESTED.get()?;
    Some(match try_write(path, code, parameters, text, context) {
        Ok(bytes) => DumpOutcome::Written {
            path: path.clone(),
            bytes,
        },
        Err(error) => DumpOutcome::Failed {
            path: path.clone(),
            why: error.to_string(),
        },
    })
}

fn try_write(
    path: &Path,
    code: u32,
    parameters: [u64; 4],
    text: &str,
    context: Context,
) -> std::io::Result<u64> {
    let chain = stack::chain(context);
    let stack = frames::lay_out(&chain, context);
    let images = images::build(
        &stack.sites,
        &exported(),
        &kernel::accessors(),
        variable::NAMES,
    );
    let address = |word: Word| match word {
        Word::Number(number) => number,
        Word::Site(index) => images.sites.get(index).copied().unwrap_or_default(),
    };
    let mut space = Space::default();
    capture::memory(&mut space, &chain);
    modelled(&mut space, &images);
    let loaded = capture::drivers(&mut space, &images);
    if let Some(address) = code::page(code, parameters) {
        capture::subject(&mut space, address, rights(address));
    }
    for (at, word) in &stack.words {
        // A word that has no page would have been below the stack's limit.
        if space.holds(*at) {
            space.put_word(*at, address(*word));
        }
    }
    let kernel = &images.all[0];
    let rip = stack.rip.map_or(0, address);
    let processor = match context {
        Context::Fault(_) => fault::processor_at_fault(),
        Context::Host | Context::Overflow { .. } => Processor::default(),
    };
    let registers = header::context(&processor, rip, stack.rsp, stack.rbp);
    if let (Some(region), Some(thread)) = (pcr::region(), thread::try_current()) {
        objects::processor(&mut space, region as u64, thread.object as u64, &registers);
        kernel::variables(&mut space, kernel, region as u64, code, parameters);
    } else {
        kernel::variables(&mut space, kernel, 0, code, parameters);
    }
    kernel::shared_data(&mut space);
    kernel::module_list(&mut space, kernel, &modules(&images, loaded));
    objects::threads(&mut space, kernel, &capture::threads(&chain, &stack));
    let physical = space.finish();
    let data = kernel.base + u64::from(kernel.data.0);
    let access = page_fault(context);
    let crash = header::Crash {
        code,
        parameters,
        exception: match &access {
            Some(parameters) => (STATUS_ACCESS_VIOLATION, parameters),
            None => (STATUS_BREAKPOINT, &[]),
        },
        address: rip,
        context: &registers,
        comment: &format!("simulated by ntbench: {text}"),
    };
    let places = header::Places {
        debugger_data: data + variable::DEBUGGER_DATA as u64,
        module_list: data + variable::MODULE_LIST as u64,
        process_list: data + variable::PROCESS_LIST as u64,
    };
    let header = header::header(&crash, &places, physical.count());
    file::replace(path, std::iter::once(&*header).chain(physical.pages()))
}

/// The page table entry of the page that a bug check is about, as a dump has it.
pub(crate) fn page_table_entry(address: u64) -> u64 {
    rights(address).subject_entry()
}

/// What may be done with a page that is there.
fn rights(address: u64) -> Rights {
    let at = usize::try_from(address).unwrap_or(usize::MAX);
    let (write, execute) = match machine::module_at(at) {
        Some(module) => module.image.rights(at),
        // Pool, stacks, programs' memory.
        None => (true, false),
    };
    Rights {
        write,
        execute,
        user: user::is_user(at),
    }
}

/// What was tried and where, for a page fault.
fn page_fault(context: Context) -> Option<[u64; 2]> {
    match context {
        Context::Fault(_) => fault::page_fault(),
        Context::Host | Context::Overflow { .. } => None,
    }
}

/// Everything that drivers can import.
fn exported() -> Vec<&'static str> {
    export::all().map(gate::symbol).collect()
}

/// Puts the modelled modules' images in their places.
fn modelled(space: &mut Space, images: &Images) {
    for image in &images.all {
        let at = |rva: u32| image.base + u64::from(rva);
        space.put(image.base, &image.bytes);
        space.protect(
            image.base,
            image.base + image.bytes.len() as u64,
            false,
            false,
        );
        space.protect(
            at(image.code.0),
            at(image.code.0 + image.code.1),
            false,
            true,
        );
        space.protect(
            at(image.data.0),
            at(image.data.0 + image.data.1),
            true,
            false,
        );
    }
}

/// All modules, the kernel first.
fn modules(images: &Images, loaded: Vec<Module>) -> Vec<Module> {
    let modelled = images.all.iter().map(|image| Module {
        file: image.file.clone(),
        base: image.base,
        size: image.bytes.len() as u64,
        entry: 0,
        pdata: (image.base + u64::from(image.pdata.0), image.pdata.1),
    });
    modelled.chain(loaded).collect()
}
