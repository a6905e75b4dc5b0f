//! From creates and bytes to pixels.

use askama::Template;

use super::scale::{Frame, KB, Place, Tick, WIDTH, step};
use super::series::{Point, Segment, Series};
use super::strip::Strip;
use crate::model::{Expand, KERNEL_STACK_BYTES, LARGE_STACK_BYTES, Run};
use crate::scenario::{Kind, Plan};

/// The picture, ready to be drawn.
#[derive(Template)]
#[template(path = "chart.svg", escape = "html")]
pub(super) struct Chart {
    width: f64,
    height: f64,
    title: &'static str,
    subtitle: String,
    /// What the picture says, for those who cannot see it.
    description: String,
    legend: Vec<Legend>,
    panels: Vec<Panel>,
    x_label: &'static str,
    x_label_y: f64,
    strip: Option<Strip>,
}

struct Legend {
    class: &'static str,
    x: f64,
    text: String,
}

struct Panel {
    title: &'static str,
    aside: &'static str,
    frame: Frame,
    y_ticks: Vec<Tick>,
    x_ticks: Vec<Tick>,
    boxes: Vec<SegmentBox>,
    /// What of each box is committed.
    committed: Vec<String>,
    rules: Vec<Rule>,
    lines: Vec<Line>,
    dots: Vec<Dot>,
    crosses: Vec<Place>,
    labels: Vec<Label>,
}

struct SegmentBox {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
    label: Option<String>,
}

struct Rule {
    y: f64,
    x: f64,
    x_end: f64,
    class: &'static str,
    text: String,
}

struct Line {
    class: &'static str,
    path: String,
}

struct Dot {
    class: &'static str,
    place: Place,
    text: String,
}

struct Label {
    class: &'static str,
    place: Place,
    text: String,
}

impl Chart {
    pub(super) fn of(title: &'static str, plan: &Plan, runs: &[Run]) -> Self {
        let series: Vec<Series> = runs
            .iter()
            .map(|run| Series::of(run, plan.scenario, plan.large_stack))
            .collect();
        let nested = plan.scenario == Kind::Nested;
        let creates = series
            .iter()
            .flat_map(Series::points)
            .map(|point| point.at)
            .max()
            .unwrap_or(1);
        let x_max = f64::from(
            if nested {
                creates.max(plan.depth)
            } else {
                creates
            }
            .max(4),
        );
        let most = |pick: fn(&Point) -> u64| {
            series
                .iter()
                .flat_map(Series::points)
                .map(|point| pick(&point))
                .max()
                .unwrap_or(0)
        };
        let largest = series
            .iter()
            .flat_map(|series| &series.segments)
            .map(|segment| segment.bytes)
            .max();
        let y_max = largest
            .unwrap_or(KERNEL_STACK_BYTES)
            .max(most(|point| point.used)) as f64
            * 1.04;

        let mut panels = Vec::new();
        let mut legend = Vec::new();
        let mut bottom = 92.0;
        // Two creates make no curve: what the DFS scenario has to show is its stack.
        if plan.scenario != Kind::Dfs {
            let frame = Frame {
                top: 122.0,
                bottom: 460.0,
                x_max,
                y_max,
            };
            panels.push(panel(
                "Stack in use on the thread's present segment",
                frame,
                &series,
                nested,
            ));
            bottom = frame.bottom + 62.0;
            legend.extend(
                series
                    .iter()
                    .zip([20.0, WIDTH / 2.0])
                    .map(|(series, x)| Legend {
                        class: class(series.expand),
                        x,
                        text: sentence(series),
                    }),
            );
        }
        let total = most(|point| point.total);
        if nested && total > KERNEL_STACK_BYTES {
            let frame = Frame {
                top: 530.0,
                bottom: 670.0,
                x_max,
                y_max: total as f64 * 1.12,
            };
            panels.push(total_panel(frame, &series));
            bottom = frame.bottom + 62.0;
        }
        let x_label_y = bottom - 18.0;
        let strip = Strip::of(plan.scenario, runs, bottom + 14.0);
        if let Some(strip) = &strip {
            bottom = strip.bottom + 16.0;
        }
        Self {
            width: WIDTH,
            height: bottom,
            title,
            subtitle: subtitle(plan, &series),
            legend,
            description: series.iter().map(sentence).collect::<Vec<_>>().join(" "),
            panels,
            x_label: if nested {
                "creates under way on the thread"
            } else {
                "creates in order of arrival"
            },
            x_label_y,
            strip,
        }
    }
}

