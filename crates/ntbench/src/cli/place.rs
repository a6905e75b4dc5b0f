//! Where a finding is, said once: many texts end with it, and say it more exactly.

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

#[cfg(test)]
mod tests {
    use super::place;

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
}
