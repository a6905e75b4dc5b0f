//! Files that are no dumps, and dumps that are not whole.

use std::io::Cursor;
use std::path::Path;

use super::*;

fn read(bytes: &[u8]) -> Result<Dump, Error> {
    let length = bytes.len() as u64;
    Dump::read(Cursor::new(bytes.to_vec()), length, Path::new("MEMORY.DMP"))
}

/// A complete dump of one page of physical memory, which is a table without entries.
fn smallest() -> Vec<u8> {
    let mut file: Vec<u8> = b"PAGE".iter().copied().cycle().take(0x2000).collect();
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(4, b"DU64");
    put(0x10, &0x1000_u64.to_le_bytes());
    put(0x30, &0x8664_u32.to_le_bytes());
    put(0x34, &1_u32.to_le_bytes());
    put(0x38, &0x7F_u32.to_le_bytes());
    put(0x88, &1_u64.to_le_bytes());
    put(0x90, &1_u64.to_le_bytes());
    put(0x98, &1_u64.to_le_bytes());
    put(0xA0, &1_u64.to_le_bytes());
    put(0xF98, &1_u32.to_le_bytes());
    file.extend([0; 0x1000]);
    file
}

fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = smallest();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

fn foreign(bytes: &[u8]) -> Foreign {
    match read(bytes) {
        Err(Error::Foreign { what, .. }) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_no_dump_is_named() {
    assert_eq!(foreign(b""), Foreign::Empty);
    assert_eq!(foreign(b"MDMP\x93\xA7\0\0"), Foreign::UserMinidump);
    assert_eq!(foreign(b"\x7FELF\x02\x01\x01"), Foreign::Elf);
    assert_eq!(foreign(b"MZ\x90\0"), Foreign::Image);
    assert_eq!(foreign(b"PAGEDUMP\x0F\0\0\0"), Foreign::Dump32);
    assert_eq!(
        foreign(b"Microsoft C/C++ MSF 7.00\r\n\x1ADS\0\0\0"),
        Foreign::Pdb
    );
    assert_eq!(foreign(b"PK\x03\x04\x14\0"), Foreign::Archive);
    assert_eq!(foreign(b"The machine crashed at noon.\r\n"), Foreign::Text);
    assert_eq!(foreign(b"\x01\x02\x03"), Foreign::Unknown);
    assert_eq!(foreign(&with(0xF98, &4_u32.to_le_bytes())), Foreign::Small);
    assert_eq!(
        foreign(&with(0xF98, &3_u32.to_le_bytes())),
        Foreign::Type(3)
    );
    assert_eq!(
        foreign(&with(0x30, &0xAA64_u32.to_le_bytes())),
        Foreign::Machine(0xAA64)
    );
}

#[test]
fn an_error_says_what_to_do() {
    let text = read(b"MDMP").expect_err("a minidump").to_string();
    assert_eq!(
        text,
        "MEMORY.DMP is a minidump of a program: a kernel crash leaves its dump in %SystemRoot%\\MEMORY.DMP: use that one"
    );
    let text = read(&smallest()[..0x2800])
        .expect_err("half a page")
        .to_string();
    assert!(
        text.contains("promises 12288 bytes, 10240 are there"),
        "{text}"
    );
}

#[test]
fn a_dump_that_is_cut_short_is_told_from_a_damaged_one() {
    for length in [9, 0x1FFF, 0x2000, 0x2FFF] {
        let cut = read(&smallest()[..length]);
        assert!(
            matches!(cut, Err(Error::Truncated { found, .. }) if found == length as u64),
            "{length:#x}: {cut:?}"
        );
    }
    for (at, value) in [(0x88, 0_u64), (0x88, 1000), (0xA0, u64::MAX)] {
        let damaged = read(&with(at, &value.to_le_bytes()));
        assert!(
            matches!(damaged, Err(Error::Damaged { .. })),
            "{at:#x}: {damaged:?}"
        );
    }
    let far = read(&with(0xA0, &(1_u64 << 30).to_le_bytes()));
    assert!(matches!(far, Err(Error::Truncated { .. })), "{far:?}");
}

#[test]
fn a_dump_without_anything_is_read_and_says_so() {
    let dump = read(&smallest()).expect("a dump");
    let analysis = analyse_dump(&dump, &[]);
    assert_eq!(
        analysis.bug_check.name(),
        Some("UNEXPECTED_KERNEL_MODE_TRAP")
    );
    assert_eq!(analysis.pages, 1);
    assert!(analysis.thread.is_none() && analysis.driver.is_none());
    assert!(analysis.notes.len() >= 2, "{:?}", analysis.notes);
}

/// A dump of the newer kinds: a bitmap, or ranges of pages.
fn newer(kind: u32, behind: &[u8]) -> Vec<u8> {
    let mut file = with(0xF98, &kind.to_le_bytes());
    file.truncate(0x2000);
    file.extend(behind);
    file
}

fn bitmap(pages: u64, bits: &[u8]) -> Vec<u8> {
    let mut header = b"SDMPDUMP".to_vec();
    header.resize(0x20, 0);
    header.extend([0x3000, 1, pages].map(u64::to_le_bytes).concat());
    header.extend(bits);
    header.resize(0x1000, 0);
    header.extend([0; 0x1000]);
    newer(5, &header)
}

fn ranges(list: &[(u64, u64)]) -> Vec<u8> {
    let metadata = 0x20 + 16 * list.len() as u64;
    let mut header = [0x40_u32.to_le_bytes(), *b"RDMP", *b"DUMP", [0; 4]].concat();
    header.extend(
        [metadata, metadata + 0x2020, 0, 0]
            .map(u64::to_le_bytes)
            .concat(),
    );
    for (number, count) in list {
        header.extend([number.to_le_bytes(), count.to_le_bytes()].concat());
    }
    let pages =
        usize::try_from(list.iter().map(|(_, count)| count).sum::<u64>().min(4)).expect("few");
    header.resize(header.len() + 0x10 + pages * 0x1000, 0);
    newer(8, &header)
}

#[test]
fn newer_kinds_are_read_and_their_counts_are_checked() {
    assert_eq!(read(&bitmap(8, &[0b10])).expect("one page").pages(), 1);
    assert!(matches!(
        read(&bitmap(8, &[0b111])),
        Err(Error::Truncated { .. })
    ));
    assert!(matches!(
        read(&bitmap(1 << 40, &[0b10])),
        Err(Error::Damaged { .. })
    ));
    assert_eq!(
        read(&ranges(&[(1, 1), (7, 2)]))
            .expect("three pages")
            .pages(),
        3
    );
    assert!(matches!(
        read(&ranges(&[(1, 2), (2, 1)])),
        Err(Error::Damaged { .. })
    ));
    assert!(matches!(
        read(&ranges(&[(1, 1 << 50)])),
        Err(Error::Truncated { .. })
    ));
    assert!(matches!(
        read(&newer(8, &[0; 0x40])),
        Err(Error::Damaged { .. })
    ));
}

/// A dump of memory with these words at [`STACK`] and behind it, the first page of a stack's segment of two.
const STACK: u64 = 0x20_0000;
fn with_words(words: &[(u64, u64)]) -> Dump {
    // Four tables, each leading to the next, and two pages.
    let mut file = with(0x88, &1_u64.to_le_bytes());
    file[0x98..0xA0].copy_from_slice(&1_u64.to_le_bytes());
    for at in [0x90, 0xA0] {
        file[at..at + 8].copy_from_slice(&6_u64.to_le_bytes());
    }
    file.truncate(0x2000);
    file.resize(0x2000 + 6 * 0x1000, 0);
    let mut put = |at: u64, word: u64| {
        let at = usize::try_from(0x2000 + at).expect("an offset");
        file[at..at + 8].copy_from_slice(&word.to_le_bytes());
    };
    let entry = |page: u64| ((1 + page) * 0x1000) | 3;
    put(0, entry(1));
    put(0x1000, entry(2));
    put(0x2000 + 8, entry(3));
    put(0x3000, entry(4));
    put(0x3000 + 8, entry(5));
    for (offset, word) in words {
        put(0x4000 + offset, *word);
    }
    read(&file).expect("a dump")
}

/// What is told of a stack whose thread has these bounds, and its first word of notes.
fn segments(words: &[(u64, u64)], current: [u64; 3]) -> (Vec<(u64, u64, bool)>, Vec<String>) {
    let [base, limit, initial] = current;
    let thread = Thread {
        address: 0,
        id: None,
        process_id: None,
        process: None,
        current: Some(kernel::CurrentSegment {
            base,
            limit,
            initial,
        }),
    };
    let mut notes = Vec::new();
    let found = stack::segments(&with_words(words), Some(&thread), STACK + 0x100, &mut notes);
    let bounds = found
        .iter()
        .map(|segment| (segment.limit, segment.base, segment.told));
    (bounds.collect(), notes)
}

#[test]
fn bounds_of_a_stack_that_are_not_believed_are_told() {
    let (end, initial) = (STACK + 0x2000, STACK + 0x1F00);
    let own = (STACK, end, true);
    let older =
        |base: u64, limit: u64, initial: u64| [(0x1F10, base), (0x1F18, limit), (0x1F28, initial)];
    let (found, notes) = segments(&[], [end, STACK, initial]);
    assert_eq!((found, notes), (vec![own], vec![]), "a first segment");

    let (found, notes) = segments(&[], [end + 0x10_0000, STACK, initial]);
    assert_eq!(found, [(STACK, end, false)], "the pages around RSP");
    assert!(
        notes.len() == 2 && notes[0].contains("0x200000 to 0x302000, which no kernel stack is"),
        "{notes:?}"
    );

    let cases = [
        (older(0x5000, 0x9000, 0x8000), "which no kernel stack is"),
        (older(0x9000, 0x5000, 0x9000), "which no kernel stack is"),
        (older(end, STACK, initial), "one of the newer ones"),
    ];
    for (words, why) in cases {
        let (found, notes) = segments(&words, [end, STACK, initial]);
        assert_eq!(found, [own]);
        assert!(notes.len() == 1 && notes[0].contains(why), "{notes:?}");
    }

    let beyond = older(0x9000, 0x5000, 0x8000);
    let (found, notes) = segments(&beyond, [end, STACK, initial]);
    assert_eq!(found, [own, (0x5000, 0x9000, true)]);
    assert!(
        notes.len() == 1 && notes[0].contains("0x8000, which tells of older"),
        "{notes:?}"
    );
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { failure_persistence: None, cases: 512, ..Default::default() })]

    /// Whatever a header holds, the file is refused or read.
    #[test]
    fn no_header_is_too_strange(
        kind in proptest::sample::select(vec![1_u32, 5, 6, 8, 9, 10]),
        behind in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..0x200),
        changes in proptest::collection::vec((0_usize..0x2200, proptest::prelude::any::<u64>()), 0..6),
    ) {
        let base = match kind {
            1 => smallest(),
            5 | 6 => bitmap(8, &behind),
            _ => ranges(&[(1, 1), (9, 2)]),
        };
        let mut file = base;
        for (at, value) in changes {
            if let Some(place) = file.get_mut(at..at + 8) {
                place.copy_from_slice(&value.to_le_bytes());
            }
        }
        file[..8].copy_from_slice(b"PAGEDU64");
        file[0xF98..0xF9C].copy_from_slice(&kind.to_le_bytes());
        if let Ok(dump) = read(&file) {
            proptest::prop_assert!(dump.pages() * 0x1000 <= file.len() as u64);
            let _ = analyse_dump(&dump, &[]);
        }
    }
}
