//! Clocks.

use std::sync::LazyLock;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::memory::Guest;
use crate::schedule;

/// Ticks per second of the performance counter: what Windows 10 reports on current machines.
pub(crate) const FREQUENCY: i64 = 10_000_000;
/// 100 ns units a clock tick: 64 ticks a second.
pub(crate) const TICK: u32 = 156_250;
/// 100 ns units from 1601 to 1970.
const EPOCH: i64 = 116_444_736_000_000_000;

static BOOT: LazyLock<i64> = LazyLock::new(|| ticks(ClockId::Monotonic));

/// 100 ns units since boot.
pub(crate) fn interrupt_time() -> i64 {
    match schedule::virtual_time() {
        Some(since) => units(since),
        None => ticks(ClockId::Monotonic) - *BOOT,
    }
}

/// 100 ns units since 1601, UTC.
pub(crate) fn system_time() -> i64 {
    // Under a schedule every machine boots at the same time: that of the listing whose frames it has.
    if schedule::virtual_time().is_some() {
        return EPOCH + 12_000_000_000_000_000 + interrupt_time();
    }
    EPOCH + ticks(ClockId::Realtime)
}

/// What a clock of the host shows, in 100 ns units. Drivers ask several times in each operation, so nothing is done with it but
/// what has to be.
fn ticks(clock: ClockId) -> i64 {
    let now = clock_gettime(clock);
    now.tv_sec * FREQUENCY + now.tv_nsec / 100
}

/// A duration in 100 ns units.
fn units(duration: Duration) -> i64 {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    seconds.saturating_mul(FREQUENCY) + i64::from(duration.subsec_nanos() / 100)
}

/// A host time as 100 ns units since 1601.
pub(crate) fn from_unix(seconds: i64, nanoseconds: i64) -> i64 {
    EPOCH + seconds * 10_000_000 + nanoseconds / 100
}

/// 100 ns units since 1601 as a host time: seconds and nanoseconds.
pub(crate) fn to_unix(time: i64) -> (i64, i64) {
    let since = time - EPOCH;
    (
        since.div_euclid(10_000_000),
        since.rem_euclid(10_000_000) * 100,
    )
}

exports! { "ntoskrnl.exe";
    /// The performance counter; its frequency, where asked for.
    fn KeQueryPerformanceCounter(frequency: Guest<i64>) -> i64 {
        frequency.write_opt(FREQUENCY);
        interrupt_time()
    }

    /// System time, precise.
    fn KeQuerySystemTimePrecise(time: Guest<i64>) {
        time.write(system_time());
    }

    /// Time since boot.
    fn KeQueryInterruptTime() -> i64 {
        interrupt_time()
    }

    /// Time since boot, with the counter it was read at.
    fn KeQueryInterruptTimePrecise(counter: Guest<i64>) -> i64 {
        let now = interrupt_time();
        counter.write(now);
        now
    }

    /// Time since boot without sleep: the bench never sleeps.
    fn KeQueryUnbiasedInterruptTime() -> i64 {
        interrupt_time()
    }

    /// The length of a tick.
    fn KeQueryTimeIncrement() -> u32 {
        TICK
    }

    /// System time to local time: the bench's zone is UTC.
    partial "the zone is UTC"
    fn ExSystemTimeToLocalTime(system: Guest<i64>, local: Guest<i64>) {
        local.write(system.read());
    }

    /// The system's time from a local one.
    partial "the local time is the system's"
    fn ExLocalTimeToSystemTime(local: Guest<i64>, system: Guest<i64>) {
        system.write(local.read());
    }
}
