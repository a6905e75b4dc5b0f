//! Structured exception handling: an exception in a driver's code looks for a handler in the driver's frames.
//!
//! The order is the documented one ("x64 exception handling"; `RtlUnwindEx`): frame by frame from the exception upwards,
//! language handlers are called until one takes the exception; then from the beginning again up to that frame, so that
//! each frame can run its `__finally` blocks; then the driver goes on in the handler. Handlers and filters run on the
//! kernel stack below the exception, with the kernel's own frames between charged.
//!
//! Where Windows differs, or may:
//!
//! * The search ends at the frame that the kernel called. In Windows it would go on through the kernel's and the Filter
//!   Manager's frames, none of which handles a driver's exception for it; a driver further up the same stack is not
//!   asked. An exception inside a filter or a `__finally` block is likewise not offered to the frames above it.
//! * Only page faults on user addresses are exceptions. Those on system addresses are bug check 0x50 whoever waits with
//!   an `__except`, as in Windows.

mod handler;
mod record;
mod resume;

use std::cell::Cell;
use std::sync::LazyLock;

use crate::cpu::{pcr, verdict};
use crate::loader::Image;
use crate::stack::{self, Frame};
use crate::status::NtStatus;
use crate::{bugcheck, cost, gate, machine, unwind};

pub(crate) use handler::exports;
use record::{
    Context, DispatcherContext, ExceptionRecord, MOST_PARAMETERS, NONCONTINUABLE, TARGET_UNWIND,
    UNWINDING,
};
pub(crate) use resume::{Processor, raised_in_import};

/// A walk over damaged frames must end.
const MOST_FRAMES: usize = 4096;

/// What the kernel puts on the stack between an exception and the handlers it calls.
static FRAMES: LazyLock<&[Frame]> = LazyLock::new(|| cost::chain("exception"));

/// An exception.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exception {
    /// Its code.
    pub(crate) status: NtStatus,
    /// For an access violation: 0 read, 1 write, 8 execute, and the address.
    pub(crate) parameters: [u64; 2],
    /// How many parameters it has.
    pub(crate) count: u32,
    /// Whether the driver may go on where it happened.
    pub(crate) continuable: bool,
}

impl Exception {
    /// One without parameters.
    pub(crate) fn new(status: NtStatus) -> Self {
        Self {
            status,
            parameters: [0; 2],
            count: 0,
            continuable: true,
        }
    }

    /// `STATUS_ACCESS_VIOLATION`: `operation` is 0 for a read, 1 for a write, 8 for a fetch.
    pub(crate) fn access_violation(operation: u64, address: u64) -> Self {
        Self {
            parameters: [operation, address],
            count: 2,
            ..Self::new(NtStatus::ACCESS_VIOLATION)
        }
    }
}

/// What a handler decided: where its function goes on.
#[derive(Clone, Copy)]
struct Target {
    frame: u64,
    ip: usize,
    value: u64,
}

thread_local! {
    static PENDING: Cell<Option<Exception>> = const { Cell::new(None) };
    static TARGET: Cell<Option<Target>> = const { Cell::new(None) };
}

/// Raises an exception in the driver at its call of the running export, as soon as that export has returned. For exports
/// called by a driver directly: call it last, and return anything.
pub(crate) fn raise(exception: Exception) {
    PENDING.set(Some(exception));
    pcr::block().raised.set(1);
}

/// The import gate's, with the registers that the driver would have gone on with.
extern "sysv64" fn raised(processor: &Processor) -> ! {
    pcr::block().raised.set(0);
    let exception = PENDING
        .take()
        .unwrap_or(Exception::new(NtStatus::UNSUCCESSFUL));
    dispatch(&exception, *processor, None);
    verdict::unhandled_raise(&exception)
}

