//! Scenario files: TOML, held to its schema with the line of each mistake.
//!
//! TOML and not JSON, because its literal strings (`'\??\C:\a'`) need no doubled backslashes and its parser knows where each value stands.

use std::path::Path;

use serde::Deserialize;
use thiserror::Error;
use toml::Spanned;

use super::model::Scenario;
use super::step;

/// A scenario file that is none: the file, the line, and what belongs there.
#[derive(Debug, Error)]
pub(in crate::cli) enum FileError {
    /// The file is wrong.
    #[error("{file}:{line}:{column}: {what}")]
    Wrong {
        /// Its name.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// The character, counted from 1.
        column: usize,
        /// What belongs there.
        what: String,
    },
    /// There is no such scenario.
    #[error(
        "there is no scenario {wanted}: the built-in ones are {known}, and a file's name has a dot or a slash"
    )]
    NoSuch {
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: String,
    },
}

impl FileError {
    /// There is none of that name.
    pub(super) fn no_such(wanted: &str, known: &[&str]) -> Self {
        Self::NoSuch {
            wanted: wanted.to_owned(),
            known: known.join(", "),
        }
    }
}

/// What went wrong where, before the file is known.
pub(super) struct Mistake {
    /// The byte at which it begins.
    pub(super) at: usize,
    /// What belongs there.
    pub(super) what: String,
}

impl Mistake {
    /// A mistake in that value.
    pub(super) fn at<T>(value: &Spanned<T>, what: impl Into<String>) -> Self {
        Self {
            at: value.span().start,
            what: what.into(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawScenario {
    #[serde(default)]
    about: String,
    on: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    prepare: Vec<RawPrepared>,
    #[serde(default)]
    step: Vec<Spanned<step::Raw>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawPrepared {
    file: Option<Spanned<String>>,
    folder: Option<Spanned<String>>,
    #[serde(default)]
    text: String,
}

/// The place of a byte in a text, both counted from 1.
pub(super) fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .map_or(0, |line| line.chars().count())
        + 1;
    (line, column)
}

/// Reads the scenario in that file.
///
/// # Errors
/// Says where the file is wrong.
pub(in crate::cli) fn read(path: &Path) -> Result<Scenario, FileError> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| FileError::Wrong {
        file: file.clone(),
        line: 1,
        column: 1,
        what: format!("cannot be read: {error}"),
    })?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    parse(&name, &file, &text)
}

/// Reads a scenario's text.
pub(super) fn parse(name: &str, file: &str, text: &str) -> Result<Scenario, FileError> {
    scenario(name, text).map_err(|mistake| {
        let (line, column) = place(text, mistake.at);
        FileError::Wrong {
            file: file.to_owned(),
            line,
            column,
            what: mistake.what,
        }
    })
}

fn scenario(name: &str, text: &str) -> Result<Scenario, Mistake> {
    let raw: RawScenario = toml::from_str(text).map_err(|error| Mistake {
        at: error.span().map_or(0, |span| span.start),
        what: error.message().to_owned(),
    })?;
    let mut on = Vec::new();
    for word in raw.on.iter().flatten() {
        let known = super::Place::ALL
            .iter()
            .find(|(known, _)| known == word.get_ref());
        match known {
            Some((_, place)) => on.push(*place),
            None => {
                return Err(Mistake::at(
                    word,
                    format!(
                        "expected `volume`, `share`, `dfs`, `port`, `filter` or `machine`, not `{}`",
                        word.get_ref()
                    ),
                ));
            }
        }
    }
    if on.is_empty() {
        on = vec![super::Place::Volume, super::Place::Share];
    }
    let mut prepared = Vec::new();
    for given in raw.prepare {
        let (path, content) = match (given.file, given.folder) {
            (Some(file), None) => (file, Some(given.text)),
            (None, Some(folder)) => (folder, None),
            (Some(both), Some(_)) => {
                return Err(Mistake::at(
                    &both,
                    "either `file` or `folder`: what is prepared is one of them",
                ));
            }
            (None, None) => {
                return Err(Mistake {
                    at: text.find("[[prepare]]").unwrap_or(0),
                    what: "expected `file` or `folder` in each [[prepare]]".to_owned(),
                });
            }
        };
        let part = |part: &str| matches!(part, "" | "." | "..");
        if path.get_ref().split(['\\', '/']).any(part) {
            return Err(Mistake::at(
                &path,
                "expected a path below the scenario's folder, like `Docs\\a.txt`",
            ));
        }
        prepared.push((path.into_inner().replace('\\', "/"), content));
    }
    let mut steps = Vec::new();
    for raw in raw.step {
        steps.push(step::step(raw, text, true)?);
    }
    if steps.is_empty() {
        return Err(Mistake {
            at: 0,
            what: "expected at least one [[step]]".to_owned(),
        });
    }
    Ok(Scenario {
        name: name.to_owned(),
        built_in: false,
        about: raw.about,
        on,
        prepared,
        steps,
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn wrong(text: &str) -> String {
        parse("x", "x.toml", text)
            .expect_err("it is wrong")
            .to_string()
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (text, expected) in [
            (
                "[[step]]\ndo = 'opne'\n",
                "x.toml:2:6: expected one of create, open,",
            ),
            ("[[step]]\ndo = 'open'\n", "x.toml:1:1: `open` needs `path`"),
            (
                "[[step]]\ndo = 'open'\npath = 'a'\nofset = 1\n",
                "x.toml:4:1: unknown field `ofset`",
            ),
            (
                "[[step]]\ndo = 'close'\n\noffset = 1\n",
                "x.toml:4:10: `close` has no `offset`",
            ),
            (
                "[[step]]\ndo = 'close'\nexpect = 'STATUS_NONSENSE'\n",
                "x.toml:3:10: expected the name of a status",
            ),
            (
                "[[step]]\ndo = 'open'\npath = 'a'\naccess = ['raed']\n",
                "x.toml:4:11: expected read, write,",
            ),
            (
                "on = ['disk']\n[[step]]\ndo = 'close'\n",
                "x.toml:1:7: expected `volume`",
            ),
            ("about = 'nothing'\n", "x.toml:1:1: expected at least one"),
            (
                "[[step]]\ndo = 'read'\nlength = 'five'\n",
                "x.toml:3:10: invalid type: string",
            ),
            ("[[step]\n", "x.toml:1:"),
        ] {
            let told = wrong(text);
            assert!(told.starts_with(expected), "{told}\nnot {expected}");
        }
    }
}
