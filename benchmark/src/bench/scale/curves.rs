//! Which curves there are, and how each of their points is taken.

use std::rc::Rc;

use anyhow::{Context as _, Result, bail};
use ntbench::{NtStatus, Port};
use protocol::port::MAXIMUM_CLIENTS;
use protocol::{AncestorScope, MAXIMUM_NEST_DEPTH, Setting};

use super::fit::Shape;
use super::paths::{chain, deep, spread};
use crate::bench::rig::{FILE, Filter, Plan, REMOTE, Rig, Workshop, connect, open};
use crate::bench::rows::address;
use crate::bench::sample::Probe;

/// A curve to measure.
pub(super) struct Planned {
    pub(super) title: &'static str,
    /// What is counted along it, in the singular.
    pub(super) along: &'static str,
    /// By how much fewer rounds it is measured.
    pub(super) thrift: u32,
    pub(super) lines: Vec<Line>,
}

/// One line of it.
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) expected: Shape,
    /// Why it may bend slightly all the same.
    pub(super) explained: Option<&'static str>,
    /// Each place, its probe and how often a sample does it.
    pub(super) points: Vec<(u64, (Probe, Option<u64>))>,
}

type Make = fn(&Workshop) -> Result<Planned>;

/// Curves by name.
pub(super) const ALL: &[(&str, Make)] = &[
    ("depth", depth),
    ("length", length),
    ("components", components),
    ("records", records),
    ("processes", processes),
    ("clients", clients),
];

/// Why an open may take slightly more for each component of a long path.
const CACHES: &str =
    "the longer a path, the fewer of its directories does a cache of the processor's still hold";

/// Why the creates of a path beyond the bound do not grow as the path does.
const BOUNDED: &str = "the path of each is 512 components shorter than the whole, on average";

fn headroom(settings: &[(Setting, u32)]) -> Plan {
    Plan {
        segment_limit: Some(0x4000),
        ..Plan::with([Filter::Headroom(settings.to_vec())])
    }
}

/// Opens of one name on a machine, per `of` of them.
fn opens(rig: &Rc<Rig>, name: &str, of: u64) -> Probe {
    let (rig, create) = (Rc::clone(rig), open(name));
    Box::new(move |times| {
        let timing = rig.creates(&create, times, NtStatus::SUCCESS)?;
        Ok(timing.nanoseconds as f64 / (times * of) as f64)
    })
}

/// A line of opens on one machine: at each place a name, and among how many the time is shared.
fn series(
    workshop: &Workshop,
    plan: &Plan,
    name: &'static str,
    places: &[u64],
    at: impl Fn(u64) -> Result<(String, u64)>,
) -> Result<Line> {
    let rig = Rc::new(Rig::start(workshop, plan).with_context(|| name)?);
    let mut points = Vec::new();
    for &place in places {
        let (path, share) = at(place)?;
        points.push((place, (opens(&rig, &path, share), None)));
    }
    Ok(Line {
        name,
        expected: Shape::Linear,
        explained: Some(CACHES),
        points,
    })
}

