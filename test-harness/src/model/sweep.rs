//! How deep creates nest before something ends it, under each policy and with each reservation.

use std::fmt;

use protocol::NtStatus;
use serde::{Deserialize, Serialize};

use super::{Expand, status};

/// A search for the deepest nest, one row for each policy and reservation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sweep {
    /// The opener had a large kernel stack.
    pub large_stack: bool,
    /// The deepest nest that was tried, which is what the driver's `MaxNestDepth` was set to or less.
    pub bound: u32,
    /// How many extra stack segments the machine had to give.
    pub segment_limit: u32,
    /// The driver's settings that were set beside policy and reservation, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<(String, u32)>,
    /// What was found.
    pub rows: Vec<SweepRow>,
    /// Ctrl-C ended the search: rows are missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
}

/// What was found under one policy with one reservation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepRow {
    /// The policy.
    pub expand: Expand,
    /// `ReservationBytes`; under [`Expand::Never`] nothing is reserved, and it is 0.
    pub reservation_bytes: u32,
    /// `RedZoneBytes` under [`Expand::RedZone`].
    pub red_zone_bytes: Option<u32>,
    /// The most creates that nested on one thread and all came back, each inspected. 0: not even one.
    pub deepest: u32,
    /// What ended the nest that was one create deeper, or kept it from being tried.
    pub end: SweepEnd,
    /// Least stack left where one of the inspections of the deepest nest started, in bytes.
    pub lowest_inside: Option<u32>,
    /// Stack segments that the deepest nest ran on, the thread's own included.
    pub segments: u32,
    /// Machines that were started to find it.
    pub machines: u32,
}

/// What ends a nest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SweepEnd {
    /// The machine died.
    BugCheck {
        /// The code.
        code: u32,
        /// Its first parameter.
        parameter: u64,
        /// Its name.
        name: String,
    },
    /// The expansion was refused, and the create fell back as `OnExpandFailure` has it: uninspected, it opened no parent.
    Fallback {
        /// What the expansion returned.
        #[serde(with = "status")]
        status: NtStatus,
    },
    /// Less than `MinimumStackBytes` was left: nothing deep was tried.
    Minimum,
    /// Nothing: [`Sweep::bound`] was reached.
    Bound,
}

impl SweepEnd {
    /// A word for it, for legends and columns.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::BugCheck { .. } => "bug check",
            Self::Fallback { .. } => "fallback",
            Self::Minimum => "minimum",
            Self::Bound => "bound",
        }
    }
}

impl fmt::Display for SweepEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BugCheck {
                code, parameter, ..
            } => write!(f, "bug check {code:#04X} ({parameter:X})"),
            Self::Fallback { status } => write!(f, "fallback: {status}"),
            Self::Minimum => f.write_str("less than MinimumStackBytes left"),
            Self::Bound => f.write_str("nothing: the bound of the search"),
        }
    }
}
