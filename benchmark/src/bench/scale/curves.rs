//! Which curves there are, and how each of their points is taken.

use std::fs;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context as _, Result};
use ntbench::{NtStatus, Port};
use protocol::port::MAXIMUM_CLIENTS;
use protocol::{AncestorScope, MAXIMUM_NEST_DEPTH, Setting};

use super::fit::Shape;
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

/// One component's name.
const SHORT: &str = "d";
/// As long as a component can be, and some room.
const LONG: usize = 240;

/// Makes a chain of directories below the machines' folder and gives its name on the share.
fn chain(workshop: &Workshop, component: &str, depth: u64) -> Result<String> {
    // One step after the other: a path as long as this is more than the host takes at once.
    let mut at = steps::Dir::open(&workshop.folder)?;
    for _ in 0..depth {
        at = at.enter(component)?;
    }
    let names = vec![component; usize::try_from(depth).unwrap_or(0)];
    Ok(format!("{REMOTE}{}", names.join("\\")))
}

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

fn series(
    workshop: &Workshop,
    plan: &Plan,
    named: (&'static str, Shape),
    component: &str,
    places: &[u64],
    of: impl Fn(u64) -> (u64, u64),
) -> Result<Line> {
    let rig = Rc::new(Rig::start(workshop, plan).with_context(|| named.0)?);
    let mut points = Vec::new();
    for &place in places {
        let (at, share) = of(place);
        let name = chain(workshop, component, place)?;
        points.push((at, (opens(&rig, &name, share), None)));
    }
    Ok(Line {
        name: named.0,
        expected: named.1,
        points,
    })
}

/// Creates nested on one thread: each opens its parent from the top.
fn depth(workshop: &Workshop) -> Result<Planned> {
    let places = [1, 4, 16, 64, 128, 256, 512, 1023];
    let top = headroom(&[
        (Setting::ANCESTOR_OPENS, AncestorScope::TOP.0.into()),
        (Setting::MAX_NEST_DEPTH, MAXIMUM_NEST_DEPTH),
    ]);
    // The share's root is the last to be opened.
    let nested = series(
        workshop,
        &top,
        ("each of the nested creates", Shape::Linear),
        SHORT,
        &places,
        |depth| (depth + 1, depth + 1),
    )?;
    let alone = series(
        workshop,
        &Plan::default(),
        ("one open of that path without the driver", Shape::Linear),
        SHORT,
        &places,
        |depth| (depth + 1, 1),
    )?;
    Ok(Planned {
        title: "Creates nested on one thread, by depth",
        along: "nested create",
        thrift: 4,
        lines: vec![nested, alone],
    })
}

/// The length of the path, with as few components as that takes.
fn length(workshop: &Workshop) -> Result<Planned> {
    let component = "n".repeat(LONG);
    let places = [0, 1, 2, 4, 8, 16, 32, 64, 134];
    let characters = |components: u64| {
        let rest = r"\Device\Mup\server\share".len() as u64;
        (rest + components * (LONG as u64 + 1), 1)
    };
    let bounded = headroom(&[(Setting::MAX_NEST_DEPTH, 0)]);
    let each = |components: u64| (characters(components).0, components.max(1));
    let line = |plan: &Plan, name, of: &dyn Fn(u64) -> (u64, u64)| {
        let named = (name, Shape::Linear);
        series(workshop, plan, named, &component, &places, of)
    };
    Ok(Planned {
        title: "One open, by the length of its path",
        along: "character",
        thrift: 2,
        lines: vec![
            line(&headroom(&[]), "inspected, for each component", &each)?,
            line(&bounded, "recorded alone", &characters)?,
            line(&Plan::default(), "without the driver", &characters)?,
        ],
    })
}

/// Components of one path, whose ancestors are opened one by one below the driver.
fn components(workshop: &Workshop) -> Result<Planned> {
    let places = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
    let inspected = series(
        workshop,
        &headroom(&[]),
        ("inspected, for each component", Shape::Linear),
        SHORT,
        &places,
        |components| (components, components),
    )?;
    let alone = series(
        workshop,
        &Plan::default(),
        ("one open of that path without the driver", Shape::Linear),
        SHORT,
        &places,
        |components| (components, 1),
    )?;
    Ok(Planned {
        title: "One open, by the components of its path",
        along: "component",
        thrift: 4,
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
            points,
        }],
    })
}

/// The little of `openat` that is needed here.
mod steps {
    use super::{Path, Result, fs};
    use std::path::PathBuf;

    /// A directory, named in a way that stays short.
    pub(super) struct Dir {
        handle: fs::File,
    }

    impl Dir {
        /// Opens one.
        pub(super) fn open(path: &Path) -> Result<Self> {
            Ok(Self {
                handle: fs::File::open(path)?,
            })
        }

        /// Goes to a directory in it, which is made if need be.
        pub(super) fn enter(&self, name: &str) -> Result<Self> {
            use std::os::fd::AsRawFd as _;
            let path: PathBuf = format!("/proc/self/fd/{}/{name}", self.handle.as_raw_fd()).into();
            if !path.is_dir() {
                fs::create_dir(&path)?;
            }
            Self::open(&path)
        }
    }
}
