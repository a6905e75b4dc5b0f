//! What happened, in a sentence: the first thing that somebody who opens a dump wants to hear.

use std::fmt::Write as _;

use num_format::{Locale, ToFormattedString as _};

use crate::{Analysis, Frame, Segment};

/// The modules between the Filter Manager and a server, whose frames a UNC path pays for.
const REDIRECTOR: [&str; 7] = [
    "mup", "dfsc", "rdbss", "mrxsmb", "mrxsmb10", "mrxsmb20", "mrxdav",
];
/// Modules told by name; the others are summed up.
const TOLD: usize = 4;
/// Below the limit of a stack lies one page that nobody may touch.
const GUARD: u64 = 0x1000;

impl Analysis {
    /// The segment that the machine stopped on, and its number, the thread's first being 1.
    #[must_use]
    pub fn segment(&self) -> Option<(usize, &Segment)> {
        let index = self.frames.iter().find_map(|frame| frame.segment)?;
        Some((self.segments.len() - index, self.segments.get(index)?))
    }

    /// The frame that ran when it happened: what is newer only told of it.
    #[must_use]
    pub fn culprit(&self) -> Option<&Frame> {
        let told = |frame: &&Frame| !frame.symbol.starts_with("nt!KeBugCheck");
        let interrupted = self.frames.iter().find(|frame| frame.interrupted);
        interrupted.or_else(|| {
            self.frames
                .iter()
                .filter(|frame| frame.segment.is_some())
                .find(told)
        })
    }

    /// Whether the machine stopped because the thread's kernel stack was full: a double fault, a stack pointer below its
    /// segment's limit, or a fault on the page below that.
    #[must_use]
    pub fn overflowed(&self) -> bool {
        let Some((_, segment)) = self.segment() else {
            return self.bug_check.is_double_fault();
        };
        let guard = segment.limit.saturating_sub(GUARD)..segment.limit;
        self.bug_check.is_double_fault()
            || self.bug_check.code == 0x2B
            || segment.lowest < segment.limit
            || (self.bug_check.code == 0x50 && guard.contains(&self.bug_check.parameters[0]))
    }

    /// What happened.
    #[must_use]
    pub fn sentence(&self) -> String {
        let mut text = format!("Bug check {:#X}", self.bug_check.code);
        if let Some(name) = self.bug_check.name() {
            let _ = write!(text, " {name}");
        }
        let _ = write!(text, ": {} ", self.who());
        let Some((number, segment)) = self.segment() else {
            text.push_str(if self.overflowed() {
                "ran out of kernel stack, of which nothing is known."
            } else {
                "stopped the machine; nothing is known of its kernel stack."
            });
            return text;
        };
        let which = format!(
            "segment {number} of {} ({} of {} bytes in use)",
            self.segments.len(),
            grouped(segment.used()),
            grouped(segment.size())
        );
        let newest = self.culprit().map_or("?", |frame| frame.symbol.as_str());
        if self.overflowed() {
            let _ = write!(text, "ran out of kernel stack in {newest}, on {which}");
        } else {
            let left = segment.size() - segment.used();
            let _ = write!(
                text,
                "stopped the machine in {newest}, with {} bytes of kernel stack left, on {which}",
                grouped(left)
            );
        }
        let _ = write!(text, ", filled by {}.", filled_by(segment));
        text
    }

    fn who(&self) -> String {
        let Some(thread) = &self.thread else {
            return "a thread that is not known".to_owned();
        };
        let id = thread.id.map_or_else(
            || format!("the thread at {:#x}", thread.address),
            |id| format!("thread {id:#x}"),
        );
        match (&thread.process, thread.process_id) {
            (Some(process), Some(pid)) => format!("{id} of {process} ({pid:#x})"),
            (Some(process), None) => format!("{id} of {process}"),
            (None, Some(pid)) => format!("{id} of process {pid:#x}"),
            (None, None) => id,
        }
    }
}

/// `headroom 7,296 bytes, the redirector 1,888 (rdbss 1,504, mup 320, mrxsmb 64), …`, most first.
fn filled_by(segment: &Segment) -> String {
    let redirector: Vec<&(String, u64)> = segment
        .by_module
        .iter()
        .filter(|(name, _)| REDIRECTOR.contains(&name.as_str()))
        .collect();
    let mut parts: Vec<(u64, String)> = segment
        .by_module
        .iter()
        .filter(|(name, _)| !REDIRECTOR.contains(&name.as_str()))
        .map(|(name, bytes)| (*bytes, readable(name).to_owned()))
        .collect();
    if !redirector.is_empty() {
        let of = redirector
            .iter()
            .map(|(name, bytes)| format!("{name} {}", grouped(*bytes)));
        let sum = redirector.iter().map(|(_, bytes)| bytes).sum();
        parts.push((
            sum,
            format!("the redirector ({})", of.collect::<Vec<_>>().join(", ")),
        ));
    }
    parts.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    let others: u64 = parts.iter().skip(TOLD).map(|(bytes, _)| bytes).sum();
    parts.truncate(TOLD);
    if others > 0 {
        parts.push((others, "others".to_owned()));
    }
    let told: Vec<String> = parts
        .iter()
        .map(|(bytes, name)| match name.split_once(" (") {
            Some((name, rest)) => format!("{name} {} bytes ({rest}", grouped(*bytes)),
            None => format!("{name} {} bytes", grouped(*bytes)),
        })
        .collect();
    if told.is_empty() {
        "nothing that is known".to_owned()
    } else {
        told.join(", ")
    }
}

/// A module's name.
fn readable(name: &str) -> &str {
    if name.is_empty() {
        "no known module"
    } else {
        name
    }
}

/// A number with a comma between thousands.
fn grouped(number: u64) -> String {
    number.to_formatted_string(&Locale::en)
}
