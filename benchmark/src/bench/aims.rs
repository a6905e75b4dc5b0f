//! What has to hold, and whether it does.

use super::result::{Aim, Results};
use super::rows::EMPTY;

/// How strictly aims are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rigour {
    /// As they stand.
    Whole,
    /// Ratios alone, and with room: for a run of few rounds on a machine with other work.
    Ratios,
}

/// The room that a quick run gives to a ratio.
const ROOM: f64 = 3.0;

/// Judges.
pub(crate) fn judge(results: &Results, rigour: Rigour) -> Vec<Aim> {
    let mut aims = Vec::new();
    // Disturbance only adds, and nothing cancels it in a time as it does in a ratio.
    let time = |id: &str| results.row(id).map(|row| row.nanoseconds.lower);
    let ratio = |id: &str| {
        let row = results.row(id)?;
        row.ratio.as_ref().map(|(_, ratio)| *ratio)
    };
    // What a way of moving the work adds to the same work in place; never less than the expansion itself, since that is what
    // two rows whose difference is lost in their spread differ by at least.
    let added = |id: &str| {
        let difference = time(id)? - time("local.never")?;
        Some(difference.max(time("step.switch")?))
    };
    let most = |text: &str, unit: &str, limit: f64, value: Option<f64>| {
        value.map(|value| Aim {
            text: text.to_owned(),
            unit: unit.to_owned(),
            limit,
            at_least: false,
            value,
            holds: value <= limit,
        })
    };
    let room = if rigour == Rigour::Ratios { ROOM } else { 1.0 };
    let ratios = [
        (
            "RedZone, not moving, to an empty filter's create",
            1.15,
            ratio("local.redzone"),
        ),
        (
            "Always, without the name query, to an empty filter's create",
            1.5,
            ratio("local.always"),
        ),
        (
            "the same on a share: RedZone",
            1.15,
            ratio("remote.redzone.no"),
        ),
        (
            "the same on a share: Always",
            1.5,
            ratio("remote.always.no"),
        ),
    ];
    for (text, limit, value) in ratios {
        aims.extend(most(text, "", limit * room, value));
    }
    let cheaper = added("local.worker")
        .zip(added("local.always"))
        .map(|(worker, always)| worker / always);
    let limit = 10.0 / room;
    aims.extend(cheaper.map(|value| Aim {
        text: "what Worker adds to an open, to what Always adds".to_owned(),
        unit: String::new(),
        limit,
        at_least: true,
        value,
        holds: value >= limit,
    }));
    if rigour == Rigour::Whole {
        let nanoseconds = [
            ("calling a driver's routine and back", 20.0, "step.callback"),
            ("an expansion to a pooled segment", 100.0, "step.switch"),
            ("a record, one thread", 50.0, "record.1"),
            (
                "an open with name query, Always",
                5_000.0,
                "local.always.name",
            ),
        ];
        for (text, limit, id) in nanoseconds {
            aims.extend(most(text, "ns", limit, time(id)));
        }
        let boot = time("machine.boot").map(|nanoseconds| nanoseconds / 1e6);
        aims.extend(most("boot to the first open's end", "ms", 50.0, boot));
        aims.extend(most(
            "an empty filter's open, in all",
            "ns",
            5_000.0,
            time(EMPTY),
        ));
    }
    aims
}
