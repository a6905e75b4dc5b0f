//! Tunnel caches: what a file that is renamed or deleted hands on to one that soon takes its name.
//!
//! `FsRtlInitializeTunnelCache`, `FsRtlAddToTunnelCache`, `FsRtlFindInTunnelCache`; how long entries stay: Knowledge Base
//! article 172190. An entry is a block of pool of the driver that added it: a cache that is never deleted leaves them.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::memory::{Guest, units};
use super::sync::event::KeInitializeEvent;
use super::{irql, pool, time};
use crate::abi::base::UnicodeString;
use crate::maps::HashMap;
use crate::namespace::names::upcase;
use crate::seh::passing;
use crate::thread::APC_LEVEL;
use crate::{bugcheck, faults};

const TAG: u32 = u32::from_le_bytes(*b"Tunl");
/// `TUNNEL`: the event in its mutex, the tree, the queue, the count.
const BYTES: usize = 88;
const EVENT: usize = 24;
const COUNT: usize = 80;
/// Fifteen seconds in units of 100 ns.
const AGE: i64 = 15 * 10_000_000;
const MOST: usize = 256;

struct Entry {
    directory: u64,
    key: Vec<u16>,
    short: Vec<u16>,
    long: Vec<u16>,
    data: Vec<u8>,
    added: i64,
    block: usize,
}

/// The entries of each cache, the oldest first.
static CACHES: LazyLock<Mutex<HashMap<usize, Vec<Entry>>>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, HashMap<usize, Vec<Entry>>> {
    CACHES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn folded(name: &[u16]) -> Vec<u16> {
    name.iter().copied().map(upcase).collect()
}

/// Runs `change` on a cache's entries that are not too old, and frees what it takes out.
fn with<R>(call: &str, cache: usize, change: impl FnOnce(&mut Vec<Entry>) -> (R, Vec<Entry>)) -> R {
    irql::at_most(call, APC_LEVEL);
    let count = Guest::<u16>::at(cache + COUNT);
    count.read();
    let now = time::interrupt_time();
    let mut caches = lock();
    let Some(entries) = caches.get_mut(&cache) else {
        drop(caches);
        bugcheck::no_such(
            cache,
            format!("{call} was given {cache:#x}, which is no tunnel cache (any more)"),
        );
    };
    let old = |entry: &mut Entry| now - entry.added > AGE;
    let mut gone: Vec<Entry> = entries.extract_if(.., old).collect();
    let (answer, out) = change(entries);
    count.write(u16::try_from(entries.len()).unwrap_or(u16::MAX));
    drop(caches);
    gone.extend(out);
    for entry in gone {
        pool::free(entry.block, Some(TAG));
    }
    answer
}

/// Copies a name into a string of the caller's; `grow`: into one of pool where there is no room for it.
fn give(name: &[u16], out: Guest<UnicodeString>, grow: bool) {
    let bytes = name.len() * 2;
    let mut string = out.read();
    if bytes > usize::from(string.maximum_length) {
        if !grow {
            // Windows writes past the end.
            bugcheck::no_such(
                string.buffer.expose_provenance(),
                format!(
                    "FsRtlFindInTunnelCache has a short name of {bytes} bytes and is given room for {}: the string must hold a full 8.3 name",
                    string.maximum_length
                ),
            );
        }
        let Some(block) = pool::allocate(bytes, TAG, pool::Kind::Paged, false) else {
            return;
        };
        string.buffer = Guest::at(block).0;
        string.maximum_length = u16::try_from(bytes).unwrap_or(u16::MAX);
    }
    Guest(string.buffer).write_many(name);
    string.length = u16::try_from(bytes).unwrap_or(u16::MAX);
    out.write(string);
}

exports! { "ntoskrnl.exe";
    /// Makes an empty cache, in memory that is resident.
    fn FsRtlInitializeTunnelCache(cache: usize) {
        irql::at_most("FsRtlInitializeTunnelCache", APC_LEVEL);
        Guest::<u8>::at(cache).write_many(&[0; BYTES]);
        if passing::is_leaving() {
            return;
        }
        Guest::<i32>::at(cache).write(1);
        KeInitializeEvent(Guest::at(cache + EVENT), 1, 0);
        lock().insert(cache, Vec::new());
    }

    /// Keeps a name, and what belongs to it, in the place of what had that name before.
    partial "for 15 seconds and 256 entries: the registry's values are not read"
    fn FsRtlAddToTunnelCache(
        cache: usize, directory: u64, short: Guest<UnicodeString>, long: Guest<UnicodeString>, by_short: u8, length: u32,
        data: Guest<u8>,
    ) {
        let (short, long) = (units(short.read()), units(long.read()));
        let data = data.read_many(length as usize);
        let key = folded(if by_short == 0 { &long } else { &short });
        let bytes = (short.len() + long.len()) * 2 + data.len();
        with("FsRtlAddToTunnelCache", cache, |entries| {
            let same = |entry: &mut Entry| entry.directory == directory && entry.key == key;
            let mut out: Vec<Entry> = entries.extract_if(.., same).collect();
            if entries.len() == MOST {
                out.push(entries.remove(0));
            }
            if faults::check("FsRtlAddToTunnelCache").is_none()
                && let Some(block) = pool::allocate(bytes.max(1), TAG, pool::Kind::Paged, false)
            {
                entries.push(Entry { directory, key, short, long, data, added: time::interrupt_time(), block });
            }
            ((), out)
        });
    }

    /// Finds what was kept for a name, whatever its case.
    fn FsRtlFindInTunnelCache(
        cache: usize, directory: u64, name: Guest<UnicodeString>, short: Guest<UnicodeString>, long: Guest<UnicodeString>,
        length: Guest<u32>, data: Guest<u8>,
    ) -> u8 {
        let wanted = folded(&units(name.read()));
        let room = length.read() as usize;
        let found = with("FsRtlFindInTunnelCache", cache, |entries| {
            let found = entries.iter().find(|entry| entry.directory == directory && entry.key == wanted);
            (found.map(|entry| (entry.short.clone(), entry.long.clone(), entry.data.clone())), Vec::new())
        });
        let Some((short_name, long_name, kept)) = found else { return 0 };
        give(&short_name, short, false);
        give(&long_name, long, true);
        let kept = kept.get(..room).unwrap_or(&kept);
        data.write_many(kept);
        length.write(u32::try_from(kept.len()).unwrap_or(0));
        1
    }

    /// Forgets what was kept for a directory, which goes itself.
    fn FsRtlDeleteKeyFromTunnelCache(cache: usize, directory: u64) {
        with("FsRtlDeleteKeyFromTunnelCache", cache, |entries| {
            ((), entries.extract_if(.., |entry| entry.directory == directory).collect())
        });
    }

    /// Forgets all, and the cache.
    fn FsRtlDeleteTunnelCache(cache: usize) {
        with("FsRtlDeleteTunnelCache", cache, |entries| ((), std::mem::take(entries)));
        lock().remove(&cache);
    }
}
