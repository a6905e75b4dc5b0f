//! Map control blocks: which of a file's blocks (VBN) lies where on its volume (LBN).
//!
//! `FsRtlInitializeLargeMcb`, `FsRtlAddLargeMcbEntry`, `FsRtlLookupLargeMcbEntry` and their kin, and the `…BaseMcb` ones, which are the
//! same without a lock. Gaps below the highest block that is mapped are runs too, with -1 for where they lie.

mod map;
pub(super) mod small;

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use map::{HOLE, Map, Run};

use super::memory::Guest;
use super::{irql, pool, pool_api};
use crate::maps::HashMap;
use crate::seh::passing;
use crate::thread::APC_LEVEL;
use crate::{bugcheck, faults};

const TAG: u32 = u32::from_le_bytes(*b"FSmc");
/// `BASE_MCB`: how many pairs there is room for, how many there are, the pool, where the pairs are; in `LARGE_MCB` behind a mutex.
const BYTES: usize = 24;
const PAIRS: usize = 4;
const POOL: usize = 8;
const MAPPING: usize = 16;
const LARGE: usize = 8;
const ROOM: usize = 15;

static MAPS: LazyLock<Mutex<HashMap<usize, Map>>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, HashMap<usize, Map>> {
    MAPS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn initialise(call: &'static str, base: usize, pool_type: u32) {
    begin(call, base, pool_type, true);
}

/// Makes an empty map; false: there is no memory for it, and nothing is raised.
fn begin(call: &'static str, base: usize, pool_type: u32, raise: bool) -> bool {
    irql::at_most(call, APC_LEVEL);
    Guest::<u8>::at(base).write_many(&[0; BYTES]);
    if passing::is_leaving() {
        return false;
    }
    let failed = faults::check(call).is_some();
    let block = if failed {
        0
    } else {
        pool_api::of_old_type(call, pool_type, ROOM * 16, TAG)
    };
    let block = pool_api::or_raise(block, raise);
    if block == 0 {
        return false;
    }
    Guest::<u32>::at(base).write(u32::try_from(ROOM).unwrap_or(0));
    Guest::<u16>::at(base + POOL).write(u16::try_from(pool_type).unwrap_or(0));
    Guest::at(base + MAPPING).write(block);
    lock().insert(base, Map::default());
    true
}

/// Runs `change` on a map.
fn with<R>(call: &str, base: usize, change: impl FnOnce(&mut Map) -> R) -> R {
    irql::at_most(call, APC_LEVEL);
    let pairs = Guest::<u32>::at(base + PAIRS);
    pairs.read();
    let mut maps = lock();
    let Some(map) = maps.get_mut(&base) else {
        drop(maps);
        bugcheck::no_such(
            base,
            format!("{call} was given {base:#x}, which is no map control block (any more)"),
        );
    };
    let answer = change(map);
    pairs.write(u32::try_from(map.runs().len()).unwrap_or(u32::MAX));
    answer
}

fn uninitialise(call: &str, base: usize) {
    with(call, base, Map::clear);
    lock().remove(&base);
    pool::free(Guest::<usize>::at(base + MAPPING).read(), Some(TAG));
}

fn look_up(
    (call, base): (&str, usize),
    vbn: i64,
    [lbn, from_lbn, start, from_start]: [Guest<i64>; 4],
    index: Guest<u32>,
) -> u8 {
    let Some((at, run)) = with(call, base, |map| map.find(vbn)) else {
        return 0;
    };
    let within = vbn - run.vbn;
    lbn.write_opt(if run.lbn == HOLE {
        HOLE
    } else {
        run.lbn + within
    });
    from_lbn.write_opt(run.count - within);
    start.write_opt(run.lbn);
    from_start.write_opt(run.count);
    index.write_opt(u32::try_from(at).unwrap_or(u32::MAX));
    1
}

fn last(call: &str, base: usize, vbn: Guest<i64>, lbn: Guest<i64>, index: Guest<u32>) -> u8 {
    let runs = with(call, base, |map| map.runs());
    let Some(run) = runs.last() else { return 0 };
    vbn.write(run.end() - 1);
    lbn.write(run.lbn + run.count - 1);
    index.write_opt(u32::try_from(runs.len() - 1).unwrap_or(u32::MAX));
    1
}

fn number(call: &str, base: usize) -> u32 {
    u32::try_from(with(call, base, |map| map.runs().len())).unwrap_or(u32::MAX)
}

fn next((call, base): (&str, usize), index: u32, [vbn, lbn, count]: [Guest<i64>; 3]) -> u8 {
    let runs = with(call, base, |map| map.runs());
    let Some(run) = runs.get(index as usize) else {
        return 0;
    };
    vbn.write(run.vbn);
    lbn.write(run.lbn);
    count.write(run.count);
    1
}

/// Declares the functions of one kind of block, which begins so far into what drivers have.
macro_rules! blocks {
    ($at:expr, $initialise:ident $uninitialise:ident $reset:ident($($also:ident: $ty:ty)?) $truncate:ident $add:ident
        $remove:ident$(($removed:ty))? $look_up:ident $last:ident $last_index:ident $number:ident $next:ident $split:ident) => {
        exports! { "ntoskrnl.exe";
            /// Makes an empty map, with room in that pool, or raises `STATUS_INSUFFICIENT_RESOURCES`.
            fn $initialise(block: usize, pool_type: u32) {
                initialise(stringify!($initialise), block + $at, pool_type);
            }

            /// Gives its memory back.
            fn $uninitialise(block: usize) {
                uninitialise(stringify!($uninitialise), block + $at);
            }

            /// Makes it empty.
            fn $reset(block: usize $(, $also: $ty)?) {
                with(stringify!($reset), block + $at, |map| map.clear());
            }

            /// Takes away what lies from a block on.
            fn $truncate(block: usize, vbn: i64) {
                with(stringify!($truncate), block + $at, |map| map.remove(vbn, i64::MAX));
            }

            /// Maps blocks; FALSE: some of them lie elsewhere.
            fn $add(block: usize, vbn: i64, lbn: i64, count: i64) -> u8 {
                u8::from(with(stringify!($add), block + $at, |map| map.add(Run { vbn, lbn, count })))
            }

            /// Makes a gap of blocks.
            fn $remove(block: usize, vbn: i64, count: i64) $(-> $removed)? {
                with(stringify!($remove), block + $at, |map| map.remove(vbn, count));
                $(<$removed>::from(true))?
            }

            /// Where a block lies, and the run that it is in.
            fn $look_up(
                block: usize, vbn: i64, lbn: Guest<i64>, from_lbn: Guest<i64>, start: Guest<i64>, from_start: Guest<i64>,
                index: Guest<u32>,
            ) -> u8 {
                look_up((stringify!($look_up), block + $at), vbn, [lbn, from_lbn, start, from_start], index)
            }

            /// The highest block that is mapped.
            fn $last(block: usize, vbn: Guest<i64>, lbn: Guest<i64>) -> u8 {
                last(stringify!($last), block + $at, vbn, lbn, Guest::at(0))
            }

            /// The same, with the index of its run.
            fn $last_index(block: usize, vbn: Guest<i64>, lbn: Guest<i64>, index: Guest<u32>) -> u8 {
                last(stringify!($last_index), block + $at, vbn, lbn, index)
            }

            /// How many runs there are, the gaps among them.
            fn $number(block: usize) -> u32 {
                number(stringify!($number), block + $at)
            }

            /// The run of that index.
            fn $next(block: usize, index: u32, vbn: Guest<i64>, lbn: Guest<i64>, count: Guest<i64>) -> u8 {
                next((stringify!($next), block + $at), index, [vbn, lbn, count])
            }

            /// Makes room: shifts what lies from a block on.
            fn $split(block: usize, vbn: i64, amount: i64) -> u8 {
                u8::from(with(stringify!($split), block + $at, |map| map.split(vbn, amount)))
            }
        }
    };
}

blocks! { LARGE, FsRtlInitializeLargeMcb FsRtlUninitializeLargeMcb FsRtlResetLargeMcb(_synchronised: u8) FsRtlTruncateLargeMcb
FsRtlAddLargeMcbEntry FsRtlRemoveLargeMcbEntry FsRtlLookupLargeMcbEntry FsRtlLookupLastLargeMcbEntry
FsRtlLookupLastLargeMcbEntryAndIndex FsRtlNumberOfRunsInLargeMcb FsRtlGetNextLargeMcbEntry FsRtlSplitLargeMcb }

/// The same without a lock.
pub(super) mod base {
    use super::{Guest, Run, initialise, last, look_up, next, number, uninitialise, with};

    blocks! { 0, FsRtlInitializeBaseMcb FsRtlUninitializeBaseMcb FsRtlResetBaseMcb() FsRtlTruncateBaseMcb FsRtlAddBaseMcbEntry
    FsRtlRemoveBaseMcbEntry(u8) FsRtlLookupBaseMcbEntry FsRtlLookupLastBaseMcbEntry FsRtlLookupLastBaseMcbEntryAndIndex
    FsRtlNumberOfRunsInBaseMcb FsRtlGetNextBaseMcbEntry FsRtlSplitBaseMcb }
}
