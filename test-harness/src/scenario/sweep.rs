//! How deep creates nest before something ends it: the search behind `run nested --until-it-breaks`.
//!
//! Each try is a machine of its own that is asked for one nest, so what a row says was seen: its deepest nest came back whole, and the
//! one with a create more did not. Where a machine dies it tells at which depth, and the search goes on from there; without that it
//! halves what is left.

use super::{Control, Plan, run};
use crate::backend::Environment;
use crate::model::{End, Expand, RecordView, Run, Sweep, SweepEnd, SweepRow};

/// The deepest nest that is tried, half of the largest `MaxNestDepth`: deeper ones need paths that this machine has no calls for.
pub const BOUND: u32 = 512;

/// Extra stack segments of the simulated machine, unless the user says otherwise. As many as ntbench has by itself.
pub const SEGMENTS: u32 = 1024;

/// `RedZoneBytes` unless the user says otherwise: the driver's own.
const RED_ZONE: u32 = protocol::Config::DEFAULT.red_zone_bytes;

/// Searches under each policy with each reservation; under [`Expand::Never`], which reserves nothing, once.
///
/// # Errors
/// [`Environment`]: what keeps a machine from running.
pub fn sweep(
    plan: &Plan,
    policies: &[Expand],
    reservations: &[u32],
    control: &Control,
) -> Result<Sweep, Environment> {
    let mut sweep = Sweep {
        large_stack: plan.large_stack,
        bound: plan.depth,
        segment_limit: plan.segment_limit.unwrap_or(SEGMENTS),
        settings: plan.settings.clone(),
        rows: Vec::new(),
        interrupted: false,
    };
    for &expand in policies {
        let reservations = match expand {
            Expand::Never => &[0],
            _ => reservations,
        };
        for &reservation in reservations {
            match search(plan, expand, reservation, control)? {
                Some(row) => sweep.rows.push(row),
                None => {
                    sweep.interrupted = true;
                    return Ok(sweep);
                }
            }
        }
    }
    Ok(sweep)
}

/// What came of one nest.
struct Tried {
    /// What ended it early; `None`: it came back whole.
    end: Option<SweepEnd>,
    /// The depth at which that was.
    depth: u32,
    lowest_inside: Option<u32>,
    segments: u32,
}

/// The deepest nest that comes back whole; `None`: Ctrl-C.
fn search(
    plan: &Plan,
    expand: Expand,
    reservation: u32,
    control: &Control,
) -> Result<Option<SweepRow>, Environment> {
    let mut row = SweepRow {
        expand,
        reservation_bytes: reservation,
        red_zone_bytes: (expand == Expand::RedZone)
            .then_some(plan.red_zone_bytes.unwrap_or(RED_ZONE)),
        deepest: 0,
        end: SweepEnd::Bound,
        lowest_inside: None,
        segments: 0,
        machines: 0,
    };
    // The deepest nest is at least `row.deepest`, and below `broken`.
    let mut broken = plan.depth.saturating_add(1);
    let mut next = plan.depth;
    while row.deepest + 1 < broken {
        let mut nest = plan.clone();
        nest.depth = next;
        nest.reservation_bytes = (reservation > 0).then_some(reservation);
        let run = run(&nest, expand, control)?;
        if run.interrupted {
            return Ok(None);
        }
        row.machines += 1;
        let tried = tried(&run, next);
        match tried.end {
            None => {
                row.deepest = next;
                row.lowest_inside = tried.lowest_inside;
                row.segments = tried.segments;
                next += 1;
            }
            Some(end) => {
                broken = next;
                row.end = end;
                next = tried.depth;
            }
        }
        if !(row.deepest + 1..broken).contains(&next) {
            next = row.deepest.midpoint(broken);
        }
    }
    Ok(Some(row))
}

/// Whether all of the nest came back inspected; else what ended it, and where.
fn tried(run: &Run, asked: u32) -> Tried {
    let mut records: Vec<&RecordView> = run.records.iter().collect();
    records.sort_by_key(|record| record.depth);
    let mut segments: Vec<u64> = records
        .iter()
        .flat_map(|record| [record.caller_segment[1], record.inside_segment[1]])
        .filter(|&high| high != 0)
        .collect();
    segments.sort_unstable();
    segments.dedup();
    let mut tried = Tried {
        end: None,
        depth: asked,
        lowest_inside: records.iter().filter_map(|record| record.inside).min(),
        segments: u32::try_from(segments.len()).unwrap_or(u32::MAX),
    };
    if let End::BugCheck(bug_check) = &run.end {
        let deepest = run.arrivals.iter().map(|arrival| arrival.depth).max();
        // The create that arrived last did not come back. It may have died in its own inspection or in the open that was to nest next.
        tried.depth = deepest.unwrap_or(1).saturating_sub(1);
        tried.end = Some(SweepEnd::BugCheck {
            code: bug_check.code,
            parameter: bug_check.parameters[0],
            name: bug_check.name.clone(),
        });
        return tried;
    }
    let refused = records.iter().find(|record| record.outcome == "failed");
    let left_out = records
        .iter()
        .find(|record| record.inside.is_none() && record.outcome != "failed");
    if let Some(record) = refused {
        tried.depth = record.depth.saturating_sub(1);
        tried.end = Some(SweepEnd::Fallback {
            status: record.reservation_status,
        });
    } else if left_out.is_some() || records.len() < asked as usize {
        let depth = left_out.map_or(u32::try_from(records.len()).unwrap_or(0) + 1, |record| {
            record.depth
        });
        tried.depth = depth.saturating_sub(1);
        tried.end = Some(SweepEnd::Minimum);
    }
    tried
}
