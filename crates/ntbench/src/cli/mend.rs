//! Where a finding is and what mends it, said once: many texts end with one or the other already, and say it more exactly.

use std::collections::BTreeSet;

/// The text without what mends it, and what mends it: the text's own end where that says as much as the advice.
pub(super) fn split<'a>(text: &'a str, advice: &'a str) -> (&'a str, &'a str) {
    let at = text.rfind("; ").max(text.rfind(". "));
    let parts = at.and_then(|at| Some((text.get(..at)?, text.get(at + 2..)?)));
    match parts {
        Some((found, end)) if says(end, advice) => (found, end),
        _ => (text, advice),
    }
}

/// The text without its place, and the place: as the text's own end has it (`taken at`, `allocated at`), where that is the same.
pub(super) fn place<'a>(text: &'a str, site: &'a str) -> (&'a str, &'a str) {
    let how = text
        .strip_suffix(site)
        .and_then(|rest| rest.strip_suffix(" at "));
    let cut = how.and_then(|how| how.rfind("; ").max(how.rfind(", ")));
    let parts = cut.and_then(|cut| Some((text.get(..cut)?, text.get(cut + 2..)?)));
    match (how, parts) {
        // One word says how: more is a sentence of its own.
        (Some(how), Some((found, place))) if !how[found.len() + 2..].contains(' ') => {
            (found, place)
        }
        _ => (text, ""),
    }
}

/// Whether at least half of what either is about is in the other.
fn says(end: &str, advice: &str) -> bool {
    let (end, advice) = (subjects(end), subjects(advice));
    let both = end.intersection(&advice).count();
    both > 0 && 2 * both >= end.len().min(advice.len())
}

/// The words that carry a meaning.
fn subjects(text: &str) -> BTreeSet<String> {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .filter(|word| word.len() > 3)
        .map(str::to_ascii_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{place, split};

    #[test]
    fn advice_that_the_text_gives_already_is_said_once() {
        assert_eq!(
            split(
                "IoFreeMdl on an MDL whose pages are locked; call MmUnlockPages first, or they stay locked for ever",
                "call MmUnlockPages before IoFreeMdl"
            ),
            (
                "IoFreeMdl on an MDL whose pages are locked",
                "call MmUnlockPages first, or they stay locked for ever"
            )
        );
    }

    #[test]
    fn a_place_that_the_text_ends_with_is_said_once() {
        let site = "tracker!New+0x2d";
        assert_eq!(
            place("a context is left; taken at tracker!New+0x2d", site),
            ("a context is left", "taken at tracker!New+0x2d")
        );
        for text in ["a context is left", "left, it was made at tracker!New+0x2d"] {
            assert_eq!(place(text, site), (text, ""));
        }
    }

    #[test]
    fn what_is_something_else_stays_in_the_text() {
        let (text, advice) = (
            "2 blocks left at unload; the first was allocated at scanner!Safe+0x2d",
            "free the blocks before the unload routine returns",
        );
        assert_eq!(split(text, advice), (text, advice));
        assert_eq!(split("no end", advice), ("no end", advice));
    }
}
