//! The tables of the page.

use super::bands::SAMPLES;
use super::calls::MOST_ROWS;
use super::cells::{Cell, PATH_WIDTH, Table, path};
use super::drawing::kilobytes;
use super::glance::Glance;
use super::measures::{Create, DepthSpread, Histogram, worst as closest};
use crate::model::{Run, Sweep};
use crate::scenario::{Kind, Plan};
use crate::table::{self, grouped};
use crate::verdict::Check;

/// How many of the creates that came closest to the end are told one by one.
const WORST: usize = 10;

/// Each run in a line.
pub(super) fn glance(runs: &[Run]) -> Table {
    let mut table = Table::new(
        "Each policy's run in a line",
        &[
            ("policy", false),
            ("creates", true),
            ("deepest", true),
            ("lowest left", true),
            ("at depth", true),
            ("lowest inside", true),
            ("per nested create", true),
            ("refused", true),
            ("lost records", true),
            ("ended", false),
        ],
    );
    for run in runs {
        let glance = Glance::of(run);
        table.rows.push(vec![
            glance.policy.name().into(),
            Cell::number(Some(glance.creates as u64)),
            Cell::number(Some(glance.deepest.into())),
            Cell::number(glance.lowest.map(|(bytes, _)| bytes)),
            Cell::number(glance.lowest.map(|(_, depth)| depth.into())),
            Cell::number(glance.lowest_inside),
            Cell::number(glance.per_create),
            Cell::number(Some(glance.refused as u64)),
            Cell::number(glance.lost),
            match glance.died {
                Some(died) => Cell::of(died, "bad"),
                None if run.opens.is_empty() => Cell::number(None),
                None => "every open came back".into(),
            },
        ]);
    }
    table
}

/// The samples by depth.
pub(super) fn depths(depths: &[DepthSpread]) -> Table {
    let mut table = Table::new(
        "Bytes left by depth: least, middle and most of the creates of that depth",
        &[
            ("depth", true),
            ("creates", true),
            ("before, least", true),
            ("middle", true),
            ("most", true),
            ("inside, least", true),
            ("middle", true),
            ("most", true),
            ("after, least", true),
            ("middle", true),
            ("most", true),
        ],
    );
    for depth in depths {
        let mut row: Vec<Cell> = vec![
            depth.depth.to_string().into(),
            Cell::number(Some(depth.creates as u64)),
        ];
        for spread in depth.samples {
            row.push(Cell::number(spread.map(|spread| spread.least)));
            row.push(Cell::number(spread.map(|spread| spread.middle)));
            row.push(Cell::number(spread.map(|spread| spread.most)));
        }
        table.rows.push(row);
    }
    table
}

/// The creates that came closest to the end of their stack.
pub(super) fn worst(creates: &[Create]) -> Table {
    let mut table = Table::new(
        format!(
            "The {} creates that came closest to the end of their stack",
            WORST.min(creates.len())
        ),
        &[
            ("lowest left", true),
            ("of its segment, used", false),
            ("at", false),
            ("depth", true),
            ("path", false),
            ("process", false),
            ("before", true),
            ("inside", true),
            ("after", true),
            ("outcome", false),
        ],
    );
    for create in closest(creates, WORST) {
        let size = create.segment[1].saturating_sub(create.segment[0]);
        let used = size.saturating_sub(create.lowest);
        let at = create
            .samples
            .iter()
            .position(|sample| *sample == Some(create.lowest))
            .map_or("", |at| SAMPLES[at].0);
        let process = if create.process.is_empty() {
            Cell::of("not recorded", "soft")
        } else {
            Cell {
                whole: format!("process {}, thread {}", create.process_id, create.thread_id),
                ..create.process.into()
            }
        };
        table.rows.push(vec![
            grouped(create.lowest).into(),
            Cell {
                text: format!("{} of {}", kilobytes(used), kilobytes(size)),
                class: "",
                bar: (size > 0).then(|| 100.0 * used as f64 / size as f64),
                ..Cell::default()
            },
            at.into(),
            create.depth.to_string().into(),
            path(create.path, PATH_WIDTH),
            process,
            Cell::number(create.samples[0]),
            Cell::number(create.samples[1]),
            Cell::number(create.samples[2]),
            if create.recorded {
                create.outcome.into()
            } else {
                Cell::of("did not return", "bad")
            },
        ]);
    }
    table
}

