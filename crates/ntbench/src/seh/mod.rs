//! Structured exception handling: an exception in a driver's code looks for a handler in the driver's frames.
//!
//! The order is the documented one ("x64 exception handling"; `RtlUnwindEx`): frame by frame from the exception upwards,
//! language handlers are called until one takes the exception ([`search`]); then from the beginning again up to that
//! frame, so that each frame can run its `__finally` blocks ([`unwinding`]); then the driver goes on in the handler.
//! Handlers and filters run on the kernel stack below the exception, with the kernel's own frames between charged.
//!
//! An exception inside a filter or a `__finally` block goes on, where the block's own frames do not take it, to the
//! frames that the block was called for ([`walk`]): with `EXCEPTION_NESTED_CALL` up to the frame of the filter, and as a
//! collided unwind, which does not begin again what was unwound, from a `__finally`.
//!
//! Where Windows differs, or may:
//!
//! * The search ends at the frame that the kernel called, unless a function of its library did ([`passing`]). In Windows it would
//!   go on through the kernel's and the Filter Manager's frames, and whoever takes the exception beyond them leaves them as they are:
//!   no document says what that costs, so it is the end of the machine here.
//! * Only page faults on user addresses are exceptions. Those on system addresses are bug check 0x50 whoever waits with
//!   an `__except`, as in Windows.

mod export;
mod handler;
mod jump;
pub(crate) mod passing;
mod record;
mod resume;
mod search;
mod unwinding;
mod walk;

use std::cell::Cell;
use std::sync::LazyLock;

use crate::cpu::fault::Registers;
use crate::cpu::{pcr, unhandled};
use crate::export::Export;
use crate::ntos::memory::Guest;
use crate::stack::{self, Frame};
use crate::status::NtStatus;
use crate::{bugcheck, cost, gate, unwind};

pub(crate) use record::{Context, ExceptionRecord};
use record::{DispatcherContext, MOST_PARAMETERS, NONCONTINUABLE};
pub(crate) use resume::{Processor, raised_in_import};
use unwinding::Target;

/// A walk over damaged frames must end.
const MOST_FRAMES: usize = 4096;

/// What the kernel puts on the stack between an exception and the handlers it calls.
static FRAMES: LazyLock<&[Frame]> = LazyLock::new(|| cost::chain("exception"));

/// `EXCEPTION_DISPOSITION`
const CONTINUE_EXECUTION: u32 = 0;
const CONTINUE_SEARCH: u32 = 1;
const NESTED_EXCEPTION: u32 = 2;

/// What this module lets drivers import.
pub(crate) fn tables() -> [&'static [Export]; 3] {
    [handler::exports(), export::exports(), jump::exports()]
}

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

    /// Its record, where it happens there.
    pub(crate) fn record_at(&self, rip: u64) -> ExceptionRecord {
        ExceptionRecord {
            address: usize::try_from(rip).unwrap_or(usize::MAX),
            ..self.record()
        }
    }

    fn record(&self) -> ExceptionRecord {
        let mut parameters = [0; MOST_PARAMETERS];
        parameters[..2].copy_from_slice(&self.parameters);
        ExceptionRecord {
            code: self.status.0.cast_unsigned(),
            flags: if self.continuable { 0 } else { NONCONTINUABLE },
            nested: 0,
            address: 0,
            parameter_count: self.count,
            parameters,
        }
    }
}

/// What is to happen in the driver once the export that runs now has returned: that is where its registers are known.
#[derive(Clone, Copy)]
enum Pending {
    /// An exception.
    Raise(ExceptionRecord),
    /// The frames up to this one are unwound for that record: of an exception that has left a callback, or of a jump.
    Unwinding(Target, ExceptionRecord),
    /// The registers come from where that record of a jump leads, with that value in RAX.
    Jump(ExceptionRecord, u64),
    /// The frames up to this one are unwound. With the address of the record to unwind with, if there is one.
    Unwind(Target, usize),
    /// The registers go to that address.
    Capture(usize),
    /// The registers come from that address.
    Restore(usize),
}

thread_local! {
    static PENDING: Cell<Option<Pending>> = const { Cell::new(None) };
}

/// Raises an exception in the driver at its call of the running export, as soon as that export has returned. For exports
/// called by a driver directly: call it last, and return anything.
pub(crate) fn raise(exception: Exception) {
    after_return(Pending::Raise(exception.record()));
}

