//! The watermarks in the Prometheus text format, version 0.0.4, as windows_exporter's and node_exporter's textfile
//! collectors read it: a file `headroom.prom` in their folder, LF at line ends, no time stamps.
//!
//! The system's marks, those by depth and those by process are metrics of their own: a sum or a minimum over one of them
//! never counts a create twice. What was not measured has no sample; no value stands for it.

use std::fmt::Write as _;

use super::stats::{MarksView, Stats};

/// The text.
#[must_use]
pub fn text(stats: &Stats) -> String {
    let mut text = Text::default();
    text.metric(
        "headroom_build_info",
        "gauge",
        "Always 1; its labels say which headroom read which driver.",
        [(
            std::iter::once(("version", env!("CARGO_PKG_VERSION").to_owned()))
                .chain(stats.driver.clone().map(|driver| ("driver", driver)))
                .collect(),
            Some(1),
        )],
    );
    text.metric(
        "headroom_watermarks_generation",
        "gauge",
        "How often the watermarks were started afresh, from 1: the counters of creates start at 0 with it.",
        [(vec![], Some(stats.generation))],
    );
    text.marks("headroom", "", &[(vec![], stats.system)]);
    let depths: Vec<_> = stats
        .depths
        .iter()
        .map(|depth| {
            // The last one collects all deeper ones.
            let more = if depth.and_deeper { "+" } else { "" };
            (
                vec![("depth", format!("{}{more}", depth.depth))],
                depth.marks,
            )
        })
        .collect();
    text.marks(
        "headroom_depth",
        ", by creates under way on the thread",
        &depths,
    );
    let processes: Vec<_> = stats
        .processes
        .iter()
        .map(|process| (vec![("process", process.process.clone())], process.marks))
        .collect();
    text.marks("headroom_process", ", by process image", &processes);
    let missed = stats.missed;
    text.metric(
        "headroom_process_marks_missed_total",
        "counter",
        "What the marks by process do not hold, since there are only so many places: images evicted, creates turned away or skipped.",
        [
            ("evicted", missed.evicted),
            ("turned_away", missed.turned_away),
            ("skipped", missed.skipped),
        ]
        .map(|(reason, count)| (vec![("reason", reason.to_owned())], Some(count))),
    );
    if let Some(losses) = stats.losses {
        text.metric(
            "headroom_records_written_total",
            "counter",
            "Records that the driver wrote since it was loaded.",
            [(vec![], Some(losses.written))],
        );
        text.metric(
            "headroom_records_lost_total",
            "counter",
            "Records that were replaced before they were read for certain, or not written at all.",
            [
                ("overwritten", losses.overwritten),
                ("no_slot", losses.skipped),
                ("low_stack", losses.skipped_low_stack),
            ]
            .map(|(reason, count)| (vec![("reason", reason.to_owned())], Some(count))),
        );
    }
    text.0
}

type Labels = Vec<(&'static str, String)>;

#[derive(Default)]
struct Text(String);

impl Text {
    /// The metrics of one kind of marks.
    fn marks(&mut self, prefix: &str, by: &str, marks: &[(Labels, MarksView)]) {
        let sampled = marks.iter().flat_map(|(labels, marks)| {
            [
                ("before", marks.lowest_before),
                ("inside", marks.lowest_inside),
            ]
            .map(|(sample, bytes)| {
                let labels = labels
                    .iter()
                    .cloned()
                    .chain([("sample", sample.to_owned())]);
                (labels.collect(), bytes.map(u64::from))
            })
        });
        self.metric(
            &format!("{prefix}_stack_lowest_remaining_bytes"),
            "gauge",
            &format!(
                "Least kernel stack left{by}: before, where a create arrived; inside, where its inspection started."
            ),
            sampled,
        );
        let each = |pick: fn(&MarksView) -> Option<u64>| {
            marks
                .iter()
                .map(move |(labels, marks)| (labels.clone(), pick(marks)))
        };
        self.metric(
            &format!("{prefix}_inspection_stack_used_max_bytes"),
            "gauge",
            &format!("Most kernel stack that an inspection is known to have used{by}."),
            each(|marks| marks.most_spent.map(u64::from)),
        );
        if prefix != "headroom_depth" {
            self.metric(
                &format!("{prefix}_nest_depth_max"),
                "gauge",
                &format!("Most creates that were under way on one thread at a time{by}."),
                each(|marks| marks.deepest.map(u64::from)),
            );
        }
        self.metric(
            &format!("{prefix}_creates_total"),
            "counter",
            &format!("Creates that arrived at the driver{by}."),
            each(|marks| Some(marks.creates)),
        );
    }

    /// One metric with its samples; nothing at all where it has none.
    fn metric(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, Option<u64>)>,
    ) {
        let mut samples = samples
            .into_iter()
            .filter_map(|(labels, value)| Some((labels, value?)))
            .peekable();
        if samples.peek().is_none() {
            return;
        }
        let text = &mut self.0;
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let labels: Vec<String> = labels
                .iter()
                .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
                .collect();
            let labels = if labels.is_empty() {
                String::new()
            } else {
                format!("{{{}}}", labels.join(","))
            };
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    }
}

/// A label's value with what the format reserves written as it asks for.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
    text
}
