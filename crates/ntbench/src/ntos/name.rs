//! Names and patterns as file systems understand them (`FsRtl…`, 8.3 names).
//!
//! Documentation: "FsRtlIsNameInExpression": `*` and `?`, and the three that only the kernel's callers write: `<` (`DOS_STAR`) matches
//! like `*` up to the last dot, `>` (`DOS_QM`) like `?` but also nothing at a dot or the end, `"` (`DOS_DOT`) a dot or nothing at the end.

use super::irql;
use super::memory::Guest;
use crate::abi::base::UnicodeString;
use crate::namespace::names::upcase;
use crate::status::NtStatus;
use crate::thread::PASSIVE_LEVEL;
use crate::verifier;

const STAR: u16 = b'*' as u16;
const QUESTION: u16 = b'?' as u16;
const DOT: u16 = b'.' as u16;
const DOS_STAR: u16 = b'<' as u16;
const DOS_QM: u16 = b'>' as u16;
const DOS_DOT: u16 = b'"' as u16;

/// Whether a name matches an expression; both folded already where case is to be ignored.
pub(crate) fn matches(expression: &[u16], name: &[u16]) -> bool {
    let last_dot = name.iter().rposition(|unit| *unit == DOT);
    // The expression's positions that the name so far can have come to. Quadratic at worst, and never deep.
    let mut open = vec![false; expression.len() + 1];
    open[0] = true;
    skip(&mut open, expression, name.is_empty());
    for (index, unit) in name.iter().enumerate() {
        let mut next = vec![false; expression.len() + 1];
        for (position, wanted) in expression.iter().enumerate() {
            if !open[position] {
                continue;
            }
            match *wanted {
                STAR => next[position] = true,
                // Any run that does not take in the last dot.
                DOS_STAR => next[position] = last_dot != Some(index),
                QUESTION => next[position + 1] = true,
                DOS_QM if *unit != DOT => next[position + 1] = true,
                DOS_DOT if *unit == DOT => next[position + 1] = true,
                wanted if wanted == *unit => next[position + 1] = true,
                _ => {}
            }
        }
        let at_end = index + 1 == name.len();
        let before_dot = name.get(index + 1) == Some(&DOT);
        skip_from(&mut next, expression, at_end, before_dot);
        open = next;
    }
    open[expression.len()]
}

fn skip(open: &mut [bool], expression: &[u16], at_end: bool) {
    skip_from(open, expression, at_end, false);
}

/// Passes over what may match nothing here.
fn skip_from(open: &mut [bool], expression: &[u16], at_end: bool, before_dot: bool) {
    for (position, wanted) in expression.iter().enumerate() {
        let nothing = match *wanted {
            STAR | DOS_STAR => true,
            DOS_QM => at_end || before_dot,
            DOS_DOT => at_end,
            _ => false,
        };
        if open[position] && nothing {
            open[position + 1] = true;
        }
    }
}

/// Whether a name is a legal 8.3 name: one to eight characters, and after a dot at most three; none that DOS could not have.
fn is_8_dot_3(name: &[u16]) -> bool {
    if name == [DOT] || name == [DOT, DOT] {
        return true;
    }
    let text = String::from_utf16_lossy(name);
    let (base, extension) = match text.split_once('.') {
        Some((base, extension)) => (base, Some(extension)),
        None => (text.as_str(), None),
    };
    let legal = |part: &str| {
        part.chars()
            .all(|c| c.is_ascii() && c > ' ' && !"\"*+,/:;<=>?[\\]|.".contains(c))
    };
    (1..=8).contains(&base.len())
        && legal(base)
        && extension.is_none_or(|extension| (1..=3).contains(&extension.len()) && legal(extension))
}

