//! Special pool: each block on pages of its own, its end against a page that is not there, and gone when it is freed.
//!
//! As Driver Verifier's: an access beyond a block's end or to a freed one faults at the instruction that makes it. Before a block on
//! its page, and between its end and the page's, lies a pattern that is looked at when the block is freed: blocks are aligned to 16 bytes, and to
//! pages from a page on.
//!
//! Paged blocks, and images' pageable sections, are taken away whenever a thread raises to `DISPATCH_LEVEL` ("Force IRQL Checking"). A
//! thread below that gets them back at its first touch; one at that level has made the mistake that pages on Windows make visible once in a
//! thousand runs. What one thread has got back others can touch as well, as on Windows.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::pool::Kind;
use crate::cpu::memory::{Access, Mapping, PAGE};
use crate::wire::VerifierConfig;

/// Address space for each of the two pools. It costs nothing until it is used.
const ARENA: usize = 64 << 30;
/// Freed blocks that can still be named.
const REMEMBERED: usize = 4096;
/// Blocks in use in each of the two pools. Each is a mapping of the host's beside one that is not there, of which Linux gives a process 65,530;
/// what comes then lies in ordinary pool, as on Windows when special pool is used up.
const MOST: usize = 12_000;
const PATTERN: u8 = 0xFD;

static SPECIAL: AtomicBool = AtomicBool::new(false);
static FORCE_IRQL: AtomicBool = AtomicBool::new(false);
static STATE: Mutex<Option<State>> = Mutex::new(None);

struct State {
    non_paged: Arena,
    paged: Arena,
    sections: Vec<Section>,
}

/// A pageable section of an image.
struct Section {
    start: usize,
    end: usize,
    access: Access,
    /// Whether its driver has locked it.
    kept: bool,
}

struct Arena {
    mapping: Mapping,
    used: usize,
    live: usize,
    blocks: BTreeMap<usize, Block>,
    freed: VecDeque<usize>,
}

/// A block's pages start at the key of its entry.
#[derive(Clone)]
struct Block {
    pages: usize,
    address: usize,
    size: usize,
    tag: u32,
    freed: bool,
}

/// What an address in special pool is.
pub(crate) enum Place {
    /// Behind a block.
    Beyond {
        /// Its address, size and tag.
        block: (usize, usize, u32),
    },
    /// In a block that has been freed.
    Freed {
        /// Its address, size and tag.
        block: (usize, usize, u32),
    },
    /// In a paged block.
    Paged {
        /// Its address, size and tag.
        block: (usize, usize, u32),
    },
}

fn lock() -> MutexGuard<'static, Option<State>> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether blocks lie in special pool.
pub(crate) fn is_on() -> bool {
    SPECIAL.load(Ordering::Acquire)
}

/// Turns on what is asked for, before any driver is loaded.
pub(crate) fn configure(config: &VerifierConfig) -> std::io::Result<()> {
    *lock() = Some(State {
        non_paged: Arena::new()?,
        paged: Arena::new()?,
        sections: Vec::new(),
    });
    SPECIAL.store(config.special_pool, Ordering::Release);
    FORCE_IRQL.store(config.force_irql, Ordering::Release);
    super::pool::keep_freed(config.quarantine);
    Ok(())
}

