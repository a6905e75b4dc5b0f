//! The tables of oplocks: which may be held together, what breaks each, to what, and whether the breaker waits.

/// `OPLOCK_LEVEL_CACHE_READ`, `_HANDLE`, `_WRITE`.
pub(crate) const READ: u32 = 1;
pub(crate) const HANDLE: u32 = 2;
pub(crate) const WRITE: u32 = 4;
/// No oplock.
pub(crate) const NONE: u32 = 0;

const READ_HANDLE: u32 = READ | HANDLE;
const READ_WRITE: u32 = READ | WRITE;
const ALL: u32 = READ | WRITE | HANDLE;

/// A kind of oplock: the four older ones, and those of Windows 7 by what may be cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Level1,
    Level2,
    Batch,
    Filter,
    Cache(u32),
}

/// What is done to a stream, as far as oplocks are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Opened. The first four rows of the create's page.
    Create {
        /// For attributes and nothing else.
        attributes_only: bool,
        /// By a disposition that replaces what is there.
        replaces: bool,
        /// With `FILE_RESERVE_OPFILTER`.
        reserves: bool,
        /// For more than to be read.
        writes: bool,
        /// Against what others share.
        violates: bool,
    },
    Read,
    /// Written, or given another length.
    Write,
    Lock,
    /// Renamed, or a link put in its place.
    Rename,
    Delete,
    /// A filter says that handles are not to be cached any more.
    BreakHandle,
    /// A filter says that nothing is.
    BreakAll,
}

/// What an operation does to an oplock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// What is left of it; a Level 2 oplock is [`READ`].
    pub(crate) to: u32,
    /// Whether the operation waits until that is acknowledged.
    pub(crate) wait: bool,
}

impl Level {
    /// The kind that `FSCTL_REQUEST_OPLOCK` asks for, if it is one.
    pub(crate) fn of_caches(caches: u32) -> Option<Self> {
        matches!(caches, READ | READ_HANDLE | READ_WRITE | ALL).then_some(Self::Cache(caches))
    }

    /// Its flags as `REQUEST_OPLOCK_OUTPUT_BUFFER` has them.
    pub(crate) fn caches(self) -> u32 {
        match self {
            Self::Cache(caches) => caches,
            _ => NONE,
        }
    }

    /// Whether it is one of Windows 7's.
    pub(crate) fn is_cache(self) -> bool {
        matches!(self, Self::Cache(_))
    }

    /// Whether several may be held.
    pub(crate) fn is_shared(self) -> bool {
        matches!(self, Self::Level2 | Self::Cache(READ | READ_HANDLE))
    }

    /// Whether handles are cached by it.
    pub(crate) fn caches_handles(self) -> bool {
        self.caches() & HANDLE != 0
    }

    /// Whether its owner acknowledges a break.
    pub(crate) fn is_acknowledged(self) -> bool {
        !matches!(self, Self::Level2 | Self::Cache(READ))
    }

    /// Whether it can be granted while that one is held; `own`: by the same handle ("Granting Oplocks").
    pub(crate) fn may_join(self, held: Self, own: bool) -> bool {
        match (self, held) {
            (Self::Level1 | Self::Batch | Self::Filter, Self::Level2) => true,
            (Self::Level1 | Self::Batch | Self::Filter, _) => false,
            (Self::Level2, Self::Level2 | Self::Cache(READ)) => true,
            (Self::Cache(READ), Self::Level2 | Self::Cache(READ)) => true,
            (Self::Cache(READ), Self::Cache(READ_HANDLE)) => !own,
            (Self::Cache(READ_HANDLE), Self::Cache(READ)) => true,
            // Read-Handle oplocks of several handles; the same handle's is switched.
            (Self::Cache(READ_HANDLE), Self::Cache(READ_HANDLE)) => true,
            (Self::Cache(READ_WRITE), Self::Cache(READ | READ_WRITE)) => own,
            (Self::Cache(ALL), Self::Cache(_)) => own,
            _ => false,
        }
    }

