//! Colour, where somebody looks.

use std::fmt::Display;
use std::io::IsTerminal as _;
use std::sync::OnceLock;

/// Whether standard output is a terminal that wants colour (see no-color.org).
fn wanted() -> bool {
    static WANTED: OnceLock<bool> = OnceLock::new();
    *WANTED.get_or_init(|| {
        std::io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty())
    })
}

fn paint(code: &str, text: impl Display) -> String {
    if wanted() {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_string()
    }
}

/// What is wrong.
pub(super) fn bad(text: impl Display) -> String {
    paint("1;31", text)
}

/// What is to be looked at.
pub(super) fn odd(text: impl Display) -> String {
    paint("33", text)
}

/// What is well.
pub(super) fn good(text: impl Display) -> String {
    paint("32", text)
}

/// Headings.
pub(super) fn head(text: impl Display) -> String {
    paint("1", text)
}

/// A line on the terminal that the next one takes the place of; nothing where nobody looks.
pub(super) struct Progress(bool);

impl Progress {
    /// Begins; `quiet`: there is none.
    pub(super) fn new(quiet: bool) -> Self {
        Self(!quiet && std::io::stderr().is_terminal())
    }

    /// Shows how far it is.
    pub(super) fn show(&self, text: impl Display) {
        if self.0 {
            eprint!("\r\x1b[2K{text}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.0 {
            eprint!("\r\x1b[2K");
        }
    }
}
