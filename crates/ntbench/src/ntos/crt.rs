//! More of the C library, as the kernel exports it: strings that end in zero, characters, numbers. ASCII alone has letters.

use super::memory::{Guest, bounded, terminated, terminated_wide};
use crate::namespace::names::upcase;
use crate::seh::passing;

fn byte(c: i32) -> u8 {
    u8::try_from(c).unwrap_or(0)
}

fn is(c: i32, class: impl Fn(&u8) -> bool) -> i32 {
    i32::from((0..=0x7F).contains(&c) && class(&byte(c)))
}

fn put<T: Copy + Default>(to: Guest<T>, at: usize, text: &[T]) -> usize {
    to.add(at).write_many(text);
    to.add(at + text.len()).write(T::default());
    to.address()
}

/// A text of at most `most` elements, padded with zeroes to so many: what `strncpy` does.
fn put_padded<T: Copy + Default>(to: Guest<T>, text: &[T], most: usize) -> usize {
    to.write_many(text);
    to.add(text.len())
        .write_many(&vec![T::default(); most - text.len()]);
    to.address()
}

/// The first place where the second text is in the first.
fn find<T: PartialEq>(text: &[T], part: &[T]) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    text.windows(part.len()).position(|window| window == part)
}

/// A number at the beginning of a text: its value, and how many characters it takes.
fn number(text: &[u8], base: u32) -> (u64, bool, usize) {
    let mut at = text
        .iter()
        .take_while(|byte| byte.is_ascii_whitespace())
        .count();
    let negative = text.get(at) == Some(&b'-');
    if matches!(text.get(at), Some(b'-' | b'+')) {
        at += 1;
    }
    let hex = text
        .get(at..at + 2)
        .is_some_and(|two| two.eq_ignore_ascii_case(b"0x"));
    let base = match base {
        0 if hex => 16,
        0 if text.get(at) == Some(&b'0') => 8,
        0 => 10,
        base => base,
    };
    if base == 16 && hex {
        at += 2;
    }
    let (mut value, start) = (0_u64, at);
    while let Some(digit) = text
        .get(at)
        .and_then(|byte| char::from(*byte).to_digit(base.clamp(2, 36)))
    {
        value = value
            .saturating_mul(base.into())
            .saturating_add(digit.into());
        at += 1;
    }
    (value, negative, if at == start { 0 } else { at })
}

/// As `strtol` gives it: within the limits of 32 bits.
fn signed(value: u64, negative: bool) -> i32 {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    let value = if negative { -value } else { value };
    i32::try_from(value).unwrap_or(if negative { i32::MIN } else { i32::MAX })
}

fn unsigned(value: u64, negative: bool) -> u32 {
    let value = u32::try_from(value).unwrap_or(u32::MAX);
    if negative {
        value.wrapping_neg()
    } else {
        value
    }
}

fn narrow(text: &[u16]) -> Vec<u8> {
    text.iter()
        .map(|unit| u8::try_from(*unit).unwrap_or(b'?'))
        .collect()
}

fn each<T: Copy>(text: Guest<T>, units: &[T], change: impl Fn(T) -> T) -> usize {
    let changed: Vec<T> = units.iter().copied().map(change).collect();
    text.write_many(&changed);
    text.address()
}

fn lower(unit: u16) -> u16 {
    super::strings::RtlDowncaseUnicodeChar(unit)
}

