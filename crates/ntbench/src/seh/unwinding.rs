//! The second pass: the frames up to the one that goes on are left, and each may clean up.

use std::cell::Cell;

use super::record::{
    COLLIDED_UNWIND, Context, EXIT_UNWIND, ExceptionRecord, MOST_PARAMETERS, TARGET_UNWIND,
    UNWINDING,
};
use super::walk::{self, Crossed, Cursor, Place};
use super::{CONTINUE_SEARCH, Processor, bad_disposition, call, dispatcher, fatal};
use super::{jump, passing};
use crate::ntos::memory::Guest;
use crate::stack;
use crate::status::NtStatus;

/// Where a function goes on.
#[derive(Clone, Copy)]
pub(super) struct Target {
    /// Its frame; 0: none, all frames are left.
    pub(super) frame: u64,
    /// The address.
    pub(super) ip: usize,
    /// What RAX is then.
    pub(super) value: u64,
}

thread_local! {
    /// What the bench's own language handler decided.
    pub(super) static TARGET: Cell<Option<Target>> = const { Cell::new(None) };
}

/// How far an unwinding came.
pub(super) enum Unwound {
    /// To its target, whose function goes on with these registers.
    Here(Box<Processor>),
    /// To the end of the call of that number into a driver: its target lies beyond.
    Beyond(usize),
}

/// Unwinds from `place` to the frame of `target`.
pub(super) fn unwind_to(target: Target, record: &mut ExceptionRecord, place: &Place) -> Unwound {
    let mut cursor = Cursor::new(place);
    let mut scope = 0;
    record.flags |= UNWINDING;
    if target.frame == 0 {
        record.flags |= EXIT_UNWIND;
    }
    loop {
        let Some(step) = cursor.step() else {
            let calls = cursor.calls();
            match cursor.cross() {
                Some(Crossed::Out) => return Unwound::Beyond(calls),
                Some(Crossed::Search(_)) => {}
                Some(Crossed::Unwind(left)) => {
                    scope = left;
                    record.flags |= COLLIDED_UNWIND;
                }
                None => break,
            }
            continue;
        };
        let here = step
            .frame
            .is_some_and(|frame| frame.establisher == target.frame);
        if here {
            record.flags |= TARGET_UNWIND;
        }
        let handler = step
            .frame
            .and_then(|frame| frame.handler.map(|handler| (frame, handler)));
        if let Some((frame, handler)) = handler.filter(|(_, handler)| handler.on_unwind) {
            let mut context = Context::new(&cursor.processor);
            let caller = context;
            let mut dispatcher = dispatcher(&cursor.processor, &step, frame, handler, &caller);
            dispatcher.target_ip = target.ip;
            dispatcher.scope_index = scope;
            let shared = std::ptr::from_mut(&mut dispatcher);
            let answer = walk::while_unwinding(place, &cursor, shared.expose_provenance(), || {
                // SAFETY: it lies in this frame, and nobody else uses it but the handler and whoever walks over it.
                let dispatcher = unsafe { &mut *shared };
                call(handler.routine, record, frame, &mut context, dispatcher)
            });
            if answer != CONTINUE_SEARCH {
                bad_disposition(handler.routine, answer);
            }
        }
        scope = 0;
        record.flags &= !COLLIDED_UNWIND;
        if here {
            let mut processor = cursor.processor;
            processor.general[0] = target.value;
            processor.rip = target.ip as u64;
            return Unwound::Here(Box::new(processor));
        }
        cursor.up(&step);
    }
    let text = if target.frame == 0 {
        "RtlUnwindEx without a target frame has left every frame of the driver's: nobody is there to go on"
    } else {
        "the frame that is unwound to was not met: a filter or __finally block changed the frames above it, or it is none \
         of this stack's"
    };
    let status = if target.frame == 0 {
        NtStatus(record.code.cast_signed())
    } else {
        NtStatus::BAD_STACK
    };
    fatal(status, [record.address as u64, 0, 0], text.to_owned())
}

/// Goes on where the unwinding to `target` has come to.
pub(super) fn go_on(unwound: Unwound, target: Target, record: ExceptionRecord) -> ! {
    match unwound {
        Unwound::Here(processor) => {
            walk::go_on(jump::landing(&record, target.value).unwrap_or(*processor))
        }
        Unwound::Beyond(calls) => passing::leave(calls, target, record),
    }
}

/// Unwinds from the driver's call of an import.
pub(super) fn from_call(target: Target, mut record: ExceptionRecord, processor: Processor) -> ! {
    let place = Place::new(processor, false);
    let rsp = usize::try_from(processor.rsp()).unwrap_or(0);
    let unwound = stack::interrupted(rsp, None, || unwind_to(target, &mut record, &place));
    go_on(unwound, target, record)
}

/// The record that a driver unwinds with: its own at that address, or one of `STATUS_UNWIND` where that is 0.
pub(super) fn record_at(address: usize, processor: &Processor) -> ExceptionRecord {
    if address != 0 {
        return Guest::<ExceptionRecord>::at(address).read();
    }
    ExceptionRecord {
        code: NtStatus::UNWIND.0.cast_unsigned(),
        flags: 0,
        nested: 0,
        address: usize::try_from(processor.rip).unwrap_or(0),
        parameter_count: 0,
        parameters: [0; MOST_PARAMETERS],
    }
}
