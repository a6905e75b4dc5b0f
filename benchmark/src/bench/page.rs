//! The figures on docs/performance.md: between marks, so that a new run replaces them and the text around them stays.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::result::Results;
use super::{scale, table};

/// Replaces what the results have on the page.
pub(crate) fn update(path: &Path, results: &Results) -> Result<()> {
    let mut page =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    if !results.rows.is_empty() {
        let mut text = String::new();
        let rounds = format!("{} rounds, ", results.rounds);
        let _ = writeln!(text, "{}", host(results, &rounds));
        text += &table::markdown_aims(&results.aims);
        page = replaced(&page, "aims", &text)?;
        page = replaced(&page, "rows", &table::markdown(results))?;
    }
    if !results.curves.is_empty() {
        let mut text = host(results, "");
        text.push('\n');
        text += &scale::markdown(&results.curves);
        page = replaced(&page, "curves", &text)?;
    }
    std::fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))
}

fn host(results: &Results, rounds: &str) -> String {
    let host = &results.host;
    format!(
        "Measured on {} ({} cores, Linux {}), {rounds}load {:.1} at the start.\n",
        host.processor, host.cores, host.kernel, host.load
    )
}

/// The page with another text between the marks of that name.
fn replaced(page: &str, name: &str, text: &str) -> Result<String> {
    let (begin, end) = (
        format!("<!-- figures: {name} -->\n"),
        "<!-- end of figures -->",
    );
    let Some((before, rest)) = page.split_once(&begin) else {
        bail!("the page has no place for the {name}: {begin}");
    };
    let Some((_, after)) = rest.split_once(end) else {
        bail!("the place for the {name} does not end: {end}");
    };
    Ok(format!(
        "{before}{begin}\n{}\n\n{end}{after}",
        text.trim_end()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let page = "a\n<!-- figures: rows -->\nold\n<!-- end of figures -->\nb\n<!-- figures: aims -->\nx\n<!-- end of figures -->\nc";
        let new = replaced(page, "rows", "new\n").unwrap();
        assert_eq!(
            new,
            "a\n<!-- figures: rows -->\n\nnew\n\n<!-- end of figures -->\nb\n<!-- figures: aims -->\nx\n<!-- end of figures -->\nc"
        );
        assert!(replaced(page, "nothing", "").is_err());
        assert!(replaced("<!-- figures: rows -->\n", "rows", "").is_err());
    }
}
