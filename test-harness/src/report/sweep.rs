//! The picture that explains the product: how deep creates nest before something ends it, by reservation and policy.

use super::drawing::{Drawing, kilobytes};
use super::panel::class;
use super::scale::{LEFT, Place, WIDTH, step as step_to};
use crate::model::{Expand, KERNEL_STACK_BYTES, Sweep, SweepEnd, SweepRow};
use crate::table::grouped;

const TOP: f64 = 108.0;
const BOTTOM: f64 = 330.0;
/// The panels below, and their height.
const LEFT_TOP: f64 = 430.0;
const SEGMENTS_TOP: f64 = 600.0;
const PANEL: f64 = 110.0;
const HEIGHT: f64 = 788.0;
/// Room to the right for the name of each line's end.
const END: f64 = 150.0;

/// Scales of the picture: bytes to the right, creates upwards, doubling at even steps.
struct Scales {
    least: f64,
    most: f64,
    deepest: f64,
}

impl Scales {
    fn of(sweep: &Sweep) -> Self {
        let asked = || {
            sweep
                .rows
                .iter()
                .map(|row| f64::from(row.reservation_bytes))
                .filter(|&bytes| bytes > 0.0)
        };
        let stack = KERNEL_STACK_BYTES as f64;
        let deepest = sweep.rows.iter().map(|row| row.deepest).max().unwrap_or(0);
        Self {
            least: asked().fold(stack, f64::min) * 0.9,
            most: asked().fold(stack, f64::max) * 1.02,
            deepest: f64::from(deepest.max(sweep.bound).max(4)) * 1.25,
        }
    }

    fn x(&self, bytes: u32) -> f64 {
        let at = (f64::from(bytes) - self.least) / (self.most - self.least);
        LEFT + at * (WIDTH - LEFT - END)
    }

    /// Not even one stands a step below one.
    fn y(&self, creates: u32) -> f64 {
        let at = (f64::from(creates).max(0.5) * 2.0).log2() / (self.deepest * 2.0).log2();
        BOTTOM - at * (BOTTOM - TOP)
    }

    fn place(&self, row: &SweepRow) -> Place {
        Place {
            x: self.x(row.reservation_bytes),
            y: self.y(row.deepest),
        }
    }
}

/// The picture.
pub(super) fn draw(sweep: &Sweep) -> Drawing {
    let title = "How deep creates nest before something ends it";
    let policies: Vec<Expand> = [Expand::Never, Expand::RedZone, Expand::Always]
        .into_iter()
        .filter(|&policy| sweep.rows.iter().any(|row| row.expand == policy))
        .collect();
    let description: Vec<String> = sweep.rows.iter().map(sentence).collect();
    let mut drawing = Drawing::new("sweep", WIDTH, HEIGHT, title, description.join(" "));
    drawing.text("title", 20.0, 34.0, title);
    let stack = if sweep.large_stack { "72" } else { "24" };
    let subtitle = format!(
        "nested UNC opens on one thread that starts on a {stack} KB kernel stack; each point is the deepest nest that came back whole"
    );
    drawing.text("soft", 20.0, 56.0, &subtitle);
    let scales = Scales::of(sweep);
    grid(&mut drawing, sweep, &scales);
    let mut ends: Vec<(f64, Expand, String)> = Vec::new();
    for &policy in &policies {
        let mut rows: Vec<&SweepRow> = sweep
            .rows
            .iter()
            .filter(|row| row.expand == policy)
            .collect();
        rows.sort_by_key(|row| row.reservation_bytes);
        let Some(&last) = rows.last() else { continue };
        if policy == Expand::Never || last.reservation_bytes == 0 {
            never(&mut drawing, &scales, last);
        } else {
            let path: Vec<String> = rows
                .iter()
                .enumerate()
                .map(|(index, row)| {
                    let Place { x, y } = scales.place(row);
                    format!("{}{x:.1} {y:.1}", if index == 0 { 'M' } else { 'L' })
                })
                .collect();
            drawing.path(&format!("line {}", class(policy)), path.concat());
            for row in rows {
                marker(&mut drawing, scales.place(row), row);
            }
        }
        ends.push((
            scales.y(last.deepest),
            policy,
            format!("{}: {}", policy.name(), last.deepest),
        ));
    }
    // Names that would lie on each other are set apart.
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut above = f64::MIN;
    for (y, policy, text) in ends {
        let y = y.max(above + 18.0);
        above = y;
        let class = format!("legend {}", class(policy));
        drawing.text(&class, WIDTH - END + 14.0, y + 4.5, &text);
    }
    panel(
        &mut drawing,
        &scales,
        sweep,
        LEFT_TOP,
        "Least stack left where an inspection of that nest started, in KB",
        |row| row.lowest_inside.map(|bytes| f64::from(bytes) / 1024.0),
    );
    panel(
        &mut drawing,
        &scales,
        sweep,
        SEGMENTS_TOP,
        "Stack segments that the nest ran on",
        |row| Some(row.segments.into()),
    );
    let x = f64::midpoint(LEFT, WIDTH - END);
    let text = "bytes that each expansion asks for (ReservationBytes)";
    drawing.anchored("soft", x, SEGMENTS_TOP + PANEL + 28.0, "middle", text);
    legend(&mut drawing, sweep);
    drawing
}

