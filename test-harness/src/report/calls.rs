//! What the scenario's own calls came to, as tables of the page.

use super::cells::{Cell, Table, path};
use crate::model::{Counts, Open};
use crate::table::grouped;

/// Rows that a page holds at most: the data has all.
pub(super) const MOST_ROWS: usize = 1_000;

/// Columns of a name: how it is spelt may be what the call is about.
const NAME_WIDTH: usize = 64;

/// How many calls of each kind came to which status.
pub(super) fn counts(counts: &Counts) -> Option<Table> {
    let mut table = Table::new(
        "Calls by what they came to",
        &[("call", false), ("status", false), ("how many", true)],
    );
    for count in &counts.0 {
        table.rows.push(vec![
            count.action.to_string().into(),
            count.status.to_string().into(),
            grouped(count.calls).into(),
        ]);
    }
    (!table.rows.is_empty()).then_some(table)
}

/// Each call, with what it had to come to. Those that came to something else stand first.
pub(super) fn each(opens: &[Open]) -> Option<Table> {
    let differs = |open: &Open| open.status != Some(open.expected) || open.problem.is_some();
    let mut sorted: Vec<&Open> = opens.iter().collect();
    sorted.sort_by_key(|open| !differs(open));
    let caption = match opens.len() {
        0 => return None,
        all if all > MOST_ROWS => {
            format!(
                "The first {} of {} calls; the data has all",
                grouped(MOST_ROWS as u64),
                grouped(all as u64)
            )
        }
        _ => "Each call, with what it had to come to".to_owned(),
    };
    let columns = [
        ("call", false),
        ("name", false),
        ("status", false),
        ("expected", false),
        ("", false),
    ];
    let mut table = Table::new(caption, &columns);
    for open in sorted.into_iter().take(MOST_ROWS) {
        let status = match open.status {
            Some(status) if status == open.expected => status.to_string().into(),
            Some(status) => Cell::of(status.to_string(), "bad"),
            None => Cell::of("did not return", "bad"),
        };
        let remark = match (&open.problem, &open.note) {
            (Some(problem), _) => Cell::of(problem.as_str(), "bad prose"),
            (None, Some(note)) => Cell::of(format!("other than on Windows: {note}"), "soft prose"),
            (None, None) => Cell::of("", ""),
        };
        table.rows.push(vec![
            open.action.to_string().into(),
            path(&open.name, NAME_WIDTH),
            status,
            Cell::of(open.expected.to_string(), "soft"),
            remark,
        ]);
    }
    Some(table)
}