fn subtitle(plan: &Plan, series: &[Series]) -> String {
    let stack = if plan.large_stack {
        "a large kernel stack (72 KB, 24 KB committed)"
    } else {
        "a 24 KB kernel stack"
    };
    let reservation = series.iter().find_map(|series| series.reservation);
    match reservation {
        Some(bytes) => {
            format!("one thread that starts on {stack}; each expansion asks for {bytes:#X} bytes")
        }
        None => format!("one thread that starts on {stack}"),
    }
}

/// What a series came to.
fn sentence(series: &Series) -> String {
    let name = series.expand.name();
    match (&series.died, series.points().map(|point| point.at).max()) {
        (Some((depth, what)), _) => format!("{name}: {what} at depth {depth}."),
        (None, Some(creates)) if series.segments.len() > 1 => {
            format!(
                "{name}: {creates} creates on {} segments.",
                series.segments.len()
            )
        }
        (None, Some(creates)) => format!("{name}: {creates} creates."),
        (None, None) => format!("{name}: no create seen."),
    }
}

fn class(expand: Expand) -> &'static str {
    match expand {
        Expand::Always | Expand::RedZone => "always",
        Expand::Never => "never",
    }
}

fn panel(title: &'static str, frame: Frame, series: &[Series], nested: bool) -> Panel {
    let mut panel = Panel::empty(title, frame);
    if nested && series.iter().any(|series| series.expand == Expand::Always) {
        panel.aside = "shaded: what of the segment is committed, as it grows in place";
    }
    panel.rule(
        KERNEL_STACK_BYTES,
        "limit",
        "an ordinary kernel stack ends: 24 KB",
    );
    for series in series {
        let class = class(series.expand);
        if nested && series.expand == Expand::Always {
            panel.boxes(series);
        }
        let mut path = String::new();
        let mut jumps = String::new();
        let mut last = None;
        for segment in &series.segments {
            let mut command = 'M';
            for point in &segment.points {
                let place = frame.place(point.at, point.used);
                if let Some(from) = last.filter(|_| command == 'M') {
                    step(&mut jumps, 'M', from);
                    step(&mut jumps, 'L', place);
                }
                step(&mut path, command, place);
                command = 'L';
                last = Some(place);
            }
        }
        if nested {
            panel.lines.push(Line { class, path });
            panel.lines.push(Line {
                class: "jump",
                path: jumps,
            });
        }
        // Creates that do not nest take the same stack under either policy: beside each other, or one hides the other.
        let aside = match series.expand {
            _ if nested => 0.0,
            Expand::Never => -4.0,
            Expand::Always | Expand::RedZone => 4.0,
        };
        panel.dots(series, class, aside);
        panel.death(series, class, |point| point.used);
    }
    panel
}

fn total_panel(frame: Frame, series: &[Series]) -> Panel {
    let mut panel = Panel::empty(
        "Stack in use on all of the thread's segments together",
        frame,
    );
    panel.rule(KERNEL_STACK_BYTES, "limit", "24 KB");
    for series in series {
        let class = class(series.expand);
        let mut path = String::new();
        let mut command = 'M';
        for point in series.points() {
            step(&mut path, command, frame.place(point.at, point.total));
            command = 'L';
        }
        panel.lines.push(Line { class, path });
        panel.death(series, class, |point| point.total);
    }
    // The cross is named in the panel above.
    panel.labels.clear();
    panel
}

impl Panel {
    fn empty(title: &'static str, frame: Frame) -> Self {
        Self {
            title,
            aside: "",
            frame,
            y_ticks: frame.y_ticks(),
            x_ticks: frame.x_ticks(),
            boxes: Vec::new(),
            committed: Vec::new(),
            rules: Vec::new(),
            lines: Vec::new(),
            dots: Vec::new(),
            crosses: Vec::new(),
            labels: Vec::new(),
        }
    }

    fn rule(&mut self, bytes: u64, class: &'static str, text: &str) {
        let (x, x_end) = (self.frame.left(), self.frame.right());
        self.rules.push(Rule {
            y: self.frame.y(bytes),
            x,
            x_end,
            class,
            text: text.to_owned(),
        });
    }

