//! What is measured: each row of the table, and the machine that it is measured on.

use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use ntbench::wire::Timing;
use ntbench::{NtStatus, Thread};
use protocol::{OnExpandFailure, Policy, Setting};

use super::rig::{
    FILE, Filter, LOCAL, Plan, REMOTE, Rig, StackUse, Workshop, YARDSTICK, checked, open,
};
use super::sample::Probe;

/// The row that others are compared with: an open through a filter that does nothing.
pub(crate) const EMPTY: &str = "local.empty";

/// A row of the table.
pub(crate) struct Row {
    pub(crate) about: About,
    pub(crate) probe: Probe,
    /// How often a sample does it; `None`: as often as fills one.
    pub(crate) times: Option<u64>,
}

/// What a row is about.
#[derive(Clone, Copy)]
pub(crate) struct About {
    /// What it is called where programs read it.
    pub(crate) id: &'static str,
    /// The part of the table.
    pub(crate) group: &'static str,
    /// What it is.
    pub(crate) text: &'static str,
    /// The row that it is compared with.
    pub(crate) base: Option<&'static str>,
    pub(crate) stack: Option<StackUse>,
    /// How many its time is of, where that is more than one.
    pub(crate) counted: Option<u64>,
}

/// The group of plain opens.
pub(crate) const LOCAL_GROUP: &str = "one open of a file on a local volume";
/// The group of opens over the network.
pub(crate) const REMOTE_GROUP: &str = "one open of a file on a share";
/// The group of rates.
pub(crate) const RATE_GROUP: &str = "open and close, all threads together";
/// The group of the bench's own steps.
pub(crate) const BENCH_GROUP: &str = "a step of ntbench's";
/// The group of the recorder.
pub(crate) const RECORDER_GROUP: &str = "the recorder, compiled into a driver";

/// The group of the machine itself.
pub(crate) const MACHINE_GROUP: &str = "a machine";

/// Slots of the driver's ring as installed, and the most that it can have.
pub(crate) const USUAL: u64 = protocol::Config::DEFAULT.log_capacity as u64;
const LARGEST: u64 = protocol::MAXIMUM_LOG_CAPACITY as u64;

/// Gathers rows.
struct Rows<'w> {
    workshop: &'w Workshop,
    /// Which rows are wanted: most machines are not booted for others.
    only: &'w dyn Fn(&str) -> bool,
    rows: Vec<Row>,
}

/// All rows, each on a machine that is up.
pub(crate) fn all(workshop: &Workshop, only: &dyn Fn(&str) -> bool) -> Result<Vec<Row>> {
    let mut rows = Rows {
        workshop,
        only,
        rows: Vec::new(),
    };
    rows.local()?;
    rows.remote()?;
    rows.rates()?;
    rows.steps()?;
    rows.recorder()?;
    rows.boot();
    Ok(rows.rows)
}

const POLICY: Setting = Setting::EXPAND_POLICY;

fn policy(policy: Policy) -> (Setting, u32) {
    (POLICY, policy.0.into())
}

/// Inspects nothing: what is left is the driver's frame, the expansion and the record.
const NO_NAME: (Setting, u32) = (Setting::MAX_NEST_DEPTH, 0);
/// Attaches to local volumes.
const EVERYWHERE: (Setting, u32) = (Setting::UNC_ONLY, 0);
/// So that every create on a stack of 24 KB is in the red zone.
const WIDE_ZONE: (Setting, u32) = (Setting::RED_ZONE_BYTES, 0x6000);
const WORKER: (Setting, u32) = (Setting::ON_EXPAND_FAILURE, OnExpandFailure::WORKER.0 as u32);

fn headroom(settings: &[(Setting, u32)]) -> Filter {
    Filter::Headroom(settings.to_vec())
}

