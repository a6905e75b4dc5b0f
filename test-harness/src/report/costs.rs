//! What expansions came to and what they cost, and what was lost of the records, as tables of the page.

use super::cells::{Cell, Table};
use super::measures::{OutcomeRow, Spread};
use super::outcomes::label;
use crate::model::Run;
use crate::table::grouped;

/// What became of expansions, and what inspections took.
pub(super) fn outcomes(runs: &[Run], rows: &[Vec<OutcomeRow>]) -> Table {
    let frequency = |run: &Run| run.losses.map_or(0, |losses| losses.ticks_per_second);
    let in_time = runs
        .iter()
        .all(|run| frequency(run) > 0 || run.records.is_empty());
    let unit = if in_time { "\u{b5}s" } else { "ticks" };
    let mut table = Table::new(
        format!(
            "Inspections by outcome; time in {unit} from a create's arrival to the end of its inspection, by the driver's own \
             reading of the performance counter; own: without the inspections nested in it"
        ),
        &[
            ("policy", false),
            ("outcome", false),
            ("creates", true),
            ("share", true),
            ("time, middle", true),
            ("9 of 10 within", true),
            ("longest", true),
            ("own, middle", true),
            ("9 of 10 within", true),
            ("longest", true),
        ],
    );
    for (run, rows) in runs.iter().zip(rows) {
        let all: usize = rows.iter().map(|row| row.creates).sum();
        let time = |ticks: Option<u64>| match ticks {
            None => Cell::number(None),
            Some(ticks) if in_time => microseconds(ticks, frequency(run)).into(),
            Some(ticks) => Cell::number(Some(ticks)),
        };
        for row in rows {
            let share = 100.0 * row.creates as f64 / all.max(1) as f64;
            let mut cells: Vec<Cell> = vec![
                run.expand.name().into(),
                label(row).into(),
                Cell::number(Some(row.creates as u64)),
                format!("{share:.1} %").into(),
            ];
            for spread in [row.ticks, row.own_ticks] {
                let pick = |pick: fn(Spread) -> u64| time(spread.map(pick));
                cells.push(pick(|spread| spread.middle));
                cells.push(pick(|spread| spread.tenth));
                cells.push(pick(|spread| spread.most));
            }
            table.rows.push(cells);
        }
    }
    table
}

/// Ticks as microseconds, to a tenth.
fn microseconds(ticks: u64, frequency: u64) -> String {
    let tenths = u128::from(ticks) * 10_000_000 / u128::from(frequency.max(1));
    let tenths = u64::try_from(tenths).unwrap_or(u64::MAX);
    format!("{}.{}", grouped(tenths / 10), tenths % 10)
}

/// What the driver lost of its records.
pub(super) fn losses(runs: &[Run]) -> Table {
    let mut table = Table::new(
        "Records: written, replaced by newer ones before they were read, not written for want of a slot, or of stack",
        &[
            ("policy", false),
            ("written", true),
            ("read", true),
            ("overwritten", true),
            ("no slot", true),
            ("low stack", true),
        ],
    );
    for run in runs {
        let lost = |pick: fn(&crate::model::Losses) -> u64| {
            let number = run.losses.as_ref().map(pick);
            match number {
                Some(number) if number > 0 => Cell::of(grouped(number), "bad"),
                number => Cell::number(number),
            }
        };
        table.rows.push(vec![
            run.expand.name().into(),
            Cell::number(run.losses.map(|losses| losses.written)),
            Cell::number(Some(run.records.len() as u64)),
            lost(|losses| losses.overwritten),
            lost(|losses| losses.skipped),
            lost(|losses| losses.skipped_low_stack),
        ]);
    }
    table
}
