//! Dynamic hash tables: entries in drivers' memory, linked by their signatures.
//!
//! `RtlCreateHashTable`, `RtlInsertEntryHashTable`, `RtlLookupEntryHashTable`, and the two kinds of enumeration. The inline functions read the
//! table's counts, so that they are kept where drivers see them; the chains are lists of the entries themselves. An entry
//! with signature 0 is an enumerator, which stands in a chain where its enumeration is.

use super::memory::Guest;
use super::{irql, pool};
use crate::faults;
use crate::thread::DISPATCH_LEVEL;

const TAG: u32 = u32::from_le_bytes(*b"HTab");
/// `RTL_HASH_ALLOCATED_HEADER`, `RTL_HASH_RESERVED_SIGNATURE` and `RTL_HASH_ALT_SIGNATURE`.
const ALLOCATED: u32 = 1;
const RESERVED: u64 = 0;
const ALTERNATIVE: u64 = 1;
const BUCKETS: u32 = 128;

/// `RTL_DYNAMIC_HASH_TABLE`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Table {
    flags: u32,
    shift: u32,
    size: u32,
    pivot: u32,
    mask: u32,
    entries: u32,
    non_empty: u32,
    enumerators: u32,
    directory: usize,
}

/// `RTL_DYNAMIC_HASH_TABLE_CONTEXT`: a chain, what stands before the entry that it is for, and the signature.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Context {
    chain: usize,
    before: usize,
    signature: u64,
}

/// In an entry behind its links; in an enumerator behind that.
const SIGNATURE: usize = 16;
const CHAIN: usize = 24;
const BUCKET: usize = 32;

fn next(link: usize) -> usize {
    Guest::<usize>::at(link).read()
}

fn signature(entry: usize) -> u64 {
    Guest::<u64>::at(entry.wrapping_add(SIGNATURE)).read()
}

/// Links behind `before`.
fn link(before: usize, entry: usize) {
    let after = next(before);
    Guest::at(entry).write([after, before]);
    Guest::at(after.wrapping_add(8)).write(entry);
    Guest::at(before).write(entry);
}

fn unlink(entry: usize) {
    let [after, before] = Guest::<[usize; 2]>::at(entry).read();
    Guest::at(before).write(after);
    Guest::at(after.wrapping_add(8)).write(before);
}

impl Table {
    fn chain(&self, index: u32) -> usize {
        self.directory.wrapping_add(16 * index as usize)
    }

    fn chain_of(&self, wanted: u64) -> usize {
        // What drivers use as signatures are addresses and hashes: the low bits of the one say little.
        let mixed = wanted.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        self.chain(u32::try_from(mixed).unwrap_or(0) & self.mask)
    }

    /// Where an entry of that signature is or would be: what stands before the first that is not less.
    fn place(&self, wanted: u64) -> Context {
        let chain = self.chain_of(wanted);
        let (mut before, mut at) = (chain, next(chain));
        while at != chain && at != 0 {
            let found = signature(at);
            if found >= wanted {
                break;
            }
            before = at;
            at = next(at);
        }
        Context {
            chain,
            before,
            signature: wanted,
        }
    }
}

/// The entries of a chain, the enumerators left out.
fn has_entries(chain: usize) -> bool {
    let mut at = next(chain);
    while at != chain && at != 0 {
        if signature(at) != RESERVED {
            return true;
        }
        at = next(at);
    }
    false
}

/// The first entry behind a link, and the chain that it is in, from that bucket on.
fn following(table: &Table, link: usize, bucket: u32) -> Option<(usize, u32)> {
    let (mut at, mut bucket) = (next(link), bucket);
    loop {
        let chain = table.chain(bucket);
        while at != chain && at != 0 {
            if signature(at) != RESERVED {
                return Some((at, bucket));
            }
            at = next(at);
        }
        bucket = bucket.saturating_add(1);
        if at == 0 || bucket >= table.size {
            return None;
        }
        at = next(table.chain(bucket));
    }
}

fn begin(table: Guest<Table>, enumerator: usize, linked: bool) -> u8 {
    let mut now = table.read();
    let chain = now.chain(0);
    Guest::<u64>::at(enumerator + SIGNATURE).write(RESERVED);
    Guest::at(enumerator + CHAIN).write(chain);
    Guest::<u32>::at(enumerator + BUCKET).write(0);
    if linked {
        link(chain, enumerator);
        now.enumerators = now.enumerators.wrapping_add(1);
        table.write(now);
    } else {
        Guest::at(enumerator).write([chain, chain]);
    }
    1
}

fn create(out: Guest<usize>, shift: u32, flags: u32) -> u8 {
    irql::at_most("RtlCreateHashTable", DISPATCH_LEVEL);
    if flags != 0 || faults::check("RtlCreateHashTable").is_some() {
        return 0;
    }
    let block = |bytes| pool::allocate(bytes, TAG, pool::Kind::NonPaged, true);
    let given = out.read();
    let Some(directory) = block(16 * BUCKETS as usize) else {
        return 0;
    };
    let header = if given == 0 {
        block(size_of::<Table>())
    } else {
        Some(given)
    };
    let Some(header) = header else {
        pool::free(directory, Some(TAG));
        return 0;
    };
    let table = Table {
        flags: if given == 0 { ALLOCATED } else { 0 },
        shift,
        size: BUCKETS,
        pivot: 0,
        mask: BUCKETS - 1,
        entries: 0,
        non_empty: 0,
        enumerators: 0,
        directory,
    };
    for index in 0..BUCKETS {
        let chain = table.chain(index);
        Guest::at(chain).write([chain, chain]);
    }
    Guest::at(header).write(table);
    out.write(header);
    1
}

