//! What `headroom report` and `headroom compare` read.

use std::path::Path;

use fastrand::Rng;
use headroom_harness::report::compare::Comparison;
use headroom_harness::report::saved;

use crate::mutate::{self, Pool};

const WORDS: &[&str] = &[
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"format\":\"headroom records\"",
    "\"schema\":1",
    "\"losses\":",
    "<script>",
    "\\u0000",
    "\\ud800",
    "9223372036854775807",
    "18446744073709551615",
    "-1",
    "1e400",
    "\n",
];

pub(super) fn change(rng: &mut Rng, data: &mut Vec<u8>, pool: &Pool<'_>) {
    mutate::lines(rng, data, pool, WORDS);
}

/// Refused with a line and advice, or read; what was read can be shown in every form, and compared with itself.
pub(super) fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let saved = match saved::parse(Path::new("run.json"), &text) {
        Ok(saved) => saved,
        Err(error) => {
            let text = error.to_string();
            assert!(
                text.starts_with("run.json:") && text.contains(';'),
                "{text}"
            );
            return;
        }
    };
    let page = saved.page().expect("a page is written to memory");
    assert!(!page.contains("<script>"), "what is read stays text");
    let _ = saved.picture().expect("a picture is written to memory");
    let _ = saved.summary().json().expect("numbers are JSON");
    let _ = saved.text();
    if let Ok(comparison) = Comparison::of(&saved, &saved, 5) {
        let _ = format!("{comparison:?}");
    }
}
