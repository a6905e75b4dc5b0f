//! A stack frame by frame: who filled it.

use super::drawing::Drawing;
use super::panel;
use super::scale::{KB, LEFT, Place, RIGHT, Tick, WIDTH, coarser};
use crate::model::{End, KERNEL_STACK_BYTES, Listing, Run};
use crate::scenario::Kind;
use crate::table::grouped;

const BAR: f64 = 30.0;
const ROW: f64 = 64.0;
/// Colours for the modules whose frames come from a model; more modules share the last.
const COLOURS: usize = 7;

/// Stacks as bars, oldest frame to the left.
pub(super) struct Strip {
    top: f64,
    title: &'static str,
    bars: Vec<Bar>,
    ticks: Vec<Tick>,
    ticks_y: f64,
    keys: Vec<Key>,
    keys_y: f64,
    pub(super) bottom: f64,
}

struct Bar {
    class: &'static str,
    text: String,
    y: f64,
    pieces: Vec<Piece>,
    /// Where one segment ends and the next begins.
    breaks: Vec<f64>,
}

struct Piece {
    x: f64,
    width: f64,
    colour: String,
    text: String,
}

struct Key {
    x: f64,
    colour: String,
    text: String,
}

/// Modules in the order in which they first appear, and whether their own code ran.
type Modules = Vec<(String, bool)>;

impl Strip {
    /// The stacks that the runs have to show; `None` where there are none.
    pub(super) fn of(kind: Kind, runs: &[Run], top: f64) -> Option<Self> {
        let shown: Vec<(&Run, &Listing)> = runs
            .iter()
            .filter_map(|run| Some((run, run.told_stack()?)))
            .collect();
        let most = shown
            .iter()
            .map(|(_, listing)| {
                frames(listing).fold(0, |sum: u64, frame| sum.saturating_add(frame.1))
            })
            .max()?;
        let died = shown
            .iter()
            .any(|(run, _)| matches!(run.end, End::BugCheck(_)));
        let most: u64 = if died {
            KERNEL_STACK_BYTES.max(most)
        } else {
            most
        };
        let x = |bytes: u64| LEFT + bytes as f64 / most as f64 * (WIDTH - LEFT - RIGHT);
        let mut modules = Modules::new();
        let mut bars = Vec::new();
        for (index, (run, listing)) in (0_u32..).zip(&shown) {
            let y = top + 36.0 + f64::from(index) * ROW;
            bars.push(bar(run, listing, &mut modules, y, x));
        }
        let end = top + 36.0 + bars.len() as f64 * ROW - (ROW - BAR);
        let step = if most > 16 * KB { 4 * KB } else { 2 * KB };
        let step = coarser(step, most as f64, 64.0);
        let ticks = (0..=most / step).map(|index| Tick {
            at: x(index * step),
            text: format!("{} KB", index * step / KB),
        });
        let mut keys = Vec::new();
        let mut key_x = LEFT;
        for (index, (module, own)) in modules.iter().enumerate() {
            keys.push(Key {
                x: key_x,
                colour: colour(index, *own),
                text: module.clone(),
            });
            key_x += 34.0 + 8.0 * module.len() as f64;
        }
        Some(Self {
            top,
            title: match kind {
                Kind::Nested => {
                    "The stack that overflowed, frame by frame: the system call to the left"
                }
                _ => "The deepest stack, frame by frame: the system call to the left",
            },
            bars,
            ticks: ticks.collect(),
            ticks_y: end + 16.0,
            keys,
            keys_y: end + 40.0,
            bottom: end + 50.0,
        })
    }
}

impl Strip {
    pub(super) fn draw(&self, drawing: &mut Drawing) {
        drawing.text("panel", 20.0, self.top + 4.0, self.title);
        for bar in &self.bars {
            let class = format!("legend {}", bar.class);
            drawing.text(&class, LEFT, bar.y - 7.0, &bar.text);
            for piece in &bar.pieces {
                let at = Place {
                    x: piece.x,
                    y: bar.y,
                };
                let class = format!("frame {}", piece.colour);
                drawing.rect(&class, at, piece.width, BAR, &piece.text);
            }
            for &x in &bar.breaks {
                let at = |y| Place { x, y };
                drawing.line("axis", at(bar.y - 5.0), at(bar.y + BAR + 5.0));
            }
        }
        for tick in &self.ticks {
            drawing.anchored("tick", tick.at, self.ticks_y, "middle", &tick.text);
        }
        for key in &self.keys {
            let at = Place {
                x: key.x,
                y: self.keys_y - 10.0,
            };
            drawing.rect(&format!("frame {}", key.colour), at, 12.0, 12.0, "");
            drawing.text("tick", key.x + 17.0, self.keys_y, &key.text);
        }
    }
}

fn bar(run: &Run, listing: &Listing, modules: &mut Modules, y: f64, x: impl Fn(u64) -> f64) -> Bar {
    let mut bar = Bar {
        class: panel::class(run.expand),
        text: String::new(),
        y,
        pieces: Vec::new(),
        breaks: Vec::new(),
    };
    let mut used = 0;
    let mut segment = None;
    for (frame, bytes) in frames(listing) {
        if segment
            .replace(frame.segment)
            .is_some_and(|older| older != frame.segment)
        {
            bar.breaks.push(x(used));
        }
        let module = frame
            .symbol
            .split_once('!')
            .map_or("other", |(module, _)| module);
        let index = modules
            .iter()
            .position(|(known, _)| known == module)
            .unwrap_or_else(|| {
                modules.push((module.to_owned(), frame.real));
                modules.len() - 1
            });
        bar.pieces.push(Piece {
            x: x(used),
            width: x(used + bytes) - x(used),
            colour: colour(index, frame.real),
            text: format!(
                "{}: {} bytes",
                crate::listing::short(&frame.symbol),
                grouped(bytes)
            ),
        });
        used += bytes;
    }
    let segments = match listing.segments.len() {
        0 | 1 => "one segment".to_owned(),
        count => format!("{count} segments"),
    };
    let frames = listing.frames.len();
    bar.text = format!(
        "{}: {frames} frames, {} bytes on {segments}",
        run.expand.name(),
        grouped(used)
    );
    bar
}

/// Frames from the oldest on, with their bytes. The oldest of a segment reaches to the segment's high end.
fn frames(listing: &Listing) -> impl Iterator<Item = (&crate::model::Frame, u64)> {
    listing.frames.iter().rev().map(|frame| {
        let to_high = || {
            listing
                .segments
                .get(frame.segment)
                .map(|[_, high]| high.saturating_sub(frame.child_sp))
        };
        (frame, frame.bytes_to_older.or_else(to_high).unwrap_or(0))
    })
}

fn colour(index: usize, own: bool) -> String {
    if own {
        "own".to_owned()
    } else {
        format!("m{}", index.min(COLOURS - 1))
    }
}
