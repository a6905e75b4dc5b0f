//! Prefix tables: which of many paths is the longest one that another begins with.
//!
//! `RtlInitializeUnicodePrefix` and its kin, and `PfxInitialize` for strings of bytes. Entries and the strings that they lead to
//! are the driver's memory and are looked at at each search; the order is kept here, for the tables are opaque.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::irql;
use super::memory::{Guest, units};
use super::text::bytes;
use crate::abi::base::{AnsiString, UnicodeString};
use crate::maps::HashMap;
use crate::namespace::names::{BACKSLASH, upcase};
use crate::seh::passing;
use crate::thread::APC_LEVEL;
use crate::{bugcheck, verifier};

/// Where `UNICODE_PREFIX_TABLE_ENTRY` and `PREFIX_TABLE_ENTRY` lead to their prefix; each begins with a type and how many parts
/// the prefix has.
const UNICODE_PREFIX: usize = 48;
const BYTES_PREFIX: usize = 40;
const TABLE_TYPE: i16 = 0x800;
const ENTRY_TYPE: i16 = 0x801;

#[derive(Default)]
struct Table {
    entries: Vec<usize>,
    /// The next one of the enumeration.
    next: usize,
}

static TABLES: LazyLock<Mutex<HashMap<usize, Table>>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, HashMap<usize, Table>> {
    TABLES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `change` on a table.
fn with<R>(call: &str, table: usize, change: impl FnOnce(&mut Table) -> R) -> R {
    irql::at_most(call, APC_LEVEL);
    Guest::<i16>::at(table).read();
    let mut tables = lock();
    let Some(known) = tables.get_mut(&table) else {
        drop(tables);
        bugcheck::no_such(
            table,
            format!("{call} was given {table:#x}, which is no initialised prefix table"),
        );
    };
    change(known)
}

fn initialise(call: &str, table: usize, bytes: usize) {
    irql::at_most(call, APC_LEVEL);
    Guest::<u8>::at(table).write_many(&vec![0; bytes]);
    Guest::<i16>::at(table).write(TABLE_TYPE);
    if !passing::is_leaving() {
        lock().insert(table, Table::default());
    }
}

/// How an entry's prefix is read.
type Text = fn(usize) -> Vec<u16>;

/// An entry's prefix, as units of the kind of table that it is in.
fn unicode(entry: usize) -> Vec<u16> {
    let string = Guest::<usize>::at(entry + UNICODE_PREFIX).read();
    units(Guest::<UnicodeString>::at(string).read())
}

fn narrow(entry: usize) -> Vec<u16> {
    let string = Guest::<usize>::at(entry + BYTES_PREFIX).read();
    bytes(Guest::<AnsiString>::at(string))
        .into_iter()
        .map(u16::from)
        .collect()
}

fn parts(path: &[u16]) -> usize {
    path.split(|unit| *unit == BACKSLASH)
        .filter(|part| !part.is_empty())
        .count()
}

/// Whether a path begins with another, part by part; the first so many units by their case.
fn begins(path: &[u16], prefix: &[u16], exact: usize) -> bool {
    let Some(head) = path.get(..prefix.len()) else {
        return false;
    };
    let same = head
        .iter()
        .zip(prefix)
        .enumerate()
        .all(|(at, (one, other))| one == other || (at >= exact && upcase(*one) == upcase(*other)));
    let whole = prefix.last() == Some(&BACKSLASH)
        || matches!(path.get(prefix.len()), None | Some(&BACKSLASH));
    same && whole && !prefix.is_empty()
}

/// The entry with the longest prefix that fits.
fn longest(entries: &[usize], prefix: Text, path: &[u16], exact: usize) -> usize {
    entries
        .iter()
        .map(|entry| (prefix(*entry), *entry))
        .filter(|(prefix, _)| begins(path, prefix, exact))
        .max_by_key(|(prefix, _)| prefix.len())
        .map_or(0, |(_, entry)| entry)
}

/// Puts an entry into a table, unless the same prefix is there.
fn insert(call: &str, (table, entry): (usize, usize), (prefix, text): (Text, Vec<u16>)) -> u8 {
    let count = parts(&text);
    let inserted = with(call, table, |table| {
        if table.entries.iter().any(|known| prefix(*known) == text) {
            return false;
        }
        let later = |known: &usize| {
            let other = prefix(*known);
            (parts(&other), &other) > (count, &text)
        };
        let at = table.entries.iter().position(later);
        let at = at.unwrap_or(table.entries.len());
        table.entries.insert(at, entry);
        table.next += usize::from(table.next > at);
        true
    });
    if inserted {
        Guest::<[i16; 2]>::at(entry).write([ENTRY_TYPE, i16::try_from(count).unwrap_or(i16::MAX)]);
    }
    u8::from(inserted)
}

fn remove(call: &str, table: usize, entry: usize) {
    let found = with(call, table, |table| {
        let at = table.entries.iter().position(|known| *known == entry)?;
        table.entries.remove(at);
        table.next -= usize::from(table.next > at);
        Some(())
    });
    if found.is_none() {
        verifier::finding(
            "table-restart-key",
            format!("{call} was given {entry:#x}, which is no entry of that prefix table"),
        );
    }
}

exports! { "ntoskrnl.exe";
    /// Makes an empty table of Unicode paths.
    fn RtlInitializeUnicodePrefix(table: usize) {
        initialise("RtlInitializeUnicodePrefix", table, 24);
    }

    /// Puts a path in, unless the very same is there.
    fn RtlInsertUnicodePrefix(table: usize, prefix: Guest<UnicodeString>, entry: usize) -> u8 {
        let text = units(prefix.read());
        let inserted = insert("RtlInsertUnicodePrefix", (table, entry), (unicode, text));
        if inserted != 0 {
            Guest::at(entry + UNICODE_PREFIX).write(prefix.address());
        }
        inserted
    }

    /// The entry with the longest path that a path begins with; case counts in the first so many units.
    fn RtlFindUnicodePrefix(table: usize, path: Guest<UnicodeString>, exact: u32) -> usize {
        let path = units(path.read());
        with("RtlFindUnicodePrefix", table, |table| longest(&table.entries, unicode, &path, exact as usize))
    }

    /// The next entry of the table's one enumeration.
    fn RtlNextUnicodePrefix(table: usize, restart: u8) -> usize {
        with("RtlNextUnicodePrefix", table, |table| {
            if restart != 0 {
                table.next = 0;
            }
            let entry = table.entries.get(table.next).copied().unwrap_or(0);
            table.next += usize::from(entry != 0);
            entry
        })
    }

    /// Takes an entry out.
    fn RtlRemoveUnicodePrefix(table: usize, entry: usize) {
        remove("RtlRemoveUnicodePrefix", table, entry);
    }

    /// Makes an empty table of paths of bytes.
    fn PfxInitialize(table: usize) {
        initialise("PfxInitialize", table, 16);
    }

    /// Puts a path in, unless the same is there.
    fn PfxInsertPrefix(table: usize, prefix: Guest<AnsiString>, entry: usize) -> u8 {
        prefix.read();
        let text = bytes(prefix).into_iter().map(u16::from).collect();
        let inserted = insert("PfxInsertPrefix", (table, entry), (narrow, text));
        if inserted != 0 {
            Guest::at(entry + BYTES_PREFIX).write(prefix.address());
        }
        inserted
    }

    /// The entry with the longest path that a path begins with.
    fn PfxFindPrefix(table: usize, path: Guest<AnsiString>) -> usize {
        path.read();
        let path: Vec<u16> = bytes(path).into_iter().map(u16::from).collect();
        with("PfxFindPrefix", table, |table| longest(&table.entries, narrow, &path, usize::MAX))
    }

    /// Takes an entry out.
    fn PfxRemovePrefix(table: usize, entry: usize) {
        remove("PfxRemovePrefix", table, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_begins_with_whole_parts() {
        let wide = |text: &str| text.encode_utf16().collect::<Vec<_>>();
        for (path, prefix, exact, wanted) in [
            (r"\a\b", r"\a", 9, true),
            (r"\a\b", r"\a\b", 9, true),
            (r"\ab", r"\a", 9, false),
            (r"\a", "\\", 9, true),
            (r"\A\b", r"\a", 0, true),
            (r"\A\b", r"\a", 1, true),
            (r"\A\b", r"\a", 2, false),
            (r"\a", r"\a\b", 9, false),
            (r"\a", "", 9, false),
        ] {
            let fits = begins(&wide(path), &wide(prefix), exact);
            assert_eq!(fits, wanted, "{path} {prefix} {exact}");
        }
    }
}
