//! Generic tables, the long forms: a search that says where a new element would go, and enumerations by what matches.
//!
//! `RtlLookupElementGenericTableFullAvl`, `RtlInsertElementGenericTableFullAvl`, `RtlLookupFirstMatchingElementGenericTableAvl`,
//! `RtlEnumerateGenericTableLikeADirectory`.

use super::memory::Guest;
use super::table::{AVL, SPLAY, Shape};
use crate::gate;

/// `TABLE_SEARCH_RESULT`.
const EMPTY: u32 = 0;
const FOUND: u32 = 1;
const AS_LEFT: u32 = 2;
const AS_RIGHT: u32 = 3;

/// Finds an element, or says beside which one it would go: behind the one before it, or before the first.
fn search(
    shape: &Shape,
    table: usize,
    key: usize,
    (node, result): (Guest<usize>, Guest<u32>),
) -> usize {
    let elements = Shape::elements(table);
    let at = |index: usize| elements.get(index).copied().unwrap_or(0);
    let (beside, how, found) = match shape.search(table, key) {
        Ok(index) => (at(index), FOUND, at(index)),
        Err(_) if elements.is_empty() => (0, EMPTY, 0),
        Err(0) => (at(0), AS_LEFT, 0),
        Err(index) => (at(index - 1), AS_RIGHT, 0),
    };
    // The node is the header before the element's data.
    node.write(beside.saturating_sub(shape.header));
    result.write(how);
    found
}

/// Where an insertion goes that a search has prepared; `Ok`: where the equal element is.
fn place(shape: &Shape, table: usize, node: usize, result: u32) -> Result<usize, usize> {
    let element = node.wrapping_add(shape.header);
    let index = Shape::elements(table)
        .iter()
        .position(|known| *known == element);
    match (result, index) {
        (FOUND, Some(index)) => Ok(index),
        (AS_RIGHT, Some(index)) => Err(index + 1),
        (_, index) => Err(index.unwrap_or(0)),
    }
}

/// Goes through a table in order from behind a key, or from the key's own element, to what a routine takes.
fn like_a_directory(
    table: usize,
    matches: [usize; 2],
    next: bool,
    key: Guest<usize>,
    buffer: usize,
) -> usize {
    const NO_MATCH: u64 = 0xC000_0272;
    const NO_MORE_MATCHES: u64 = 0xC000_0273;
    let elements = Shape::elements(table);
    let start = match key.read() {
        0 => match AVL.search(table, buffer) {
            Ok(index) => index + usize::from(next),
            Err(index) => index,
        },
        former => match elements.iter().position(|element| *element == former) {
            Some(index) => index + usize::from(next),
            None => match AVL.search(table, buffer) {
                Ok(index) | Err(index) => index,
            },
        },
    };
    for element in elements.iter().skip(start) {
        let [routine, data] = matches;
        let status = if routine == 0 {
            0
        } else {
            // SAFETY: the driver's routine, which takes the table, an element and the driver's data.
            let status = unsafe {
                gate::call_within(routine, &[table as u64, *element as u64, data as u64])
            };
            status & 0xFFFF_FFFF
        };
        match status {
            NO_MATCH => {}
            NO_MORE_MATCHES => return 0,
            _ => {
                key.write(*element);
                return *element;
            }
        }
    }
    0
}

exports! { "ntoskrnl.exe";
    /// Finds an element, or where it would go.
    fn RtlLookupElementGenericTableFullAvl(table: usize, buffer: usize, node: Guest<usize>, result: Guest<u32>) -> usize {
        search(&AVL, table, buffer, (node, result))
    }

    /// Inserts where a search has said.
    fn RtlInsertElementGenericTableFullAvl(
        table: usize, buffer: usize, size: u32, new: Guest<u8>, node: usize, result: u32,
    ) -> usize {
        AVL.insert_at(table, place(&AVL, table, node, result), buffer, size, new)
    }

    /// Finds an element, or where it would go.
    fn RtlLookupElementGenericTableFull(table: usize, buffer: usize, node: Guest<usize>, result: Guest<u32>) -> usize {
        search(&SPLAY, table, buffer, (node, result))
    }

    /// Inserts where a search has said.
    fn RtlInsertElementGenericTableFull(
        table: usize, buffer: usize, size: u32, new: Guest<u8>, node: usize, result: u32,
    ) -> usize {
        SPLAY.insert_at(table, place(&SPLAY, table, node, result), buffer, size, new)
    }

    /// The first of the elements that are equal to one; the next ones are enumerated from the key.
    fn RtlLookupFirstMatchingElementGenericTableAvl(table: usize, buffer: usize, key: Guest<usize>) -> usize {
        let Ok(index) = AVL.search(table, buffer) else { return 0 };
        let element = Shape::elements(table).get(index).copied().unwrap_or(0);
        key.write(element);
        element
    }

    /// The next element in order that a routine takes, also where the one before it is gone.
    partial "the count of deletions changes nothing: a key that is gone is looked for again always"
    fn RtlEnumerateGenericTableLikeADirectory(
        table: usize, routine: usize, data: usize, next: u32, key: Guest<usize>, _deletions: Guest<u32>, buffer: usize,
    ) -> usize {
        like_a_directory(table, [routine, data], next != 0, key, buffer)
    }
}
