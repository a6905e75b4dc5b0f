//! Stack in use over creates: on the segment that each create found, and on all of a thread's segments together.

use super::drawing::Drawing;
use super::scale::{Frame, KB, Place, step};
use super::series::{Point, Segment, Series};
use crate::model::{Expand, KERNEL_STACK_BYTES, LARGE_STACK_BYTES};

/// Where the series are drawn.
pub(super) struct Panel<'a> {
    pub(super) frame: Frame,
    pub(super) series: &'a [Series],
    /// The creates nest: their points make lines.
    pub(super) nested: bool,
}

/// What the style sheet knows a policy by.
pub(super) const fn class(expand: Expand) -> &'static str {
    match expand {
        Expand::Always => "always",
        Expand::RedZone => "redzone",
        Expand::Never => "never",
    }
}

/// Grid, ticks and axis of a frame.
pub(super) fn scales(drawing: &mut Drawing, frame: Frame) {
    for tick in frame.y_ticks() {
        let (from, to) = (frame.left(), frame.right());
        let at = |x| Place { x, y: tick.at };
        drawing.line("grid", at(from), at(to));
        drawing.anchored("tick", from - 8.0, tick.at + 4.0, "end", &tick.text);
    }
    for tick in frame.x_ticks() {
        drawing.anchored("tick", tick.at, frame.bottom + 18.0, "middle", &tick.text);
    }
    let at = |x| Place { x, y: frame.bottom };
    drawing.line("axis", at(frame.left()), at(frame.right()));
}

impl Panel<'_> {
    /// The stack in use on each create's own segment.
    pub(super) fn draw(&self, drawing: &mut Drawing) {
        let expanding = || {
            self.series
                .iter()
                .filter(|series| self.nested && series.expand == Expand::Always)
        };
        let frame = self.frame;
        for series in expanding() {
            for place in self.spans(series) {
                place.draw(drawing, frame);
            }
        }
        scales(drawing, frame);
        let title = "Stack in use on the thread's present segment";
        drawing.text("panel", 20.0, frame.top - 12.0, title);
        if expanding().next().is_some() {
            let aside = "shaded: what of the segment is committed, as it grows in place";
            drawing.anchored("aside", frame.right(), frame.top - 12.0, "end", aside);
        }
        self.rule(drawing, KERNEL_STACK_BYTES, "rule limit");
        for series in expanding() {
            self.reservations(drawing, series);
        }
        for series in self.series {
            self.lines(drawing, series);
        }
        for series in expanding() {
            for place in self.spans(series) {
                place.label(drawing);
            }
        }
        self.limit_text(drawing, "an ordinary kernel stack ends: 24 KB");
        for series in self.series {
            self.death(drawing, series, |point| point.used, true);
        }
    }

    /// The stack in use on all segments together.
    pub(super) fn draw_total(&self, drawing: &mut Drawing) {
        let frame = self.frame;
        scales(drawing, frame);
        let title = "Stack in use on all of the thread's segments together";
        drawing.text("panel", 20.0, frame.top - 12.0, title);
        self.rule(drawing, KERNEL_STACK_BYTES, "rule limit");
        for series in self.series {
            let mut path = String::new();
            let mut command = 'M';
            for point in series.points() {
                step(&mut path, command, frame.place(point.at, point.total));
                command = 'L';
            }
            drawing.path(&format!("line {}", class(series.expand)), path);
            // The cross is named in the panel above.
            self.death(drawing, series, |point| point.total, false);
        }
        self.limit_text(drawing, "24 KB");
    }

    fn rule(&self, drawing: &mut Drawing, bytes: u64, class: &str) {
        let at = |x| Place {
            x,
            y: self.frame.y(bytes),
        };
        drawing.line(class, at(self.frame.left()), at(self.frame.right()));
    }

    fn limit_text(&self, drawing: &mut Drawing, text: &str) {
        let (x, y) = (
            self.frame.right() - 8.0,
            self.frame.y(KERNEL_STACK_BYTES) - 6.0,
        );
        drawing.anchored("note never", x, y, "end", text);
    }

    fn lines(&self, drawing: &mut Drawing, series: &Series) {
        let frame = self.frame;
        let class = class(series.expand);
        let (mut path, mut jumps) = (String::new(), String::new());
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
        if self.nested {
            drawing.path(&format!("line {class}"), path);
            drawing.path(&format!("line dashed {class}"), jumps);
        }
        // Creates that do not nest take the same stack under each policy: beside each other, or one hides the other.
        let aside = match series.expand {
            _ if self.nested => 0.0,
            Expand::Never => -4.0,
            Expand::RedZone => 0.0,
            Expand::Always => 4.0,
        };
        // A dot with a word for each create, where there is room for that.
        if frame.x(2.0) - frame.x(1.0) < 5.0 {
            if !self.nested {
                let mut points = String::new();
                for point in series.points() {
                    let place = frame.place(point.at, point.used);
                    step(&mut points, 'M', place);
                    points.push_str("h0");
                }
                drawing.path(&format!("line points {class}"), points);
            }
            return;
        }
        for point in series.points() {
            let bytes = crate::table::grouped(point.used);
            let word = format!(
                "{}, create {}: {bytes} bytes in use",
                series.expand.name(),
                point.at
            );
            let mut place = frame.place(point.at, point.used);
            place.x += aside;
            drawing.dot(&format!("dot {class}"), place, &word);
        }
    }

    /// Where the machine died: after the last create arrived, with the segment used up to its end.
    fn death(&self, drawing: &mut Drawing, series: &Series, pick: fn(&Point) -> u64, named: bool) {
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
        let Place { x, y } = Place {
            x: self.frame.x(f64::from(last.at) + 0.6),
            y: self.frame.y(bytes),
        };
        let class = class(series.expand);
        drawing.line(&format!("line dashed {class}"), from, Place { x, y });
        let (left, top) = (x - 6.0, y - 6.0);
        drawing.path("cross", format!("M{left:.1} {top:.1}l12 12m0 -12l-12 12"));
        if named {
            drawing.text(&format!("end {class}"), x + 13.0, y + 20.0, what);
        }
    }

    /// The line above which less than the reservation is left.
    fn reservations(&self, drawing: &mut Drawing, series: &Series) {
        let mut noted = false;
        for span in self.spans(series) {
            let Some(reservation) = series
                .reservation
                .filter(|_| span.segment.bytes == LARGE_STACK_BYTES)
            else {
                continue;
            };
            let y = self
                .frame
                .y(span.segment.bytes - reservation.min(span.segment.bytes));
            let at = |x| Place { x, y };
            drawing.line("rule reserve", at(span.x), at(span.x_end));
            if !noted && span.x_end - span.x > 150.0 {
                noted = true;
                let text = format!("{} KB left: it switches", reservation / KB);
                drawing.text("note soft", span.x + 8.0, y - 6.0, &text);
            }
        }
    }

    /// Each segment from the create that switched to it to the one that left it.
    fn spans<'s>(&self, series: &'s Series) -> Vec<Span<'s>> {
        let frame = self.frame;
        let edge = |segment: &Segment| {
            let first = segment.points.first();
            frame.x(first.map_or(1.0, |point| f64::from(point.at)))
        };
        let mut spans = Vec::new();
        for (index, segment) in series.segments.iter().enumerate() {
            let x = if index == 0 {
                frame.left()
            } else {
                edge(segment)
            };
            let x_end = series.segments.get(index + 1).map_or(frame.right(), edge);
            spans.push(Span {
                number: index + 1,
                segment,
                x,
                x_end,
                y: frame.y(segment.bytes),
            });
        }
        spans
    }
}

