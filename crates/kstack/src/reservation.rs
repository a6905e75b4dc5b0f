//! How much stack to ask for.

use thiserror::Error;

/// The most that one expansion can be asked for, in bytes.
///
/// On x64 the WDK's headers give `KERNEL_LARGE_STACK_SIZE - PAGE_SIZE / 2`: 0x12000 - 0x800. On Windows the build holds
/// this number against `wdk-sys`, whose value comes from those headers.
pub const MAXIMUM_EXPANSION_SIZE: usize = 0x1_1800;

#[cfg(windows)]
const _: () = assert!(MAXIMUM_EXPANSION_SIZE == wdk_sys::MAXIMUM_EXPANSION_SIZE as usize);

/// A number of bytes of kernel stack that an expansion may ask for: at most [`MAXIMUM_EXPANSION_SIZE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation(usize);

/// A reservation of this many bytes is more than [`MAXIMUM_EXPANSION_SIZE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a reservation of {0:#x} bytes is more than MAXIMUM_EXPANSION_SIZE ({MAXIMUM_EXPANSION_SIZE:#x})"
)]
pub struct ReservationTooLarge(pub usize);

impl Reservation {
    /// One ordinary kernel stack, 0x6000 bytes: what the DFS client of Windows reserves for the same work.
    pub const KERNEL_STACK: Self = Self::of::<0x6000>();

    /// A constant reservation, checked when it is compiled.
    ///
    /// ```
    /// const R: kstack::Reservation = kstack::Reservation::of::<0x6000>();
    /// ```
    ///
    /// Too large a constant does not compile:
    ///
    /// ```compile_fail
    /// const R: kstack::Reservation = kstack::Reservation::of::<0x11801>();
    /// ```
    #[must_use]
    pub const fn of<const BYTES: usize>() -> Self {
        const {
            assert!(
                BYTES <= MAXIMUM_EXPANSION_SIZE,
                "a reservation is at most MAXIMUM_EXPANSION_SIZE bytes"
            );
        }
        Self(BYTES)
    }

    /// A reservation known only at run time, from a setting for instance.
    ///
    /// # Errors
    ///
    /// Where `bytes` is more than [`MAXIMUM_EXPANSION_SIZE`]. The number is never rounded.
    pub const fn try_new(bytes: usize) -> Result<Self, ReservationTooLarge> {
        if bytes <= MAXIMUM_EXPANSION_SIZE {
            Ok(Self(bytes))
        } else {
            Err(ReservationTooLarge(bytes))
        }
    }

    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_maximum_is_allowed_and_one_byte_more_is_not() {
        assert_eq!(
            Reservation::try_new(MAXIMUM_EXPANSION_SIZE).map(Reservation::bytes),
            Ok(0x1_1800)
        );
        assert_eq!(
            Reservation::try_new(MAXIMUM_EXPANSION_SIZE + 1),
            Err(ReservationTooLarge(0x1_1801))
        );
        assert_eq!(
            Reservation::try_new(usize::MAX),
            Err(ReservationTooLarge(usize::MAX))
        );
    }

    #[test]
    fn no_size_is_rounded() {
        assert_eq!(
            Reservation::try_new(0x6001).map(Reservation::bytes),
            Ok(0x6001)
        );
        assert_eq!(Reservation::KERNEL_STACK.bytes(), 0x6000);
    }
}
