//! Sections over files, and their views in a process.
//!
//! A view shows the host's own file, so that what is written to the file is seen in it at once, as the cache manager and
//! the memory manager keep data and views the same on Windows. While somebody has a view of a file it gets no shorter
//! (`MmCanFileBeTruncated`). "Section Objects and Views", `ZwMapViewOfSection`.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use super::handle::{self, Target};
use super::memory::Guest;
use super::object::Counted;
use super::{attach, driver, irql, ps, section_type};
use crate::abi::flt::KERNEL_MODE;
use crate::cpu::memory::PAGE;
use crate::namespace::open::OpenFile;
use crate::namespace::sharing::FileId;
use crate::status::NtStatus;
use crate::thread::PASSIVE_LEVEL;
use crate::user::Pages;
use crate::{faults, verifier};

pub(crate) const PAGE_READONLY: u32 = 0x2;
pub(crate) const PAGE_READWRITE: u32 = 0x4;
/// Views begin at multiples of this in their section (`MM_ALLOCATION_GRANULARITY`).
const GRANULARITY: i64 = 0x1_0000;

/// What a section is over.
struct Section {
    backing: Backing,
    length: i64,
    write: bool,
}

/// Where its data are.
enum Backing {
    /// In a file.
    File(Arc<OpenFile>, FileId),
    /// In memory that would be the paging file's.
    Memory(OwnedFd),
}

impl Section {
    fn data(&self) -> Result<&OwnedFd, NtStatus> {
        match &self.backing {
            Backing::File(open, _) => open.data(),
            Backing::Memory(memory) => Ok(memory),
        }
    }

    /// The file that it is over; `None`: none.
    fn id(&self) -> Option<FileId> {
        match self.backing {
            Backing::File(_, id) => Some(id),
            Backing::Memory(_) => None,
        }
    }
}

/// A view, by its lowest address.
struct View {
    pages: Pages,
    object: Arc<Counted>,
    id: Option<FileId>,
    write: bool,
    /// Of its file: one past the last byte that it shows.
    end: i64,
    opener: Option<String>,
    site: usize,
}

#[derive(Default)]
struct State {
    sections: BTreeMap<usize, Arc<Section>>,
    views: BTreeMap<usize, View>,
}

static STATE: LazyLock<Mutex<State>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The last reference to a section is gone. Its views stay: they hold one each.
fn gone(address: usize) {
    let section = lock().sections.remove(&address);
    drop(section);
}

/// A section over an open file as long as it is now, with one reference; gives its length too.
pub(crate) fn over(open: Arc<OpenFile>, write: bool) -> Result<(Arc<Counted>, i64), NtStatus> {
    if open.is_directory() {
        return Err(NtStatus::FILE_IS_A_DIRECTORY);
    }
    let id = open.id().ok_or(NtStatus::INVALID_FILE_FOR_SECTION)?;
    let data = open
        .data()
        .map_err(|_| NtStatus::INVALID_FILE_FOR_SECTION)?;
    let length = rustix::fs::fstat(data)
        .map_err(|_| NtStatus::INVALID_FILE_FOR_SECTION)?
        .st_size;
    if length == 0 {
        return Err(NtStatus::END_OF_FILE);
    }
    let made = Counted::make("section", section_type(), gone);
    let section = Section {
        backing: Backing::File(open, id),
        length,
        write,
    };
    lock().sections.insert(made.address(), Arc::new(section));
    Ok((made, length))
}

/// A section over memory of its own.
pub(super) fn over_memory(length: i64, write: bool) -> Result<Arc<Counted>, NtStatus> {
    let bytes = u64::try_from(length).map_err(|_| NtStatus::INVALID_PARAMETER_4)?;
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let memory = rustix::fs::memfd_create("ntbench-section", flags);
    let memory = memory.map_err(|_| NtStatus::INSUFFICIENT_RESOURCES)?;
    rustix::fs::ftruncate(&memory, bytes).map_err(|_| NtStatus::SECTION_TOO_BIG)?;
    let made = Counted::make("section", section_type(), gone);
    let section = Section {
        backing: Backing::Memory(memory),
        length,
        write,
    };
    lock().sections.insert(made.address(), Arc::new(section));
    Ok(made)
}

/// Whether a view shows something of a file behind `end`.
pub(crate) fn shown_behind(id: FileId, end: i64) -> bool {
    lock()
        .views
        .values()
        .any(|view| view.id == Some(id) && view.end > end)
}

/// Whether anybody has a view of a file.
pub(super) fn is_mapped(id: FileId) -> bool {
    lock().views.values().any(|view| view.id == Some(id))
}

