//! The dump's memory: pages at virtual addresses, and the page tables that lead to them.
//!
//! Physical memory is made up: the tables come first, the topmost where Windows usually has it, and what they map
//! follows, all in one run. Only the page that a bug check is about, if it is about one, lies behind the topmost table: so its
//! entry is known before there is a dump, or without one. The tables are the processor's own four levels of 512 entries ("Intel 64 and IA-32 Architectures Software Developer's
//! Manual", volume 3, 4-level paging), so that any reader that knows how to translate an address finds it.

use std::collections::BTreeMap;

/// A page's size.
pub(super) const PAGE: u64 = 0x1000;
/// The first page's number. Readers that look for the topmost table instead of believing the header look around here.
pub(super) const FIRST: u64 = 0x1AD;
/// The number of the page that a bug check is about.
const SUBJECT: u64 = FIRST + 1;
/// Where the topmost table lies: what `DirectoryTableBase` and CR3 say.
pub(super) const ROOT: u64 = FIRST * PAGE;

const ENTRIES: usize = 512;
/// The topmost table's entry that leads to itself, by which Windows reaches the tables: `0xFFFFF680'00000000` on.
const SELF: usize = 0x1ED;
/// Present, accessed.
const THERE: u64 = 0x21;
const WRITABLE: u64 = 2;
const USER: u64 = 4;
const DIRTY: u64 = 0x40;
const NO_EXECUTE: u64 = 1 << 63;

type Bytes = Box<[u8; PAGE as usize]>;

/// What may be done with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    /// Written.
    pub(crate) write: bool,
    /// Run.
    pub(crate) execute: bool,
    /// By programs, too.
    pub(crate) user: bool,
}

impl Rights {
    /// A page table entry that grants them.
    const fn entry(self, page: u64) -> u64 {
        (page * PAGE)
            | THERE
            | if self.write { WRITABLE | DIRTY } else { 0 }
            | if self.execute { 0 } else { NO_EXECUTE }
            | if self.user { USER } else { 0 }
    }

    /// The entry of the page that a bug check is about.
    pub(crate) const fn subject_entry(self) -> u64 {
        self.entry(SUBJECT)
    }
}

struct Page {
    bytes: Bytes,
    rights: Rights,
}

/// Virtual memory.
#[derive(Default)]
pub(super) struct Space {
    pages: BTreeMap<u64, Page>,
    /// The page that the bug check is about.
    subject: Option<u64>,
}

/// Physical memory, from page [`FIRST`] on.
pub(super) struct Physical {
    pages: Vec<Bytes>,
}

fn blank() -> Bytes {
    Box::new([0; PAGE as usize])
}

impl Space {
    /// The page that holds an address, made if it is not there.
    fn page(&mut self, address: u64) -> &mut Page {
        self.pages
            .entry(address & !(PAGE - 1))
            .or_insert_with(|| Page {
                bytes: blank(),
                rights: Rights {
                    write: true,
                    execute: false,
                    user: false,
                },
            })
    }

    /// Puts bytes at an address, on pages for data where none are yet.
    pub(super) fn put(&mut self, address: u64, bytes: &[u8]) {
        let (mut at, mut rest) = (address, bytes);
        while !rest.is_empty() {
            let offset = (at & (PAGE - 1)) as usize;
            let (now, later) = rest.split_at(rest.len().min(PAGE as usize - offset));
            self.page(at).bytes[offset..offset + now.len()].copy_from_slice(now);
            at = at.wrapping_add(now.len() as u64);
            rest = later;
        }
    }

    /// [`Self::put`] of one word.
    pub(super) fn put_word(&mut self, address: u64, word: u64) {
        self.put(address, &word.to_le_bytes());
    }

    /// Whether the page of an address is there.
    pub(super) fn holds(&self, address: u64) -> bool {
        self.pages.contains_key(&(address & !(PAGE - 1)))
    }

    /// Says what may be done with the pages of `[start, end)` that are there.
    pub(super) fn protect(&mut self, start: u64, end: u64, write: bool, execute: bool) {
        for page in self
            .pages
            .range_mut(start & !(PAGE - 1)..end)
            .map(|(_, page)| page)
        {
            (page.rights.write, page.rights.execute) = (write, execute);
        }
    }

    /// Says which page, one that is there, the bug check is about, and what may be done with it.
    pub(super) fn set_subject(&mut self, address: u64, rights: Rights) {
        let at = address & !(PAGE - 1);
        if let Some(page) = self.pages.get_mut(&at) {
            page.rights = rights;
            self.subject = Some(at);
        }
    }

