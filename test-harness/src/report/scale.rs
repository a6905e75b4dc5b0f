//! Where things lie: creates from left to right, bytes from the bottom up.

use std::fmt::Write as _;

pub(super) const WIDTH: f64 = 960.0;
pub(super) const LEFT: f64 = 66.0;
pub(super) const RIGHT: f64 = 24.0;
pub(super) const KB: u64 = 1024;

/// Where a panel lies, and its scales.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub(super) top: f64,
    pub(super) bottom: f64,
    pub(super) x_max: f64,
    pub(super) y_max: f64,
}

pub(super) struct Tick {
    pub(super) at: f64,
    pub(super) text: String,
}

#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) x: f64,
    pub(super) y: f64,
}

impl Frame {
    pub(super) fn x(&self, at: f64) -> f64 {
        LEFT + (at - 0.5) / self.x_max * (WIDTH - LEFT - RIGHT)
    }

    pub(super) fn y(&self, bytes: u64) -> f64 {
        self.bottom - bytes as f64 / self.y_max * (self.bottom - self.top)
    }

    pub(super) fn place(&self, at: u32, bytes: u64) -> Place {
        Place {
            x: self.x(at.into()),
            y: self.y(bytes),
        }
    }

    pub(super) fn left(&self) -> f64 {
        LEFT
    }

    pub(super) fn right(&self) -> f64 {
        WIDTH - RIGHT
    }

    pub(super) fn y_ticks(&self) -> Vec<Tick> {
        // Multiples of 8 KB, so that 24 and 72 are among them; no closer than the text is high.
        let most = ((self.bottom - self.top) / 28.0).max(2.0);
        let step = [8, 24, 48, 96, 192, 384, 768]
            .into_iter()
            .map(|step| step * KB)
            .find(|step| self.y_max / *step as f64 <= most)
            .unwrap_or_else(|| coarser(1536 * KB, self.y_max, most));
        multiples(step, self.y_max, most)
            .map(|bytes| Tick {
                at: self.y(bytes),
                text: format!("{} KB", bytes / KB),
            })
            .collect()
    }

    pub(super) fn x_ticks(&self) -> Vec<Tick> {
        let step = coarser(1, self.x_max, MOST_ACROSS);
        std::iter::once(1)
            .chain(multiples(step, self.x_max, MOST_ACROSS).filter(|&at| at > 1))
            .take_while(|&at| at as f64 <= self.x_max)
            .map(|at| Tick {
                at: self.x(at as f64),
                text: at.to_string(),
            })
            .collect()
    }
}

/// Ticks that there is room for from left to right.
const MOST_ACROSS: f64 = 17.0;

/// `step` doubled until no more than `most` of it make up `whole`, however large that is: saved data may say anything.
pub(super) fn coarser(mut step: u64, whole: f64, most: f64) -> u64 {
    while whole / step as f64 > most && step < 1 << 62 {
        step *= 2;
    }
    step
}

/// The multiples of `step` from 0 up to `whole`.
fn multiples(step: u64, whole: f64, most: f64) -> impl Iterator<Item = u64> {
    let count = (whole / step as f64).clamp(0.0, most) as u64;
    (0..=count).map(move |index| index.saturating_mul(step))
}

pub(super) fn step(path: &mut String, command: char, to: Place) {
    let _ = write!(path, "{command}{:.1} {:.1}", to.x, to.y);
}
