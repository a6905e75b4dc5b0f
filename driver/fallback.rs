//! What becomes of a create for which there is no stack.
//!
//! None of this runs where things go well, and none of it runs deep: where less than `MinimumStackBytes` is left, nothing
//! is tried at all; where the reservation failed, `OnExpandFailure` decides. A worker thread's stack is nearly empty when it
//! gets to the create, so it inspects there, and asks for a reservation only if even that stack is short.
//!
//! The worker opens ancestors as the system and not as the thread's user: a redirector may refuse it what it would grant
//! the user, and the record says so.

use fltmgr::{Deferred, NtStatus, Verdict};
use kstack::{ExpandError, RedZone, Wait, with_reservation};
use protocol::{Flags, OnExpandFailure, Outcome, Policy, Record};
use recorder::{Claim, Sample as Mark};

use crate::{
    Create, Headroom, PreCreate,
    config::SETTINGS,
    create::{Sample, Visit, commit},
    events,
    inspect::{self, ImageName},
    print,
    recorder::{HEADROOM_RECORDER, HEADROOM_WATERMARKS},
};

/// What it takes to fill a record on the caller's stack, with room to spare.
const RECORD_STACK: u32 = 0x300;

/// With less than this left, a worker asks for a reservation too.
const WORKER_STACK: RedZone = RedZone::new(0x3000);

/// What the watermarks keep of a create that no inspection looks at, whether or not there was a record for it.
#[derive(Clone, Copy)]
struct Uninspected {
    before: Sample,
    depth: u32,
    image: ImageName,
}

impl Uninspected {
    fn mark(&self) {
        let found = Mark {
            before: self.before.remaining,
            inside: None,
            spent: None,
            depth: self.depth,
        };
        HEADROOM_WATERMARKS.note(&found, &self.image);
    }
}

/// Less than `MinimumStackBytes` is left.
#[cold]
#[inline(never)]
pub(crate) fn low_stack(create: &Create<'_>, before: Sample) -> PreCreate {
    events::low_stack(before.remaining, SETTINGS.minimum_stack());
    if before.remaining < RECORD_STACK {
        HEADROOM_RECORDER.skip_low_stack();
        HEADROOM_WATERMARKS.note_before(before.remaining);
        return PreCreate::PASS;
    }
    let mut visit = Visit {
        create,
        before,
        policy: SETTINGS.policy(),
        reserved: 0,
        on_worker: false,
        asked: false,
        record: None,
    };
    let depth = begin_record(&mut visit, Flags::SKIPPED_LOW_STACK);
    // Which image it is takes calls into the kernel.
    let image = [0; protocol::IMAGE_NAME_BYTES];
    Uninspected {
        before,
        depth,
        image,
    }
    .mark();
    PreCreate::Now(pass(visit.record))
}

/// The expansion failed, so the inspection did not run. `None`: the create passes on.
#[cold]
#[inline(never)]
pub(crate) fn not_expanded(visit: &mut Visit<'_>, error: ExpandError) -> Option<PreCreate> {
    events::expansion_failed(visit.before.remaining, visit.reserved, error.status());
    let depth = begin_record(visit, Flags(0));
    let uninspected = Uninspected {
        before: visit.before,
        depth,
        image: inspect::image_name(visit.create),
    };
    if let Some(record) = &mut visit.record {
        record.image_name = uninspected.image;
        record.outcome = Outcome::FAILED;
        record.reservation_status = protocol::NtStatus(error.status().cast_unsigned());
    }
    match SETTINGS.on_failure() {
        OnExpandFailure::DENY => {
            uninspected.mark();
            Some(PreCreate::Now(deny(visit.record.take())))
        }
        // An open of this driver's own is waited for by an inspection: one that waited for a worker in turn could use up
        // the system's workers.
        OnExpandFailure::WORKER if depth == 0 => {
            flag(&mut visit.record, Flags::DEFERRED);
            let inspection = Inspection {
                uninspected,
                policy: visit.policy,
                reserved: visit.reserved,
                record: visit.record.take(),
            };
            match visit.create.defer(inspection) {
                Ok(wait) => Some(PreCreate::Wait(wait)),
                Err(inspection) => {
                    let why = NtStatus::INSUFFICIENT_RESOURCES;
                    Some(PreCreate::Now(inspection.refused(visit.create, why)))
                }
            }
        }
        _ => {
            uninspected.mark();
            None
        }
    }
}

