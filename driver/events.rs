//! Events for a trace session (ETW): provider `Headroom`, its GUID made from that name.
//!
//! | event | level | when |
//! |---|---|---|
//! | `Started`, `Stopped` | information | the driver |
//! | `BadSetting` | warning | a setting in the registry is not used |
//! | `LowStack` | warning | less than `MinimumStackBytes` is left: a create passes uninspected |
//! | `ExpansionFailed` | warning | `KeExpandKernelStackAndCalloutEx` did not run the inspection |
//! | `Create` | verbose | a create has come up |
//!
//! The fields lie on the stack while an event is written, and writing takes kernel frames: below [`EVENT_STACK`] an event
//! that somebody listens for is left out and counted. Nobody listening, an event costs a comparison.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use protocol::{Record, Rejection};
use tracelogging::{Level, define_provider, write_event};

use crate::recorder::HEADROOM_RECORDER;

define_provider!(PROVIDER, "Headroom");

/// What writing one event takes, with room to spare.
const EVENT_STACK: usize = 0x1000;

/// Events that were not written for want of stack.
#[used]
#[unsafe(no_mangle)]
pub(crate) static HEADROOM_EVENTS_SKIPPED: AtomicU64 = AtomicU64::new(0);

/// The registration as an event provider; dropped, it ends.
pub(crate) struct Events(());

impl Events {
    /// Registers. Where that fails, there are no events, and the driver does without. `PASSIVE_LEVEL`.
    pub(crate) fn register() -> Self {
        // SAFETY: the provider is a static, and unregistered before the driver goes, by this value's drop.
        let _ = unsafe { PROVIDER.register() };
        Self(())
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        write_event!(PROVIDER, "Stopped", level(Informational));
        let _ = PROVIDER.unregister();
    }
}

/// Whether to write an event of that level: somebody listens, and there is the stack for it.
#[inline]
fn wanted(level: Level) -> bool {
    if !PROVIDER.enabled(level, 1) {
        return false;
    }
    let room = kstack::remaining() >= EVENT_STACK;
    if !room {
        HEADROOM_EVENTS_SKIPPED.fetch_add(1, Relaxed);
    }
    room
}

pub(crate) fn started() {
    write_event!(PROVIDER, "Started", level(Informational));
}

/// A setting in the registry is not used.
pub(crate) fn bad_setting(rejection: &Rejection) {
    write_event!(
        PROVIDER,
        "BadSetting",
        level(Warning),
        str8("Setting", rejection.setting.name().unwrap_or_default()),
        str8("Reason", rejection.reason.name().unwrap_or_default()),
        u32_hex("Value", &rejection.value),
    );
}

/// Less than `MinimumStackBytes` is left.
#[inline(never)]
pub(crate) fn low_stack(remaining: u32, minimum: u32) {
    if wanted(Level::Warning) {
        write_event!(
            PROVIDER,
            "LowStack",
            level(Warning),
            u32_hex("Remaining", &remaining),
            u32_hex("Minimum", &minimum),
        );
    }
}

/// The inspection did not run.
#[inline(never)]
pub(crate) fn expansion_failed(remaining: u32, reservation: u32, status: i32) {
    if wanted(Level::Warning) {
        write_event!(
            PROVIDER,
            "ExpansionFailed",
            level(Warning),
            u32_hex("Remaining", &remaining),
            u32_hex("Reservation", &reservation),
            i32_hex("Status", &status),
        );
    }
}

/// A create has come up.
#[inline]
pub(crate) fn create(sequence: u64) {
    if wanted(Level::Verbose) {
        write_create(sequence);
    }
}

#[inline(never)]
fn write_create(sequence: u64) {
    // The record stays where it is: the slot is held while its fields are copied into the trace buffer.
    let _ = HEADROOM_RECORDER.read(sequence, |record: &Record, status| {
        write_event!(
            PROVIDER,
            "Create",
            level(Verbose),
            u64("Sequence", &record.sequence),
            u32("NestDepth", &record.nest_depth),
            u32("ProcessId", &record.process_id),
            u32_hex("Before", &record.before_remaining),
            u32_hex("Inside", &record.inside_remaining),
            u32_hex("After", &record.after_remaining),
            u8("Outcome", &record.outcome.0),
            u32_hex("ReservationStatus", &record.reservation_status.0),
            u32_hex("InspectStatus", &record.inspect_status.0),
            u32_hex("CreateStatus", &status.map_or(0, |status| status.0)),
            str16("Path", record.tail()),
        );
    });
}
