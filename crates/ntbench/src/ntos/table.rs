//! Generic tables: ordered by the driver's own comparison, in memory from the driver's own routines.
//!
//! Drivers may look at the count in the table and at their own data behind each element's header, and at nothing else; so
//! the order is kept here, as a sorted list of element addresses. The splay tree and the AVL tree differ in their headers, and in
//! `RtlEnumerateGenericTable`, which for the one starts a splay and for the other does not.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::memory::Guest;
use crate::seh::passing;
use crate::{gate, verifier};

/// What the comparison routine answers.
const LESS: u64 = 0;
const GREATER: u64 = 1;

/// Where a kind of table keeps what a driver or an inline function reads, and how long its element's header is.
pub(super) struct Shape {
    bytes: usize,
    count: usize,
    compare: usize,
    pub(super) header: usize,
}

/// `RTL_AVL_TABLE` over `RTL_BALANCED_LINKS`.
pub(super) const AVL: Shape = Shape {
    bytes: 104,
    count: 44,
    compare: 72,
    header: 32,
};
/// `RTL_GENERIC_TABLE` over `RTL_SPLAY_LINKS` and a `LIST_ENTRY`.
pub(super) const SPLAY: Shape = Shape {
    bytes: 72,
    count: 36,
    compare: 40,
    header: 40,
};

#[derive(Default)]
struct Table {
    /// Elements' user data, in order.
    elements: Vec<usize>,
    /// The next one of an enumeration.
    next: usize,
}

static TABLES: LazyLock<Mutex<HashMap<usize, Table>>> = LazyLock::new(Mutex::default);

fn tables() -> MutexGuard<'static, HashMap<usize, Table>> {
    TABLES.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shape {
    fn routine(&self, table: usize, index: usize) -> usize {
        Guest::<usize>::at(table + self.compare + index * 8).read()
    }

    fn initialise(&self, table: usize, routines: [usize; 4]) {
        Guest::<u8>::at(table).write_many(&vec![0; self.bytes]);
        Guest::<[usize; 4]>::at(table + self.compare).write(routines);
        tables().insert(table, Table::default());
    }

    /// The elements' data, in order.
    pub(super) fn elements(table: usize) -> Vec<usize> {
        tables()
            .get(&table)
            .map_or_else(Vec::new, |table| table.elements.clone())
    }

    /// Where a key is, or where it would be.
    pub(super) fn search(&self, table: usize, key: usize) -> Result<usize, usize> {
        let compare = self.routine(table, 0);
        let elements = Self::elements(table);
        let (mut low, mut high) = (0, elements.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            let element = elements.get(middle).copied().unwrap_or(0);
            // SAFETY: the driver's comparison routine, which takes the table and two structures.
            let order =
                unsafe { gate::call_within(compare, &[table as u64, key as u64, element as u64]) };
            match order & 0xFFFF_FFFF {
                LESS => high = middle,
                GREATER => low = middle + 1,
                _ => return Ok(middle),
            }
        }
        Err(low)
    }

    fn count(&self, table: usize, elements: usize) {
        let count = u32::try_from(elements).unwrap_or(u32::MAX);
        Guest::<u32>::at(table + self.count).write(count);
    }

    fn insert(&self, table: usize, buffer: usize, size: u32, new: Guest<u8>) -> usize {
        self.insert_at(table, self.search(table, buffer), buffer, size, new)
    }

    /// Inserts where a search has found that it belongs; `Ok`: its equal is there.
    pub(super) fn insert_at(
        &self,
        table: usize,
        place: Result<usize, usize>,
        buffer: usize,
        size: u32,
        new: Guest<u8>,
    ) -> usize {
        let at = match place {
            Ok(found) => {
                new.write_opt(0);
                return Self::elements(table).get(found).copied().unwrap_or(0);
            }
            Err(at) => at,
        };
        let bytes = self.header as u64 + u64::from(size);
        // SAFETY: the driver's allocation routine, which takes the table and a number of bytes.
        let block = unsafe { gate::call_within(self.routine(table, 1), &[table as u64, bytes]) };
        let Ok(block @ 1..) = usize::try_from(block) else {
            if !passing::is_leaving() {
                new.write_opt(0);
            }
            return 0;
        };
        Guest::<u8>::at(block).write_many(&vec![0; self.header]);
        let element = block + self.header;
        Guest::<u8>::at(element).write_many(&Guest::<u8>::at(buffer).read_many(size as usize));
        let elements = {
            let mut tables = tables();
            let known = tables.entry(table).or_default();
            known.elements.insert(at.min(known.elements.len()), element);
            known.elements.len()
        };
        self.count(table, elements);
        new.write_opt(1);
        element
    }

    fn delete(&self, table: usize, buffer: usize) -> u8 {
        let Ok(found) = self.search(table, buffer) else {
            return 0;
        };
        let (element, elements) = {
            let mut tables = tables();
            let known = tables.entry(table).or_default();
            if known.next > found {
                known.next -= 1;
            }
            (known.elements.remove(found), known.elements.len())
        };
        self.count(table, elements);
        let block = (element - self.header) as u64;
        // SAFETY: the driver's freeing routine, which takes the table and the block.
        unsafe { gate::call_within(self.routine(table, 2), &[table as u64, block]) };
        1
    }

    fn look_up(&self, table: usize, buffer: usize) -> usize {
        let found = self.search(table, buffer).ok();
        found
            .and_then(|found| Self::elements(table).get(found).copied())
            .unwrap_or(0)
    }
}