exports! { "ntoskrnl.exe";
    /// Whether a name matches an expression; the caller has the expression in upper case where case is to be ignored.
    partial "the caller's upcase table is ignored"
    fn FsRtlIsNameInExpression(expression: Guest<UnicodeString>, name: Guest<UnicodeString>, ignore_case: u8, _table: usize) -> u8 {
        irql::at_most("FsRtlIsNameInExpression", PASSIVE_LEVEL);
        let (expression, mut name) = (expression.units(), name.units());
        if ignore_case != 0 {
            if expression.iter().any(|unit| upcase(*unit) != *unit) {
                verifier::finding(
                    "expression-case",
                    "FsRtlIsNameInExpression with IgnoreCase wants its expression in upper case already",
                );
            }
            name = name.into_iter().map(upcase).collect();
        }
        matches(&expression, &name).into()
    }

    /// Whether a name has wild cards.
    fn FsRtlDoesNameContainWildCards(name: Guest<UnicodeString>) -> u8 {
        let wild = [STAR, QUESTION, DOS_STAR, DOS_QM, DOS_DOT];
        name.units().iter().any(|unit| wild.contains(unit)).into()
    }

    /// Splits a path at its first separator.
    fn FsRtlDissectName(path: Guest<UnicodeString>, first: Guest<UnicodeString>, rest: Guest<UnicodeString>) {
        // On x64 a structure of this size is passed by its address.
        let path = path.read();
        let units = super::memory::units(path);
        let separator = u16::from(b'\\');
        let start = usize::from(units.first() == Some(&separator));
        let length = units[start..].iter().position(|unit| *unit == separator).unwrap_or(units.len() - start);
        let part = |from: usize, units: usize| {
            let bytes = u16::try_from(units * 2).unwrap_or(0);
            UnicodeString { length: bytes, maximum_length: bytes, buffer: path.buffer.wrapping_add(from) }
        };
        let after = start + length;
        first.write(if length == 0 { UnicodeString::EMPTY } else { part(start, length) });
        rest.write(if after >= units.len() { UnicodeString::EMPTY } else { part(after + 1, units.len() - after - 1) });
    }

    /// Whether a status may come out of a file system: all but those that only defects raise.
    partial "by a list of four statuses that only defects raise"
    fn FsRtlIsNtstatusExpected(status: NtStatus) -> u8 {
        let defects = [
            NtStatus::DATATYPE_MISALIGNMENT,
            NtStatus::ACCESS_VIOLATION,
            NtStatus::ILLEGAL_INSTRUCTION,
            NtStatus::INSTRUCTION_MISALIGNMENT,
        ];
        u8::from(!defects.contains(&status))
    }

    /// Whether a name is a legal 8.3 name.
    partial "the OEM code page is Latin-1"
    fn RtlIsNameLegalDOS8Dot3(name: Guest<UnicodeString>, oem: Guest<UnicodeString>, spaces: Guest<u8>) -> u8 {
        irql::at_most("RtlIsNameLegalDOS8Dot3", PASSIVE_LEVEL);
        let units = name.units();
        let legal = is_8_dot_3(&units);
        if legal {
            spaces.write_opt(0);
            if let Some(mut string) = oem.read_opt() {
                let bytes: Vec<u8> = units.iter().map(|unit| upcase(*unit).to_le_bytes()[0]).collect();
                if bytes.len() <= usize::from(string.maximum_length) {
                    Guest(string.buffer.cast::<u8>()).write_many(&bytes);
                    string.length = u16::try_from(bytes.len()).unwrap_or(0);
                    oem.write(string);
                }
            }
        }
        legal.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(expression: &str, name: &str) -> bool {
        let wide = |text: &str| text.encode_utf16().collect::<Vec<_>>();
        matches(&wide(expression), &wide(name))
    }

    #[test]
    fn stars_and_question_marks() {
        for (expression, name, expected) in [
            ("*", "", true),
            ("*", "A.TXT", true),
            ("*.TXT", "A.TXT", true),
            ("*.TXT", "A.TXT.DOC", false),
            ("A?C", "ABC", true),
            ("A?C", "AC", false),
            ("A*B*C", "AXXBYYC", true),
            ("A*B*C", "AXXBYY", false),
            ("", "", true),
            ("", "A", false),
        ] {
            assert_eq!(fits(expression, name), expected, "{expression} {name}");
        }
    }

    #[test]
    fn what_dos_wrote() {
        for (expression, name, expected) in [
            // "*." of a program comes as "<": names without an extension.
            ("<", "README", true),
            ("<", "A.TXT", false),
            ("<.TXT", "A.B.TXT", true),
            (">>>", "AB", true),
            (">>>", "ABCD", false),
            (">>>.TXT", "AB.TXT", true),
            ("A\"", "A", true),
            ("A\"", "A.", true),
            ("A\"TXT", "A.TXT", true),
            ("A\"TXT", "ATXT", false),
        ] {
            assert_eq!(fits(expression, name), expected, "{expression} {name}");
        }
    }

    #[test]
    fn names_that_dos_could_have() {
        let legal = |text: &str| is_8_dot_3(&text.encode_utf16().collect::<Vec<_>>());
        for name in ["A", "README.TXT", "ABCDEFGH.IJK", ".", ".."] {
            assert!(legal(name), "{name}");
        }
        for name in ["", "ABCDEFGHI", "A.BCDE", "A.B.C", "A B", "A.", ".A", "A+B"] {
            assert!(!legal(name), "{name}");
        }
    }
}
