//! What of this process is the machine's memory.

use super::frames::Stack;
use super::images::Images;
use super::kernel::Module;
use super::objects::Stopped;
use super::space::{PAGE, Rights, Space};
use crate::bugcheck::records;
use crate::cpu::memory::read_checked;
use crate::cpu::pcr;
use crate::machine;
use crate::ntos::pool;
use crate::stack::Chain;
use crate::thread::{self, OBJECT_BYTES};
use crate::wire::SegmentInfo;

/// Copies what can be read of `[start, end)`.
fn copy(space: &mut Space, start: u64, end: u64) {
    let mut at = start;
    while at < end {
        let next = ((at & !(PAGE - 1)) + PAGE).min(end);
        let mut bytes = vec![0; (next - at) as usize];
        if read_checked(at as usize, &mut bytes) {
            space.put(at, &bytes);
        }
        at = next;
    }
}

/// Stacks, pool, objects, the processor's region.
pub(super) fn memory(space: &mut Space, chain: &Chain) {
    for segment in &chain.segments {
        copy(space, segment.low, segment.high);
    }
    for other in others() {
        copy(space, other.segment.low, other.segment.high);
    }
    for (address, size) in pool::blocks().into_iter().chain(records::kept()) {
        copy(space, address as u64, (address + size) as u64);
    }
    for thread in thread::all() {
        for object in [thread.object, thread.process.object] {
            copy(space, object as u64, (object + OBJECT_BYTES) as u64);
        }
    }
    if let Some(region) = pcr::region() {
        copy(space, region as u64, (region + pcr::BLOCK) as u64);
    }
}

/// The page that the bug check is about, where it can be read.
pub(super) fn subject(space: &mut Space, address: u64, rights: Rights) {
    let page = address & !(PAGE - 1);
    if !space.holds(page) {
        copy(space, page, page.saturating_add(PAGE));
    }
    space.set_subject(page, rights);
}

/// The drivers' images as they are now, their imports bound to the modelled modules.
pub(super) fn drivers(space: &mut Space, images: &Images) -> Vec<Module> {
    let mut modules = Vec::new();
    for module in machine::modules() {
        let image = &module.image;
        let base = image.base as u64;
        copy(space, base, base + image.size as u64);
        space.protect(base, base + image.size as u64, false, false);
        for section in &image.sections {
            let start = base + u64::from(section.rva);
            let (write, execute) = section.rights();
            space.protect(start, start + u64::from(section.size), write, execute);
        }
        for (slot, export) in &image.imports {
            let at = base + u64::from(*slot);
            let bound = images.address(crate::gate::symbol(export));
            if let (Some(address), true) = (bound.filter(|_| export.is_code()), space.holds(at)) {
                space.put_word(at, address);
            }
        }
        modules.push(Module {
            file: format!("{}.sys", image.name),
            base,
            size: image.size as u64,
            entry: image.entry as u64,
            pdata: (base + u64::from(image.pdata.0), image.pdata.1),
        });
    }
    modules
}

/// A thread that is not the one that crashed.
struct Other {
    thread: &'static thread::Thread,
    segment: SegmentInfo,
    sp: u64,
}

/// The other threads whose stacks can still be read, each with the segment that it is on.
fn others() -> Vec<Other> {
    let current = thread::try_current().map_or(0, |thread| thread.object);
    let others = thread::all()
        .into_iter()
        .filter(|thread| thread.object != current);
    others
        .filter_map(|thread| {
            let seen = pcr::seen_from_afar(thread.object)?;
            read_checked(seen.high.checked_sub(8)?, &mut [0; 8]).then_some(Other {
                thread,
                segment: SegmentInfo {
                    low: seen.low as u64,
                    high: seen.high as u64,
                    reserve_low: seen.low as u64,
                },
                sp: seen.kernel_sp as u64,
            })
        })
        .collect()
}

/// Every thread: of the one that crashed all segments, of the others the one that they are on.
pub(super) fn threads(chain: &Chain, stack: &Stack) -> Vec<Stopped> {
    let current = thread::try_current().map(|thread| {
        let left = stack.left.iter().copied().chain([stack.rsp]);
        Stopped {
            thread,
            segments: chain.segments.iter().cloned().zip(left).collect(),
            running: true,
        }
    });
    let others = others().into_iter().map(|other| Stopped {
        thread: other.thread,
        segments: vec![(other.segment, other.sp)],
        running: false,
    });
    current.into_iter().chain(others).collect()
}