/// A segment as a box of its own size.
struct Span<'s> {
    number: usize,
    segment: &'s Segment,
    x: f64,
    x_end: f64,
    y: f64,
}

impl Span<'_> {
    fn draw(&self, drawing: &mut Drawing, frame: Frame) {
        let at = Place {
            x: self.x,
            y: self.y,
        };
        drawing.rect(
            "segment",
            at,
            self.x_end - self.x,
            frame.bottom - self.y,
            "",
        );
        drawing.path("committed", self.committed(frame));
    }

    fn label(&self, drawing: &mut Drawing) {
        if self.x_end - self.x > 110.0 {
            let text = format!("segment {}, {} KB", self.number, self.segment.bytes / KB);
            drawing.text("note soft", self.x + 8.0, self.y + 17.0, &text);
        }
    }

    /// The committed part as a staircase: each create finds it as the one before left it.
    fn committed(&self, frame: Frame) -> String {
        let mut path = String::new();
        let bottom = frame.bottom;
        step(
            &mut path,
            'M',
            Place {
                x: self.x,
                y: bottom,
            },
        );
        let mut points = self.segment.points.iter().peekable();
        let mut from = self.x;
        while let Some(point) = points.next() {
            let to = points
                .peek()
                .map_or(self.x_end, |next| frame.x(next.at.into()));
            // The next create's sample shows what this one's expansion made of the segment.
            let bytes = points.peek().map_or(point.committed, |next| next.committed);
            let y = frame.y(bytes);
            step(&mut path, 'L', Place { x: from, y });
            step(&mut path, 'L', Place { x: to, y });
            from = to;
        }
        step(&mut path, 'L', Place { x: from, y: bottom });
        path.push('Z');
        path
    }
}