/// What else the deepest nests cost or had, over the same reservations.
fn panel(
    drawing: &mut Drawing,
    scales: &Scales,
    sweep: &Sweep,
    top: f64,
    title: &str,
    pick: fn(&SweepRow) -> Option<f64>,
) {
    drawing.text("panel", 20.0, top - 16.0, title);
    let most = sweep.rows.iter().filter_map(pick).fold(1.0, f64::max);
    let step = [
        1.0, 2.0, 4.0, 8.0, 12.0, 24.0, 48.0, 100.0, 200.0, 400.0, 1000.0,
    ]
    .into_iter()
    .find(|step| most / step <= 4.0)
    .unwrap_or(most / 4.0);
    let y = |value: f64| top + PANEL - value / (most * 1.05) * PANEL;
    let mut value = 0.0;
    while value <= most {
        let at = |x| Place { x, y: y(value) };
        let class = if value == 0.0 { "axis" } else { "grid" };
        drawing.line(class, at(LEFT), at(WIDTH - END));
        let text = format!("{value:.0}");
        drawing.anchored("tick", LEFT - 8.0, y(value) + 4.0, "end", &text);
        value += step;
    }
    for policy in [Expand::RedZone, Expand::Always] {
        let class = class(policy);
        let mut rows: Vec<(&SweepRow, f64)> = sweep
            .rows
            .iter()
            .filter(|row| row.expand == policy && row.reservation_bytes > 0)
            .filter_map(|row| Some((row, pick(row)?)))
            .collect();
        rows.sort_by_key(|(row, _)| row.reservation_bytes);
        let places = rows.iter().map(|(row, value)| Place {
            x: scales.x(row.reservation_bytes),
            y: y(*value),
        });
        let mut path = String::new();
        let mut command = 'M';
        for place in places.clone() {
            step_to(&mut path, command, place);
            command = 'L';
        }
        drawing.path(&format!("line {class}"), path);
        for (place, (row, value)) in places.zip(&rows) {
            let word = format!(
                "{}, {:#x}: {value:.1}",
                policy.name(),
                row.reservation_bytes
            );
            drawing.dot(&format!("dot {class}"), place, &word);
        }
        if let Some((_, value)) = rows.last() {
            let class = format!("legend {class}");
            let text = format!("{}: {value:.0}", policy.name());
            drawing.text(&class, WIDTH - END + 14.0, y(*value) + 4.5, &text);
        }
    }
}

fn grid(drawing: &mut Drawing, sweep: &Sweep, scales: &Scales) {
    let right = WIDTH - END;
    let across = |y| (Place { x: LEFT, y }, Place { x: right, y });
    drawing.text("panel", 20.0, TOP - 16.0, "Creates nested on one thread");
    for creates in std::iter::once(0).chain((0..14).map(|power| 1 << power)) {
        let y = scales.y(creates);
        if f64::from(creates) < scales.deepest {
            let (from, to) = across(y);
            drawing.line("grid", from, to);
            drawing.anchored("tick", LEFT - 8.0, y + 4.0, "end", &grouped(creates.into()));
        }
    }
    let (from, to) = across(BOTTOM);
    drawing.line("axis", from, to);
    let y = scales.y(sweep.bound);
    let (from, to) = across(y);
    drawing.line("rule axis dashed", from, to);
    let text = format!(
        "bound of this search, by MaxNestDepth: {}",
        grouped(sweep.bound.into())
    );
    drawing.text("note soft", LEFT + 8.0, y - 6.0, &text);

    let mut asked: Vec<u32> = sweep
        .rows
        .iter()
        .map(|row| row.reservation_bytes)
        .filter(|&bytes| bytes > 0)
        .collect();
    asked.sort_unstable();
    asked.dedup();
    let mut last = f64::MIN;
    for bytes in asked {
        let x = scales.x(bytes);
        let at = |y| Place { x, y };
        drawing.line("axis", at(BOTTOM), at(BOTTOM + 5.0));
        // A tick of each reservation that has room for its text.
        if x - last >= 52.0 {
            last = x;
            let text = format!("{bytes:#X}").replace("0X", "0x");
            drawing.anchored("tick", x, BOTTOM + 19.0, "middle", &text);
            let text = kilobytes(bytes.into());
            drawing.anchored("tick", x, BOTTOM + 34.0, "middle", &text);
        }
    }
    let stack = u32::try_from(KERNEL_STACK_BYTES).unwrap_or(u32::MAX);
    let at = |y| Place {
        x: scales.x(stack),
        y,
    };
    drawing.line("rule reserve", at(TOP), at(BOTTOM));
    drawing.anchored(
        "note soft",
        scales.x(stack) + 6.0,
        BOTTOM - 8.0,
        "start",
        "KERNEL_STACK_SIZE, the driver's own choice",
    );
}