/// Offers an exception to the driver's handlers; returns if none of them takes it. `interrupted`: the registers as a
/// listing wants them, where the driver did not call an import.
pub(crate) fn dispatch(
    exception: &Exception,
    processor: Processor,
    interrupted: Option<crate::cpu::fault::Registers>,
) {
    let exact = interrupted.is_some();
    let Ok(rsp) = usize::try_from(processor.rsp()) else {
        return;
    };
    let outcome = stack::interrupted(rsp, interrupted, || {
        let mut record = record(exception, &processor);
        let mut context = Context::new(&processor);
        match search(&mut record, &mut context, exact) {
            Decision::Unhandled => None,
            Decision::Continue => Some(context.registers()),
            Decision::Handler(target) => {
                Some(unwind_to(target, &mut record, context.registers(), exact))
            }
        }
    });
    if let Some(processor) = outcome {
        // SAFETY: the registers were walked to from the driver's own, on its stack; the frames between here and the gate
        // are this function's and those that lead to it, which own nothing.
        unsafe { resume::resume(processor) }
    }
}

fn record(exception: &Exception, processor: &Processor) -> ExceptionRecord {
    let mut parameters = [0; MOST_PARAMETERS];
    parameters[..2].copy_from_slice(&exception.parameters);
    ExceptionRecord {
        code: exception.status.0.cast_unsigned(),
        flags: if exception.continuable {
            0
        } else {
            NONCONTINUABLE
        },
        nested: 0,
        address: usize::try_from(processor.rip).unwrap_or(usize::MAX),
        parameter_count: exception.count,
        parameters,
    }
}

/// How a search ended.
enum Decision {
    /// Nobody wants it.
    Unhandled,
    /// The driver goes on where it was.
    Continue,
    /// A handler takes it.
    Handler(Target),
}

/// `EXCEPTION_DISPOSITION`
const CONTINUE_EXECUTION: u32 = 0;
const CONTINUE_SEARCH: u32 = 1;

/// One frame on the way up.
struct Step {
    /// The frame, if its function has unwind data.
    frame: Option<unwind::Frame>,
    /// The image's base.
    base: usize,
    /// The caller's registers.
    caller: Processor,
}

/// The frame that `processor` is in; `None` at the end of the driver's frames or where they are damaged.
fn step(processor: &Processor, exact: bool) -> Option<Step> {
    let mut caller = *processor;
    let rip = usize::try_from(processor.rip).ok()?;
    if rip == gate::return_address() {
        return None;
    }
    let module = machine::module_at(rip);
    let image = module.as_ref().map(|module| &*module.image);
    let frame = image.and_then(|image| unwind::frame(image, &mut caller, rip));
    caller.rip = match image {
        Some(image) => unwind::step(image, &mut caller, rip, exact)?,
        // A function of the kernel's that runs as it is on the driver's stack.
        None if exact => unwind::leaf(&mut caller)?,
        None => return None,
    };
    let limits = stack::limits();
    // A stack that is not one ends the walk, as in Windows.
    let sound = (limits.low..limits.high).contains(&caller.rsp())
        && caller.rsp() > processor.rsp()
        && frame.is_none_or(|frame| frame.establisher.is_multiple_of(8));
    sound.then(|| Step {
        frame,
        base: image.map_or(0, |image: &Image| image.base),
        caller,
    })
}

/// Looks for a handler.
fn search(record: &mut ExceptionRecord, context: &mut Context, exact: bool) -> Decision {
    let mut processor = context.registers();
    let mut exact = exact;
    for _ in 0..MOST_FRAMES {
        let Some(step) = step(&processor, exact) else {
            return Decision::Unhandled;
        };
        let handler = step
            .frame
            .and_then(|frame| frame.handler.map(|handler| (frame, handler)));
        if let Some((frame, handler)) = handler.filter(|(_, handler)| handler.on_exception) {
            let caller = Context::new(&step.caller);
            let mut dispatcher = dispatcher(&processor, &step, frame, handler, &caller);
            match call(handler.routine, record, frame, context, &mut dispatcher) {
                _ if TARGET.get().is_some() => {
                    return TARGET.take().map_or(Decision::Unhandled, Decision::Handler);
                }
                CONTINUE_EXECUTION if record.flags & NONCONTINUABLE != 0 => bugcheck::raise(
                    bugcheck::code::KMODE_EXCEPTION_NOT_HANDLED,
                    [
                        u64::from(NtStatus::NONCONTINUABLE_EXCEPTION.0.cast_unsigned()),
                        record.address as u64,
                        0,
                        0,
                    ],
                    "a filter answered EXCEPTION_CONTINUE_EXECUTION to an exception that cannot be continued",
                ),
                CONTINUE_EXECUTION => return Decision::Continue,
                CONTINUE_SEARCH => {}
                other => bad_disposition(handler.routine, other),
            }
        }
        (processor, exact) = (step.caller, false);
    }
    Decision::Unhandled
}

