//! Routines found by name at run time, and small ones of the I/O manager.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use super::irql;
use super::memory::Guest;
use crate::abi::base::UnicodeString;
use crate::cpu::memory::{Access, Mapping, PAGE};
use crate::export::{self, Export, ExportKind};
use crate::gate;
use crate::thread::PASSIVE_LEVEL;

/// Stubs made at run time, by export name, and the page that takes the next one.
#[derive(Default)]
struct Stubs {
    known: HashMap<(&'static str, &'static str), usize>,
    page: Option<Mapping>,
    used: usize,
}

thread_local! {
    /// What `IoSetTopLevelIrp` was called with last.
    static TOP_LEVEL: Cell<usize> = const { Cell::new(0) };
}

static STUBS: LazyLock<Mutex<Stubs>> = LazyLock::new(Mutex::default);

/// The address of an export as drivers call it; 0: there is none.
pub(crate) fn address(dlls: &[&str], name: &str) -> usize {
    dlls.iter()
        .find_map(|dll| export::find(dll, name))
        .and_then(stub)
        .unwrap_or(0)
}

/// The stub by which drivers call an export.
pub(super) fn stub(export: &'static Export) -> Option<usize> {
    match export.kind {
        ExportKind::Raw { address } => return Some(address.expose_provenance()),
        ExportKind::Data(address) => return Some(address()),
        ExportKind::Cookie(_) => return None,
        ExportKind::Function { .. } | ExportKind::Variadic { .. } => {}
    }
    let mut stubs = STUBS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = stubs.known.get(&(export.dll, export.name)) {
        return Some(*known);
    }
    let code = gate::stub(export)?;
    let full = stubs.used + code.len() > PAGE;
    if let Some(page) = stubs.page.take_if(|_| full) {
        page.leak();
    }
    if stubs.page.is_none() {
        stubs.page = Some(Mapping::read_write(PAGE).ok()?);
        stubs.used = 0;
    }
    let page = stubs.page.as_ref()?;
    let at = page.base() + stubs.used;
    // Stubs of this page may be running on other threads while the next one is added.
    page.protect(
        page.base(),
        page.end(),
        Access {
            read: true,
            write: true,
            execute: stubs.used != 0,
        },
    )
    .ok()?;
    Guest::<u8>::at(at).write_many(&code);
    page.protect(page.base(), page.end(), Access::READ_EXECUTE)
        .ok()?;
    stubs.used += code.len();
    stubs.known.insert((export.dll, export.name), at);
    Some(at)
}

exports! { "ntoskrnl.exe";
    /// An export of the kernel or the HAL by name; NULL where there is none.
    fn MmGetSystemRoutineAddress(name: Guest<UnicodeString>) -> usize {
        irql::at_most("MmGetSystemRoutineAddress", PASSIVE_LEVEL);
        address(&["ntoskrnl.exe", "hal.dll"], &name.text())
    }

    /// The thread's top-level IRP, or what stands for one: the bench's file systems set none, drivers may.
    fn IoGetTopLevelIrp() -> usize {
        TOP_LEVEL.get()
    }

    /// Sets it.
    fn IoSetTopLevelIrp(irp: usize) {
        irql::at_most("IoSetTopLevelIrp", crate::thread::DISPATCH_LEVEL);
        TOP_LEVEL.set(irp);
    }
}
