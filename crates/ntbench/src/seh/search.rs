//! The first pass: who takes the exception.

use super::record::{Context, ExceptionRecord, NESTED_CALL, NONCONTINUABLE};
use super::unwinding::{TARGET, Target};
use super::walk::{self, Crossed, Cursor, Place};
use super::{CONTINUE_EXECUTION, CONTINUE_SEARCH, FRAMES, MOST_FRAMES, NESTED_EXCEPTION};
use super::{bad_disposition, call, dispatcher};
use crate::stack;

/// How a search ended.
pub(super) enum Decision {
    /// Nobody wants it.
    Unhandled,
    /// The driver goes on where it was.
    Continue,
    /// A handler takes it.
    Handler(Target),
}

/// Looks for a handler of the exception at `place`, whose registers `context` has.
pub(super) fn search(
    record: &mut ExceptionRecord,
    context: &mut Context,
    place: &Place,
) -> Decision {
    let mut cursor = Cursor::new(place);
    // The frame up to which this exception is nested in another one's, and what is left of a frame's scopes.
    let (mut nested, mut scope) = (0, 0);
    for _ in 0..MOST_FRAMES {
        let Some(step) = cursor.step() else {
            match cursor.cross() {
                Some(Crossed::Search(establisher)) => {
                    record.flags |= NESTED_CALL;
                    nested = establisher.max(nested);
                }
                Some(Crossed::Unwind(left)) => scope = left,
                Some(Crossed::Out) => {}
                None => return Decision::Unhandled,
            }
            continue;
        };
        let establisher = step.frame.map_or(0, |frame| frame.establisher);
        let handler = step
            .frame
            .and_then(|frame| frame.handler.map(|handler| (frame, handler)));
        if let Some((frame, handler)) = handler.filter(|(_, handler)| handler.on_exception) {
            let caller = Context::new(&step.caller);
            let mut dispatcher = dispatcher(&cursor.processor, &step, frame, handler, &caller);
            dispatcher.scope_index = scope;
            let answer = walk::while_searching(place, establisher, || {
                call(handler.routine, record, frame, context, &mut dispatcher)
            });
            if let Some(target) = TARGET.take() {
                return Decision::Handler(target);
            }
            match answer {
                CONTINUE_EXECUTION if record.flags & NONCONTINUABLE != 0 => {
                    *record = record.cannot_continue();
                    // Raised below the frames of this search, which stay: who always answers so runs out of stack.
                    return stack::with_frames(*FRAMES, || search(record, context, place));
                }
                CONTINUE_EXECUTION => return Decision::Continue,
                CONTINUE_SEARCH => {}
                NESTED_EXCEPTION => {
                    record.flags |= NESTED_CALL;
                    nested = dispatcher.establisher_frame.max(nested);
                }
                other => bad_disposition(handler.routine, other),
            }
        }
        scope = 0;
        if nested != 0 && establisher >= nested {
            record.flags &= !NESTED_CALL;
            nested = 0;
        }
        cursor.up(&step);
    }
    Decision::Unhandled
}
