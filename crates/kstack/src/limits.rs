//! What the limits of a stack say.

/// The bounds of the stack segment that a thread runs on, as `IoGetStackLimits` gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Limits {
    /// The lowest address that may be used.
    pub low: usize,
    /// The first address above the segment.
    pub high: usize,
}

impl Limits {
    /// The bytes between a stack pointer and the low end; 0 for a pointer that is not above it.
    #[must_use]
    #[inline]
    pub const fn remaining_below(self, stack_pointer: usize) -> usize {
        stack_pointer.saturating_sub(self.low)
    }

    /// Whether an address lies within the segment.
    #[must_use]
    #[inline]
    pub const fn contains(self, address: usize) -> bool {
        self.low <= address && address < self.high
    }
}

/// Where work ran that asked for a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// On the caller's segment, which had enough left.
    Direct,
    /// On the caller's segment, whose low end had been moved down.
    Grown,
    /// On another segment.
    Switched,
}

impl Outcome {
    /// Tells the outcome from the limits read before the call and those read inside it.
    ///
    /// A segment is known by its high end, since growing moves the low end only.
    #[must_use]
    #[inline]
    pub const fn classify(before: Limits, inside: Limits) -> Self {
        if before.high != inside.high {
            Self::Switched
        } else if inside.low < before.low {
            Self::Grown
        } else {
            Self::Direct
        }
    }
}

/// The number of bytes below which `maybe_grow` asks for more stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedZone(usize);

impl RedZone {
    /// A red zone of so many bytes.
    #[must_use]
    pub const fn new(bytes: usize) -> Self {
        Self(bytes)
    }

    /// Whether the work must move, with so many bytes left.
    #[must_use]
    #[inline]
    pub const fn entered(self, remaining: usize) -> bool {
        remaining < self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: Limits = Limits {
        low: 0x10_0000,
        high: 0x10_6000,
    };

    #[test]
    fn the_same_limits_mean_direct() {
        assert_eq!(Outcome::classify(SEGMENT, SEGMENT), Outcome::Direct);
    }

    #[test]
    fn a_lower_bottom_of_the_same_segment_means_grown() {
        let inside = Limits {
            low: SEGMENT.low - 0x3000,
            ..SEGMENT
        };
        assert_eq!(Outcome::classify(SEGMENT, inside), Outcome::Grown);
    }

    #[test]
    fn another_top_means_switched_wherever_the_segment_lies() {
        for low in [0x8_0000, 0x20_0000] {
            let inside = Limits {
                low,
                high: low + 0x1_2000,
            };
            assert_eq!(Outcome::classify(SEGMENT, inside), Outcome::Switched);
        }
    }

    #[test]
    fn a_segment_that_touches_the_old_one_is_still_another() {
        let below = Limits {
            low: SEGMENT.low - 0x6000,
            high: SEGMENT.low,
        };
        assert_eq!(Outcome::classify(SEGMENT, below), Outcome::Switched);
    }

    #[test]
    fn remaining_is_never_negative() {
        assert_eq!(SEGMENT.remaining_below(SEGMENT.low + 0x123), 0x123);
        assert_eq!(SEGMENT.remaining_below(SEGMENT.low), 0);
        assert_eq!(SEGMENT.remaining_below(SEGMENT.low - 8), 0);
    }

    #[test]
    fn the_high_end_is_not_part_of_the_segment() {
        assert!(SEGMENT.contains(SEGMENT.low));
        assert!(SEGMENT.contains(SEGMENT.high - 1));
        assert!(!SEGMENT.contains(SEGMENT.high));
    }

    #[test]
    fn the_red_zone_is_entered_below_its_size() {
        let zone = RedZone::new(0x2000);
        assert!(zone.entered(0x1FFF));
        assert!(!zone.entered(0x2000));
        assert!(!RedZone::new(0).entered(0));
    }
}