impl Arena {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            mapping: Mapping::reserve(ARENA)?,
            used: 0,
            live: 0,
            blocks: BTreeMap::new(),
            freed: VecDeque::new(),
        })
    }

    /// Pages that have not been used yet, or else those that were freed longest ago; behind them one that is never there.
    fn pages(&mut self, pages: usize) -> Option<usize> {
        let bytes = (pages + 1) * PAGE;
        if self.used + bytes <= ARENA {
            let start = self.mapping.base() + self.used;
            self.used += bytes;
            return Some(start);
        }
        let index = self.freed.iter().position(|start| {
            self.blocks
                .get(start)
                .is_some_and(|block| block.pages == pages)
        })?;
        self.freed.remove(index)
    }

    fn allocate(&mut self, size: usize, tag: u32) -> Option<usize> {
        if self.live >= MOST {
            return None;
        }
        let pages = size.max(1).div_ceil(PAGE);
        let start = self.pages(pages)?;
        let end = start + pages * PAGE;
        self.mapping.protect(start, end, Access::READ_WRITE).ok()?;
        let address = if size >= PAGE {
            start
        } else {
            (end - size.max(1)) & !15
        };
        let block = Block {
            pages,
            address,
            size,
            tag,
            freed: false,
        };
        self.blocks.insert(start, block);
        self.live += 1;
        Some(address)
    }

    fn block(&self, address: usize) -> Option<(usize, &Block)> {
        let (start, block) = self.blocks.range(..=address).next_back()?;
        (address < start + (block.pages + 1) * PAGE).then_some((*start, block))
    }

    fn free(&mut self, address: usize) {
        let Some((start, block)) = self.block(address) else {
            return;
        };
        let end = start + block.pages * PAGE;
        let _ = self.mapping.discard(start, end);
        if let Some(block) = self.blocks.get_mut(&start) {
            block.freed = true;
            self.live -= 1;
        }
        self.freed.push_back(start);
        if self.used < ARENA / 2 && self.freed.len() > REMEMBERED {
            // Their addresses are not needed again for a long time.
            if let Some(oldest) = self.freed.pop_front() {
                self.blocks.remove(&oldest);
            }
        }
    }

    fn contains(&self, address: usize) -> bool {
        (self.mapping.base()..self.mapping.base() + self.used).contains(&address)
    }
}

impl State {
    fn arena(&mut self, kind: Kind) -> &mut Arena {
        match kind {
            Kind::NonPaged => &mut self.non_paged,
            Kind::Paged => &mut self.paged,
        }
    }
}

/// A block of special pool, its slack filled; `None`: it is off, or full.
pub(super) fn allocate(size: usize, tag: u32, kind: Kind) -> Option<usize> {
    if !SPECIAL.load(Ordering::Acquire) {
        return None;
    }
    let mut state = lock();
    let address = state.as_mut()?.arena(kind).allocate(size, tag);
    drop(state);
    if let Some(address) = address {
        for (start, length) in [slack(address, size), lead(address)] {
            super::pool::fill(start, length, PATTERN);
        }
    }
    address
}

/// The bytes between a block's end and its page's.
fn slack(address: usize, size: usize) -> (usize, usize) {
    let end = address + size;
    (end, end.next_multiple_of(PAGE) - end)
}

/// What lies before a block on its first page: where, and how long.
fn lead(address: usize) -> (usize, usize) {
    let start = address - address % PAGE;
    (start, address - start)
}

/// What was written to beside a block on its pages, looked at before it is freed: the address of the first byte, and what bug check
/// 0xC1 has as its fourth parameter.
pub(super) fn damage(address: usize, size: usize) -> Option<(usize, u64)> {
    let changed = |(start, length): (usize, usize)| {
        let whole = super::pool::holds(start, length, PATTERN);
        (!whole).then(|| {
            (start..start + length)
                .find(|at| !super::pool::holds(*at, 1, PATTERN))
                .unwrap_or(start)
        })
    };
    let behind = changed(slack(address, size)).map(|at| (at, 0x24));
    behind.or_else(|| changed(lead(address)).map(|at| (at, 0x23)))
}

/// Takes a block's pages away.
pub(super) fn free(address: usize, kind: Kind) {
    if let Some(state) = lock().as_mut() {
        state.arena(kind).free(address);
    }
}

/// The paged block that an address lies in: its address, size and tag.
pub(super) fn paged(address: usize) -> Option<(usize, usize, u32)> {
    let state = lock();
    let arena = &state.as_ref()?.paged;
    if !arena.contains(address) {
        return None;
    }
    let (_, found) = arena.block(address)?;
    (!found.freed).then_some((found.address, found.size, found.tag))
}

