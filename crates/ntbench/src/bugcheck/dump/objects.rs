//! The processor that stopped, and the threads with their processes.
//!
//! Segments of a stack are chained as public symbols have it: `KTHREAD.InitialStack` leads to a `KSTACK_CONTROL` at the top
//! of the current segment, whose `Previous` says where the thread was before. Where within a segment's top Windows puts it
//! is not documented; here it takes the topmost 0x50 bytes, on the thread's first segment those that
//! `nt!KiSystemServiceCopyEnd`'s caller has below the base in the model (0x250).

use super::bytes::Structure;
use super::images::Image;
use super::kernel::ring;
use super::layout::{FIRST_CONTROL, PRCB, STACK_CONTROL, eprocess, kthread, prcb, variable};
use super::space::{ROOT, Space};
use crate::thread::Thread;
use crate::wire::SegmentInfo;

/// The processor that stopped.
pub(super) fn processor(space: &mut Space, region: u64, thread: u64, context: &[u8]) {
    let block = region + PRCB;
    space.put_word(region + 0x18, region);
    space.put_word(region + 0x20, block);
    space.put_word(block + prcb::CURRENT_THREAD, thread);
    // CR0, CR2, CR3, CR4.
    space.put_word(block + prcb::SPECIAL_REGISTERS, 0x8005_0033);
    space.put_word(block + prcb::SPECIAL_REGISTERS + 0x10, ROOT);
    space.put_word(block + prcb::SPECIAL_REGISTERS + 0x18, 0x6F8);
    space.put(block + prcb::CONTEXT_FRAME, context);
    space.put_word(block + prcb::CONTEXT, block + prcb::CONTEXT_FRAME);
}

/// A thread as the dump has it.
pub(super) struct Stopped {
    /// The thread.
    pub(super) thread: &'static Thread,
    /// Its segments, oldest first, and its stack pointer on each where it left it; on the last, where it is.
    pub(super) segments: Vec<(SegmentInfo, u64)>,
    /// Whether it is the one that stopped the machine.
    pub(super) running: bool,
}

/// Threads and their processes.
pub(super) fn threads(space: &mut Space, kernel: &Image, threads: &[Stopped]) {
    let mut processes: Vec<(u64, Vec<u64>)> = Vec::new();
    for stopped in threads {
        let (object, process) = (
            stopped.thread.object as u64,
            stopped.thread.process.object as u64,
        );
        self::thread(space, stopped);
        match processes.iter_mut().find(|(known, _)| *known == process) {
            Some((_, members)) => members.push(object),
            None => {
                processes.push((process, vec![object]));
                self::process(space, process, stopped.thread);
            }
        }
    }
    for (process, members) in &processes {
        let listed = |head: u64, entry: u64| {
            let mut entries = vec![process + head];
            entries.extend(members.iter().map(|thread| thread + entry));
            entries
        };
        let (kernel_list, executive_list) = (
            listed(eprocess::KTHREADS, kthread::LIST_ENTRY),
            listed(eprocess::THREADS, kthread::THREAD_LIST_ENTRY),
        );
        ring(space, &kernel_list);
        ring(space, &executive_list);
    }
    let mut entries = vec![kernel.base + u64::from(kernel.data.0) + variable::PROCESS_LIST as u64];
    entries.extend(
        processes
            .iter()
            .map(|(process, _)| process + eprocess::LINKS),
    );
    ring(space, &entries);
}

fn process(space: &mut Space, object: u64, member: &Thread) {
    // DISPATCHER_HEADER.Type: a process.
    space.put(object, &[3]);
    space.put_word(object + eprocess::DIRECTORY_TABLE_BASE, ROOT);
    space.put_word(object + eprocess::ID, member.process.pid);
    let name = Structure::new(15).text(0, 15, &member.process.image).done();
    space.put(object + eprocess::IMAGE_FILE_NAME, &name);
}

fn thread(space: &mut Space, stopped: &Stopped) {
    let object = stopped.thread.object as u64;
    let process = stopped.thread.process.object as u64;
    // DISPATCHER_HEADER.Type: a thread.
    space.put(object, &[6]);
    space.put_word(object + kthread::PROCESS, process);
    space.put_word(object + kthread::APC_PROCESS, process);
    let state = if stopped.running {
        kthread::RUNNING
    } else {
        kthread::WAITING
    };
    space.put(object + kthread::STATE, &[state]);
    space.put_word(object + kthread::CLIENT_ID, stopped.thread.pid());
    space.put_word(object + kthread::CLIENT_ID + 8, stopped.thread.tid);
    let mut previous = [0; 4];
    for (index, (segment, sp)) in stopped.segments.iter().enumerate() {
        let below = if index == 0 {
            FIRST_CONTROL
        } else {
            STACK_CONTROL as u64
        };
        let initial = segment.high - below;
        // KSTACK_CONTROL: StackBase, ActualLimit, Previous.
        let control = [segment.high, segment.low];
        for (word, value) in control.into_iter().chain(previous).enumerate() {
            space.put_word(initial + 8 * word as u64, value);
        }
        previous = [segment.high, segment.low, *sp, initial];
    }
    let [base, limit, sp, initial] = previous;
    space.put_word(object + kthread::INITIAL_STACK, initial);
    space.put_word(object + kthread::STACK_LIMIT, limit);
    space.put_word(object + kthread::STACK_BASE, base);
    space.put_word(object + kthread::KERNEL_STACK, sp);
}