    /// Each segment as a box of its own size, from the create that switched to it to the one that left it; in it what is
    /// committed so far, and the line above which less than the reservation is left.
    fn boxes(&mut self, series: &Series) {
        let frame = self.frame;
        let edge = |segment: &Segment| {
            segment
                .points
                .first()
                .map_or(1.0, |point| f64::from(point.at))
        };
        let mut noted = false;
        for (index, segment) in series.segments.iter().enumerate() {
            let x = if index == 0 {
                frame.left()
            } else {
                frame.x(edge(segment))
            };
            let x_end = series
                .segments
                .get(index + 1)
                .map_or(frame.right(), |next| frame.x(edge(next)));
            let y = frame.y(segment.bytes);
            let width = x_end - x;
            let label = (width > 110.0)
                .then(|| format!("segment {}, {} KB", index + 1, segment.bytes / KB));
            self.boxes.push(SegmentBox {
                x,
                y,
                width,
                height: frame.bottom - y,
                label,
            });
            self.committed.push(committed(frame, segment, x, x_end));
            if let Some(reservation) = series
                .reservation
                .filter(|_| segment.bytes == LARGE_STACK_BYTES)
            {
                let note = !noted && width > 150.0;
                noted |= note;
                let text = if note {
                    format!("{} KB left: it switches", reservation / KB)
                } else {
                    String::new()
                };
                let y = frame.y(segment.bytes - reservation.min(segment.bytes));
                self.rules.push(Rule {
                    y,
                    x,
                    x_end,
                    class: "reserve",
                    text,
                });
            }
        }
    }

    /// A dot for each create, where there is room for dots.
    fn dots(&mut self, series: &Series, class: &'static str, aside: f64) {
        if self.frame.x(2.0) - self.frame.x(1.0) < 5.0 {
            return;
        }
        for point in series.points() {
            let bytes = crate::table::grouped(point.used);
            let text = format!(
                "{}, create {}: {bytes} bytes in use",
                series.expand.name(),
                point.at
            );
            let mut place = self.frame.place(point.at, point.used);
            place.x += aside;
            self.dots.push(Dot { class, place, text });
        }
    }

    /// Where the machine died: after the last create arrived, with the segment used up to its end.
    fn death(&mut self, series: &Series, class: &'static str, pick: fn(&Point) -> u64) {
        let Some((_, what)) = &series.died else {
            return;
        };
        let Some((segment, last)) = series
            .segments
            .last()
            .and_then(|segment| Some((segment, segment.points.last()?)))
        else {
            return;
        };
        let from = self.frame.place(last.at, pick(last));
        let below = last.total - last.used;
        let bytes = if pick(last) == last.used {
            segment.bytes
        } else {
            below + segment.bytes
        };
        let end = Place {
            x: self.frame.x(f64::from(last.at) + 0.6),
            y: self.frame.y(bytes),
        };
        let mut path = String::new();
        step(&mut path, 'M', from);
        step(&mut path, 'L', end);
        self.lines.push(Line {
            class: "fall",
            path,
        });
        self.crosses.push(end);
        let place = Place {
            x: end.x + 13.0,
            y: end.y + 20.0,
        };
        self.labels.push(Label {
            class,
            place,
            text: what.clone(),
        });
    }
}

/// The committed part of a segment as a staircase from `x` to `x_end`: each create finds it as the one before left it.
fn committed(frame: Frame, segment: &Segment, x: f64, x_end: f64) -> String {
    let mut path = String::new();
    step(&mut path, 'M', Place { x, y: frame.bottom });
    let mut points = segment.points.iter().peekable();
    let mut from = x;
    while let Some(point) = points.next() {
        let to = points.peek().map_or(x_end, |next| frame.x(next.at.into()));
        // The next create's sample shows what this one's expansion made of the segment.
        let bytes = points.peek().map_or(point.committed, |next| next.committed);
        let y = frame.y(bytes);
        step(&mut path, 'L', Place { x: from, y });
        step(&mut path, 'L', Place { x: to, y });
        from = to;
    }
    step(
        &mut path,
        'L',
        Place {
            x: from,
            y: frame.bottom,
        },
    );
    path.push('Z');
    path
}
