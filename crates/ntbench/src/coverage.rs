//! What the bench offers drivers, as a table: made from the exports themselves, so that it cannot say something else than they do.

use std::fmt::Write as _;

use crate::export::{self, Coverage};

/// What many minifilters import: `dll name` by line.
const SAMPLES: &str = include_str!("../assets/minifilter-imports.txt");

const HEAD: &str = "\
# What ntbench has of the kernel and the Filter Manager

This page is the output of `ntbench coverage`, which is made from the bench's code: each function says there what it leaves out.

* **whole**: what its reference page documents, as far as a minifilter can see it. Where a model as such differs from Windows
  [ntbench.md](ntbench.md) says so once for all of its functions.
* **partial**: not all of it; the last column says how it differs.
* **refused**: known by name and not done. A driver that calls it gets what the last column says, and mostly a finding `refused`.
* **absent**: an image that imports it is not loaded, and the error names it.
";

/// The names that minifilters import commonly, by DLL.
fn samples() -> impl Iterator<Item = (&'static str, &'static str)> {
    SAMPLES
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
}

/// The table, in Markdown.
pub(crate) fn markdown() -> String {
    let mut rows: Vec<(&str, &str, &str, &str)> = export::all()
        .map(|export| {
            let (word, how) = match export.coverage {
                Coverage::Whole => ("whole", ""),
                Coverage::Partial(how) => ("partial", how),
                Coverage::Refused(how) => ("refused", how),
            };
            (export.dll, export.name, word, how)
        })
        .collect();
    rows.extend(
        samples()
            .filter(|(dll, name)| export::find(dll, name).is_none())
            .map(|(dll, name)| (dll, name, "absent", "")),
    );
    rows.sort_unstable_by_key(|row| (row.0, row.1.to_ascii_lowercase(), row.1));
    rows.dedup();

    let mut text = HEAD.to_owned();
    let count = |word: &str| rows.iter().filter(|row| row.2 == word).count();
    let sampled = samples().count();
    let bound = samples()
        .filter(|(dll, name)| export::find(dll, name).is_some())
        .count();
    let _ = write!(
        text,
        "\n{} names: {} whole, {} partial, {} refused, {} absent. Of the {sampled} names that Microsoft's fourteen minifilter samples\n\
         import or look up, an image finds {bound}.\n",
        rows.len(),
        count("whole"),
        count("partial"),
        count("refused"),
        count("absent"),
    );
    let mut dll = "";
    for row in rows {
        if row.0 != dll {
            dll = row.0;
            let _ = write!(
                text,
                "\n## {dll}\n\n| Name | | How it differs |\n| --- | --- | --- |\n"
            );
        }
        let (name, word, how) = (row.1, row.2, row.3.replace('|', "\\|"));
        let _ = writeln!(text, "| `{name}` | {word} | {how} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verifier::rules;

    #[test]
    fn the_page_is_what_the_code_says() {
        let page = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/ntbench-coverage.md"
        );
        let written = std::fs::read_to_string(page).unwrap_or_default();
        assert!(
            written == markdown(),
            "docs/ntbench-coverage.md is not what the code says; make it again: cargo run -p ntbench -- coverage > docs/ntbench-coverage.md"
        );
    }

    const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/ntbench.md");

    /// What stands first in each call of a function, in the crate's sources.
    fn first_arguments(call: &str, folder: &std::path::Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("sources").flatten() {
            let path = entry.path();
            if path.is_dir() {
                first_arguments(call, &path, found);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let calls = text.split(call).skip(1);
            found.extend(
                calls
                    .filter_map(|rest| rest.trim_start().split(',').next())
                    .map(str::to_owned),
            );
        }
    }

    fn in_sources(call: &str) -> Vec<String> {
        let mut found = Vec::new();
        let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
        first_arguments(call, sources.as_ref(), &mut found);
        found
    }

    #[test]
    fn each_rule_has_advice_and_the_guide_says_the_same() {
        let guide = std::fs::read_to_string(GUIDE).expect("docs/ntbench.md");
        // In pieces, or these lines would be found as well.
        let mut found = in_sources(concat!("finding", "("));
        for call in [
            concat!("finding", "_at("),
            concat!("finding", "_in("),
            concat!("Embedded", "::new("),
        ] {
            found.extend(in_sources(call));
        }
        let found: Vec<_> = found
            .iter()
            .filter_map(|rule| rule.strip_prefix('"')?.strip_suffix('"'))
            .collect();
        assert!(found.len() > 90, "{found:?}");
        for rule in &found {
            assert!(
                rules::names().any(|name| name == *rule),
                "{rule} is no rule of verifier/rules.rs"
            );
        }
        for rule in rules::names() {
            assert!(found.contains(&rule), "nothing raises {rule}");
            let row = guide
                .lines()
                .find(|line| line.starts_with(&format!("| `{rule}` |")));
            let row = row.unwrap_or_else(|| {
                panic!("docs/ntbench.md lacks a line in \"The rules\" for {rule}")
            });
            let advice = rules::advice(rule);
            assert!(
                row.replace('`', "").ends_with(&format!("| {advice} |")),
                "docs/ntbench.md says {row:?}, verifier/rules.rs {advice:?}"
            );
        }
    }

    #[test]
    fn each_bug_check_has_a_name_and_a_line_in_the_guide() {
        let guide = std::fs::read_to_string(GUIDE).expect("docs/ntbench.md");
        let found = in_sources(concat!("raise", "("));
        let codes: Vec<u32> = found
            .iter()
            .filter_map(|code| u32::from_str_radix(code.strip_prefix("0x")?, 16).ok())
            .collect();
        assert!(codes.len() > 20, "{codes:x?}");
        for code in codes {
            let name = crate::bugcheck::code::name(code);
            assert!(!name.starts_with('('), "{code:#04X} has no name");
            let written = format!("0x{code:02X}");
            assert!(
                guide.contains(&written),
                "docs/ntbench.md lacks {written} {name} in \"Bug checks\""
            );
        }
    }

    #[test]
    fn the_guides_example_is_the_one_that_compiles() {
        let guide = std::fs::read_to_string(GUIDE).expect("docs/ntbench.md");
        assert!(
            guide.contains(include_str!("../examples/open.rs")),
            "docs/ntbench.md shows another text than crates/ntbench/examples/open.rs"
        );
    }

    #[test]
    fn every_function_of_the_filter_manager_is_known_by_name() {
        let names = include_str!("../assets/fltmgr-exports.txt");
        let absent: Vec<_> = names
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter(|name| export::find("fltmgr.sys", name).is_none())
            .collect();
        assert_eq!(absent, [""; 0]);
    }

    #[test]
    fn no_name_is_offered_twice() {
        let mut names: Vec<_> = export::all()
            .map(|export| (export.dll, export.name))
            .collect();
        names.sort_unstable();
        let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }

    #[test]
    fn what_is_not_whole_says_how() {
        for export in export::all() {
            if let Coverage::Partial(how) | Coverage::Refused(how) = export.coverage {
                assert!(
                    how.len() > 8 && !how.ends_with('.'),
                    "{}: {how:?}",
                    export.name
                );
            }
        }
    }
}
