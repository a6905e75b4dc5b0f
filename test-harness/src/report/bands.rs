//! The three samples by depth, as bands from the least to the most that a depth saw, with the middle as a line.

use super::drawing::Drawing;
use super::measures::DepthSpread;
use super::panel::scales;
use super::scale::{Frame, Place, WIDTH, step};
use crate::table::grouped;

/// What the style sheet knows the samples by, and what they are.
pub(super) const SAMPLES: [(&str, &str); 3] = [
    ("before", "before: as the create arrived"),
    ("inside", "inside: as its inspection started"),
    ("after", "after: as the expansion returned"),
];

/// The bands of one run; `None` where nothing was sampled.
pub(super) fn draw(id: &str, policy: &str, depths: &[DepthSpread]) -> Option<Drawing> {
    let deepest = depths.last()?.depth;
    let most = depths
        .iter()
        .flat_map(|depth| depth.samples.iter().flatten())
        .map(|spread| spread.most)
        .max()?;
    let frame = Frame {
        top: 46.0,
        bottom: 300.0,
        x_max: f64::from(deepest.max(4)),
        y_max: most as f64 * 1.06,
    };
    let mut drawing = Drawing::new(
        id,
        WIDTH,
        352.0,
        format!("Stack left by depth, ExpandPolicy {policy}"),
        description(depths),
    );
    drawing.anchored("soft", frame.right(), 20.0, "end", "bytes of stack left");
    scales(&mut drawing, frame);
    let keys: Vec<(&str, &str)> = SAMPLES
        .iter()
        .enumerate()
        .filter(|(sample, _)| depths.iter().any(|depth| depth.samples[*sample].is_some()))
        .map(|(_, key)| *key)
        .collect();
    for (sample, (class, _)) in SAMPLES.iter().enumerate() {
        for part in runs_of(depths, sample) {
            drawing.path(&format!("band {class}"), band(frame, part, sample));
            drawing.path(&format!("line {class}"), middle(frame, part, sample));
        }
    }
    // A depth by itself makes no band: from its least to its most, the samples beside each other.
    for depth in depths {
        let alone = depths
            .iter()
            .all(|other| other.depth.abs_diff(depth.depth) != 1);
        for (sample, (class, _)) in SAMPLES.iter().enumerate().filter(|_| alone) {
            if let Some(spread) = depth.samples[sample].filter(|spread| spread.least < spread.most)
            {
                let x = frame.x(depth.depth.into()) - 5.0;
                let (top, bottom) = (frame.y(spread.most), frame.y(spread.least));
                drawing.rect(
                    &format!("band {class}"),
                    Place { x, y: top },
                    10.0,
                    bottom - top,
                    "",
                );
            }
        }
    }
    // The dots last, so that the pointer finds them.
    if frame.x(2.0) - frame.x(1.0) >= 5.0 {
        for (sample, (class, _)) in SAMPLES.iter().enumerate() {
            for depth in depths {
                if let Some(spread) = depth.samples[sample] {
                    let word = format!(
                        "depth {}, {class}: {} to {} bytes left in {} creates",
                        depth.depth,
                        grouped(spread.least),
                        grouped(spread.most),
                        grouped(depth.creates as u64)
                    );
                    let at = frame.place(depth.depth, spread.middle);
                    drawing.dot(&format!("dot {class}"), at, &word);
                }
            }
        }
    }
    let keys: Vec<(String, &str)> = keys
        .into_iter()
        .map(|(class, word)| (format!("fill {class}"), word))
        .collect();
    let keys: Vec<(&str, &str)> = keys
        .iter()
        .map(|(class, word)| (class.as_str(), *word))
        .collect();
    drawing.key(&keys, frame.left(), 20.0);
    drawing.anchored(
        "soft",
        WIDTH / 2.0,
        frame.bottom + 40.0,
        "middle",
        "creates under way on the thread",
    );
    Some(drawing)
}

fn description(depths: &[DepthSpread]) -> String {
    let sentences = SAMPLES
        .iter()
        .enumerate()
        .filter_map(|(sample, (name, _))| {
            let least = depths
                .iter()
                .filter_map(|depth| Some((depth.samples[sample]?.least, depth.depth)))
                .min()?;
            Some(format!(
                "{name}: never less than {} bytes, at depth {}.",
                grouped(least.0),
                least.1
            ))
        });
    sentences.collect::<Vec<_>>().join(" ")
}

/// Stretches of depths that all have the sample and follow each other: nothing is drawn across a gap.
fn runs_of(depths: &[DepthSpread], sample: usize) -> impl Iterator<Item = &[DepthSpread]> {
    depths
        .chunk_by(move |a, b| {
            a.samples[sample].is_some()
                && b.samples[sample].is_some()
                && a.depth.checked_add(1) == Some(b.depth)
        })
        .filter(move |part| part.iter().all(|depth| depth.samples[sample].is_some()))
}

fn band(frame: Frame, part: &[DepthSpread], sample: usize) -> String {
    // A band that is a line everywhere is its middle.
    let spreads = || {
        part.iter()
            .filter_map(move |depth| Some((depth.depth, depth.samples[sample]?)))
    };
    if spreads().all(|(_, spread)| spread.least == spread.most) {
        return String::new();
    }
    let mut path = String::new();
    let mut command = 'M';
    for (depth, spread) in spreads() {
        step(&mut path, command, frame.place(depth, spread.most));
        command = 'L';
    }
    for (depth, spread) in spreads().collect::<Vec<_>>().into_iter().rev() {
        step(&mut path, command, frame.place(depth, spread.least));
    }
    path.push('Z');
    path
}

fn middle(frame: Frame, part: &[DepthSpread], sample: usize) -> String {
    let mut path = String::new();
    let mut command = 'M';
    for depth in part {
        if let Some(spread) = depth.samples[sample] {
            let Place { x, y } = frame.place(depth.depth, spread.middle);
            step(&mut path, command, Place { x, y });
            command = 'L';
        }
    }
    path
}
