//! The create path: everything that runs on the caller's stack.
//!
//! It samples the stack, decides by the policy, asks for the reservation, and files the record. What it puts on the
//! caller's stack until `KeExpandKernelStackAndCalloutEx` is called is one frame, this one, inlined into the callback;
//! everything larger is on the other side of that call or in the record itself, which is filled where it stays.

use fltmgr::Verdict;
use kstack::{Limits, Wait, with_reservation};
use protocol::{Flags, NtStatus, Policy, Record};
use recorder::Claim;

use crate::{
    Create, PreCreate, config::SETTINGS, events, fallback, inspect, port, print,
    recorder::HEADROOM_RECORDER,
};

/// What was left of the stack at one point.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    /// The segment.
    pub(crate) limits: Limits,
    /// Bytes left below the function that took the sample.
    pub(crate) remaining: u32,
}

impl Sample {
    /// Takes a sample for the function that this is inlined into.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "the stack pointer is to be that of the caller"
    )]
    pub(crate) fn here() -> Self {
        let limits = kstack::limits();
        let remaining = limits.remaining_below(kstack::stack_pointer());
        Self {
            limits,
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a kernel stack is far smaller than 4 GB"
            )]
            remaining: remaining as u32,
        }
    }
}

/// One create on its way through the driver: what both stacks share. It lies on the caller's.
pub(crate) struct Visit<'a> {
    pub(crate) create: &'a Create<'a>,
    pub(crate) before: Sample,
    pub(crate) policy: Policy,
    /// Bytes asked for; 0 where none were.
    pub(crate) reserved: u32,
    /// Whether a worker looks at the create, since the expansion failed.
    pub(crate) on_worker: bool,
    /// Whether a record was asked for. A create for which there was none counts as skipped once, and asks no second time.
    pub(crate) asked: bool,
    /// The record, from the inspection on, if there was one to be had.
    pub(crate) record: Option<Claim<'static, Record>>,
}

/// Before the create goes down.
///
/// Not looked at: opens of a paging file, where nothing may page, and of a volume, which has no path.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "a frame of its own would be a frame on the caller's stack"
)]
pub(crate) fn pre_create(create: &Create<'_>) -> PreCreate {
    if create.opens_paging_file() || create.opens_volume() {
        return PreCreate::PASS;
    }
    let before = Sample::here();
    if before.remaining < SETTINGS.minimum_stack() {
        return fallback::low_stack(create, before);
    }
    let policy = SETTINGS.policy();
    let expand = match policy {
        Policy::NEVER => false,
        Policy::RED_ZONE => SETTINGS.red_zone().entered(before.remaining as usize),
        _ => true,
    };
    let mut visit = Visit {
        create,
        before,
        policy,
        reserved: 0,
        on_worker: false,
        asked: false,
        record: None,
    };
    if expand {
        let reservation = SETTINGS.reservation();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "at most MAXIMUM_EXPANSION_SIZE"
        )]
        let bytes = reservation.bytes() as u32;
        visit.reserved = bytes;
        if let Err(error) = with_reservation(reservation, Wait::Never, || inspect::run(&mut visit))
        {
            let decided = fallback::not_expanded(&mut visit, error);
            if let Some(decided) = decided {
                return decided;
            }
        }
    } else {
        inspect::run(&mut visit);
    }
    PreCreate::Now(match visit.record.take() {
        Some(record) => Verdict::PassThen(file(record)),
        None => Verdict::Pass,
    })
}

/// Adds the sample after the return, and files the record. Returns its sequence.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "the sample is to be that of the caller of the expansion"
)]
fn file(mut record: Claim<'static, Record>) -> usize {
    let after = Sample::here();
    record.after_low = after.limits.low as u64;
    record.after_remaining = after.remaining;
    record.flags = record.flags.with(Flags::AFTER_SAMPLED);
    commit(record)
}

/// Files a record as it is. Returns its sequence, as a completion context has it.
#[inline]
pub(crate) fn commit(record: Claim<'static, Record>) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "64-bit systems only")]
    let sequence = record.commit() as usize;
    sequence
}

/// After the create has come up: what it came to, and the line for the debugger where one is wanted.
#[inline]
pub(crate) fn post_create(create: &Create<'_>, sequence: usize) {
    let sequence = sequence as u64;
    HEADROOM_RECORDER.complete(sequence, NtStatus(create.status().0.cast_unsigned()));
    if SETTINGS.debug_print() {
        print::record(sequence);
    }
    events::create(sequence);
    port::news(create.filter());
}