    /// What an operation does to it; `own`: of its owner's ("Breaking Oplocks"). `None`: nothing.
    pub(crate) fn broken_by(self, act: Act, own: bool) -> Option<Verdict> {
        // A write or lock breaks Level 2 whoever makes it; nothing else is broken by its owner.
        if own && !(self == Self::Level2 && matches!(act, Act::Write | Act::Lock)) {
            return None;
        }
        let waits = |to| Some(Verdict { to, wait: true });
        let goes_on = |to| Some(Verdict { to, wait: false });
        match act {
            Act::Create {
                attributes_only: true,
                reserves: false,
                ..
            } => None,
            Act::Create {
                replaces,
                reserves,
                writes,
                violates,
                ..
            } => {
                let all = replaces || reserves;
                let or = |else_| if all { NONE } else { else_ };
                match self {
                    Self::Level1 | Self::Batch | Self::Cache(READ_WRITE) => waits(or(READ)),
                    Self::Level2 | Self::Cache(READ) => all.then_some(Verdict {
                        to: NONE,
                        wait: false,
                    }),
                    Self::Filter => writes.then_some(Verdict {
                        to: NONE,
                        wait: true,
                    }),
                    Self::Cache(READ_HANDLE) if violates => waits(or(READ)),
                    Self::Cache(READ_HANDLE) => all.then_some(Verdict {
                        to: NONE,
                        wait: false,
                    }),
                    Self::Cache(_) if violates => waits(or(READ_WRITE)),
                    Self::Cache(_) => waits(or(READ_HANDLE)),
                }
            }
            Act::Read => match self {
                Self::Level1 | Self::Batch | Self::Cache(READ_WRITE) => waits(READ),
                Self::Cache(ALL) => waits(READ_HANDLE),
                _ => None,
            },
            Act::Lock if self == Self::Filter => None,
            Act::Write | Act::Lock => match self {
                Self::Level2 | Self::Cache(READ | READ_HANDLE) => goes_on(NONE),
                _ => waits(NONE),
            },
            Act::Rename => match self {
                Self::Batch | Self::Filter => waits(NONE),
                Self::Cache(caches) if caches & HANDLE != 0 => waits(caches & !HANDLE),
                _ => None,
            },
            Act::BreakAll => Some(Verdict {
                to: NONE,
                wait: !self.is_shared(),
            }),
            Act::Delete | Act::BreakHandle => match self {
                Self::Cache(caches) if caches & HANDLE != 0 => waits(caches & !HANDLE),
                _ => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Act = Act::Create {
        attributes_only: false,
        replaces: false,
        reserves: false,
        writes: false,
        violates: false,
    };

    #[test]
    fn each_level_is_broken_by_what_its_page_says() {
        let levels = [
            Level::Level1,
            Level::Level2,
            Level::Batch,
            Level::Filter,
            Level::Cache(READ),
            Level::Cache(READ_HANDLE),
            Level::Cache(READ_WRITE),
            Level::Cache(ALL),
        ];
        // What is left, and whether the operation waits (`w`) or not (`g`); `-`: not broken.
        let table = [
            (OPEN, "w1 - w1 - - - w1 w3"),
            (Act::Read, "w1 - w1 - - - w1 w3"),
            (Act::Write, "w0 g0 w0 w0 g0 g0 w0 w0"),
            (Act::Lock, "w0 g0 w0 - g0 g0 w0 w0"),
            (Act::Rename, "- - w0 w0 - w1 - w5"),
            (Act::Delete, "- - - - - w1 - w5"),
            (Act::BreakHandle, "- - - - - w1 - w5"),
            (Act::BreakAll, "w0 g0 w0 w0 g0 g0 w0 w0"),
        ];
        for (act, expected) in table {
            let told = levels.map(|level| match level.broken_by(act, false) {
                None => "-".to_owned(),
                Some(verdict) => format!("{}{}", if verdict.wait { 'w' } else { 'g' }, verdict.to),
            });
            assert_eq!(told.join(" "), expected, "{act:?}");
            let own = levels.map(|level| level.broken_by(act, true).is_some());
            let expected =
                levels.map(|level| level == Level::Level2 && matches!(act, Act::Write | Act::Lock));
            assert_eq!(own, expected, "{act:?}");
        }
    }
}