/// How many views of a file may be written to.
pub(super) fn writable_views(id: FileId) -> u32 {
    let state = lock();
    let count = state
        .views
        .values()
        .filter(|view| view.id == Some(id) && view.write)
        .count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Reports the views that a driver that goes away has left mapped, and unmaps them.
pub(crate) fn report_leaks(service: &str) {
    let left: Vec<View> = {
        let mut state = lock();
        let theirs = |view: &View| view.opener.as_deref() == Some(service);
        let left: Vec<usize> = state
            .views
            .iter()
            .filter(|(_, view)| theirs(view))
            .map(|(base, _)| *base)
            .collect();
        left.iter()
            .filter_map(|base| state.views.remove(base))
            .collect()
    };
    for view in left {
        verifier::finding_at(
            "view-leak",
            view.site,
            format!("{service} went away with a view of a section mapped"),
        );
        release(view);
    }
}

fn release(view: View) {
    // Where the arena cannot be shown again its addresses stay unused.
    if view.pages.uncover().is_err() {
        std::mem::forget(view.pages);
    }
    view.object.dereference();
}

/// What a caller wants to see of a section.
#[derive(Clone, Copy)]
struct Wanted {
    offset: i64,
    size: usize,
    protection: u32,
    /// The process in which it is shown.
    pid: u64,
}

fn map(handle: u64, wanted: Wanted) -> Result<(usize, usize), NtStatus> {
    let object = match handle::look_up(handle, KERNEL_MODE)?.0 {
        Target::Counted(object) if object.object_type == section_type() => object,
        _ => return Err(NtStatus::OBJECT_TYPE_MISMATCH),
    };
    let section = lock().sections.get(&object.address()).cloned();
    let section = section.ok_or(NtStatus::INVALID_HANDLE)?;
    let write = match wanted.protection {
        PAGE_READONLY => false,
        PAGE_READWRITE if section.write => true,
        PAGE_READWRITE => return Err(NtStatus::SECTION_PROTECTION),
        _ => return Err(NtStatus::INVALID_PAGE_PROTECTION),
    };
    if wanted.offset % GRANULARITY != 0 {
        return Err(NtStatus::MAPPED_ALIGNMENT);
    }
    let left = section.length.checked_sub(wanted.offset);
    let left = left.and_then(|left| usize::try_from(left).ok());
    let left = left.filter(|left| *left > 0 && wanted.size <= left.next_multiple_of(PAGE));
    let left = left.ok_or(NtStatus::INVALID_VIEW_SIZE)?;
    let size = if wanted.size == 0 { left } else { wanted.size };
    let pages = Pages::of(wanted.pid, size.div_ceil(PAGE)).map_err(|_| NtStatus::NO_MEMORY)?;
    let from = u64::try_from(wanted.offset).map_err(|_| NtStatus::INVALID_VIEW_SIZE)?;
    pages
        .cover(section.data()?, from, write)
        .map_err(|_| NtStatus::ACCESS_DENIED)?;
    let (base, length) = (pages.base(), pages.length());
    object.reference();
    let end = wanted.offset + i64::try_from(size.min(left)).unwrap_or(0);
    let view = View {
        pages,
        object,
        id: section.id(),
        write,
        end,
        opener: driver::calling().map(|driver| driver.service.clone()),
        site: verifier::here(),
    };
    lock().views.insert(base, view);
    Ok((base, length))
}

/// The id of the process that a handle stands for.
pub(super) fn process(handle: u64) -> Result<u64, NtStatus> {
    if handle == u64::MAX {
        return Ok(attach::pid());
    }
    match handle::look_up(handle, KERNEL_MODE)?.0 {
        Target::Process(object) => Ok(ps::process_at(object).map_or(0, |process| process.pid)),
        _ => Err(NtStatus::OBJECT_TYPE_MISMATCH),
    }
}

exports! { "ntoskrnl.exe";
    /// Shows a section in a process.
    partial "read-only and read-write views where the bench puts them; STATUS_CONFLICTING_ADDRESSES for an address of the caller's"
    fn ZwMapViewOfSection(
        section: u64, into: u64, base: Guest<usize>, _zero_bits: usize, _commit: usize, offset: Guest<i64>,
        size: Guest<usize>, inherit: u32, _allocation: u32, protection: u32,
    ) -> NtStatus {
        irql::at_most("ZwMapViewOfSection", PASSIVE_LEVEL);
        if let Some(status) = faults::check("ZwMapViewOfSection") {
            return status;
        }
        let pid = match process(into) {
            Ok(pid) => pid,
            Err(status) => return status,
        };
        // ViewShare or ViewUnmap.
        if !matches!(inherit, 1 | 2) {
            return NtStatus::INVALID_PARAMETER_8;
        }
        if base.read() != 0 {
            return NtStatus::CONFLICTING_ADDRESSES;
        }
        let wanted = Wanted { offset: offset.read_opt().unwrap_or(0), size: size.read(), protection, pid };
        match map(section, wanted) {
            Ok((at, length)) => {
                base.write(at);
                size.write(length);
                NtStatus::SUCCESS
            }
            Err(status) => status,
        }
    }

    /// Takes a view away.
    fn ZwUnmapViewOfSection(from: u64, base: usize) -> NtStatus {
        irql::at_most("ZwUnmapViewOfSection", PASSIVE_LEVEL);
        if let Err(status) = process(from) {
            return status;
        }
        let mut state = lock();
        let found = state.views.range(..=base).next_back();
        let found = found.filter(|(low, view)| base < **low + view.pages.length()).map(|(low, _)| *low);
        let view = found.and_then(|low| state.views.remove(&low));
        drop(state);
        match view {
            Some(view) => {
                release(view);
                NtStatus::SUCCESS
            }
            None => NtStatus::NOT_MAPPED_VIEW,
        }
    }
}