exports! { "ntoskrnl.exe";
    /// Copies.
    fn strcpy(to: Guest<u8>, from: Guest<u8>) -> usize {
        put(to, 0, &terminated(from))
    }

    /// Appends.
    fn strcat(to: Guest<u8>, from: Guest<u8>) -> usize {
        put(to, terminated(to).len(), &terminated(from))
    }

    /// Copies so many, terminated only where there is room.
    fn strncpy(to: Guest<u8>, from: Guest<u8>, most: usize) -> usize {
        put_padded(to, &bounded(from, most), most)
    }

    /// Appends at most so many.
    fn strncat(to: Guest<u8>, from: Guest<u8>, most: usize) -> usize {
        put(to, terminated(to).len(), &bounded(from, most))
    }

    /// The first place of a character; NULL: there is none.
    fn strchr(text: Guest<u8>, c: i32) -> usize {
        let mut bytes = terminated(text);
        bytes.push(0);
        bytes.iter().position(|b| *b == c.to_le_bytes()[0]).map_or(0, |at| text.add(at).address())
    }

    /// The last place of a character; NULL: there is none.
    fn strrchr(text: Guest<u8>, c: i32) -> usize {
        let mut bytes = terminated(text);
        bytes.push(0);
        bytes.iter().rposition(|b| *b == c.to_le_bytes()[0]).map_or(0, |at| text.add(at).address())
    }

    /// The first place of a text; NULL: there is none.
    fn strstr(text: Guest<u8>, part: Guest<u8>) -> usize {
        find(&terminated(text), &terminated(part)).map_or(0, |at| text.add(at).address())
    }

    /// Makes capitals.
    fn _strupr(text: Guest<u8>) -> usize {
        each(text, &terminated(text), |byte| byte.to_ascii_uppercase())
    }

    /// Makes small letters.
    fn _strlwr(text: Guest<u8>) -> usize {
        each(text, &terminated(text), |byte| byte.to_ascii_lowercase())
    }

    /// A byte in memory; NULL: it is not there.
    fn memchr(memory: Guest<u8>, c: i32, count: usize) -> usize {
        let wanted = c.to_le_bytes()[0];
        let found = (0..count).map(|at| memory.add(at)).find(|at| at.read() == wanted || passing::is_leaving());
        found.filter(|_| !passing::is_leaving()).map_or(0, Guest::address)
    }

    /// Copies.
    fn wcscpy(to: Guest<u16>, from: Guest<u16>) -> usize {
        put(to, 0, &terminated_wide(from))
    }

    /// Appends.
    fn wcscat(to: Guest<u16>, from: Guest<u16>) -> usize {
        put(to, terminated_wide(to).len(), &terminated_wide(from))
    }

    /// Copies so many, terminated only where there is room.
    fn wcsncpy(to: Guest<u16>, from: Guest<u16>, most: usize) -> usize {
        put_padded(to, &bounded(from, most), most)
    }

    /// Appends at most so many.
    fn wcsncat(to: Guest<u16>, from: Guest<u16>, most: usize) -> usize {
        put(to, terminated_wide(to).len(), &bounded(from, most))
    }

    /// How many at the beginning are among those.
    fn wcsspn(text: Guest<u16>, among: Guest<u16>) -> usize {
        let among = terminated_wide(among);
        terminated_wide(text).iter().take_while(|unit| among.contains(unit)).count()
    }

    /// How many at the beginning are not among those.
    fn wcscspn(text: Guest<u16>, among: Guest<u16>) -> usize {
        let among = terminated_wide(among);
        terminated_wide(text).iter().take_while(|unit| !among.contains(unit)).count()
    }

    /// How many at the beginning are among those.
    fn strspn(text: Guest<u8>, among: Guest<u8>) -> usize {
        let among = terminated(among);
        terminated(text).iter().take_while(|byte| among.contains(byte)).count()
    }

    /// Turns a text round.
    fn _strrev(text: Guest<u8>) -> usize {
        let turned: Vec<u8> = terminated(text).into_iter().rev().collect();
        text.write_many(&turned);
        text.address()
    }

    /// Turns a text round.
    fn _wcsrev(text: Guest<u16>) -> usize {
        let turned: Vec<u16> = terminated_wide(text).into_iter().rev().collect();
        text.write_many(&turned);
        text.address()
    }

    /// Makes all of a text one character.
    fn _strset(text: Guest<u8>, c: i32) -> usize {
        each(text, &terminated(text), |_| c.to_le_bytes()[0])
    }

    /// Makes at most so much of a text one character.
    fn _strnset(text: Guest<u8>, c: i32, most: usize) -> usize {
        each(text, &bounded(text, most), |_| c.to_le_bytes()[0])
    }

    /// Makes at most so much of a text one character.
    fn _wcsnset(text: Guest<u16>, unit: u16, most: usize) -> usize {
        each(text, &bounded(text, most), |_| unit)
    }

    /// Makes capitals.
    fn _wcsupr(text: Guest<u16>) -> usize {
        each(text, &terminated_wide(text), upcase)
    }

    /// Makes small letters.
    fn _wcslwr(text: Guest<u16>) -> usize {
        each(text, &terminated_wide(text), lower)
    }

    /// The capital of a letter.
    fn toupper(c: i32) -> i32 {
        if is(c, u8::is_ascii_lowercase) != 0 { c - 32 } else { c }
    }

    /// The small letter of a capital.
    fn tolower(c: i32) -> i32 {
        if is(c, u8::is_ascii_uppercase) != 0 { c + 32 } else { c }
    }

    /// The capital of a letter.
    fn towupper(unit: u16) -> u16 {
        upcase(unit)
    }

    /// The small letter of a capital.
    fn towlower(unit: u16) -> u16 {
        lower(unit)
    }

    /// Whether it is a digit.
    fn isdigit(c: i32) -> i32 {
        is(c, u8::is_ascii_digit)
    }

    /// Whether it is a digit of a hexadecimal number.
    fn isxdigit(c: i32) -> i32 {
        is(c, u8::is_ascii_hexdigit)
    }

    /// Whether it is a letter.
    fn isalpha(c: i32) -> i32 {
        is(c, u8::is_ascii_alphabetic)
    }

    /// Whether it is a letter or a digit.
    fn isalnum(c: i32) -> i32 {
        is(c, u8::is_ascii_alphanumeric)
    }

    /// Whether it is a capital.
    fn isupper(c: i32) -> i32 {
        is(c, u8::is_ascii_uppercase)
    }

    /// Whether it is a small letter.
    fn islower(c: i32) -> i32 {
        is(c, u8::is_ascii_lowercase)
    }

    /// Whether it separates words.
    fn isspace(c: i32) -> i32 {
        is(c, |byte| byte.is_ascii_whitespace() || *byte == 0x0B)
    }

    /// Whether it can be seen, or is a space.
    fn isprint(c: i32) -> i32 {
        is(c, |byte| (0x20..0x7F).contains(byte))
    }

    /// The number that a text begins with.
    fn atoi(text: Guest<u8>) -> i32 {
        let (value, negative, _) = number(&terminated(text), 10);
        signed(value, negative)
    }

    /// The number that a text begins with.
    fn atol(text: Guest<u8>) -> i32 {
        atoi(text)
    }

    /// The number that a text begins with.
    fn _wtoi(text: Guest<u16>) -> i32 {
        let (value, negative, _) = number(&narrow(&terminated_wide(text)), 10);
        signed(value, negative)
    }

    /// The number that a text begins with.
    fn _wtol(text: Guest<u16>) -> i32 {
        _wtoi(text)
    }

    /// The number that a text begins with, and where it ends.
    fn strtoul(text: Guest<u8>, end: Guest<usize>, base: u32) -> u32 {
        let (value, negative, length) = number(&terminated(text), base);
        end.write_opt(text.add(length).address());
        unsigned(value, negative)
    }

    /// The number of 64 bits that a text begins with, and where it ends.
    fn _strtoui64(text: Guest<u8>, end: Guest<usize>, base: u32) -> u64 {
        let (value, negative, length) = number(&terminated(text), base);
        end.write_opt(text.add(length).address());
        if negative { value.wrapping_neg() } else { value }
    }

    /// The number that a text begins with, and where it ends.
    fn wcstoul(text: Guest<u16>, end: Guest<usize>, base: u32) -> u32 {
        let (value, negative, length) = number(&narrow(&terminated_wide(text)), base);
        end.write_opt(text.add(length).address());
        unsigned(value, negative)
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_end_where_their_digits_do() {
        assert_eq!(number(b" -12x", 10), (12, true, 4));
        assert_eq!(number(b"0x1Fz", 0), (0x1F, false, 4));
        assert_eq!(number(b"0x1F", 16), (0x1F, false, 4));
        assert_eq!(number(b"017", 0), (0o17, false, 3));
        assert_eq!(number(b"x", 10), (0, false, 0));
    }
}
