//! How many creates came how close to the end of their stack.

use super::drawing::Drawing;
use super::measures::Histogram;
use super::scale::{KB, LEFT, Place, RIGHT, WIDTH};
use crate::table::grouped;

const TOP: f64 = 46.0;
const BOTTOM: f64 = 240.0;

/// The histogram of several runs, each with its name and what the style sheet knows it by.
pub(super) fn draw(id: &str, runs: &[(&str, &str)], histogram: &Histogram) -> Option<Drawing> {
    let most = histogram.runs.iter().flatten().copied().max()?;
    let steps = histogram.runs.iter().map(Vec::len).max()?;
    let mut drawing = Drawing::new(
        id,
        WIDTH,
        292.0,
        "Creates by the least stack they had left",
        description(runs, histogram),
    );
    let keys: Vec<(String, &str)> = runs
        .iter()
        .map(|(name, class)| (format!("fill {class}"), *name))
        .collect();
    let keys: Vec<(&str, &str)> = keys
        .iter()
        .map(|(class, name)| (class.as_str(), *name))
        .collect();
    drawing.key(&keys, LEFT, 20.0);
    drawing.anchored("soft", WIDTH - RIGHT, 20.0, "end", "creates");

    let y_step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000]
        .into_iter()
        .find(|step| most / step <= 6)
        .unwrap_or(most / 5);
    let y_max = f64::from(most.max(1)) * 1.08;
    let y = |count: u32| BOTTOM - f64::from(count) / y_max * (BOTTOM - TOP);
    for count in (0..=most).step_by(usize::try_from(y_step).unwrap_or(1)) {
        let at = |x| Place { x, y: y(count) };
        drawing.line("grid", at(LEFT), at(WIDTH - RIGHT));
        let text = grouped(count.into());
        drawing.anchored("tick", LEFT - 8.0, y(count) + 4.0, "end", &text);
    }
    let width = (WIDTH - LEFT - RIGHT) / steps as f64;
    let x = |at: usize| LEFT + at as f64 * width;
    let ticks = ((steps as f64 / 18.0).ceil() as usize).max(1);
    for at in (0..=steps).step_by(ticks) {
        let bytes = at as u64 * histogram.step;
        drawing.anchored(
            "tick",
            x(at),
            BOTTOM + 18.0,
            "middle",
            &if bytes.is_multiple_of(KB) {
                format!("{} KB", bytes / KB)
            } else {
                bytes.to_string()
            },
        );
    }
    let bar = width * 0.84 / runs.len() as f64;
    for (run, ((name, class), counts)) in runs.iter().zip(&histogram.runs).enumerate() {
        for (at, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let from = at as u64 * histogram.step;
            let word = format!(
                "{name}: {} creates with {} to {} bytes left",
                grouped(count.into()),
                grouped(from),
                grouped(from + histogram.step - 1)
            );
            let place = Place {
                x: x(at) + width * 0.08 + run as f64 * bar,
                y: y(count),
            };
            drawing.rect(
                &format!("fill {class}"),
                place,
                bar,
                BOTTOM - y(count),
                &word,
            );
        }
    }
    let at = |x| Place { x, y: BOTTOM };
    drawing.line("axis", at(LEFT), at(WIDTH - RIGHT));
    drawing.anchored(
        "soft",
        WIDTH / 2.0,
        BOTTOM + 40.0,
        "middle",
        "least stack left at any of the three samples",
    );
    Some(drawing)
}

fn description(runs: &[(&str, &str)], histogram: &Histogram) -> String {
    let sentences = runs
        .iter()
        .zip(&histogram.runs)
        .filter_map(|((name, _), counts)| {
            let at = counts.iter().position(|count| *count > 0)?;
            let from = at as u64 * histogram.step;
            Some(format!(
                "{name}: of {} creates, {} had the least, {} to {} bytes.",
                grouped(counts.iter().map(|count| u64::from(*count)).sum()),
                grouped(counts[at].into()),
                grouped(from),
                grouped(from + histogram.step - 1)
            ))
        });
    sentences.collect::<Vec<_>>().join(" ")
}