/// How many creates had how much left.
pub(super) fn histogram(names: &[(&str, &str)], histogram: &Histogram) -> Table {
    let mut table = Table::new(
        "Creates by the least stack they had left",
        &[("policy", false), ("bytes left", false), ("creates", true)],
    );
    for ((name, _), counts) in names.iter().zip(&histogram.runs) {
        for (at, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let from = at as u64 * histogram.step;
            let range = format!(
                "{} to {}",
                grouped(from),
                grouped(from + histogram.step - 1)
            );
            table.rows.push(vec![
                (*name).into(),
                range.into(),
                Cell::number(Some(count.into())),
            ]);
        }
    }
    table
}

/// Every create.
pub(super) fn rows(plan: Option<&Plan>, run: &Run) -> Table {
    let mut table = Table::new(
        "Every create; 1 > 2: its inspection moved from segment 1 to segment 2",
        &[
            ("depth", true),
            ("path", false),
            ("before", true),
            ("inside", true),
            ("after", true),
            ("outcome", false),
            ("segment", false),
            ("status", false),
        ],
    );
    let nested = plan.is_some_and(|plan| plan.scenario == Kind::Nested);
    let rows = table::rows(nested, run);
    if rows.len() > MOST_ROWS {
        let (shown, all) = (grouped(MOST_ROWS as u64), grouped(rows.len() as u64));
        table.caption = format!("The first {shown} of {all} creates; the data has all");
    }
    for row in rows.into_iter().take(MOST_ROWS) {
        let cells: Vec<Cell> = row
            .into_iter()
            .map(|cell| {
                let class = match cell.tone {
                    table::Tone::Failed => "bad",
                    table::Tone::Faint => "soft",
                    table::Tone::Good => "good",
                    table::Tone::Plain | table::Tone::Switched => "",
                };
                Cell::of(cell.text, class)
            })
            .collect();
        table.rows.push(cells);
    }
    table
}

/// Bytes of a stack by module.
pub(super) fn modules(by_module: &[(String, u64)]) -> Table {
    let mut table = Table::new(
        "Who spent how much of it",
        &[("module", false), ("bytes", true), ("share", true)],
    );
    let total: u64 = by_module.iter().map(|(_, bytes)| bytes).sum();
    for (module, bytes) in by_module {
        let share = 100.0 * *bytes as f64 / total.max(1) as f64;
        table.rows.push(vec![
            module.as_str().into(),
            Cell::number(Some(*bytes)),
            format!("{share:.1} %").into(),
        ]);
    }
    table
}

/// What had to be so.
pub(super) fn checks(checks: &[Check]) -> Table {
    let mut table = Table::new(
        "What had to be so, and what was seen",
        &[("", false), ("check", false), ("seen", false)],
    );
    for check in checks {
        let mark = if check.holds {
            Cell::of("ok", "good")
        } else {
            Cell::of("FAIL", "bad")
        };
        table.rows.push(vec![
            mark,
            Cell::of(check.what.as_str(), "prose"),
            Cell::of(check.seen.as_str(), "soft prose"),
        ]);
    }
    table
}

/// A sweep's rows.
pub(super) fn sweep(sweep: &Sweep) -> Table {
    let mut table = Table::new(
        "The deepest nest that came back whole, and what ended the next one",
        &[
            ("policy", false),
            ("reservation", true),
            ("red zone", true),
            ("deepest", true),
            ("one deeper", false),
            ("lowest inside", true),
            ("segments", true),
        ],
    );
    for row in &sweep.rows {
        let hexadecimal = |bytes: u32| format!("{bytes:#x}");
        table.rows.push(vec![
            row.expand.name().into(),
            match row.reservation_bytes {
                0 => Cell::of("\u{2013}", "soft"),
                bytes => hexadecimal(bytes).into(),
            },
            row.red_zone_bytes.map_or_else(
                || Cell::of("\u{2013}", "soft"),
                |bytes| hexadecimal(bytes).into(),
            ),
            Cell::number(Some(row.deepest.into())),
            Cell::of(
                row.end.to_string(),
                if row.end.kind() == "bug check" {
                    "bad"
                } else {
                    ""
                },
            ),
            Cell::number(row.lowest_inside.map(u64::from)),
            row.segments.to_string().into(),
        ]);
    }
    table
}
