//! The scenarios by name.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A UNC path whose ancestors are opened from the top of the stack, each by the inspection of the one below it:
    /// as many creates nest on one thread as the path has components.
    Nested,
    /// An attribute query on a DFS path: its referral opens IPC$ inside the create, on the same thread.
    Dfs,
    /// Each directory opened relative to the handle of the one before.
    Relative,
    /// One open after the other, those that fail included.
    Flat,
    /// Symbolic links, relative and UNC, and junctions, each leading to the next.
    Links,
    /// Many threads that open many paths at random.
    Wide,
    /// Creates, attribute queries, listings, renames and deletions in directories that threads work in side by side.
    Mixed,
    /// Paths that become longer and longer, up to the 32,767 characters that a name can have.
    Long,
    /// Every spelling of a UNC path, each with the status that it must have.
    Forms,
}

impl Kind {
    /// Its name on the command line and in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nested => "nested",
            Self::Dfs => "dfs",
            Self::Relative => "relative",
            Self::Flat => "flat",
            Self::Links => "links",
            Self::Wide => "wide",
            Self::Mixed => "mixed",
            Self::Long => "long",
            Self::Forms => "forms",
        }
    }

    /// What its report is about, in a line.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Nested => "Kernel stack under nested UNC opens",
            Self::Dfs => "Kernel stack under an attribute query on a DFS path",
            Self::Relative => "Kernel stack under relative opens",
            Self::Flat => "Kernel stack under opens one after the other",
            Self::Links => "Kernel stack under opens that follow links",
            Self::Wide => "Kernel stack under many threads' opens",
            Self::Mixed => "Kernel stack under mixed file operations",
            Self::Long => "Kernel stack under opens of long paths",
            Self::Forms => "Kernel stack under every spelling of a UNC path",
        }
    }

    /// How deep it goes if nobody says otherwise; what that means is its own affair.
    #[must_use]
    pub const fn depth(self) -> u32 {
        match self {
            Self::Nested | Self::Relative | Self::Flat | Self::Wide => 64,
            Self::Links => 24,
            Self::Mixed => 12,
            Self::Long => 128,
            Self::Dfs | Self::Forms => 1,
        }
    }

    /// On how many threads it is played if nobody says otherwise.
    #[must_use]
    pub const fn threads(self) -> u32 {
        match self {
            Self::Wide => 8,
            Self::Mixed => 4,
            _ => 1,
        }
    }

    /// Whether its creates nest by the driver's own doing.
    #[must_use]
    pub const fn nests(self) -> bool {
        matches!(self, Self::Nested)
    }

    pub(super) fn headline(self, depth: u32) -> String {
        match self {
            Self::Nested => format!("Nested UNC opens, {depth} deep"),
            Self::Dfs => "An attribute query on a DFS path".to_owned(),
            Self::Relative => format!("Relative opens, {depth} deep"),
            Self::Flat => "Opens one after the other".to_owned(),
            Self::Links => format!("Chains of {depth} links"),
            Self::Wide => format!("{depth} random opens"),
            Self::Mixed => format!("Mixed operations on {depth} files"),
            Self::Long => format!("Paths of up to {depth} components"),
            Self::Forms => "Every spelling of a UNC path".to_owned(),
        }
    }
}
