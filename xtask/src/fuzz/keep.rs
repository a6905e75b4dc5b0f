//! Which of a guided run's inputs are worth keeping: those that reach code which no smaller one does.
//!
//! libFuzzer's merge takes whatever adds a feature, and how often a loop ran is one, or what a comparison came near to: thousands of inputs
//! that reach nothing new. What each input reaches is in its control file, where the edges have lines of their own.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// How much of its name, a digest, a kept input's has.
const DIGITS: usize = 8;

/// Puts into the corpus those inputs, named in a merge's control file, that add an edge; gives how many, of how many.
pub(super) fn keep(control: &Path, corpus: &Path, longest: usize) -> Result<(usize, usize)> {
    let text = fs::read_to_string(control).with_context(|| control.display().to_string())?;
    let (worth, looked_at) =
        worth(&text).with_context(|| format!("{} is no control file", control.display()))?;
    for file in &worth {
        let mut bytes = fs::read(file).with_context(|| file.display().to_string())?;
        bytes.truncate(longest);
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let name = name.get(..DIGITS).unwrap_or(&name);
        fs::write(corpus.join(format!("guided-{name}")), bytes)?;
    }
    Ok((worth.len(), looked_at))
}

/// The inputs beyond those that were there which reach an edge that none before them does, and how many were looked at. They stand in
/// the file from the smallest to the largest.
fn worth(control: &str) -> Result<(Vec<PathBuf>, usize)> {
    let mut lines = control.lines();
    let mut number = || -> Result<usize> {
        let line = lines.next().context("it ends before the files")?;
        line.trim()
            .parse()
            .with_context(|| format!("`{line}` is no number"))
    };
    let (all, there) = (number()?, number()?);
    let files: Vec<&str> = lines.by_ref().take(all).collect();
    if files.len() != all || there > all {
        bail!("it names {} files of {all}", files.len());
    }
    let (mut known, mut worth) = (HashSet::new(), Vec::new());
    for line in lines {
        let mut words = line.split_whitespace();
        if words.next() != Some("COV") {
            continue;
        }
        let index: usize = words
            .next()
            .and_then(|word| word.parse().ok())
            .context("COV")?;
        // Edges of what the process had seen already are left out, unless an input ended it and it began again.
        let new = words.filter(|edge| known.insert(*edge)).count();
        if index >= there && new > 0 {
            worth.push(PathBuf::from(files.get(index).context("COV of no file")?));
        }
    }
    Ok((worth, all - there))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTROL: &str = "4\n1\nseeds/a\nfound/b\nfound/c\nfound/d\n\
        STARTED 0 3\nFT 0 1 2\nCOV 0 10 11\nSTARTED 1 4\nFT 1 3 4 5\nCOV 1\n\
        STARTED 2 5\nFT 2 6\nCOV 2 12\nSTARTED 3 6\nFT 3 7\nCOV 3 10 12\n";

    #[test]
    fn features_without_an_edge_keep_nothing() {
        // The last comes from a process that began again, and lists edges that are known.
        let (files, looked_at) = worth(CONTROL).unwrap();
        assert_eq!(files, [PathBuf::from("found/c")]);
        assert_eq!(looked_at, 3);
    }

    #[test]
    fn what_is_no_control_file_is_said_to_be_none() {
        for text in ["", "x", "3\n1\na\n", "1\n2\na\n", "1\n0\na\nCOV 7 1\n"] {
            assert!(worth(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_kept_is_as_long_as_it_was_when_it_was_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        fs::create_dir(place("corpus")).unwrap();
        fs::write(place("0123456789abcdef"), [7; 100]).unwrap();
        let input = place("0123456789abcdef");
        let control = format!(
            "1\n0\n{}\nSTARTED 0 100\nFT 0 1\nCOV 0 1\n",
            input.display()
        );
        fs::write(place("control"), control).unwrap();
        assert_eq!(
            keep(&place("control"), &place("corpus"), 64).unwrap(),
            (1, 1)
        );
        assert_eq!(fs::read(place("corpus/guided-01234567")).unwrap(), [7; 64]);
    }
}
