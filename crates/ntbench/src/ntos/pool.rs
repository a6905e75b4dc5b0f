//! Pool: every block is known by its address, with its tag, its owner and the call that asked for it.
//!
//! Blocks lie in special pool ([`special`]) unless that is turned off. Then they end in a few guard bytes that are checked when they are freed;
//! freed blocks are filled and kept a while, and a write into one is found when it leaves the quarantine.

use std::alloc::{Layout, alloc, dealloc};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use super::{driver, lookaside, quota, special, sync};
use crate::maps::HashMap;
use crate::thread::{self, APC_LEVEL, DISPATCH_LEVEL};
use crate::{bugcheck, symbols, user, verifier};

/// What pool a block is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Always resident.
    NonPaged,
    /// Only for IRQL <= `APC_LEVEL`.
    Paged,
}

#[derive(Clone, Debug)]
struct Block {
    size: usize,
    tag: u32,
    kind: Kind,
    owner: Option<Arc<str>>,
    site: usize,
    /// In special pool, which knows its end itself.
    special: bool,
}

#[derive(Default)]
struct State {
    live: HashMap<usize, Block>,
    freed: VecDeque<(usize, Block)>,
}

static POOL: LazyLock<Mutex<State>> = LazyLock::new(Mutex::default);

const PAGE: usize = 0x1000;
const GUARD: usize = 16;
const GUARD_BYTE: u8 = 0xFD;
/// What freed memory is filled with.
pub(crate) const FREED_BYTE: u8 = 0xF1;
const FRESH_BYTE: u8 = 0xCD;
const QUARANTINE: usize = 512;

/// Whether there is a quarantine.
static KEEP_FREED: AtomicBool = AtomicBool::new(true);

/// Sets whether freed blocks are kept a while.
pub(super) fn keep_freed(keep: bool) {
    KEEP_FREED.store(keep, Ordering::Relaxed);
}

/// Whether they are.
pub(crate) fn keeps_freed() -> bool {
    KEEP_FREED.load(Ordering::Relaxed)
}

