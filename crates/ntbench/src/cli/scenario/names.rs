//! The words of scenario files, and the numbers that Windows has for them (wdm.h, ntifs.h, MS-FSCC).

/// Words and their bits.
pub(super) type Words = &'static [(&'static str, u32)];

/// Rights to a file or folder.
pub(super) const ACCESS: Words = &[
    ("read", 0x0012_0089),
    ("write", 0x0012_0116),
    ("execute", 0x0012_00A0),
    ("delete", 0x0001_0000),
    ("list", 0x0010_0001),
    ("read-data", 0x1),
    ("write-data", 0x2),
    ("append-data", 0x4),
    ("read-attributes", 0x80),
    ("write-attributes", 0x100),
    ("read-control", 0x2_0000),
    ("synchronize", 0x10_0000),
    ("maximum-allowed", 0x0200_0000),
    ("all", 0x001F_01FF),
];

/// What others may do meanwhile.
pub(super) const SHARE: Words = &[("read", 1), ("write", 2), ("delete", 4)];

/// What a create does with a file that is there, and with one that is not.
pub(super) const DISPOSITION: Words = &[
    ("supersede", 0),
    ("open", 1),
    ("create", 2),
    ("open-if", 3),
    ("overwrite", 4),
    ("overwrite-if", 5),
];

/// `CreateOptions`.
pub(super) const OPTIONS: Words = &[
    ("directory", 0x1),
    ("write-through", 0x2),
    ("sequential", 0x4),
    ("no-buffering", 0x8),
    ("synchronous", 0x20),
    ("non-directory", 0x40),
    ("no-ea-knowledge", 0x200),
    ("random", 0x800),
    ("delete-on-close", 0x1000),
    ("open-by-id", 0x2000),
    ("backup", 0x4000),
    ("no-compression", 0x8000),
    ("open-reparse-point", 0x0020_0000),
];

/// What of a folder a notification is about.
pub(super) const CHANGES: Words = &[
    ("file-name", 0x1),
    ("dir-name", 0x2),
    ("attributes", 0x4),
    ("size", 0x8),
    ("last-write", 0x10),
    ("last-access", 0x20),
    ("creation", 0x40),
    ("ea", 0x80),
    ("security", 0x100),
    ("stream-name", 0x200),
    ("stream-size", 0x400),
    ("stream-write", 0x800),
];

/// `FileAttributes`.
pub(super) const ATTRIBUTES: Words = &[
    ("read-only", 0x1),
    ("hidden", 0x2),
    ("system", 0x4),
    ("directory", 0x10),
    ("archive", 0x20),
    ("normal", 0x80),
    ("temporary", 0x100),
];

/// `FILE_INFORMATION_CLASS`.
pub(super) const INFORMATION: Words = &[
    ("basic", 4),
    ("standard", 5),
    ("internal", 6),
    ("ea", 7),
    ("access", 8),
    ("name", 9),
    ("position", 14),
    ("mode", 16),
    ("alignment", 17),
    ("all", 18),
    ("allocation", 19),
    ("end-of-file", 20),
    ("alternate-name", 21),
    ("stream", 22),
    ("compression", 28),
    ("network-open", 34),
    ("attribute-tag", 35),
    ("normalized-name", 48),
    ("id", 59),
];

/// `FS_INFORMATION_CLASS`.
pub(super) const VOLUME: Words = &[
    ("volume", 1),
    ("label", 2),
    ("size", 3),
    ("device", 4),
    ("attribute", 5),
    ("full-size", 7),
    ("sector-size", 11),
];

/// Controls by their names; others by number.
pub(super) const CONTROLS: Words = &[
    ("get-reparse-point", 0x0009_00A8),
    ("set-sparse", 0x0009_00C4),
    ("get-compression", 0x0009_003C),
    ("query-file-regions", 0x0009_0284),
    ("request-oplock-level-1", 0x0009_0000),
    ("request-oplock", 0x0009_0240),
    ("is-volume-mounted", 0x0009_0028),
    ("get-ntfs-volume-data", 0x0009_0064),
];

/// The number of a word.
pub(super) fn find(words: Words, word: &str) -> Option<u32> {
    words
        .iter()
        .find(|(known, _)| *known == word)
        .map(|(_, value)| *value)
}

/// All words, for a message.
pub(super) fn list(words: Words) -> String {
    let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    words.join(", ")
}