/// Unwinds to the frame of `target`; gives the registers with which its function goes on.
fn unwind_to(
    target: Target,
    record: &mut ExceptionRecord,
    from: Processor,
    exact: bool,
) -> Processor {
    record.flags |= UNWINDING;
    let (mut processor, mut exact) = (from, exact);
    while let Some(step) = step(&processor, exact) {
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
            let mut context = Context::new(&processor);
            let caller = context;
            let mut dispatcher = DispatcherContext {
                target_ip: target.ip,
                ..dispatcher(&processor, &step, frame, handler, &caller)
            };
            let answer = call(
                handler.routine,
                record,
                frame,
                &mut context,
                &mut dispatcher,
            );
            if answer != CONTINUE_SEARCH {
                bad_disposition(handler.routine, answer);
            }
        }
        if here {
            processor.general[0] = target.value;
            processor.rip = target.ip as u64;
            return processor;
        }
        (processor, exact) = (step.caller, false);
    }
    bugcheck::raise(
        bugcheck::code::KMODE_EXCEPTION_NOT_HANDLED,
        [
            u64::from(NtStatus::BAD_STACK.0.cast_unsigned()),
            record.address as u64,
            0,
            0,
        ],
        "the frame of the handler was not met again: a filter or __finally block changed the frames above it",
    )
}

fn dispatcher(
    processor: &Processor,
    step: &Step,
    frame: unwind::Frame,
    handler: unwind::Handler,
    context: &Context,
) -> DispatcherContext {
    DispatcherContext {
        control_pc: usize::try_from(processor.rip).unwrap_or(0),
        image_base: step.base,
        function_entry: frame.entry,
        establisher_frame: frame.establisher,
        target_ip: 0,
        context_record: std::ptr::from_ref(context).expose_provenance(),
        language_handler: handler.routine,
        handler_data: handler.data,
        history_table: 0,
        scope_index: 0,
        fill: 0,
    }
}

/// Calls a language handler; gives its disposition.
fn call(
    routine: usize,
    record: &mut ExceptionRecord,
    frame: unwind::Frame,
    context: &mut Context,
    dispatcher: &mut DispatcherContext,
) -> u32 {
    stack::with_frames(*FRAMES, || {
        let arguments = [
            std::ptr::from_mut(record).expose_provenance() as u64,
            frame.establisher,
            std::ptr::from_mut(context).expose_provenance() as u64,
            std::ptr::from_mut(dispatcher).expose_provenance() as u64,
        ];
        // SAFETY: the image names this routine as the function's handler, and handlers take these arguments.
        let answer = unsafe { gate::call(routine, &arguments) };
        u32::try_from(answer & 0xFFFF_FFFF).unwrap_or(u32::MAX)
    })
}

fn bad_disposition(routine: usize, answer: u32) -> ! {
    bugcheck::raise(
        bugcheck::code::KMODE_EXCEPTION_NOT_HANDLED,
        [
            u64::from(NtStatus::INVALID_DISPOSITION.0.cast_unsigned()),
            routine as u64,
            u64::from(answer),
            0,
        ],
        format!(
            "the exception handler {} answered {answer}, which is no disposition it may give",
            crate::symbols::describe(routine)
        ),
    )
}