fn at(table: usize, index: u32) -> usize {
    Shape::elements(table)
        .get(index as usize)
        .copied()
        .unwrap_or(0)
}

fn number(table: usize) -> u32 {
    u32::try_from(Shape::elements(table).len()).unwrap_or(u32::MAX)
}

/// The next element of the table's one enumeration.
fn enumerate(table: usize, restart: bool) -> usize {
    let mut tables = tables();
    let Some(known) = tables.get_mut(&table) else {
        return 0;
    };
    if restart {
        known.next = 0;
    }
    let element = known.elements.get(known.next).copied().unwrap_or(0);
    known.next += usize::from(element != 0);
    element
}

/// The element behind the one in `key`, which is the caller's and starts as NULL.
fn enumerate_by_key(table: usize, key: Guest<usize>) -> usize {
    let elements = Shape::elements(table);
    let former = key.read();
    let index = if former == 0 {
        0
    } else {
        let Some(index) = elements.iter().position(|element| *element == former) else {
            verifier::finding(
                "table-restart-key",
                "a generic table is enumerated on from an element that has been deleted",
            );
            return 0;
        };
        index + 1
    };
    let element = elements.get(index).copied().unwrap_or(0);
    if element != 0 {
        key.write(element);
    }
    element
}

exports! { "ntoskrnl.exe";
    /// Makes an empty table.
    fn RtlInitializeGenericTableAvl(table: usize, compare: usize, allocate: usize, free: usize, context: usize) {
        AVL.initialise(table, [compare, allocate, free, context]);
    }

    /// Inserts a copy of a structure, unless its equal is there; gives the element.
    fn RtlInsertElementGenericTableAvl(table: usize, buffer: usize, size: u32, new: Guest<u8>) -> usize {
        AVL.insert(table, buffer, size, new)
    }

    /// Deletes an element.
    fn RtlDeleteElementGenericTableAvl(table: usize, buffer: usize) -> u8 {
        AVL.delete(table, buffer)
    }

    /// Finds an element.
    fn RtlLookupElementGenericTableAvl(table: usize, buffer: usize) -> usize {
        AVL.look_up(table, buffer)
    }

    /// The element of that index.
    fn RtlGetElementGenericTableAvl(table: usize, index: u32) -> usize {
        at(table, index)
    }

    /// The next element, in order.
    fn RtlEnumerateGenericTableAvl(table: usize, restart: u8) -> usize {
        enumerate(table, restart != 0)
    }

    /// The next element, in order, of an enumeration of the caller's own.
    fn RtlEnumerateGenericTableWithoutSplayingAvl(table: usize, key: Guest<usize>) -> usize {
        enumerate_by_key(table, key)
    }

    /// How many elements there are.
    fn RtlNumberGenericTableElementsAvl(table: usize) -> u32 {
        number(table)
    }

    /// Whether there is none.
    fn RtlIsGenericTableEmptyAvl(table: usize) -> u8 {
        u8::from(number(table) == 0)
    }

    /// Makes an empty table.
    fn RtlInitializeGenericTable(table: usize, compare: usize, allocate: usize, free: usize, context: usize) {
        SPLAY.initialise(table, [compare, allocate, free, context]);
    }

    /// Inserts a copy of a structure, unless its equal is there; gives the element.
    fn RtlInsertElementGenericTable(table: usize, buffer: usize, size: u32, new: Guest<u8>) -> usize {
        SPLAY.insert(table, buffer, size, new)
    }

    /// Deletes an element.
    fn RtlDeleteElementGenericTable(table: usize, buffer: usize) -> u8 {
        SPLAY.delete(table, buffer)
    }

    /// Finds an element.
    fn RtlLookupElementGenericTable(table: usize, buffer: usize) -> usize {
        SPLAY.look_up(table, buffer)
    }

    /// The element of that index.
    fn RtlGetElementGenericTable(table: usize, index: u32) -> usize {
        at(table, index)
    }

    /// The next element, in order.
    fn RtlEnumerateGenericTable(table: usize, restart: u8) -> usize {
        enumerate(table, restart != 0)
    }

    /// The next element, in order, of an enumeration of the caller's own.
    fn RtlEnumerateGenericTableWithoutSplaying(table: usize, key: Guest<usize>) -> usize {
        enumerate_by_key(table, key)
    }

    /// How many elements there are.
    fn RtlNumberGenericTableElements(table: usize) -> u32 {
        number(table)
    }

    /// Whether there is none.
    fn RtlIsGenericTableEmpty(table: usize) -> u8 {
        u8::from(number(table) == 0)
    }
}