exports! { "ntoskrnl.exe";
    /// Makes an empty table, in the caller's memory or in pool.
    partial "128 buckets, by a function of the bench's own"
    fn RtlCreateHashTable(table: Guest<usize>, shift: u32, flags: u32) -> u8 {
        create(table, shift, flags)
    }

    /// The same, with so many buckets.
    partial "128 buckets, whatever is asked for; by a function of the bench's own"
    fn RtlCreateHashTableEx(table: Guest<usize>, size: u32, shift: u32, flags: u32) -> u8 {
        if !size.is_power_of_two() {
            return 0;
        }
        create(table, shift, flags)
    }

    /// Gives its memory back; the entries are the driver's.
    fn RtlDeleteHashTable(table: Guest<Table>) {
        let now = table.read();
        pool::free(now.directory, Some(TAG));
        if now.flags & ALLOCATED != 0 {
            pool::free(table.address(), Some(TAG));
        }
    }

    /// Puts an entry in, whether or not another has its signature.
    fn RtlInsertEntryHashTable(table: Guest<Table>, entry: usize, wanted: u64, context: Guest<Context>) -> u8 {
        let mut now = table.read();
        let wanted = if wanted == RESERVED { ALTERNATIVE } else { wanted };
        let place = now.place(wanted);
        now.non_empty = now.non_empty.wrapping_add(u32::from(!has_entries(place.chain)));
        now.entries = now.entries.wrapping_add(1);
        Guest::at(entry + SIGNATURE).write(wanted);
        link(place.before, entry);
        table.write(now);
        context.write_opt(place);
        1
    }

    /// Takes an entry out.
    fn RtlRemoveEntryHashTable(table: Guest<Table>, entry: usize, context: Guest<Context>) -> u8 {
        let mut now = table.read();
        let place = now.place(signature(entry));
        unlink(entry);
        now.entries = now.entries.wrapping_sub(1);
        now.non_empty = now.non_empty.wrapping_sub(u32::from(!has_entries(place.chain)));
        table.write(now);
        context.write_opt(place);
        1
    }

    /// The first entry of a signature.
    fn RtlLookupEntryHashTable(table: Guest<Table>, wanted: u64, context: Guest<Context>) -> usize {
        let wanted = if wanted == RESERVED { ALTERNATIVE } else { wanted };
        let place = table.read().place(wanted);
        context.write_opt(place);
        let at = next(place.before);
        if at != place.chain && at != 0 && signature(at) == wanted { at } else { 0 }
    }

    /// The next one of the same signature.
    fn RtlGetNextEntryHashTable(_table: Guest<Table>, context: Guest<Context>) -> usize {
        let mut place = context.read();
        // Past the entry that was found last, and past enumerators behind it.
        let mut before = next(place.before);
        let mut at = next(before);
        while at != place.chain && at != 0 && signature(at) == RESERVED {
            before = at;
            at = next(at);
        }
        if at == place.chain || at == 0 || signature(at) != place.signature {
            return 0;
        }
        place.before = before;
        context.write(place);
        at
    }

    /// Begins to go through all entries while they may change.
    fn RtlInitEnumerationHashTable(table: Guest<Table>, enumerator: usize) -> u8 {
        begin(table, enumerator, true)
    }

    /// The next entry; NULL: there is none.
    fn RtlEnumerateEntryHashTable(table: Guest<Table>, enumerator: usize) -> usize {
        let now = table.read();
        let bucket = Guest::<u32>::at(enumerator + BUCKET).read();
        let Some((entry, bucket)) = following(&now, enumerator, bucket) else { return 0 };
        unlink(enumerator);
        link(entry, enumerator);
        Guest::at(enumerator + CHAIN).write(now.chain(bucket));
        Guest::at(enumerator + BUCKET).write(bucket);
        entry
    }

    /// Ends that.
    fn RtlEndEnumerationHashTable(table: Guest<Table>, enumerator: usize) {
        let mut now = table.read();
        unlink(enumerator);
        now.enumerators = now.enumerators.saturating_sub(1);
        table.write(now);
    }

    /// Begins to go through all entries while none is removed.
    fn RtlInitWeakEnumerationHashTable(table: Guest<Table>, enumerator: usize) -> u8 {
        begin(table, enumerator, false)
    }

    /// The next entry; NULL: there is none.
    fn RtlWeaklyEnumerateEntryHashTable(table: Guest<Table>, enumerator: usize) -> usize {
        let now = table.read();
        let [at, bucket] = [next(enumerator), Guest::<u32>::at(enumerator + BUCKET).read() as usize];
        let Some((entry, bucket)) = following(&now, at, u32::try_from(bucket).unwrap_or(0)) else { return 0 };
        Guest::at(enumerator).write(entry);
        Guest::at(enumerator + CHAIN).write(now.chain(bucket));
        Guest::at(enumerator + BUCKET).write(bucket);
        entry
    }

    /// Ends that.
    fn RtlEndWeakEnumerationHashTable(_table: Guest<Table>, enumerator: usize) {
        Guest::at(enumerator).write([0_usize; 2]);
    }

    /// Makes more buckets.
    partial "FALSE always: the table keeps its 128 buckets"
    fn RtlExpandHashTable(table: Guest<Table>) -> u8 {
        table.read();
        0
    }

    /// Makes fewer buckets.
    partial "FALSE always: the table keeps its 128 buckets"
    fn RtlContractHashTable(table: Guest<Table>) -> u8 {
        table.read();
        0
    }
}
