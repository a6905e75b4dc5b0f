//! What was done, step by step, and taken back where a later step failed.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::verbs) enum Became {
    /// It was done.
    Done,
    /// There was nothing to do.
    AsItWas,
    /// It failed.
    Failed,
    /// What an earlier step did was taken back.
    Undone,
    /// That failed.
    NotUndone,
    /// It was left out, for a reason that is given.
    LeftOut,
}

impl Became {
    const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::AsItWas => "as it was",
            Self::Failed => "failed",
            Self::Undone => "undone",
            Self::NotUndone => "not undone",
            Self::LeftOut => "left out",
        }
    }

    const fn style(self) -> Style {
        match self {
            Self::Done => AnsiColor::Green.on_default(),
            Self::AsItWas => Style::new().dimmed(),
            Self::Failed | Self::NotUndone => AnsiColor::Red.on_default().bold(),
            Self::Undone | Self::LeftOut => AnsiColor::Yellow.on_default().bold(),
        }
    }
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::verbs) struct Step {
    /// What it became.
    pub(in crate::verbs) became: Became,
    /// What it is.
    pub(in crate::verbs) step: String,
    /// More about it: why it failed or was left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::verbs) why: Option<String>,
}

/// All steps, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(in crate::verbs) struct Journal {
    /// The steps.
    pub(in crate::verbs) steps: Vec<Step>,
    /// Whether everything that was asked for is done.
    pub(in crate::verbs) finished: bool,
    /// Whether Windows wants to be started again.
    pub(in crate::verbs) needs_restart: bool,
    /// What it came to, in a sentence, and what to do next.
    pub(in crate::verbs) outcome: String,
}

impl Journal {
    pub(in crate::verbs) fn note(&mut self, became: Became, step: impl Into<String>) {
        self.steps.push(Step {
            became,
            step: step.into(),
            why: None,
        });
    }

    pub(in crate::verbs) fn note_why(
        &mut self,
        became: Became,
        step: impl Into<String>,
        why: impl Into<String>,
    ) {
        self.steps.push(Step {
            became,
            step: step.into(),
            why: Some(why.into()),
        });
    }

    /// For a terminal.
    #[cfg_attr(not(windows), allow(dead_code, reason = "tests look at the steps"))]
    pub(in crate::verbs) fn text(&self) -> String {
        let mut text = String::new();
        for Step { became, step, why } in &self.steps {
            let style = became.style();
            let _ = writeln!(text, "  {style}{:<10}{style:#}  {step}", became.word());
            if let Some(why) = why {
                let _ = writeln!(text, "{:14}{why}", "");
            }
        }
        if self.needs_restart {
            text.push_str(
                "\nWindows wants to be started again before the new files are in place.\n",
            );
        }
        let _ = writeln!(text, "\n{}", self.outcome);
        text
    }
}