/// Claims the record of a create that is not inspected here. Returns how deep it is nested.
fn begin_record(visit: &mut Visit<'_>, flags: Flags) -> u32 {
    let depth = inspect::nest_depth(visit.create);
    let mut record = HEADROOM_RECORDER.claim();
    if let Some(record) = &mut record {
        inspect::describe(visit, record);
        inspect::note_depth(record, depth);
        record.set_path(visit.create.given_name());
        record.flags = record.flags.with(flags);
    }
    visit.asked = true;
    visit.record = record;
    depth
}

fn flag(record: &mut Option<Claim<'static, Record>>, flag: Flags) {
    if let Some(record) = record {
        record.flags = record.flags.with(flag);
    }
}

/// Files the record, if there is one, and lets the create go on.
fn pass(record: Option<Claim<'static, Record>>) -> Verdict {
    record.map_or(Verdict::Pass, |record| Verdict::PassThen(commit(record)))
}

/// Files the record of a create that this driver ends, and says with what.
fn end(record: Option<Claim<'static, Record>>, status: NtStatus) {
    let Some(record) = record else { return };
    let sequence = commit(record) as u64;
    HEADROOM_RECORDER.complete(sequence, protocol::NtStatus(status.0.cast_unsigned()));
    // A line takes a reserved stack, and one was just refused.
    if SETTINGS.debug_print() {
        print::leave_out();
    }
    events::create(sequence);
}

fn deny(mut record: Option<Claim<'static, Record>>) -> Verdict {
    flag(&mut record, Flags::DENIED);
    end(record, NtStatus::INSUFFICIENT_RESOURCES);
    Verdict::Fail(NtStatus::INSUFFICIENT_RESOURCES)
}

/// An inspection that a worker is to do, the create waiting meanwhile.
struct Inspection {
    uninspected: Uninspected,
    policy: Policy,
    reserved: u32,
    record: Option<Claim<'static, Record>>,
}

impl Deferred<Headroom> for Inspection {
    fn run(mut self, create: &Create<'_>) -> Verdict {
        let closing = create
            .instance_context()
            .is_none_or(|instance| instance.is_closing());
        if closing {
            self.uninspected.mark();
            flag(&mut self.record, Flags::SKIPPED_CANCELLED);
            return pass(self.record);
        }
        let mut visit = Visit {
            create,
            before: self.uninspected.before,
            policy: self.policy,
            reserved: self.reserved,
            on_worker: true,
            asked: true,
            record: self.record,
        };
        if WORKER_STACK.entered(kstack::remaining()) {
            // Where this fails too, the record says already that the reservation failed.
            let inspected = with_reservation(SETTINGS.reservation(), Wait::Never, || {
                inspect::run(&mut visit);
            });
            if inspected.is_err() {
                self.uninspected.mark();
            }
        } else {
            inspect::run(&mut visit);
        }
        pass(visit.record)
    }

    fn refused(mut self, _: &Create<'_>, why: NtStatus) -> Verdict {
        self.uninspected.mark();
        if let Some(record) = &mut self.record {
            record.inspect_status = protocol::NtStatus(why.0.cast_unsigned());
        }
        pass(self.record)
    }

    fn cancelled(mut self) {
        self.uninspected.mark();
        flag(&mut self.record, Flags::SKIPPED_CANCELLED);
        end(self.record, NtStatus::CANCELLED);
    }
}
