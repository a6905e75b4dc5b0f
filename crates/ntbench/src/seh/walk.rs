//! The row of frames that an exception goes up, and where it leads beyond the frame that the kernel called.
//!
//! While a handler runs for an exception, what it is about waits in a list. A walk that comes to the end of the handler's
//! own frames goes on there: with the interrupted code whose exception a filter was asked about, or with the frame whose
//! `__finally` block was running.

use std::cell::RefCell;

use super::passing;
use super::record::DispatcherContext;
use super::resume::{self, Processor};
use crate::ntos::memory::Guest;
use crate::stack::{self, Mark};
use crate::{gate, machine, unwind};

/// A place in driver code, and how to come back to it.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) processor: Processor,
    /// Whether it was interrupted there; else it is where a call returns to.
    pub(super) exact: bool,
    mark: Mark,
}

impl Place {
    pub(super) fn new(processor: Processor, exact: bool) -> Self {
        Self {
            processor,
            exact,
            mark: stack::mark(),
        }
    }
}

/// A handler that is running.
struct Active {
    /// How many calls into drivers there were when it was called.
    calls: usize,
    /// Whether a filter or `__finally` block is running for it.
    block: bool,
    /// The newest place of the exception or unwind that it was called for.
    mark: Mark,
    rsp: u64,
    /// Where a walk goes on beyond its frames.
    next: (Processor, bool),
    why: Why,
}

/// What a handler was called for.
#[derive(Clone, Copy)]
enum Why {
    /// Whether it takes an exception: its frame.
    Search(u64),
    /// Its frame is left: the address of its `DISPATCHER_CONTEXT`.
    Unwind(usize),
}

thread_local! {
    static ACTIVE: RefCell<Vec<Active>> = const { RefCell::new(Vec::new()) };
}

/// Whether a handler is running for an exception of this thread's.
pub(super) fn is_handling() -> bool {
    ACTIVE.with_borrow(|list| !list.is_empty())
}

fn during<R>(place: &Place, next: (Processor, bool), why: Why, f: impl FnOnce() -> R) -> R {
    let active = Active {
        calls: stack::calls(),
        block: false,
        mark: place.mark,
        rsp: place.processor.rsp(),
        next,
        why,
    };
    ACTIVE.with_borrow_mut(|list| list.push(active));
    let result = f();
    ACTIVE.with_borrow_mut(Vec::pop);
    result
}

/// Runs `f`, which asks the handler of that frame about the exception at `place`.
pub(super) fn while_searching<R>(place: &Place, establisher: u64, f: impl FnOnce() -> R) -> R {
    let next = (place.processor, place.exact);
    during(place, next, Why::Search(establisher), f)
}

/// Runs `f`, which calls the handler of the frame that `cursor` is at because it is left.
pub(super) fn while_unwinding<R>(
    place: &Place,
    cursor: &Cursor,
    dispatcher: usize,
    f: impl FnOnce() -> R,
) -> R {
    let next = (cursor.processor, cursor.exact);
    during(place, next, Why::Unwind(dispatcher), f)
}

/// Runs `f`, which calls a filter or a `__finally` block on behalf of the handler that runs.
pub(super) fn in_block<R>(f: impl FnOnce() -> R) -> R {
    let calls = stack::calls();
    let set = |value: bool| {
        ACTIVE.with_borrow_mut(|list| {
            if let Some(active) = list.last_mut().filter(|active| active.calls + 1 == calls) {
                active.block = value;
            }
        });
    };
    set(true);
    let result = f();
    set(false);
    result
}

/// Goes on in the driver with these registers, which may be those of a frame further up: what runs for an exception
/// below it is given up.
pub(super) fn go_on(processor: Processor) -> ! {
    let back = ACTIVE.with_borrow_mut(|list| {
        let mut back = None;
        while let Some(active) = list.pop_if(|active| processor.rsp() >= active.rsp) {
            back = Some(active.mark);
        }
        back
    });
    if let Some(mark) = back {
        stack::go_back(mark);
    }
    // SAFETY: the registers were walked to from the driver's own, or the driver gave them; either way on its stack, and
    // the gate's words are those of its frame there. What lies between on the host's stack owns nothing.
    unsafe { resume::resume(processor) }
}

