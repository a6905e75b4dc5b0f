//! Names and patterns: the wild cards of a directory query, as `FsRtlIsNameInExpression` documents them.

use super::names::upcase;

const STAR: u16 = b'*' as u16;
const QUESTION: u16 = b'?' as u16;
const DOT: u16 = b'.' as u16;
/// `DOS_STAR`: zero or more units up to the name's last dot.
const DOS_STAR: u16 = b'<' as u16;
/// `DOS_QM`: any unit, or none before a dot or at the end.
const DOS_QM: u16 = b'>' as u16;
/// `DOS_DOT`: a dot, or none at the end.
const DOS_DOT: u16 = b'"' as u16;

/// Whether `name` matches `pattern`. `fold`: without regard to case.
///
/// The places of the pattern that may come next are followed side by side, so the time is at most the product of the
/// lengths, whatever the pattern.
pub(crate) fn matches(pattern: &[u16], name: &[u16], fold: bool) -> bool {
    let last_dot = name.iter().rposition(|unit| *unit == DOT);
    let mut now = vec![false; pattern.len() + 1];
    now[0] = true;
    for (at, &unit) in name.iter().enumerate() {
        skip(pattern, &mut now, Some(unit), false);
        let mut next = vec![false; pattern.len() + 1];
        for (place, _) in pattern.iter().enumerate().filter(|(place, _)| now[*place]) {
            let symbol = pattern[place];
            match symbol {
                STAR => next[place] = true,
                // It takes any unit but the last dot.
                DOS_STAR if unit != DOT || last_dot.is_some_and(|last| at < last) => {
                    next[place] = true;
                }
                DOS_STAR => {}
                QUESTION => next[place + 1] = true,
                DOS_QM if unit != DOT => next[place + 1] = true,
                DOS_DOT if unit == DOT => next[place + 1] = true,
                symbol if same(symbol, unit, fold) => next[place + 1] = true,
                _ => {}
            }
        }
        now = next;
    }
    skip(pattern, &mut now, None, true);
    now[pattern.len()]
}

/// Goes over the symbols that match nothing here.
fn skip(pattern: &[u16], places: &mut [bool], unit: Option<u16>, end: bool) {
    for (place, symbol) in pattern.iter().enumerate() {
        let empty = match *symbol {
            STAR | DOS_STAR => true,
            DOS_QM => end || unit == Some(DOT),
            DOS_DOT => end,
            _ => false,
        };
        if empty && places[place] {
            places[place + 1] = true;
        }
    }
}

fn same(left: u16, right: u16, fold: bool) -> bool {
    left == right || (fold && upcase(left) == upcase(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, name: &str) -> bool {
        let wide = |text: &str| text.encode_utf16().collect::<Vec<_>>();
        matches(&wide(pattern), &wide(name), true)
    }

    #[test]
    fn wild_cards_do_what_is_documented() {
        for (pattern, name, expected) in [
            ("*", "a.txt", true),
            ("*.txt", "a.TXT", true),
            ("*.txt", "a.txt.bak", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            // DOS_STAR stops at the last dot.
            ("<.txt", "a.b.txt", true),
            ("<.b", "a.b.txt", false),
            ("<", "abc", true),
            // DOS_QM may be nothing before a dot or at the end.
            ("a>>.txt", "a.txt", true),
            ("a>>", "a", true),
            ("a>>", "abcd", false),
            // DOS_DOT is a dot or the end.
            ("a\"", "a", true),
            ("a\"b", "a.b", true),
            ("<\"*", "readme", true),
            ("<\"*", "read.me", true),
        ] {
            assert_eq!(check(pattern, name), expected, "{pattern} {name}");
        }
        let long = "a*".repeat(200);
        assert!(!check(&long, &"b".repeat(400)));
    }
}