    /// Gives every page a number and makes the tables.
    pub(super) fn finish(self) -> Physical {
        let mut tables = Tables::default();
        tables.pages.push([0; ENTRIES]);
        tables.pages[0][SELF] = ROOT | THERE | WRITABLE | DIRTY | NO_EXECUTE;
        if self.subject.is_some() {
            // Its number is taken; the page itself is put there below.
            tables.pages.push([0; ENTRIES]);
        }
        // First the tables alone, so that it is known where the pages begin.
        let leaves: Vec<(usize, usize)> = self
            .pages
            .keys()
            .map(|&address| tables.leaf(address))
            .collect();
        let mut number = FIRST + tables.pages.len() as u64;
        let mut mapped = Vec::with_capacity(self.pages.len());
        let mut subject = None;
        for ((address, page), (table, entry)) in self.pages.into_iter().zip(leaves) {
            if self.subject == Some(address) {
                tables.pages[table][entry] = page.rights.subject_entry();
                subject = Some(page.bytes);
            } else {
                tables.pages[table][entry] = page.rights.entry(number);
                number += 1;
                mapped.push(page.bytes);
            }
        }
        let mut pages: Vec<Bytes> = tables.pages.iter().map(bytes).collect();
        if let Some(subject) = subject {
            pages[(SUBJECT - FIRST) as usize] = subject;
        }
        pages.extend(mapped);
        Physical { pages }
    }
}

fn bytes(table: &[u64; ENTRIES]) -> Bytes {
    let mut page = blank();
    for (to, entry) in page.chunks_exact_mut(8).zip(table) {
        to.copy_from_slice(&entry.to_le_bytes());
    }
    page
}

#[derive(Default)]
struct Tables {
    pages: Vec<[u64; ENTRIES]>,
    /// The table below an entry, by the table's level and the addresses that it covers.
    known: BTreeMap<(u32, u64), usize>,
}

impl Tables {
    /// The table and the entry in it that lead to an address's page.
    fn leaf(&mut self, address: u64) -> (usize, usize) {
        let index = |level: u32| (address >> (12 + 9 * level)) as usize % ENTRIES;
        let mut table = 0;
        for level in [3, 2, 1] {
            let covers = (level, address >> (12 + 9 * level));
            let below = match self.known.get(&covers) {
                Some(&below) => below,
                None => {
                    let below = self.pages.len();
                    self.pages.push([0; ENTRIES]);
                    self.known.insert(covers, below);
                    below
                }
            };
            self.pages[table][index(level)] = ((FIRST + below as u64) * PAGE) | THERE | WRITABLE;
            table = below;
        }
        (table, index(0))
    }
}

impl Physical {
    /// How many pages there are.
    pub(super) fn count(&self) -> u64 {
        self.pages.len() as u64
    }

    /// The pages, in order.
    pub(super) fn pages(&self) -> impl Iterator<Item = &[u8]> {
        self.pages.iter().map(|page| page.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The manual's way from an address to a byte.
    fn read(memory: &Physical, address: u64) -> Option<(u8, u64)> {
        let page = |number: u64| memory.pages.get(usize::try_from(number - FIRST).ok()?);
        let mut entry = ROOT;
        for level in (0..4).rev() {
            let at = (address >> (12 + 9 * level)) as usize % ENTRIES * 8;
            let table = page(entry >> 12 & 0xF_FFFF_FFFF)?;
            entry = u64::from_le_bytes(table[at..at + 8].try_into().expect("eight bytes"));
            if entry & 1 == 0 {
                return None;
            }
        }
        let byte = page(entry >> 12 & 0xF_FFFF_FFFF)?[(address % PAGE) as usize];
        Some((byte, entry))
    }

    const SUBJECTS: Rights = Rights {
        write: false,
        execute: false,
        user: true,
    };

    #[test]
    fn what_was_put_is_found_through_the_tables_and_nothing_else() {
        found(false);
    }

    #[test]
    fn the_page_that_it_is_about_has_the_entry_that_was_told() {
        found(true);
    }

    fn found(with_subject: bool) {
        let mut space = Space::default();
        let places = [
            0x7F12_3456_7FF8,
            0xFFFF_F800_0000_1000,
            0x20_0000,
            0x3F_F000,
        ];
        for (index, place) in places.into_iter().enumerate() {
            space.put(place, &[index as u8 + 1; 16]);
        }
        space.protect(0x20_0000, 0x20_1000, false, true);
        if with_subject {
            space.set_subject(places[0] + 15, SUBJECTS);
            space.set_subject(0x5_0000, SUBJECTS); // is not there
        }
        let memory = space.finish();
        for (index, place) in places.into_iter().enumerate() {
            assert_eq!(
                read(&memory, place + 15).expect("mapped").0,
                index as u8 + 1,
                "{place:#x}"
            );
        }
        let (_, code) = read(&memory, 0x20_0000).expect("mapped");
        assert_eq!(code & (WRITABLE | NO_EXECUTE), 0);
        let (_, data) = read(&memory, 0x3F_F000).expect("mapped");
        assert_eq!(data & (WRITABLE | NO_EXECUTE), WRITABLE | NO_EXECUTE);
        let (_, subject) = read(&memory, places[0] + 15).expect("mapped");
        assert_eq!(subject == SUBJECTS.subject_entry(), with_subject);
        let (_, root) = read(&memory, 0xFFFF_F6FB_7DBE_D000).expect("the topmost table");
        assert_eq!(root & !0xFFF & !NO_EXECUTE, ROOT);
        for absent in [0x20_1000, 0x7F12_3456_6000, 0xFFFF_F800_0000_2000, 0] {
            assert_eq!(read(&memory, absent), None, "{absent:#x}");
        }
    }
}