/// Leaves the call of that number into a driver, as if it had returned: what runs for an exception in it is given up.
pub(super) fn leave(calls: usize) -> ! {
    let back = ACTIVE.with_borrow_mut(|list| {
        let mut back = None;
        while let Some(active) = list.pop_if(|active| active.calls >= calls) {
            back = Some(active.mark);
        }
        back
    });
    if let Some(mark) = back {
        stack::go_back(mark);
    }
    // SAFETY: the walk came to the end of that call's frames, so it is under way, and the innermost now that the handlers in
    // it are given up. What lies between on the host's stack owns nothing.
    unsafe { gate::leave() }
}

/// One frame on the way up.
pub(super) struct Step {
    /// The frame, if its function has unwind data.
    pub(super) frame: Option<unwind::Frame>,
    /// The image's base.
    pub(super) base: usize,
    /// The caller's registers.
    pub(super) caller: Processor,
}

/// Where a walk is.
pub(super) struct Cursor {
    pub(super) processor: Processor,
    pub(super) exact: bool,
    /// How many handlers are running around the code that it is in.
    level: usize,
    /// How many calls into drivers lead to that code.
    calls: usize,
}

/// How a walk went on beyond the end of a call's frames.
pub(super) enum Crossed {
    /// With the driver's code that called the import which made the call, and lets exceptions through.
    Out,
    /// With the code that a filter was asked about; the frame of that filter.
    Search(u64),
    /// With the frame whose `__finally` block was running; the first of its scopes that has not been left.
    Unwind(u32),
}

impl Cursor {
    /// At the newest place of this thread.
    pub(super) fn new(place: &Place) -> Self {
        Self {
            processor: place.processor,
            exact: place.exact,
            level: ACTIVE.with_borrow(Vec::len),
            calls: stack::calls(),
        }
    }

    /// The frame that it is in; `None` at the end of the driver's frames or where they are damaged.
    pub(super) fn step(&self) -> Option<Step> {
        let (processor, exact) = (&self.processor, self.exact);
        let mut caller = *processor;
        let rip = usize::try_from(processor.rip).ok()?;
        if rip == gate::return_address() {
            return None;
        }
        let module = machine::module_at(rip);
        let image = module.as_ref().map(|module| &*module.image);
        let frame = image.and_then(|image| unwind::frame(image, &mut caller, rip, exact));
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
            base: image.map_or(0, |image| image.base),
            caller,
        })
    }

    /// How many calls into drivers lead to the code that it is in.
    pub(super) fn calls(&self) -> usize {
        self.calls
    }

    /// To the caller.
    pub(super) fn up(&mut self, step: &Step) {
        (self.processor, self.exact) = (step.caller, false);
    }

    /// From the end of a handler's frames to what the handler was called for; from the end of a callback's to the driver's
    /// call of the import that made it.
    pub(super) fn cross(&mut self) -> Option<Crossed> {
        if self.processor.rip != gate::return_address() as u64 {
            return None;
        }
        if let Some(site) = passing::caller(self.calls) {
            self.calls -= 1;
            self.processor = Processor::at(site.return_address, site.rsp, site.rbp);
            self.exact = false;
            return Some(Crossed::Out);
        }
        ACTIVE.with_borrow(|list| {
            let active = list.get(self.level.checked_sub(1)?)?;
            // The handler itself, or the block that it called; not a callback of something that these called.
            let depth = self.calls.checked_sub(active.calls)?;
            if depth != 1 && !(depth == 2 && active.block) {
                return None;
            }
            (self.level, self.calls) = (self.level - 1, active.calls);
            (self.processor, self.exact) = active.next;
            Some(match active.why {
                Why::Search(establisher) => Crossed::Search(establisher),
                Why::Unwind(dispatcher) => {
                    let dispatcher = Guest::<DispatcherContext>::at(dispatcher).read();
                    Crossed::Unwind(dispatcher.scope_index)
                }
            })
        })
    }
}
