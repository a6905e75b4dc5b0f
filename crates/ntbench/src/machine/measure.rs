//! Doing the same many times over and looking at the clock. The trace, which is the bench's own notebook and no part of a
//! machine, is left out meanwhile.

use std::time::{Duration, Instant};

use super::buffers::Buffer;
use crate::fltmgr::port;
use crate::ntos::syscall::{nt_close, nt_create_file};
use crate::status::NtStatus;
use crate::wire::{CreateFile, Measure, Measured, PortMessage, Reply, Timing};
use crate::{gate, stack, trace};

/// Creates between two looks at the clock: few enough that the handles stay few, and enough that the looks cost nothing.
const BATCH: u64 = 64;

/// Does it on the current thread.
pub(super) fn run(measure: &Measure) -> Reply {
    let _quiet = trace::Quiet::begin();
    let timing = match &measure.what {
        Measured::Create(create) => creates(create, measure.times),
        Measured::Routine { address, arguments } => {
            let Ok(entry) = usize::try_from(*address) else {
                return super::requests::refused(format!("no routine is at {address:#x}"));
            };
            routine(entry, arguments, measure.times)
        }
        Measured::Send(messages) => match send(messages, measure.times) {
            Ok(timing) => timing,
            Err(error) => return super::requests::refused(format!("a buffer: {error}")),
        },
    };
    Reply::Measured(timing)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The first status that is no success stays.
fn note(timing: &mut Timing, status: NtStatus) {
    if timing.status.is_success() {
        timing.status = status;
    }
}

fn creates(create: &CreateFile, times: u64) -> Timing {
    let mut timing = Timing {
        times,
        ..Timing::default()
    };
    let mut handles = Vec::with_capacity(usize::try_from(BATCH).unwrap_or(0));
    let mut left = times;
    while left > 0 {
        let batch = left.min(BATCH);
        left -= batch;
        let began = Instant::now();
        for _ in 0..batch {
            let done = stack::system_call(|| nt_create_file(create));
            note(&mut timing, done.status);
            if done.handle != 0 {
                handles.push(done.handle);
            }
        }
        let opened = Instant::now();
        for handle in handles.drain(..) {
            stack::system_call(|| nt_close(handle));
        }
        timing.nanoseconds += nanoseconds(opened - began);
        timing.closing += nanoseconds(opened.elapsed());
    }
    timing
}

fn routine(entry: usize, arguments: &[u64], times: u64) -> Timing {
    stack::system_thread(|| {
        let began = Instant::now();
        let mut value = 0;
        for _ in 0..times {
            // SAFETY: whoever asks says that a driver's function of that signature is there; a wrong address faults.
            value = unsafe { gate::call(entry, arguments) };
        }
        Timing {
            times,
            nanoseconds: nanoseconds(began.elapsed()),
            value,
            ..Timing::default()
        }
    })
}

fn send(messages: &[PortMessage], times: u64) -> std::io::Result<Timing> {
    let mut timing = Timing {
        times: times * messages.len() as u64,
        ..Timing::default()
    };
    for message in (0..times).flat_map(|_| messages) {
        let length = u32::try_from(message.input.len()).unwrap_or(u32::MAX);
        let input = Buffer::new(
            message.input_kind,
            &message.input,
            message.input.len(),
            length,
        )?;
        let room = usize::try_from(message.output_length).unwrap_or(usize::MAX);
        // Touched before, as a program's buffers are.
        let zeroes = vec![0; room];
        let output = Buffer::new(message.output_kind, &zeroes, room, message.output_length)?;
        let began = Instant::now();
        let (status, returned) =
            stack::system_call(|| port::send(message.port, input.shown(), output.shown()));
        timing.nanoseconds += nanoseconds(began.elapsed());
        note(&mut timing, status);
        timing.value += u64::from(returned);
    }
    Ok(timing)
}
