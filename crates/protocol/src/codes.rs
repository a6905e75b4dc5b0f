//! What a record says in numbers with names.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::named::named;

named! {
    /// Where the inspection ran.
    Outcome: u8 {
        /// It was not tried.
        NOT_TRIED = 0, "not tried";
        /// On the caller's segment, which was as it is.
        DIRECT = 1, "direct";
        /// On the caller's segment, which grew in place.
        GROWN = 2, "grown";
        /// On another segment.
        SWITCHED = 3, "switched";
        /// On the caller's stack, since the policy asked for no expansion.
        NOT_EXPANDED = 4, "not expanded";
        /// Nowhere: the expansion was asked for and failed.
        FAILED = 5, "failed";
        /// On a worker's stack, the create pended meanwhile: the expansion was asked for and failed.
        WORKER = 6, "worker";
    }
}

named! {
    /// What decides whether a create's inspection asks for stack.
    Policy: u8 {
        /// Always, as the DFS client does it.
        ALWAYS = 1, "Always";
        /// Where less than the red zone is left.
        RED_ZONE = 2, "RedZone";
        /// Never: to show the problem.
        NEVER = 3, "Never";
    }
}

named! {
    /// What becomes of a create whose inspection was to get stack, and got none.
    OnExpandFailure: u8 {
        /// It passes on uninspected.
        PASS_THROUGH = 1, "PassThrough";
        /// It waits while a worker inspects it.
        WORKER = 2, "Worker";
        /// It fails with STATUS_INSUFFICIENT_RESOURCES.
        DENY = 3, "Deny";
    }
}

named! {
    /// Where the opens of ancestors are sent.
    AncestorScope: u8 {
        /// To the instance below: no filter above sees them.
        BELOW = 1, "Below";
        /// To the top of the stack: every filter sees them, this one included.
        TOP = 2, "Top";
    }
}

/// Which parts of a record hold, and why an inspection was left out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(transparent)]
pub struct Flags(pub u32);

impl Flags {
    /// `before_*` was measured.
    pub const BEFORE_SAMPLED: Self = Self(1 << 0);
    /// `inside_*` was measured.
    pub const INSIDE_SAMPLED: Self = Self(1 << 1);
    /// `after_*` was measured.
    pub const AFTER_SAMPLED: Self = Self(1 << 2);
    /// `create_status` holds what the create came to.
    pub const CREATE_STATUS_KNOWN: Self = Self(1 << 3);
    /// The create was issued by an inspection of this driver (an extra create parameter said so).
    pub const NESTED: Self = Self(1 << 4);
    /// The path is a UNC path.
    pub const UNC: Self = Self(1 << 5);
    /// No stack could be had: the create was pended, and a worker was asked to inspect it.
    pub const DEFERRED: Self = Self(1 << 6);
    /// No stack could be had: the create was failed with STATUS_INSUFFICIENT_RESOURCES.
    pub const DENIED: Self = Self(1 << 7);
    /// Not inspected: the bound on nesting was reached.
    pub const SKIPPED_NEST_BOUND: Self = Self(1 << 8);
    /// Not inspected: the path has no ancestor to open.
    pub const SKIPPED_ROOT: Self = Self(1 << 9);
    /// Not inspected: opened by file identifier, so there is no path to walk.
    pub const SKIPPED_BY_ID: Self = Self(1 << 10);
    /// Not inspected: no UNC path, and the configuration asks for those only.
    pub const SKIPPED_NOT_UNC: Self = Self(1 << 11);
    /// Not inspected: less stack was left than `MinimumStackBytes`.
    pub const SKIPPED_LOW_STACK: Self = Self(1 << 12);
    /// Not inspected: a named pipe, a mailslot or the IPC$ share, which has no directories.
    pub const SKIPPED_NOT_DISK: Self = Self(1 << 13);
    /// Not inspected: cancelled, or its instance torn down, while it waited for a worker.
    pub const SKIPPED_CANCELLED: Self = Self(1 << 14);

    const NAMES: [(Self, &'static str); 15] = [
        (Self::BEFORE_SAMPLED, "before"),
        (Self::INSIDE_SAMPLED, "inside"),
        (Self::AFTER_SAMPLED, "after"),
        (Self::CREATE_STATUS_KNOWN, "status"),
        (Self::NESTED, "nested"),
        (Self::UNC, "unc"),
        (Self::DEFERRED, "deferred to a worker"),
        (Self::DENIED, "denied"),
        (Self::SKIPPED_NEST_BOUND, "skipped: nest bound"),
        (Self::SKIPPED_ROOT, "skipped: no ancestor"),
        (Self::SKIPPED_BY_ID, "skipped: opened by id"),
        (Self::SKIPPED_NOT_UNC, "skipped: not UNC"),
        (Self::SKIPPED_LOW_STACK, "skipped: low stack"),
        (Self::SKIPPED_NOT_DISK, "skipped: not a disk share"),
        (Self::SKIPPED_CANCELLED, "skipped: cancelled"),
    ];

    /// Whether every flag of `other` is set here.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These flags and those of `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut unnamed = self.0;
        let mut separator = "";
        for (flag, name) in Self::NAMES {
            if self.contains(flag) {
                unnamed &= !flag.0;
                write!(f, "{separator}{name}")?;
                separator = ", ";
            }
        }
        if unnamed != 0 {
            write!(f, "{separator}{unnamed:#x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}