/// Creates nested on one thread: each opens its parent from the top, the share's root last. Beyond the driver's bound a path
/// may go on, but the nest does not.
fn depth(workshop: &Workshop) -> Result<Planned> {
    const BOUND: u64 = MAXIMUM_NEST_DEPTH as u64;
    // The deepest create of a nest is looked at and opens nothing.
    const MOST: u64 = BOUND + 1;
    let top = || {
        headroom(&[
            (Setting::ANCESTOR_OPENS, AncestorScope::TOP.0.into()),
            (Setting::MAX_NEST_DEPTH, MAXIMUM_NEST_DEPTH),
            // A slot for each create that is under way.
            (Setting::LOG_CAPACITY, 4 * MAXIMUM_NEST_DEPTH),
        ])
    };
    let within = [2, 5, 17, 65, 129, 257, 513, BOUND];
    let beyond = [MOST, 2 * BOUND, 4 * BOUND];
    // One open of a path of N components makes N + 1 creates, the root's among them, up to the bound.
    let path = |creates: u64| deep(workshop, creates - 1);
    let nested = series(
        workshop,
        &top(),
        "each of the nested creates",
        &within,
        |creates| Ok((path(creates)?, creates)),
    )?;
    let mut rig = Rig::start(workshop, &top())?;
    for creates in beyond {
        let before = rig.records()?;
        rig.creates(&open(path(creates)?), 1, NtStatus::SUCCESS)?;
        let made = rig.records()? - before;
        if made != MOST {
            bail!("a path for {creates} creates made {made} and not {MOST}");
        }
    }
    let mut bounded = series(
        workshop,
        &top(),
        "each of the 1,025 creates that a longer path comes to",
        &beyond,
        |creates| Ok((path(creates)?, MOST)),
    )?;
    (bounded.expected, bounded.explained) = (Shape::Bends, Some(BOUNDED));
    let alone = series(
        workshop,
        &Plan::default(),
        "one open of that path without the driver",
        &[&within[..], &beyond].concat(),
        |creates| Ok((path(creates)?, 1)),
    )?;
    Ok(Planned {
        title: "Creates nested on one thread, by depth",
        along: "nested create",
        thrift: 3,
        lines: vec![nested, bounded, alone],
    })
}

/// The length of the path as filters see it, with as few components as that takes.
fn length(workshop: &Workshop) -> Result<Planned> {
    let places = [
        26, 40, 100, 250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_767,
    ];
    let path = |characters: u64| {
        let components = spread(characters);
        let names: Vec<String> = components
            .iter()
            .map(|length| "n".repeat(*length))
            .collect();
        chain(workshop, names.iter().map(String::as_str)).map(|path| (path, names.len() as u64))
    };
    let bounded = headroom(&[(Setting::MAX_NEST_DEPTH, 0)]);
    let whole = |characters: u64| path(characters).map(|(path, _)| (path, 1));
    Ok(Planned {
        title: "One open, by the length of its path",
        along: "character",
        thrift: 1,
        lines: vec![
            // Its ancestors, the share's root among them, and itself.
            series(
                workshop,
                &headroom(&[]),
                "inspected: each of the opens",
                &places,
                |characters| path(characters).map(|(path, components)| (path, components + 1)),
            )?,
            series(workshop, &bounded, "recorded alone", &places, whole)?,
            series(
                workshop,
                &Plan::default(),
                "without the driver",
                &places,
                whole,
            )?,
        ],
    })
}

/// Components of one path, whose ancestors are opened one by one below the driver.
fn components(workshop: &Workshop) -> Result<Planned> {
    let places = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
    let inspected = series(
        workshop,
        &headroom(&[]),
        "inspected: each of the opens",
        &places,
        // Its ancestors, the share's root among them, and itself.
        |components| Ok((deep(workshop, components)?, components + 1)),
    )?;
    let alone = series(
        workshop,
        &Plan::default(),
        "one open of that path without the driver",
        &places,
        |components| Ok((deep(workshop, components)?, 1)),
    )?;
    Ok(Planned {
        title: "One open, by the components of its path",
        along: "component",
        thrift: 1,
        lines: vec![inspected, alone],
    })
}

