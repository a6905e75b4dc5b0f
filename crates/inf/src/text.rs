//! From bytes to characters.
//!
//! InfVerif's documentation allows ANSI and UTF-16LE. SetupAPI takes UTF-16LE by its byte order mark and everything else as ANSI. Text
//! that is not ASCII and has no mark is read as UTF-8 where it is valid and as Windows-1252 otherwise, so that nothing is lost;
//! [`Encoding`] says which it was, and a rule judges it.

use crate::error::{Error, ErrorKind, Position};

/// How the characters were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Nothing but ASCII: the same on every machine.
    Ascii,
    /// UTF-16, little-endian, with its mark.
    Utf16,
    /// UTF-8 with a byte order mark, which SetupAPI takes for three characters.
    Utf8Marked,
    /// UTF-8 without one.
    Utf8,
    /// Something else with eight bits, read as Windows-1252.
    Ansi,
}

/// The text, without its mark.
pub(crate) fn decode(bytes: &[u8]) -> Result<(String, Encoding), Error> {
    if let Some(rest) = bytes.strip_prefix(&[0xff, 0xfe]) {
        return Ok((utf16(rest)?, Encoding::Utf16));
    }
    if bytes.starts_with(&[0xfe, 0xff]) {
        return Err(wrong("UTF-16LE but UTF-16BE"));
    }
    if let Some(rest) = bytes.strip_prefix(&[0xef, 0xbb, 0xbf]) {
        let text = str::from_utf8(rest).map_err(|_| wrong("UTF-8, although its mark says so"))?;
        return Ok((text.to_owned(), Encoding::Utf8Marked));
    }
    Ok(match str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => (text.to_owned(), Encoding::Ascii),
        Ok(text) => (text.to_owned(), Encoding::Utf8),
        Err(_) => (
            bytes.iter().copied().map(windows_1252).collect(),
            Encoding::Ansi,
        ),
    })
}

fn wrong(what: &'static str) -> Error {
    Error::new(Position::START, ErrorKind::Encoding(what))
}

fn utf16(bytes: &[u8]) -> Result<String, Error> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(wrong("UTF-16: it has an odd number of bytes"));
    }
    let units = pairs.iter().map(|pair| u16::from_le_bytes(*pair));
    char::decode_utf16(units)
        .collect::<Result<_, _>>()
        .map_err(|_| wrong("UTF-16: it holds half of a surrogate pair"))
}

/// The characters of code page 1252 that are not those of Latin-1, from 0x80.
const C1: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

fn windows_1252(byte: u8) -> char {
    match byte {
        0x80..=0x9f => C1[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}
