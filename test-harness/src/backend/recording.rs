//! A run on a driver that is loaded already: its settings are changed for the run and put back, and its records are drained while the
//! run goes on, since the ring is as large as it was when the driver was loaded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use protocol::{AncestorScope, Config, Policy, Record};

use super::{Driver, Environment, Told};
use crate::link::{self, Client, LinkError};
use crate::model::{Expand, Losses, RecordView};
use crate::settings;

/// How long the drain rests when there was nothing.
const REST: Duration = Duration::from_millis(20);

/// How long the end of a run waits for records that others' creates hold up.
const PATIENCE: Duration = Duration::from_secs(20);

/// The settings of a run in force, and its records being drained.
pub(super) struct Recording {
    stop: Arc<AtomicBool>,
    drain: Option<JoinHandle<Drained>>,
}

/// What the drain brought, and whether the settings are as they were.
struct Drained {
    records: Vec<Record>,
    lost: u64,
    written: u64,
    ended: Result<(), LinkError>,
}

impl Recording {
    /// Puts the run's settings in force; without a driver's, those under which it inspects nothing.
    pub(super) fn start(driver: Option<&Driver>) -> Result<Self, LinkError> {
        let mut client = link::connect()?;
        let before = client.config()?;
        client.set_config(&wanted(&before, driver))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let from = match client.drain(0) {
            // What was there before is not the run's: go on behind the newest.
            Ok(drained) => drained.head + 1,
            Err(error) => {
                client.set_config(&before)?;
                return Err(error);
            }
        };
        let drain = std::thread::spawn(move || drain(client, &before, from, &stopping));
        Ok(Self {
            stop,
            drain: Some(drain),
        })
    }

    /// Ends the drain and puts the settings back. The records are those that `ours` says are the run's.
    pub(super) fn finish(mut self, ours: impl Fn(&Record) -> bool) -> Result<Told, Environment> {
        let Some(drained) = self.end() else {
            return Ok(Told::default());
        };
        drained.ended.map_err(|error| refused(&error))?;
        let records: Vec<&Record> = drained
            .records
            .iter()
            .filter(|record| ours(record))
            .collect();
        Ok(Told {
            losses: Some(Losses {
                written: records.len() as u64,
                // Whose they were is not known any more.
                overwritten: drained.lost.min(drained.written),
                ..Losses::default()
            }),
            records: records.into_iter().map(RecordView::from).collect(),
            ..Told::default()
        })
    }

    fn end(&mut self) -> Option<Drained> {
        self.stop.store(true, Ordering::Relaxed);
        self.drain
            .take()?
            .join()
            .map_err(|panic| std::panic::resume_unwind(panic))
            .ok()
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        // A run that ends by an error puts the settings back as well.
        let _ = self.end();
    }
}

/// What a driver that does not answer means for a run.
pub(super) fn refused(error: &LinkError) -> Environment {
    let hint = match error {
        LinkError::NotLoaded | LinkError::System(_) => {
            ". Without a driver the calls can still be made: --without-driver"
        }
        _ => "",
    };
    Environment::Machine {
        doing: "asking the driver to record the run".to_owned(),
        why: format!("{error}{hint}"),
    }
}

/// The settings in force with the run's in their places.
fn wanted(before: &Config, driver: Option<&Driver>) -> Config {
    let Some(driver) = driver else {
        return Config {
            max_nest_depth: 0,
            ..*before
        };
    };
    let default = Config::DEFAULT;
    let mut config = Config {
        expand_policy: match driver.expand {
            Expand::Always => Policy::ALWAYS,
            Expand::RedZone => Policy::RED_ZONE,
            Expand::Never => Policy::NEVER,
        },
        ancestor_opens: if driver.ancestors_from_top {
            AncestorScope::TOP
        } else {
            AncestorScope::BELOW
        },
        max_nest_depth: driver.max_nest_depth,
        reservation_bytes: driver
            .reservation_bytes
            .unwrap_or(default.reservation_bytes),
        red_zone_bytes: driver.red_zone_bytes.unwrap_or(default.red_zone_bytes),
        ..*before
    };
    for (name, value) in &driver.settings {
        if let Ok(setting) = settings::named(name) {
            // The values were checked when they were read, and the driver checks them again.
            let _ = config.set(setting, *value, settings::MAXIMUM_EXPANSION);
        }
    }
    config
}

fn drain(mut client: Client, before: &Config, mut from: u64, stop: &AtomicBool) -> Drained {
    let mut drained = Drained {
        records: Vec::new(),
        lost: 0,
        written: 0,
        ended: Ok(()),
    };
    let mut end = None;
    loop {
        // Asked first: what was recorded until then is drained once more after it.
        let last = stop.load(Ordering::Relaxed);
        match client.drain(from) {
            Ok(some) => {
                drained.lost += some.lost;
                drained.written = some.head;
                let mut records = some.records;
                from = some.next;
                // A create that is still under way has no status yet: it is asked for again, and what follows it.
                let settled = |record: &Record| record.create_status().is_some();
                if !last && let Some(first) = records.iter().position(|record| !settled(record)) {
                    from = records[first].sequence;
                    records.truncate(first);
                }
                let none = records.is_empty();
                drained.records.extend(records);
                // Others' creates are under way, too, and records come in their order: all that were given out are waited for.
                if last {
                    let (goal, until) = *end.get_or_insert((some.head, Instant::now() + PATIENCE));
                    if from > goal || Instant::now() > until {
                        break;
                    }
                }
                if none {
                    std::thread::sleep(REST);
                }
            }
            Err(error) => {
                drained.ended = Err(error);
                break;
            }
        }
    }
    let back = client.set_config(before);
    drained.ended = drained.ended.and(back);
    drained
}