/// Records that were written before. They are really written, by the recorder alone as far as a hundred million, and by
/// creates as far as a million.
fn records(workshop: &Workshop) -> Result<Planned> {
    const RING: u64 = protocol::Config::DEFAULT.log_capacity as u64;
    let rig = Rc::new(Rig::start(workshop, &Plan::with([Filter::Empty]))?);
    let record = address(&rig, "yardstick_record")?;
    let ahead = |before: u64, count: &mut dyn FnMut(u64) -> Result<()>, done: &mut u64| {
        while *done < before {
            let step = (before - *done).min(10_000_000);
            count(step)?;
            *done += step;
        }
        anyhow::Ok(())
    };
    let mut points: Vec<(u64, (Probe, Option<u64>))> = Vec::new();
    for before in [
        0,
        1_000,
        10_000,
        100_000,
        1_000_000,
        10_000_000,
        100_000_000,
    ] {
        // Each on a machine of its own, which has seen so many when its first sample is taken.
        let rig = if before == 0 {
            Rc::clone(&rig)
        } else {
            Rc::new(Rig::start(workshop, &Plan::with([Filter::Empty]))?)
        };
        let record = if before == 0 {
            record
        } else {
            address(&rig, "yardstick_record")?
        };
        let mut done = 0;
        let probe: Probe = Box::new(move |times| {
            let mut write = |count| {
                rig.thread.measure_routine(record, &[RING, count], 1)?;
                Ok(())
            };
            ahead(before, &mut write, &mut done)?;
            let timing = rig.thread.measure_routine(record, &[RING, times], 1)?;
            Ok(timing.nanoseconds as f64 / times as f64)
        });
        points.push((before, (probe, Some(20_000))));
    }
    let alone = Line {
        name: "one record",
        expected: Shape::Flat,
        explained: None,
        points,
    };
    let mut points: Vec<(u64, (Probe, Option<u64>))> = Vec::new();
    for before in [0, 1_000, 10_000, 100_000, 1_000_000] {
        let rig = Rig::start(workshop, &headroom(&[(Setting::MAX_NEST_DEPTH, 0)]))?;
        let create = open(format!("{REMOTE}{FILE}"));
        let mut done = 0;
        let probe: Probe = Box::new(move |times| {
            let mut write = |count| {
                rig.creates(&create, count, NtStatus::SUCCESS)?;
                Ok(())
            };
            ahead(before, &mut write, &mut done)?;
            let timing = rig.creates(&create, times, NtStatus::SUCCESS)?;
            Ok(timing.nanoseconds as f64 / times as f64)
        });
        points.push((before, (probe, Some(500))));
    }
    let creates = Line {
        name: "one create that is recorded",
        expected: Shape::Flat,
        explained: None,
        points,
    };
    Ok(Planned {
        title: "One record, by the records written before",
        along: "record",
        thrift: 2,
        lines: vec![alone, creates],
    })
}

/// Process images in the watermarks.
fn processes(workshop: &Workshop) -> Result<Planned> {
    let rig = Rc::new(Rig::start(workshop, &Plan::with([Filter::Empty]))?);
    let note = address(&rig, "yardstick_note")?;
    let point = |images: u64| {
        let rig = Rc::clone(&rig);
        let probe: Probe = Box::new(move |times| {
            let timing = rig.thread.measure_routine(note, &[images, times], 1)?;
            Ok(timing.nanoseconds as f64 / times as f64)
        });
        (images, (probe, Some(100_000)))
    };
    let places = [1, 10, 32, 64, 100, 256, 1_000, 10_000, 100_000];
    Ok(Planned {
        title: "Moving the watermarks, by the process images seen",
        along: "process image",
        thrift: 1,
        lines: vec![Line {
            name: "one create's watermarks",
            expected: Shape::Flat,
            explained: None,
            points: places.map(point).into(),
        }],
    })
}

/// Clients that are connected and read nothing.
fn clients(workshop: &Workshop) -> Result<Planned> {
    let mut points: Vec<(u64, (Probe, Option<u64>))> = Vec::new();
    for count in 0..=u64::from(MAXIMUM_CLIENTS) {
        let rig = Rig::start(workshop, &headroom(&[(Setting::MAX_NEST_DEPTH, 0)]))?;
        let connected: Vec<Port> = (0..count)
            .map(|_| connect(&rig.thread))
            .collect::<Result<_>>()?;
        let create = open(format!("{REMOTE}{FILE}"));
        let probe: Probe = Box::new(move |times| {
            // Connected as long as the machine lives.
            let _ = &connected;
            let timing = rig.creates(&create, times, NtStatus::SUCCESS)?;
            Ok(timing.nanoseconds as f64 / times as f64)
        });
        points.push((count, (probe, None)));
    }
    Ok(Planned {
        title: "One open that is recorded, by the clients that are connected",
        along: "client",
        thrift: 1,
        lines: vec![Line {
            name: "one create",
            expected: Shape::Linear,
            explained: None,
            points,
        }],
    })
}