impl Rows<'_> {
    fn add(
        &mut self,
        group: &'static str,
        (id, text): (&'static str, &'static str),
        base: Option<&'static str>,
        probe: impl FnMut(u64) -> Result<f64> + 'static,
    ) -> &mut Row {
        self.rows.push(Row {
            about: About {
                id,
                group,
                text,
                base,
                stack: None,
                counted: None,
            },
            probe: Box::new(probe),
            times: None,
        });
        let last = self.rows.len() - 1;
        &mut self.rows[last]
    }

    /// An open on a machine of its own.
    fn opens(
        &mut self,
        group: &'static str,
        named: (&'static str, &'static str),
        base: Option<&'static str>,
        plan: &Plan,
    ) -> Result<()> {
        if !(self.only)(named.0) {
            return Ok(());
        }
        let rig = Rig::start(self.workshop, plan).with_context(|| format!("for {}", named.0))?;
        let at = if group == REMOTE_GROUP { REMOTE } else { LOCAL };
        let create = open(format!("{at}{FILE}"));
        let stack = rig.stack_of(&create)?;
        let row = self.add(group, named, base, move |times| {
            each(rig.creates(&create, times, NtStatus::SUCCESS)?)
        });
        row.about.stack = (!plan.filters.is_empty()).then_some(stack);
        Ok(())
    }

    fn local(&mut self) -> Result<()> {
        let empty = || Filter::Empty;
        let base = Some(EMPTY);
        let group = LOCAL_GROUP;
        self.opens(group, ("local.none", "no filter"), base, &Plan::default())?;
        self.opens(
            group,
            (EMPTY, "an empty filter"),
            None,
            &Plan::with([empty()]),
        )?;
        self.opens(
            group,
            ("local.empty3", "three empty filters"),
            base,
            &Plan::with([empty(), empty(), empty()]),
        )?;
        let one = |settings: &[(Setting, u32)]| {
            Plan::with([headroom(&[&[EVERYWHERE], settings].concat())])
        };
        let never = policy(Policy::NEVER);
        let red_zone = policy(Policy::RED_ZONE);
        let always = policy(Policy::ALWAYS);
        for (named, plan) in [
            (
                ("local.never", "Headroom, Never; no name query"),
                one(&[never, NO_NAME]),
            ),
            (
                ("local.redzone", "Headroom, RedZone, stays; no name query"),
                one(&[red_zone, NO_NAME]),
            ),
            (
                (
                    "local.redzone.moves",
                    "Headroom, RedZone, moves; no name query",
                ),
                one(&[red_zone, WIDE_ZONE, NO_NAME]),
            ),
            (
                ("local.always", "Headroom, Always; no name query"),
                one(&[always, NO_NAME]),
            ),
            (
                (
                    "local.always.first",
                    "Headroom, Always, a new segment each time; no name query",
                ),
                Plan {
                    pooled_segments: Some(0),
                    ..one(&[always, NO_NAME])
                },
            ),
            (
                ("local.worker", "Headroom, Worker; no name query"),
                Plan {
                    no_expansion: true,
                    ..one(&[always, WORKER, NO_NAME])
                },
            ),
            (
                ("local.never.name", "Headroom, Never; name query"),
                Plan {
                    names_only: true,
                    ..one(&[never])
                },
            ),
            (
                ("local.redzone.name", "Headroom, RedZone, stays; name query"),
                Plan {
                    names_only: true,
                    ..one(&[red_zone])
                },
            ),
            (
                ("local.always.name", "Headroom, Always; name query"),
                Plan {
                    names_only: true,
                    ..one(&[always])
                },
            ),
            (
                ("local.worker.name", "Headroom, Worker; name query"),
                Plan {
                    no_expansion: true,
                    names_only: true,
                    ..one(&[always, WORKER])
                },
            ),
            (
                (
                    "local.always.whole",
                    "Headroom, Always; name query and one ancestor",
                ),
                one(&[always]),
            ),
        ] {
            self.opens(group, named, base, &plan)?;
        }
        let verified = |plan: Plan| Plan {
            verifier: true,
            ..plan
        };
        self.opens(
            group,
            ("local.verified.empty", "verifier on: an empty filter"),
            base,
            &verified(Plan::with([empty()])),
        )?;
        self.opens(
            group,
            (
                "local.verified.always",
                "verifier on: Headroom, Always; no name query",
            ),
            Some("local.verified.empty"),
            &verified(one(&[always, NO_NAME])),
        )
    }

    fn remote(&mut self) -> Result<()> {
        let base = Some("remote.empty");
        let one = |settings: &[(Setting, u32)]| Plan::with([headroom(settings)]);
        for (named, base, plan) in [
            (("remote.none", "no filter"), base, Plan::default()),
            (
                ("remote.empty", "an empty filter"),
                None,
                Plan::with([Filter::Empty]),
            ),
            (
                (
                    "remote.redzone.no",
                    "Headroom, RedZone, stays; no name query",
                ),
                base,
                one(&[policy(Policy::RED_ZONE), NO_NAME]),
            ),
            (
                ("remote.always.no", "Headroom, Always; no name query"),
                base,
                one(&[policy(Policy::ALWAYS), NO_NAME]),
            ),
            (
                (
                    "remote.never",
                    "Headroom, Never; name query and one ancestor",
                ),
                base,
                one(&[policy(Policy::NEVER)]),
            ),
            (
                (
                    "remote.always",
                    "Headroom as installed: Always; name query and one ancestor",
                ),
                base,
                one(&[]),
            ),
        ] {
            self.opens(REMOTE_GROUP, named, base, &plan)?;
        }
        Ok(())
    }

    fn rates(&mut self) -> Result<()> {
        let named = |threads: usize, filter: usize| match (filter, threads) {
            (0, 1) => ("rate.none.1", "no filter, one thread"),
            (0, _) => ("rate.none.2", "no filter, two threads"),
            (1, 1) => ("rate.empty.1", "an empty filter, one thread"),
            (1, _) => ("rate.empty.2", "an empty filter, two threads"),
            (_, 1) => ("rate.always.1", "Headroom, Always, name query, one thread"),
            (_, _) => ("rate.always.2", "Headroom, Always, name query, two threads"),
        };
        let plans = [
            Plan::default(),
            Plan::with([Filter::Empty]),
            Plan {
                names_only: true,
                ..Plan::with([headroom(&[EVERYWHERE])])
            },
        ];
        for (filter, plan) in plans.iter().enumerate() {
            for threads in [1, 2] {
                let rig = Rig::start(self.workshop, plan)?;
                let openers = threads_of(&rig, threads)?;
                let create = open(format!("{LOCAL}{FILE}"));
                self.add(RATE_GROUP, named(threads, filter), None, move |times| {
                    // The machine lives as long as its row.
                    let _ = &rig;
                    together(&openers, |thread| {
                        let timing = checked(thread, &create, times, NtStatus::SUCCESS)?;
                        Ok(timing.nanoseconds + timing.closing)
                    })
                    .map(|longest| longest / (times as f64 * openers.len() as f64))
                });
            }
        }
        Ok(())
    }

    /// A routine of the yardstick's that loops by itself: its last argument says how often.
    fn step(
        &mut self,
        group: &'static str,
        named: (&'static str, &'static str),
        rig: &Rc<Rig>,
        routine: &'static str,
        arguments: &[u64],
    ) -> Result<()> {
        let address = address(rig, routine)?;
        let (rig, arguments) = (Rc::clone(rig), arguments.to_vec());
        self.add(group, named, None, move |times| {
            let arguments = [&arguments[..], &[times]].concat();
            let timing = rig.thread.measure_routine(address, &arguments, 1)?;
            Ok(timing.nanoseconds as f64 / times as f64)
        });
        Ok(())
    }

    fn steps(&mut self) -> Result<()> {
        let group = BENCH_GROUP;
        let pooled = Rc::new(Rig::start(self.workshop, &Plan::with([Filter::Empty]))?);
        let nothing = address(&pooled, "yardstick_nothing")?;
        let rig = Rc::clone(&pooled);
        self.add(
            group,
            ("step.callback", "calling a driver's routine and back"),
            None,
            move |times| each(rig.thread.measure_routine(nothing, &[], times)?),
        );
        let steps: [(_, _, &[u64]); 4] = [
            (
                ("step.import", "a driver's call of the kernel and back"),
                "yardstick_limits",
                &[],
            ),
            (
                ("step.direct", "an expansion in place"),
                "yardstick_expand",
                &[0x1000],
            ),
            (
                ("step.direct.within", "an expansion in place, on a segment"),
                "yardstick_expand_within",
                &[0x6000, 0x1000],
            ),
            (
                ("step.switch", "an expansion to a pooled segment"),
                "yardstick_expand",
                &[0x6000],
            ),
        ];
        for (named, routine, arguments) in steps {
            self.step(group, named, &pooled, routine, arguments)?;
        }
        let plan = Plan {
            pooled_segments: Some(0),
            ..Plan::with([Filter::Empty])
        };
        let fresh = Rc::new(Rig::start(self.workshop, &plan)?);
        self.step(
            group,
            ("step.switch.first", "an expansion to a new segment"),
            &fresh,
            "yardstick_expand",
            &[0x6000],
        )
    }

    fn boot(&mut self) {
        let workshop = self.workshop.clone();
        let probe = move |_| {
            let began = Instant::now();
            let rig = Rig::start(&workshop, &Plan::with([headroom(&[])]))?;
            let create = open(format!("{REMOTE}{FILE}"));
            rig.creates(&create, 1, NtStatus::SUCCESS)?;
            let took = began.elapsed();
            rig.finish()?;
            Ok(took.as_nanos() as f64)
        };
        let named = (
            "machine.boot",
            "from nothing to the end of the first open through Headroom",
        );
        self.add(MACHINE_GROUP, named, None, probe).times = Some(1);
    }

    fn recorder(&mut self) -> Result<()> {
        let group = RECORDER_GROUP;
        let rig = Rc::new(Rig::start(self.workshop, &Plan::with([Filter::Empty]))?);
        let record = address(&rig, "yardstick_record")?;
        for (threads, slots, named) in [
            (1, USUAL, ("record.1", "a record, one thread")),
            (2, USUAL, ("record.2", "a record, each of two threads")),
            (4, USUAL, ("record.4", "a record, each of four threads")),
            (
                1,
                LARGEST,
                ("record.large", "a record, one thread, a ring of 32 MB"),
            ),
        ] {
            let writers = threads_of(&rig, threads)?;
            let rig = Rc::clone(&rig);
            self.add(group, named, None, move |times| {
                let _ = &rig;
                let longest = together(&writers, |thread| {
                    let timing = thread.measure_routine(record, &[slots, times], 1)?;
                    if timing.value > times {
                        bail!("{} records of {times}", timing.value);
                    }
                    Ok(timing.nanoseconds)
                })?;
                Ok(longest / times as f64)
            });
        }
        let drain = address(&rig, "yardstick_drain")?;
        let reader = rig.another_thread()?;
        let writer = rig.another_thread()?;
        let kept = Rc::clone(&rig);
        self.add(
            group,
            (
                "record.read",
                "a record, while another thread reads all of them",
            ),
            None,
            move |times| {
                let _ = &kept;
                let reads = (times / USUAL).max(1);
                std::thread::scope(|scope| {
                    let reading =
                        scope.spawn(|| reader.measure_routine(drain, &[USUAL, USUAL], reads));
                    let timing = writer.measure_routine(record, &[USUAL, times], 1)?;
                    reading
                        .join()
                        .map_err(|_| anyhow::anyhow!("the reader's thread panicked"))??;
                    Ok(timing.nanoseconds as f64 / times as f64)
                })
            },
        );
        self.step(
            group,
            ("note.1", "moving the watermarks of one process image"),
            &rig,
            "yardstick_note",
            &[1],
        )?;
        super::worst::add(self.workshop, |named, times, probe| {
            self.add(group, named, None, probe).times = Some(times);
        })?;
        super::drain::add(self.workshop, &rig, |named, times, probe| {
            let row = self.add(group, (named.id, named.text), None, probe);
            row.times = Some(times);
            row.about.counted = named.counted;
        })
    }
}

/// Nanoseconds for each.
#[expect(clippy::unnecessary_wraps, reason = "as probes end")]
fn each(timing: Timing) -> Result<f64> {
    Ok(timing.nanoseconds as f64 / timing.times as f64)
}

/// Where a routine of the yardstick's is.
pub(crate) fn address(rig: &Rig, routine: &str) -> Result<u64> {
    Ok(rig.machine.symbol(&format!("{YARDSTICK}!{routine}"))?)
}

pub(crate) fn threads_of(rig: &Rig, count: usize) -> Result<Vec<Thread>> {
    (0..count).map(|_| rig.another_thread()).collect()
}

/// Runs `work` on each thread at the same time; the longest of their nanoseconds.
fn together(threads: &[Thread], work: impl Fn(&Thread) -> Result<u64> + Sync) -> Result<f64> {
    std::thread::scope(|scope| {
        let running: Vec<_> = threads
            .iter()
            .map(|thread| scope.spawn(|| work(thread)))
            .collect();
        let mut longest = 0;
        for thread in running {
            let took = thread
                .join()
                .map_err(|_| anyhow::anyhow!("a thread panicked"))??;
            longest = longest.max(took);
        }
        Ok(longest as f64)
    })
}
