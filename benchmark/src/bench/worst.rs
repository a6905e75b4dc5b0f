//! The slowest records: what a writer that waits for somebody would show in, however quick the others are.
//!
//! A second machine has one writer that was stopped in the middle of a record and never goes on, and a thread that reads
//! the whole ring over and over. If anybody waited for either, it would wait for ever, and a sample would not end; that
//! records are not lost for them, but for one in a thousand, is checked in each.

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use ntbench::Thread;

use super::rig::{Filter, Plan, Rig, Workshop};
use super::rows::{USUAL, address, threads_of};
use super::sample::Probe;

/// Of a thousand records, how many the time of a row has to hold for; 1,000: the slowest one.
const ALL_BUT_ONE: u64 = 999;
const SLOWEST: u64 = 1_000;

/// Records in a sample.
const SAMPLE: u64 = 100_000;

/// How long the clock is looked at to learn what its ticks are.
const CLOCK: Duration = Duration::from_millis(20);

type Named = (&'static str, &'static str);

/// Adds the rows.
pub(crate) fn add(workshop: &Workshop, mut row: impl FnMut(Named, u64, Probe)) -> Result<()> {
    let free = Rc::new(Rig::start(workshop, &Plan::with([Filter::Empty]))?);
    let held = Rc::new(Rig::start(workshop, &Plan::with([Filter::Empty]))?);
    let hold = address(&held, "yardstick_hold")?;
    if held.thread.measure_routine(hold, &[USUAL], 1)?.value == 0 {
        bail!("no record could be taken in an empty ring");
    }
    let tick = tick(&free)?;
    let rows: [(Named, &Rc<Rig>, usize, u64); 8] = [
        (
            ("worst.1", "all but the slowest thousandth: one thread"),
            &free,
            1,
            ALL_BUT_ONE,
        ),
        (
            (
                "worst.2",
                "all but the slowest thousandth: each of two threads",
            ),
            &free,
            2,
            ALL_BUT_ONE,
        ),
        (
            (
                "worst.4",
                "all but the slowest thousandth: each of four threads",
            ),
            &free,
            4,
            ALL_BUT_ONE,
        ),
        (
            (
                "worst.held.1",
                "the same beside a stopped writer and a reader: one thread",
            ),
            &held,
            1,
            ALL_BUT_ONE,
        ),
        (
            (
                "worst.held.2",
                "the same beside a stopped writer and a reader: each of two threads",
            ),
            &held,
            2,
            ALL_BUT_ONE,
        ),
        (
            (
                "worst.held.4",
                "the same beside a stopped writer and a reader: each of four threads",
            ),
            &held,
            4,
            ALL_BUT_ONE,
        ),
        (
            ("slowest.1", "the very slowest: one thread"),
            &free,
            1,
            SLOWEST,
        ),
        (
            (
                "slowest.held.1",
                "the very slowest beside a stopped writer and a reader: one thread",
            ),
            &held,
            1,
            SLOWEST,
        ),
    ];
    for (named, rig, threads, per_mille) in rows {
        let read = Rc::ptr_eq(rig, &held);
        row(named, SAMPLE, probe(rig, read, threads, per_mille, tick)?);
    }
    Ok(())
}

/// Writes on so many threads, and reads on another one meanwhile if it is to; nanoseconds of the slowest thread's.
fn probe(rig: &Rc<Rig>, read: bool, threads: usize, per_mille: u64, tick: f64) -> Result<Probe> {
    let worst = address(rig, "yardstick_worst")?;
    let drain = address(rig, "yardstick_drain")?;
    let writers = threads_of(rig, threads)?;
    let reader = if read {
        Some(rig.another_thread()?)
    } else {
        None
    };
    let rig = Rc::clone(rig);
    Ok(Box::new(move |times| {
        // The machine lives as long as its row.
        let _ = &rig;
        let write = |thread: &Thread| -> Result<u64> {
            let ticks = thread
                .measure_routine(worst, &[USUAL, per_mille, times], 1)?
                .value;
            if ticks == u64::MAX {
                bail!("more than one record in a thousand was not filed");
            }
            Ok(ticks)
        };
        let done = AtomicBool::new(false);
        let ticks = std::thread::scope(|scope| {
            let reading = reader.as_ref().map(|reader| {
                let done = &done;
                scope.spawn(move || -> Result<()> {
                    while !done.load(Ordering::Relaxed) {
                        reader.measure_routine(drain, &[USUAL, USUAL], 16)?;
                    }
                    Ok(())
                })
            });
            let writing: Vec<_> = writers
                .iter()
                .map(|thread| scope.spawn(move || write(thread)))
                .collect();
            let slowest = writing
                .into_iter()
                .map(joined)
                .try_fold(0, |most, ticks| ticks.map(|ticks: u64| ticks.max(most)));
            done.store(true, Ordering::Relaxed);
            if let Some(reading) = reading {
                joined(reading)?;
            }
            slowest
        })?;
        Ok(ticks as f64 * tick)
    }))
}

fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread
        .join()
        .map_err(|_| anyhow::anyhow!("a thread panicked"))?
}

/// Nanoseconds of one tick of the processor's own clock.
fn tick(rig: &Rig) -> Result<f64> {
    let ticks = address(rig, "yardstick_ticks")?;
    let look = || -> Result<u64> { Ok(rig.thread.measure_routine(ticks, &[], 1)?.value) };
    let began = (Instant::now(), look()?);
    std::thread::sleep(CLOCK);
    let ended = (Instant::now(), look()?);
    let passed = (ended.0 - began.0).as_nanos() as f64;
    Ok(passed / ended.1.saturating_sub(began.1).max(1) as f64)
}