/// A policy that reserves nothing: one depth, whatever the reservation.
fn never(drawing: &mut Drawing, scales: &Scales, row: &SweepRow) {
    let y = scales.y(row.deepest);
    let class = class(row.expand);
    drawing.line(
        &format!("line dashed {class}"),
        Place { x: LEFT, y },
        Place { x: WIDTH - END, y },
    );
    let x = (LEFT + WIDTH - END) / 2.0;
    marker(drawing, Place { x, y }, row);
    let text = format!("{} one deeper", row.end);
    drawing.text(&format!("end {class}"), x + 14.0, y - 9.0, &text);
}

/// A point by what ended the nest that was one deeper.
fn marker(drawing: &mut Drawing, at: Place, row: &SweepRow) {
    let class = class(row.expand);
    let (left, top) = (at.x - 5.0, at.y - 5.0);
    let word = sentence(row);
    match row.end {
        SweepEnd::BugCheck { .. } => {
            drawing.dot(&format!("dot {class}"), at, &word);
            drawing.path("cross", format!("M{left:.1} {top:.1}l10 10m0 -10l-10 10"));
        }
        SweepEnd::Fallback { .. } => {
            let place = Place { x: left, y: top };
            drawing.rect(&format!("fill {class}"), place, 10.0, 10.0, &word);
        }
        SweepEnd::Minimum => {
            let place = Place { x: left, y: top };
            drawing.rect(&format!("hollow {class}"), place, 10.0, 10.0, &word);
        }
        SweepEnd::Bound => {
            drawing.dot(&format!("hollow {class}"), at, &word);
        }
    }
}

/// The markers that appear, and what they mean.
fn legend(drawing: &mut Drawing, sweep: &Sweep) {
    drawing.text("tick", 20.0, HEIGHT - 14.0, "one deeper:");
    let words: [(&str, &str); 4] = [
        ("bug check", "the machine died"),
        ("fallback", "refused, the create fell back"),
        ("minimum", "too little stack was left to try"),
        ("bound", "nothing: the bound of the search"),
    ];

    let mut x = 104.0;
    for (kind, text) in words {
        let Some(row) = sweep.rows.iter().find(|row| row.end.kind() == kind) else {
            continue;
        };
        let like = SweepRow {
            expand: if kind == "bug check" {
                Expand::Never
            } else {
                Expand::Always
            },
            ..row.clone()
        };
        marker(
            drawing,
            Place {
                x: x + 6.0,
                y: HEIGHT - 18.0,
            },
            &like,
        );
        drawing.text("tick", x + 18.0, HEIGHT - 14.0, text);
        x += 44.0 + 6.8 * text.chars().count() as f64;
    }
}

/// A row in words.
pub(super) fn sentence(row: &SweepRow) -> String {
    let reserves = if row.reservation_bytes == 0 {
        String::new()
    } else {
        format!(" with {:#x} bytes reserved", row.reservation_bytes)
    };
    let zone = row
        .red_zone_bytes
        .map_or_else(String::new, |bytes| format!(", red zone {bytes:#x}"));
    let end = match &row.end {
        SweepEnd::Bound => "nothing ended it".to_owned(),
        end => format!("one deeper: {end}"),
    };
    format!(
        "{}{reserves}{zone}: {} creates nest; {end}.",
        row.expand.name(),
        grouped(row.deepest.into())
    )
}