/// Whether the running export has raised an exception already: what it has read is nothing to act on.
pub(crate) fn has_raised() -> bool {
    pcr::block().raised.get() != 0
}

fn after_return(pending: Pending) {
    let block = pcr::block();
    // The first one is what would have ended the export.
    if block.raised.replace(1) == 0 {
        PENDING.set(Some(pending));
    }
}

/// Runs `f`, which calls the driver, with nothing pending: what the running export has raised is for its own caller.
#[inline]
pub(crate) fn aside<R>(f: impl FnOnce() -> R) -> R {
    let block = pcr::block();
    if block.raised.get() == 0 {
        return f();
    }
    let (raised, pending) = (block.raised.replace(0), PENDING.take());
    let result = f();
    block.raised.set(raised);
    PENDING.set(pending);
    result
}

/// The import gate's, with the registers that the driver would have gone on with.
extern "sysv64" fn raised(processor: &Processor) -> ! {
    // A bad pointer to a record or to registers is an exception in its turn.
    loop {
        pcr::block().raised.set(0);
        let unknown = || Pending::Raise(Exception::new(NtStatus::UNSUCCESSFUL).record());
        match PENDING.take().unwrap_or_else(unknown) {
            Pending::Raise(mut record) => {
                record.address = usize::try_from(processor.rip).unwrap_or(usize::MAX);
                offer(&mut record, *processor, None);
                unhandled::raised(&record, processor)
            }
            Pending::Unwinding(target, record) => unwinding::from_call(target, record, *processor),
            Pending::Unwind(target, record) => {
                let record = unwinding::record_at(record, processor);
                if !passing::is_leaving() {
                    unwinding::from_call(target, record, *processor)
                }
            }
            Pending::Jump(record, value) => {
                if let Some(processor) = jump::landing(&record, value) {
                    walk::go_on(processor)
                }
            }
            Pending::Capture(at) => {
                Guest::at(at).write(Context::new(processor));
                if !passing::is_leaving() {
                    walk::go_on(*processor)
                }
            }
            Pending::Restore(at) => {
                let context = Guest::<Context>::at(at).read();
                if !passing::is_leaving() {
                    walk::go_on(context.registers())
                }
            }
        }
    }
}

/// Offers an exception to the driver's handlers; returns if none of them takes it. `interrupted`: the registers as a
/// listing wants them, where the driver did not call an import.
pub(crate) fn dispatch(
    exception: &Exception,
    processor: Processor,
    interrupted: Option<Registers>,
) {
    let mut record = exception.record_at(processor.rip);
    offer(&mut record, processor, interrupted);
}

/// What came of an exception.
enum Outcome {
    Unhandled,
    Continue(Box<Processor>),
    Handler(unwinding::Unwound, Target),
}

fn offer(record: &mut ExceptionRecord, processor: Processor, interrupted: Option<Registers>) {
    let exact = interrupted.is_some();
    let Ok(rsp) = usize::try_from(processor.rsp()) else {
        return;
    };
    let place = walk::Place::new(processor, exact);
    let outcome = stack::interrupted(rsp, interrupted, || {
        let mut context = Context::new(&processor);
        match search::search(record, &mut context, &place) {
            search::Decision::Unhandled => Outcome::Unhandled,
            search::Decision::Continue => Outcome::Continue(Box::new(context.registers())),
            search::Decision::Handler(target) => {
                Outcome::Handler(unwinding::unwind_to(target, record, &place), target)
            }
        }
    });
    match outcome {
        Outcome::Unhandled => {}
        Outcome::Continue(processor) => walk::go_on(*processor),
        Outcome::Handler(unwound, target) => unwinding::go_on(unwound, target, *record),
    }
}

/// What a language handler is told beside the exception.
fn dispatcher(
    processor: &Processor,
    step: &walk::Step,
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

/// An exception about the exception: nobody is asked about these.
fn fatal(status: NtStatus, parameters: [u64; 3], text: String) -> ! {
    let [second, third, fourth] = parameters;
    let code = bugcheck::signed(status);
    bugcheck::raise(
        bugcheck::code::KMODE_EXCEPTION_NOT_HANDLED,
        [code, second, third, fourth],
        text,
    )
}

fn bad_disposition(routine: usize, answer: u32) -> ! {
    let place = crate::symbols::describe(routine);
    fatal(
        NtStatus::INVALID_DISPOSITION,
        [routine as u64, u64::from(answer), 0],
        format!(
            "the exception handler {place} answered {answer}, which is no disposition it may give"
        ),
    )
}
