//! Why an expansion did not happen.

use thiserror::Error;

// The documented statuses, as `NTSTATUS` values (ntstatus.h).
const STATUS_INVALID_PARAMETER_3: i32 = 0xC000_00F1_u32.cast_signed();
const STATUS_INVALID_PARAMETER_4: i32 = 0xC000_00F2_u32.cast_signed();
const STATUS_NO_MEMORY: i32 = 0xC000_0017_u32.cast_signed();
const STATUS_STACK_OVERFLOW: i32 = 0xC000_00FD_u32.cast_signed();

/// The reason for which `KeExpandKernelStackAndCalloutEx` did not run its callout.
///
/// The status of that function says only whether the callout ran. Every value but `STATUS_SUCCESS` means that it did
/// not: whatever the closure would have done has not been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ExpandError {
    /// `STATUS_INVALID_PARAMETER_3`: more than `MAXIMUM_EXPANSION_SIZE` was asked for. A [`crate::Reservation`] rules
    /// this out unless the running system's maximum is smaller than the one compiled in.
    #[error(
        "the reservation is larger than the system's MAXIMUM_EXPANSION_SIZE (STATUS_INVALID_PARAMETER_3)"
    )]
    SizeTooLarge,
    /// `STATUS_INVALID_PARAMETER_4`: the caller asked to wait, at `DISPATCH_LEVEL`.
    #[error("waiting for memory is not possible at DISPATCH_LEVEL (STATUS_INVALID_PARAMETER_4)")]
    WaitAtDispatch,
    /// `STATUS_NO_MEMORY`: no memory for a stack segment, at the moment.
    #[error("no memory for a stack segment (STATUS_NO_MEMORY)")]
    NoMemory,
    /// `STATUS_STACK_OVERFLOW`: the thread would exceed the system's own limit on stack space. Windows documents no
    /// number for it.
    #[error("the thread is at the system's limit on kernel stack space (STATUS_STACK_OVERFLOW)")]
    StackOverflow,
    /// A status that the documentation does not list.
    #[error("KeExpandKernelStackAndCalloutEx returned an undocumented status ({0:#010x})")]
    Undocumented(i32),
}

impl ExpandError {
    /// What a status means: `Ok` where the callout ran.
    ///
    /// # Errors
    ///
    /// Every status but `STATUS_SUCCESS`, informational ones included: the documentation gives only `STATUS_SUCCESS` as
    /// the sign that the callout ran.
    pub const fn from_status(status: i32) -> Result<(), Self> {
        match status {
            0 => Ok(()),
            STATUS_INVALID_PARAMETER_3 => Err(Self::SizeTooLarge),
            STATUS_INVALID_PARAMETER_4 => Err(Self::WaitAtDispatch),
            STATUS_NO_MEMORY => Err(Self::NoMemory),
            STATUS_STACK_OVERFLOW => Err(Self::StackOverflow),
            other => Err(Self::Undocumented(other)),
        }
    }

    /// The status that this error was made from.
    #[must_use]
    pub const fn status(self) -> i32 {
        match self {
            Self::SizeTooLarge => STATUS_INVALID_PARAMETER_3,
            Self::WaitAtDispatch => STATUS_INVALID_PARAMETER_4,
            Self::NoMemory => STATUS_NO_MEMORY,
            Self::StackOverflow => STATUS_STACK_OVERFLOW,
            Self::Undocumented(status) => status,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_documented_status_has_its_variant_and_comes_back() {
        let documented = [
            (0xC000_00F1_u32, ExpandError::SizeTooLarge),
            (0xC000_00F2, ExpandError::WaitAtDispatch),
            (0xC000_0017, ExpandError::NoMemory),
            (0xC000_00FD, ExpandError::StackOverflow),
        ];
        for (status, error) in documented {
            assert_eq!(
                ExpandError::from_status(status.cast_signed()),
                Err(error),
                "{status:#010x}"
            );
            assert_eq!(error.status(), status.cast_signed());
        }
    }

    #[test]
    fn only_status_success_means_that_the_callout_ran() {
        assert_eq!(ExpandError::from_status(0), Ok(()));
        // STATUS_PENDING, an informational status and an error that is not in the documentation.
        for status in [0x103, 0x4000_0000, 0xC000_0001_u32.cast_signed()] {
            assert_eq!(
                ExpandError::from_status(status),
                Err(ExpandError::Undocumented(status))
            );
        }
    }
}
