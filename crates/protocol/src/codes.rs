//! Numbers with names. None of them has an invalid value.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Declares a one-byte number of which some values have names.
macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($(#[$value_doc:meta])* $name:ident = $value:literal, $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable)]
        #[repr(transparent)]
        pub struct $type(pub u8);

        impl $type {
            $($(#[$value_doc])* pub const $name: Self = Self($value);)*

            /// The value's name, where this version knows it.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($text),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => f.pad(name),
                    None => write!(f, "{:#04x}", self.0),
                }
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

named! {
    /// Where the inspection ran.
    Outcome {
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
    }
}

named! {
    /// What decides whether a create's inspection asks for stack.
    Policy {
        /// Always, as the DFS client does it.
        ALWAYS = 1, "Always";
        /// Where less than the red zone is left.
        RED_ZONE = 2, "RedZone";
        /// Never: to show the problem.
        NEVER = 3, "Never";
    }
}

named! {
    /// Where the opens of ancestors are sent.
    AncestorScope {
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
    /// Not inspected: the bound on nesting was reached.
    pub const SKIPPED_NEST_BOUND: Self = Self(1 << 8);
    /// Not inspected: the path has no ancestor to open.
    pub const SKIPPED_ROOT: Self = Self(1 << 9);
    /// Not inspected: opened by file identifier, so there is no path to walk.
    pub const SKIPPED_BY_ID: Self = Self(1 << 10);
    /// Not inspected: no UNC path, and the configuration asks for those only.
    pub const SKIPPED_NOT_UNC: Self = Self(1 << 11);
    /// Not inspected: too little stack even to begin.
    pub const SKIPPED_LOW_STACK: Self = Self(1 << 12);
    /// Not inspected: a named pipe, a mailslot or the IPC$ share, which has no directories.
    pub const SKIPPED_NOT_DISK: Self = Self(1 << 13);

    const NAMES: [(Self, &'static str); 12] = [
        (Self::BEFORE_SAMPLED, "before"),
        (Self::INSIDE_SAMPLED, "inside"),
        (Self::AFTER_SAMPLED, "after"),
        (Self::CREATE_STATUS_KNOWN, "status"),
        (Self::NESTED, "nested"),
        (Self::UNC, "unc"),
        (Self::SKIPPED_NEST_BOUND, "skipped: nest bound"),
        (Self::SKIPPED_ROOT, "skipped: no ancestor"),
        (Self::SKIPPED_BY_ID, "skipped: opened by id"),
        (Self::SKIPPED_NOT_UNC, "skipped: not UNC"),
        (Self::SKIPPED_LOW_STACK, "skipped: low stack"),
        (Self::SKIPPED_NOT_DISK, "skipped: not a disk share"),
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
