//! The tables, for a terminal and for a page.

use std::fmt::Write as _;

use super::result::{Aim, Measured, Results};
use super::sample::Spread;

/// A number of nanoseconds in the unit that suits it.
pub(crate) fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        ns if ns.is_nan() => "-".to_owned(),
        ns if ns < 100.0 => format!("{ns:.1} ns"),
        ns if ns < 10_000.0 => format!("{ns:.0} ns"),
        ns if ns < 1e6 => format!("{:.1} µs", ns / 1e3),
        ns if ns < 1e9 => format!("{:.2} ms", ns / 1e6),
        ns => format!("{:.2} s", ns / 1e9),
    }
}

/// The cells of a row: name, time, spread, ratio, stack.
fn cells(row: &Measured) -> [String; 6] {
    let bytes = |bytes: Option<u64>| match bytes {
        None | Some(0) => "-".to_owned(),
        Some(bytes) => format!("{bytes:#x}"),
    };
    let quartiles = |spread: &Spread| format!("{} – {}", time(spread.lower), time(spread.upper));
    let median = row.nanoseconds.median;
    let rate = |count: u64| format!(", {:.1} million a second", count as f64 * 1e3 / median);
    [
        row.text.clone(),
        time(median) + &row.counted.map_or_else(String::new, rate),
        quartiles(&row.nanoseconds),
        row.ratio
            .as_ref()
            .map_or_else(|| "-".to_owned(), |(_, ratio)| format!("{ratio:.2}")),
        bytes(row.caller),
        bytes(row.reserved),
    ]
}

const HEAD: [&str; 6] = ["", "median", "quartiles", "to empty", "caller", "reserved"];

/// The names of groups, in order.
fn groups(results: &Results) -> Vec<&str> {
    let mut groups: Vec<&str> = results.rows.iter().map(|row| row.group.as_str()).collect();
    groups.dedup();
    groups
}

/// For a terminal.
pub(crate) fn plain(results: &Results) -> String {
    let rows: Vec<(&str, [String; 6])> = results
        .rows
        .iter()
        .map(|row| (row.group.as_str(), cells(row)))
        .collect();
    let width = |at: usize| {
        let cells = rows.iter().map(|(_, cells)| cells[at].chars().count());
        cells.max().unwrap_or(0).max(HEAD[at].len())
    };
    let widths: [usize; 6] = std::array::from_fn(width);
    let line = |cells: [&str; 6]| {
        let mut line = format!("  {:<1$}", cells[0], widths[0]);
        for at in 1..6 {
            let _ = write!(line, "  {:>1$}", cells[at], widths[at]);
        }
        line + "\n"
    };
    let mut text = String::new();
    for group in groups(results) {
        let _ = writeln!(text, "\n{group}");
        text += &line(HEAD);
        for (_, cells) in rows.iter().filter(|(of, _)| *of == group) {
            text += &line(std::array::from_fn(|at| cells[at].as_str()));
        }
    }
    text
}

fn value(aim: &Aim, value: f64) -> String {
    match aim.unit.as_str() {
        "ns" => time(value),
        "ms" => format!("{value:.1} ms"),
        _ => format!("{value:.2}"),
    }
}

fn limit(aim: &Aim) -> String {
    let word = if aim.at_least { "at least" } else { "at most" };
    format!("{word} {}", value(aim, aim.limit))
}

/// The aims, for a terminal.
pub(crate) fn aims(aims: &[Aim]) -> String {
    let width = |cell: fn(&Aim) -> String| {
        let cells = aims.iter().map(|aim| cell(aim).chars().count());
        cells.max().unwrap_or(0)
    };
    let (text, bound) = (width(|aim| aim.text.clone()), width(limit));
    let mut lines = String::from("\naims\n");
    for aim in aims {
        let _ = writeln!(
            lines,
            "  {:<text$}  {:>bound$}  {:>9}  {}",
            aim.text,
            limit(aim),
            value(aim, aim.value),
            if aim.holds { "holds" } else { "MISSED" }
        );
    }
    lines
}

/// The tables of a page.
pub(crate) fn markdown(results: &Results) -> String {
    let mut text = String::new();
    for group in groups(results) {
        let _ = writeln!(
            text,
            "| {group} | median | quartiles | to empty | caller's stack | reserved stack |\n| --- | ---: | ---: | ---: | ---: | ---: |"
        );
        for row in results.rows.iter().filter(|row| row.group == group) {
            let _ = writeln!(text, "| {} |", cells(row).join(" | "));
        }
        text.push('\n');
    }
    text
}

/// The aims of a page.
pub(crate) fn markdown_aims(aims: &[Aim]) -> String {
    let mut text = String::from("| Aim | Limit | Measured | |\n| --- | ---: | ---: | --- |\n");
    for aim in aims {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            aim.text,
            limit(aim),
            value(aim, aim.value),
            if aim.holds { "holds" } else { "**missed**" }
        );
    }
    text
}

/// What changed since another run.
pub(crate) fn compared(before: &Results, now: &Results, only: &impl Fn(&str) -> bool) -> String {
    let mut text =
        String::from("\ncompared with the other run (marked: the quartiles lie apart)\n");
    if before.host.processor != now.host.processor || before.host.optimised != now.host.optimised {
        text += "  that was another machine or another build: ratios compare, times do not\n";
    }
    for row in &now.rows {
        let Some(old) = before.row(&row.id) else {
            let _ = writeln!(text, "  new      {}", row.text);
            continue;
        };
        let change = row.nanoseconds.median / old.nanoseconds.median - 1.0;
        let apart = row.nanoseconds.lower > old.nanoseconds.upper
            || row.nanoseconds.upper < old.nanoseconds.lower;
        let _ = writeln!(
            text,
            "  {} {:>+7.1} %  {} ({})",
            if apart { "*" } else { " " },
            change * 100.0,
            row.text,
            row.group
        );
    }
    for old in before.rows.iter().filter(|old| only(&old.id)) {
        if now.row(&old.id).is_none() {
            let _ = writeln!(text, "  gone     {}", old.text);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_the_unit_that_suits_them() {
        let told: Vec<String> = [12.34, 1234.0, 12_340.0, 1.234e7, f64::NAN]
            .into_iter()
            .map(time)
            .collect();
        assert_eq!(told, ["12.3 ns", "1234 ns", "12.3 µs", "12.34 ms", "-"]);
    }
}
