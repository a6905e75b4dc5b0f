//! The calls that a scenario made, and what they came to.

use std::fmt;

use protocol::NtStatus;
use serde::{Deserialize, Serialize};

use super::{optional_status, status};

/// What a call does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// `NtCreateFile` for something that exists.
    #[default]
    Open,
    /// `NtCreateFile` for something that does not exist yet.
    Create,
    /// `NtQueryAttributesFile`.
    QueryAttributes,
    /// `NtQueryDirectoryFile` until nothing is left.
    List,
    /// `NtSetInformationFile` with a new name.
    Rename,
    /// `NtFsControlFile` that makes a link.
    SetReparse,
    /// `NtClose`, where it failed.
    Close,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Open => "open",
            Self::Create => "create",
            Self::QueryAttributes => "query attributes",
            Self::List => "list",
            Self::Rename => "rename",
            Self::SetReparse => "make a link",
            Self::Close => "close",
        })
    }
}

/// A call that the scenario made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Open {
    /// What it does.
    #[serde(default, skip_serializing_if = "is_open")]
    pub action: Action,
    /// The name as it was passed, relative names as such.
    pub name: String,
    /// What the system call returned; `None`: it never did.
    #[serde(with = "optional_status")]
    pub status: Option<NtStatus>,
    /// What it has to return.
    #[serde(with = "status")]
    pub expected: NtStatus,
    /// The scenario's thread that made it, from 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub thread: u32,
    /// Why something else is expected here than on Windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What is wrong although the status is right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Open {
    /// An open, by the first thread.
    #[must_use]
    pub const fn new(name: String, status: Option<NtStatus>, expected: NtStatus) -> Self {
        Self {
            action: Action::Open,
            name,
            status,
            expected,
            thread: 0,
            note: None,
            problem: None,
        }
    }

    /// Whether it came to what it had to.
    #[must_use]
    pub fn is_as_expected(&self) -> bool {
        self.status == Some(self.expected) && self.problem.is_none()
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_open(action: &Action) -> bool {
    *action == Action::Open
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// How many calls of each kind came to which status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Counts(pub Vec<Count>);

/// One line of [`Counts`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// The kind.
    pub action: Action,
    /// The status.
    #[serde(with = "status")]
    pub status: NtStatus,
    /// How many.
    pub calls: u64,
}

impl Counts {
    /// One more.
    pub fn add(&mut self, action: Action, status: NtStatus) {
        self.add_some(action, status, 1);
    }

    /// Those of another thread too.
    pub fn merge(&mut self, other: &Self) {
        for count in &other.0 {
            self.add_some(count.action, count.status, count.calls);
        }
        self.0.sort_by_key(|count| (count.action, count.status.0));
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().map(|count| count.calls).sum()
    }

    fn add_some(&mut self, action: Action, status: NtStatus, calls: u64) {
        let same = |count: &&mut Count| (count.action, count.status) == (action, status);
        match self.0.iter_mut().find(same) {
            Some(count) => count.calls += calls,
            None => self.0.push(Count {
                action,
                status,
                calls,
            }),
        }
    }
}
