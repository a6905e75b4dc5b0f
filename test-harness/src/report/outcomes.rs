//! What became of the expansions, as one bar a run.

use super::drawing::Drawing;
use super::measures::OutcomeRow;
use super::scale::{Place, WIDTH};
use crate::table::grouped;

const BAR: f64 = 26.0;
const FROM: f64 = 110.0;

/// The bars of several runs, each with its policy; `None` where no run has a record.
pub(super) fn draw(id: &str, runs: &[(&str, &[OutcomeRow])]) -> Option<Drawing> {
    let runs: Vec<_> = runs.iter().filter(|(_, rows)| !rows.is_empty()).collect();
    if runs.is_empty() {
        return None;
    }
    let mut seen: Vec<&str> = Vec::new();
    let mut sentences = Vec::new();
    for (policy, rows) in &runs {
        let told: Vec<String> = rows
            .iter()
            .map(|row| format!("{} {}", grouped(row.creates as u64), label(row)))
            .collect();
        sentences.push(format!("{policy}: {}.", told.join(", ")));
        for row in *rows {
            if !seen.contains(&row.outcome.as_str()) {
                seen.push(&row.outcome);
            }
        }
    }
    let height = 44.0 + runs.len() as f64 * (BAR + 12.0);
    let mut drawing = Drawing::new(
        id,
        WIDTH,
        height,
        "Where inspections ran",
        sentences.join(" "),
    );
    seen.sort_by_key(|outcome| {
        super::measures::OUTCOMES
            .iter()
            .position(|known| known == outcome)
    });
    let keys: Vec<(String, &str)> = seen
        .iter()
        .map(|outcome| (format!("fill {}", class(outcome)), word(outcome)))
        .collect();
    let keys: Vec<(&str, &str)> = keys
        .iter()
        .map(|(class, word)| (class.as_str(), *word))
        .collect();
    drawing.key(&keys, FROM, 18.0);
    for (index, (policy, rows)) in runs.iter().enumerate() {
        let y = 36.0 + index as f64 * (BAR + 12.0);
        drawing.text("legend", 20.0, y + BAR / 2.0 + 4.5, policy);
        let all: usize = rows.iter().map(|row| row.creates).sum();
        let scale = (WIDTH - FROM - 20.0) / all.max(1) as f64;
        let mut x = FROM;
        for row in *rows {
            let width = row.creates as f64 * scale;
            let share = 100.0 * row.creates as f64 / all.max(1) as f64;
            let word = format!(
                "{policy}: {} of {} creates {} ({share:.1} %)",
                grouped(row.creates as u64),
                grouped(all as u64),
                label(row)
            );
            let class = format!("fill frame {}", class(&row.outcome));
            drawing.rect(&class, Place { x, y }, width, BAR, &word);
            x += width;
        }
    }
    Some(drawing)
}

/// What a row is called: the outcome, and why.
pub(super) fn label(row: &OutcomeRow) -> String {
    let word = word(&row.outcome);
    if row.why.is_empty() {
        word.to_owned()
    } else {
        format!("{word}: {}", row.why)
    }
}

/// An outcome in a reader's words.
pub(super) fn word(outcome: &str) -> &str {
    match outcome {
        "grown" => "grown in place",
        "switched" => "switched to another segment",
        "failed" => "refused",
        "worker" => "refused, done by a worker",
        "not tried" => "not inspected",
        other => other,
    }
}

/// What the style sheet knows an outcome by.
pub(super) fn class(outcome: &str) -> &'static str {
    match outcome {
        "direct" => "direct",
        "grown" => "grown",
        "switched" => "switched",
        "worker" => "worker",
        "failed" => "failed",
        "not expanded" => "unexpanded",
        _ => "untried",
    }
}
