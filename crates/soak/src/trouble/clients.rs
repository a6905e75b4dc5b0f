//! What clients of the driver's port do there: read, send what is no message, crowd it, and die.

use std::slice;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fastrand::Rng;
use headroom_harness::link::LinkError;
use ntbench::wire::{BufferKind, PortMessage};
use protocol::port::{Hello, MAXIMUM_CLIENTS};
use zerocopy::IntoBytes as _;

use super::{Misfortune, Troublemaker, broken};
use crate::ledger::sound;
use crate::port::Wire;

impl Troublemaker {
    pub(super) fn drain(&mut self) -> Result<(), Misfortune> {
        // Now and then from the start again, as another program would.
        if self.rng.u32(0..8) == 0 {
            self.next = 0;
        }
        self.client()?;
        let from = self.next;
        let drained = self.client()?.drain(from)?;
        let wrong = |why: &str| {
            broken(format!(
                "a drain from {from} on {why}: {} records, next {}, lost {}, head {}",
                drained.records.len(),
                drained.next,
                drained.lost,
                drained.head
            ))
        };
        let mut last = from.saturating_sub(1);
        for record in &drained.records {
            if record.sequence <= last {
                return wrong("brings records out of order");
            }
            last = record.sequence;
            sound(record)?;
        }
        let passed = drained.next.saturating_sub(from.max(1));
        if from > 0
            && (drained.next <= last || passed < drained.records.len() as u64 + drained.lost)
        {
            return wrong("counts wrong");
        }
        self.drained += drained.records.len() as u64;
        self.next = drained.next;
        Ok(())
    }

    /// Sends what is no message, or sends it in memory that is not what it seems.
    pub(super) fn rubbish(&mut self, hostile: bool) -> Result<(), Misfortune> {
        let wire = Wire::open(&self.thread, Hello::CURRENT.as_bytes())?;
        let rng = &mut self.rng;
        let length = rng.usize(0..600);
        let mut input: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(length).collect();
        // A kind that there is, so that more than its first check is reached. Its length is still wrong.
        if let Some(kind) = input.first_chunk_mut::<4>()
            && rng.bool()
        {
            *kind = rng.u32(0..12).to_le_bytes();
        }
        let kinds = |rng: &mut Rng| match (hostile, rng.u32(0..6)) {
            (false, _) | (_, 0) => BufferKind::Whole,
            (_, 1) => BufferKind::Misaligned(rng.u32(1..16)),
            (_, 2) => BufferKind::Null,
            (_, 3) => BufferKind::GoneAtTouch(rng.u64(1..4)),
            (_, 4) => BufferKind::CutAt {
                offset: rng.u32(0..64),
                probed: rng.bool(),
            },
            (_, _) => BufferKind::ReadOnly,
        };
        let message = PortMessage {
            input,
            input_kind: kinds(rng),
            output_length: rng.u32(0..0x2000),
            output_kind: kinds(rng),
            ..PortMessage::default()
        };
        wire.port().send_message(&message)?;
        Ok(())
    }

    /// Connects until the port is full.
    pub(super) fn crowd(&mut self) -> Result<(), Misfortune> {
        let mut crowd = Vec::new();
        loop {
            match Wire::open(&self.thread, Hello::CURRENT.as_bytes()) {
                Ok(wire) => crowd.push(wire),
                Err(LinkError::Busy) => return Ok(()),
                Err(other) => return Err(other.into()),
            }
            if crowd.len() > MAXIMUM_CLIENTS as usize {
                return broken(format!("{} clients are connected at once", crowd.len()));
            }
        }
    }

    /// A client whose process ends while it waits for news: its handle is closed beneath the wait.
    pub(super) fn die(&mut self) -> Result<(), Misfortune> {
        let wire = Wire::open(&self.thread, Hello::CURRENT.as_bytes())?;
        let port = wire.port().on(&self.waiting);
        let pause = Duration::from_micros(self.rng.u64(0..2000));
        // Under a schedule one of the two, the wait and the closing, ends while the other has no turn, and sees whether it is the first.
        let (closed, ended) = (AtomicBool::new(false), AtomicBool::new(false));
        if self.scheduled {
            // Nobody runs before both are asked for.
            self.machine
                .schedule_together(slice::from_ref(&self.waiting))?;
        }
        let (waited, left) = std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let waited = port.get_message(64, Some(Duration::from_secs(20)));
                if !closed.load(Ordering::Acquire) {
                    ended.store(true, Ordering::Release);
                    self.waiting.leave_together()?;
                }
                waited
            });
            if !self.scheduled {
                std::thread::sleep(pause);
            }
            drop(wire);
            closed.store(true, Ordering::Release);
            let left = match ended.load(Ordering::Acquire) {
                true => Ok(()),
                false => self.thread.leave_together(),
            };
            (waiter.join(), left)
        });
        left?;
        if self.scheduled && !ended.load(Ordering::Acquire) {
            // The wait has ended last: nobody runs until its thread gives up its place, and this one has its own again.
            self.machine
                .schedule_together(slice::from_ref(&self.thread))?;
            self.waiting.leave_together()?;
        }
        if let Ok(waited) = waited {
            waited?;
        }
        Ok(())
    }
}