/// What special pool knows of an address that faulted.
pub(crate) fn place(address: usize) -> Option<Place> {
    let state = STATE.try_lock().ok()?;
    let state = state.as_ref()?;
    let (arena, paged) = if state.paged.contains(address) {
        (&state.paged, true)
    } else if state.non_paged.contains(address) {
        (&state.non_paged, false)
    } else {
        return None;
    };
    let (start, found) = arena.block(address)?;
    let block = (found.address, found.size, found.tag);
    if found.freed {
        return Some(Place::Freed { block });
    }
    if address >= start + found.pages * PAGE {
        return Some(Place::Beyond { block });
    }
    paged.then_some(Place::Paged { block })
}

/// Notes an image's pageable section.
pub(crate) fn add_section(start: usize, end: usize, access: Access) {
    if let Some(state) = lock().as_mut() {
        state.sections.push(Section {
            start,
            end,
            access,
            kept: false,
        });
    }
}

/// Forgets the sections of an image that goes.
pub(crate) fn remove_sections(base: usize, size: usize) {
    if let Some(state) = lock().as_mut() {
        state
            .sections
            .retain(|section| !(base..base + size).contains(&section.start));
    }
}

/// Keeps the pageable section that holds an address in memory, or lets it go again; gives where it starts, if there is one.
pub(crate) fn keep_section(address: usize, keep: bool) -> Option<usize> {
    let mut state = lock();
    let sections = &mut state.as_mut()?.sections;
    let section = sections
        .iter_mut()
        .find(|section| (section.start..section.end).contains(&address))?;
    section.kept = keep;
    if keep {
        let _ = crate::cpu::memory::protect(section.start, section.end, section.access);
    }
    Some(section.start)
}

/// Whether an address is in a pageable section.
pub(crate) fn in_section(address: usize) -> bool {
    STATE.try_lock().is_ok_and(|state| {
        state.as_ref().is_some_and(|state| {
            state
                .sections
                .iter()
                .any(|section| (section.start..section.end).contains(&address))
        })
    })
}

/// A thread raises to `DISPATCH_LEVEL`: takes everything pageable away.
pub(crate) fn trim() {
    if !FORCE_IRQL.load(Ordering::Acquire) {
        return;
    }
    let state = lock();
    let Some(state) = state.as_ref() else { return };
    let arena = &state.paged;
    if arena.used != 0 {
        let base = arena.mapping.base();
        // Where this fails the memory stays, and only the strictness is lost.
        let _ = arena.mapping.protect(base, base + arena.used, Access::NONE);
    }
    for section in state.sections.iter().filter(|section| !section.kept) {
        let _ = crate::cpu::memory::protect(section.start, section.end, Access::NONE);
    }
}

/// A thread below `DISPATCH_LEVEL` touches what was taken away: gives it back. `false`: it was something else.
///
/// Called by the signal handler. Nothing touches pageable memory while it holds the lock, so it is free.
pub(crate) fn page_in(address: usize) -> bool {
    if !FORCE_IRQL.load(Ordering::Acquire) {
        return false;
    }
    let state = lock();
    let Some(state) = state.as_ref() else {
        return false;
    };
    if state.paged.contains(address) {
        let Some((start, block)) = state.paged.block(address) else {
            return false;
        };
        let end = start + block.pages * PAGE;
        if block.freed || address >= end {
            return false;
        }
        return state
            .paged
            .mapping
            .protect(start, end, Access::READ_WRITE)
            .is_ok();
    }
    state
        .sections
        .iter()
        .find(|section| (section.start..section.end).contains(&address))
        .is_some_and(|section| {
            crate::cpu::memory::protect(section.start, section.end, section.access).is_ok()
        })
}
