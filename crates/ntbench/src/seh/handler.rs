//! `__C_specific_handler`, which gives `__try` its meaning.
//!
//! The scope table behind a function's unwind information, as compilers publish it: a count, then for each guarded range
//! its begin and end, a filter or `__finally` block, and where an `__except` block begins (0 for a `__finally`), all as
//! RVAs. The filter 1 stands for `EXCEPTION_EXECUTE_HANDLER`. Inner ranges come first.

use super::record::{
    DispatcherContext, ExceptionPointers, ExceptionRecord, TARGET_UNWIND, UNWINDING,
};
use super::unwinding::{TARGET, Target};
use super::walk::in_block;
use super::{CONTINUE_EXECUTION, CONTINUE_SEARCH};
use crate::gate;
use crate::ntos::memory::Guest;

/// The filter `EXCEPTION_EXECUTE_HANDLER`, where a compiler could see that it is one.
const EXECUTE_HANDLER: u32 = 1;

/// One guarded range.
#[repr(C)]
#[derive(Clone, Copy)]
struct Scope {
    begin: u32,
    end: u32,
    handler: u32,
    target: u32,
}

impl Scope {
    fn contains(&self, rva: usize) -> bool {
        (self.begin as usize..self.end as usize).contains(&rva)
    }
}

fn scopes(dispatcher: &DispatcherContext) -> impl Iterator<Item = (u32, Scope)> + use<> {
    let table = Guest::<u32>::at(dispatcher.handler_data);
    let first = Guest::<Scope>::at(dispatcher.handler_data + size_of::<u32>());
    (0..table.read()).map(move |index| (index, first.add(index as usize).read()))
}

/// Looks for an `__except` block that takes the exception.
fn search(
    record: usize,
    frame: u64,
    context: usize,
    dispatcher: &DispatcherContext,
    code: u32,
) -> u32 {
    let rva = dispatcher.control_pc - dispatcher.image_base;
    for (_, scope) in scopes(dispatcher).skip(dispatcher.scope_index as usize) {
        if !scope.contains(rva) || scope.target == 0 {
            continue;
        }
        let verdict = if scope.handler == EXECUTE_HANDLER {
            1
        } else {
            let pointers = ExceptionPointers { record, context };
            let filter = dispatcher.image_base + scope.handler as usize;
            let pointers = std::ptr::from_ref(&pointers).expose_provenance() as u64;
            // SAFETY: the scope table says that this is a filter, and filters take these arguments.
            let answer = in_block(|| unsafe { gate::call(filter, &[pointers, frame]) });
            (answer as u32).cast_signed()
        };
        if verdict < 0 {
            return CONTINUE_EXECUTION;
        }
        if verdict > 0 {
            TARGET.set(Some(Target {
                frame,
                ip: dispatcher.image_base + scope.target as usize,
                value: u64::from(code),
            }));
            return CONTINUE_SEARCH;
        }
    }
    CONTINUE_SEARCH
}

/// Runs the `__finally` blocks of a frame that is left.
fn unwind(frame: u64, dispatcher: Guest<DispatcherContext>, flags: u32) -> u32 {
    let mut view = dispatcher.read();
    let rva = view.control_pc - view.image_base;
    let target = view.target_ip.wrapping_sub(view.image_base);
    let at_target = flags & TARGET_UNWIND != 0;
    let first = view.scope_index as usize;
    for (index, scope) in scopes(&view).skip(first) {
        if !scope.contains(rva) {
            continue;
        }
        // What guards the target as well is not left.
        if at_target && scope.contains(target) {
            break;
        }
        if scope.target != 0 {
            // The `__except` block that control goes to: what is outside it is not left either.
            if at_target && scope.target as usize == target {
                break;
            }
            continue;
        }
        // Where an exception in the block would begin again.
        view.scope_index = index + 1;
        dispatcher.write(view);
        let block = view.image_base + scope.handler as usize;
        // SAFETY: the scope table says that this is a termination handler, which takes these arguments.
        in_block(|| unsafe { gate::call(block, &[1, frame]) });
    }
    CONTINUE_SEARCH
}

exports! { "ntoskrnl.exe";
    /// The language handler of functions with `__try`.
    fn __C_specific_handler(
        record: Guest<ExceptionRecord>,
        frame: u64,
        context: usize,
        dispatcher: Guest<DispatcherContext>,
    ) -> u32 {
        let (code, flags) = { let record = record.read(); (record.code, record.flags) };
        if flags & UNWINDING != 0 {
            unwind(frame, dispatcher, flags)
        } else {
            search(record.address(), frame, context, &dispatcher.read(), code)
        }
    }
}
