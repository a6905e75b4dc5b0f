//! Checks, and how they are shown.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As it has to be.
    Ok,
    /// It works, but.
    Warning,
    /// It does not work.
    Failed,
    /// It could not be looked at, or there was nothing to look at.
    NotChecked,
}

impl Outcome {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::NotChecked => "not checked",
        }
    }

    const fn style(self) -> Style {
        match self {
            Self::Ok => AnsiColor::Green.on_default(),
            Self::Warning => AnsiColor::Yellow.on_default().bold(),
            Self::Failed => AnsiColor::Red.on_default().bold(),
            Self::NotChecked => Style::new().dimmed(),
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// What it came to.
    pub outcome: Outcome,
    /// What was found.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Check {
    /// As it has to be.
    pub fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, Outcome::Ok, found.into(), None)
    }

    /// It works, but.
    pub fn warning(name: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(name, Outcome::Warning, found.into(), Some(mend.into()))
    }

    /// It does not work.
    pub fn failed(name: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(name, Outcome::Failed, found.into(), Some(mend.into()))
    }

    /// It could not be looked at.
    pub fn not_checked(name: &'static str, why: impl Into<String>) -> Self {
        Self::new(name, Outcome::NotChecked, why.into(), None)
    }

    const fn new(
        name: &'static str,
        outcome: Outcome,
        found: String,
        mend: Option<String>,
    ) -> Self {
        Self {
            name,
            outcome,
            found,
            mend,
        }
    }
}

/// Checks that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// What about.
    pub title: &'static str,
    /// The checks, each one's cause before it.
    pub checks: Vec<Check>,
}

impl Group {
    /// A group.
    #[must_use]
    pub const fn new(title: &'static str, checks: Vec<Check>) -> Self {
        Self { title, checks }
    }
}

/// All that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Page {
    /// This program's version.
    pub headroom: &'static str,
    /// The system.
    pub system: String,
    /// How many checks failed.
    pub failed: usize,
    /// How many came to a warning.
    pub warnings: usize,
    /// The checks.
    pub groups: Vec<Group>,
}

/// Columns of text; longer lines are broken between words.
const WIDTH: usize = 110;

impl Page {
    /// A page.
    pub fn new(system: impl Into<String>, groups: Vec<Group>) -> Self {
        let count = |outcome| {
            let checks = groups.iter().flat_map(|group| &group.checks);
            checks.filter(|check| check.outcome == outcome).count()
        };
        Self {
            headroom: env!("CARGO_PKG_VERSION"),
            system: system.into(),
            failed: count(Outcome::Failed),
            warnings: count(Outcome::Warning),
            groups,
        }
    }

    /// Whether anything failed.
    #[must_use]
    pub const fn has_failed(&self) -> bool {
        self.failed > 0
    }

    /// For a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("headroom {} on {}\n", self.headroom, self.system);
        let checks = self.groups.iter().flat_map(|group| &group.checks);
        let names = checks.map(|check| check.name.len()).max().unwrap_or(0);
        let words = "not checked".len();
        let bold = Style::new().bold();
        for group in &self.groups {
            let _ = writeln!(text, "\n{bold}{}{bold:#}", group.title);
            for check in &group.checks {
                let style = check.outcome.style();
                let _ = write!(
                    text,
                    "  {style}{:words$}{style:#}  {:names$}  ",
                    check.outcome.word(),
                    check.name
                );
                let indent = 2 + words + 2 + names + 2;
                wrap(&mut text, indent, &check.found);
                if let Some(mend) = &check.mend {
                    let _ = write!(text, "{:indent$}to do: ", "");
                    wrap(&mut text, indent + "to do: ".len(), mend);
                }
            }
        }
        let _ = writeln!(text, "\n{}", self.sum());
        text
    }

    fn sum(&self) -> String {
        let many = |count: usize, one: &str, more: &str| match count {
            1 => format!("1 {one}"),
            count => format!("{count} {more}"),
        };
        match (self.failed, self.warnings) {
            (0, 0) => "Everything that was checked is as it has to be.".to_owned(),
            (0, warnings) => format!("Nothing failed; {}.", many(warnings, "warning", "warnings")),
            (failed, 0) => format!("{} failed.", many(failed, "check", "checks")),
            (failed, warnings) => format!(
                "{} failed; {}.",
                many(failed, "check", "checks"),
                many(warnings, "warning", "warnings")
            ),
        }
    }
}

/// Writes text whose first line starts at a column and whose others are indented to it.
fn wrap(text: &mut String, indent: usize, what: &str) {
    let mut column = indent;
    for (at, word) in what.split_whitespace().enumerate() {
        let length = word.chars().count();
        if at > 0 && column + 1 + length > WIDTH {
            let _ = write!(text, "\n{:indent$}", "");
            column = indent;
        } else if at > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_aligned_wrapped_and_summed_up() {
        let long = "a word ".repeat(20);
        let checks = vec![
            Check::ok("one", "found"),
            Check::failed("another", long, "do this"),
            Check::not_checked("third", "no reason"),
        ];
        let page = Page::new("a system", vec![Group::new("Title", checks)]);
        let plain = anstream::adapter::strip_str(&page.text()).to_string();
        let lines: Vec<_> = plain.lines().collect();
        assert_eq!(lines[3], "  ok           one      found");
        assert!(lines[4].starts_with("  failed       another  a word a word"));
        assert!(
            lines[5].starts_with("                        a word")
                || lines[5].starts_with("                        word")
        );
        assert!(lines[6].ends_with("to do: do this"), "{plain}");
        assert_eq!(lines[7], "  not checked  third    no reason");
        assert_eq!(*lines.last().unwrap(), "1 check failed.");
        assert!(lines.iter().all(|line| line.len() <= WIDTH));
        assert!(page.has_failed());
    }
}