fn lock() -> MutexGuard<'static, State> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The blocks that are live, address and size, for a crash dump. The machine is at its end: a thread that holds the lock
/// and never comes back may not keep it from being told, so that the list is empty then.
pub(crate) fn blocks() -> Vec<(usize, usize)> {
    for _ in 0..2000 {
        if let Ok(state) = POOL.try_lock() {
            return state
                .live
                .iter()
                .map(|(address, block)| (*address, block.size))
                .collect();
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    Vec::new()
}

/// How many blocks drivers hold, and their bytes.
pub(crate) fn held() -> (u64, u64) {
    let state = lock();
    let held = state.live.values().filter(|block| block.owner.is_some());
    held.fold((0, 0), |(blocks, bytes), block| {
        (blocks + 1, bytes + block.size as u64)
    })
}

/// As Windows aligns: 16 bytes, and whole pages from a page on.
fn layout(size: usize) -> Option<Layout> {
    let align = if size >= PAGE { PAGE } else { 16 };
    Layout::from_size_align(size.checked_add(GUARD)?, align).ok()
}

/// Takes a block for the driver that is calling.
pub(crate) fn allocate(size: usize, tag: u32, kind: Kind, zero: bool) -> Option<usize> {
    let site = verifier::here();
    let owner = driver::at(site).map(|driver| Arc::clone(&driver.owner));
    take(size, tag, kind, zero, site, owner)
}

/// Takes a block that the kernel itself owns and only lends to drivers: who has not given it back is another table's
/// affair.
pub(crate) fn lend(size: usize, tag: u32, zero: bool) -> Option<usize> {
    take(size, tag, Kind::NonPaged, zero, 0, None)
}

/// The same of either kind, not zeroed: a filter says of each context in which pool it is to be.
pub(crate) fn lend_in(kind: Kind, size: usize, tag: u32) -> Option<usize> {
    take(size, tag, kind, false, 0, None)
}

fn take(
    size: usize,
    tag: u32,
    kind: Kind,
    zero: bool,
    site: usize,
    owner: Option<Arc<str>>,
) -> Option<usize> {
    let charged = owner.is_some();
    if charged && !quota::charge(size) {
        exhausted(size, tag);
        return None;
    }
    let special = special::allocate(size, tag, kind);
    let address = match special {
        Some(address) => address,
        None => ordinary(size).or_else(|| {
            quota::refund(size, charged);
            None
        })?,
    };
    fill(address, size, if zero { 0 } else { FRESH_BYTE });
    lock().live.insert(
        address,
        Block {
            size,
            tag,
            kind,
            owner,
            site,
            special: special.is_some(),
        },
    );
    Some(address)
}

/// All of the pool that there is has been given away: Windows would fail every allocation now, the drivers' and everybody else's.
fn exhausted(size: usize, tag: u32) {
    if !quota::tell() {
        return;
    }
    let mut held: HashMap<(u32, usize), (usize, usize)> = HashMap::default();
    for block in lock().live.values().filter(|block| block.owner.is_some()) {
        let entry = held.entry((block.tag, block.site)).or_default();
        entry.0 += 1;
        entry.1 += block.size;
    }
    let most = held.into_iter().max_by_key(|(_, (_, bytes))| *bytes);
    let most = most.map_or_else(String::new, |((tag, site), (blocks, bytes))| {
        format!(
            ", most of it ({blocks} blocks, {bytes} bytes) with tag {}, allocated at {}",
            tag_text(tag),
            symbols::describe(site)
        )
    });
    verifier::finding(
        "pool-exhausted",
        format!(
            "{size} bytes, tag {}, were not to be had: the drivers hold {} MB of pool, which is the machine's limit{most}; allocations fail \
             from now on",
            tag_text(tag),
            quota::limit() >> 20
        ),
    );
}

/// A block of ordinary pool, with its guard.
fn ordinary(size: usize) -> Option<usize> {
    let layout = layout(size)?;
    // SAFETY: the layout is not empty: it holds the guard.
    let pointer = unsafe { alloc(layout) };
    if pointer.is_null() {
        return None;
    }
    let address = pointer.expose_provenance();
    fill(address + size, GUARD, GUARD_BYTE);
    Some(address)
}

/// Gives a block back; what Windows would not survive is a bug check.
pub(crate) fn free(address: usize, tag: Option<u32>) {
    let live = lock()
        .live
        .get(&address)
        .map(|block| (block.size, block.kind));
    if let Some((size, kind)) = live {
        sync::about_to_free(address, size, kind as u64);
        lookaside::about_to_free(address, size);
    }
    let mut state = lock();
    let Some(block) = state.live.remove(&address) else {
        let earlier = state
            .freed
            .iter()
            .find(|(freed, _)| *freed == address)
            .map(|(_, block)| block.clone());
        drop(state);
        match earlier {
            Some(block) => bugcheck::raise(
                0xC2,
                [7, 0, u64::from(block.tag), address as u64],
                format!(
                    "a pool block of {} bytes, tag {}, is freed a second time",
                    block.size,
                    tag_text(block.tag)
                ),
            ),
            None if address != 0 && user::is_user(address) => bugcheck::raise(
                0xC2,
                [0x40, address as u64, user::system_range_start(), 0],
                format!("{address:#x} is freed, which is a user address"),
            ),
            None => bugcheck::raise(
                0xC2,
                [0x46, address as u64, 0, 0],
                match address {
                    0 => "NULL is freed: look whether there is a block before it is".to_owned(),
                    _ => format!("{address:#x} is freed, which is no pool block's address"),
                },
            ),
        }
    };
    if let Some(tag) = tag
        && tag != 0
        && tag != block.tag
    {
        drop(state);
        bugcheck::raise(
            0xC2,
            [0xA, address as u64, u64::from(block.tag), u64::from(tag)],
            format!(
                "a pool block of tag {} is freed with tag {}",
                tag_text(block.tag),
                tag_text(tag)
            ),
        );
    }
    if thread::try_current().is_some_and(|thread| thread.irql() > limit(block.kind)) {
        drop(state);
        let irql = u64::from(thread::irql());
        bugcheck::raise(
            0xC2,
            [9, irql, block.kind as u64, address as u64],
            "pool is freed at too high an IRQL",
        );
    }
    if let Some((at, code, parameters)) = damage(address, &block) {
        drop(state);
        let side = if at < address { "before" } else { "beyond" };
        bugcheck::raise(
            code,
            parameters,
            format!(
                "the driver wrote {side} the {} bytes of a pool block, tag {}, allocated at {}",
                block.size,
                tag_text(block.tag),
                symbols::describe_call(block.site)
            ),
        );
    }
    quota::refund(block.size, block.owner.is_some());
    if block.special {
        special::free(address, block.kind);
    } else if keeps_freed() {
        fill(address, block.size, FREED_BYTE);
    } else {
        drop(state);
        return give_back(address, block.size);
    }
    state.freed.push_back((address, block));
    let oldest = if state.freed.len() > QUARANTINE {
        state.freed.pop_front()
    } else {
        None
    };
    drop(state);
    if let Some((address, block)) = oldest {
        release(address, &block);
    }
}

/// What was written to beside a block: where, and the bug check.
fn damage(address: usize, block: &Block) -> Option<(usize, u32, [u64; 4])> {
    let freed = address as u64;
    if block.special {
        // SPECIAL_POOL_DETECTED_MEMORY_CORRUPTION.
        let (at, kind) = special::damage(address, block.size)?;
        return Some((at, 0xC1, [freed, at as u64, 0, kind]));
    }
    // BAD_POOL_HEADER.
    let end = address + block.size;
    (!holds(end, GUARD, GUARD_BYTE)).then_some((end, 0x19, [0x20, freed, end as u64, 0]))
}

fn release(address: usize, block: &Block) {
    if block.special {
        return;
    }
    if !holds(address, block.size, FREED_BYTE) {
        verifier::finding_at(
            "pool-use-after-free",
            block.site,
            format!(
                "a pool block of {} bytes, tag {}, that was allocated here was written to after it was freed",
                block.size,
                tag_text(block.tag)
            ),
        );
    }
    give_back(address, block.size);
}

fn give_back(address: usize, size: usize) {
    if let Some(layout) = layout(size) {
        let pointer: *mut u8 = std::ptr::with_exposed_provenance_mut(address);
        // SAFETY: allocated above with the same layout, and nobody else frees it.
        unsafe { dealloc(pointer, layout) };
    }
}

/// Checks the quarantine; what was written to is found now.
pub(crate) fn flush() {
    let freed = std::mem::take(&mut lock().freed);
    for (address, block) in freed {
        release(address, &block);
    }
}

/// Reports what a driver that goes away has left, by tag and call site.
pub(crate) fn report_leaks(service: &str) {
    let mut leaks: HashMap<(u32, usize), (usize, usize)> = HashMap::default();
    lock().live.retain(|_, block| {
        let leaked = block.owner.as_deref() == Some(service);
        if leaked {
            quota::refund(block.size, true);
            let entry = leaks.entry((block.tag, block.site)).or_default();
            entry.0 += 1;
            entry.1 += block.size;
        }
        !leaked
    });
    let mut leaks: Vec<_> = leaks.into_iter().collect();
    leaks.sort_unstable();
    for ((tag, site), (blocks, bytes)) in leaks {
        verifier::finding_at(
            "pool-leak",
            site,
            format!(
                "{service} was unloaded with {blocks} pool block(s) from here, {bytes} bytes, tag {}",
                tag_text(tag)
            ),
        );
    }
}

pub(super) const fn limit(kind: Kind) -> u8 {
    match kind {
        Kind::NonPaged => DISPATCH_LEVEL,
        Kind::Paged => APC_LEVEL,
    }
}

/// A tag as its four characters, lowest byte first as debuggers show it.
pub(crate) fn tag_text(tag: u32) -> String {
    let shown = |byte: &u8| {
        if (0x20..0x7F).contains(byte) {
            char::from(*byte)
        } else {
            '.'
        }
    };
    format!(
        "'{}'",
        tag.to_le_bytes().iter().map(shown).collect::<String>()
    )
}

pub(super) fn fill(address: usize, size: usize, byte: u8) {
    let pointer: *mut u8 = std::ptr::with_exposed_provenance_mut(address);
    // SAFETY: the range lies within a block of this pool.
    unsafe { pointer.write_bytes(byte, size) };
}

pub(super) fn holds(address: usize, size: usize, byte: u8) -> bool {
    let pointer: *const u8 = std::ptr::with_exposed_provenance(address);
    // SAFETY: the range lies within a block of this pool.
    let bytes = unsafe { std::slice::from_raw_parts(pointer, size) };
    // All of them, whatever is found: without a way out the compiler compares many at a time.
    bytes.iter().fold(0, |other, found| other | (found ^ byte)) == 0
}
