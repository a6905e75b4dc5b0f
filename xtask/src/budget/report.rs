//! The table, and what the gates say.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::{
    Analysis, EXPANSION,
    code::{Target, What},
    graph::Costs,
};

/// The most that a driver may use, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// On the caller's stack, from the callback to the call of the expansion.
    pub caller: Option<u32>,
    /// On the reserved stack.
    pub reserved: Option<u32>,
}

/// The report on one driver.
#[derive(Debug, Default)]
pub struct Report {
    /// For people.
    pub text: String,
    /// What breaks a rule.
    pub broken: Vec<String>,
}

impl Analysis {
    /// Measures and judges.
    #[must_use]
    pub fn report(&self, limits: Limits) -> Report {
        let mut report = Report::default();
        let callouts = self.callouts();
        let known: BTreeSet<usize> = callouts.iter().copied().flatten().collect();
        let any = self.costs(false, |edge| self.callout(edge).is_some());
        let entries = self.entries.iter().copied();
        let expanding: Vec<usize> = entries
            .filter(|entry| !known.contains(entry) && any.bytes(*entry).is_some())
            .collect();
        let deepest = self.to_the_deepest();

        if callouts.is_empty() {
            let _ = writeln!(report.text, "\n  nothing calls {EXPANSION}");
            if limits != Limits::default() {
                report.broken.push(format!(
                    "there is a limit, but nothing calls {EXPANSION}: nothing is measured"
                ));
            }
        }
        if !expanding.is_empty() {
            let title = format!("on the caller's stack, to the call of {EXPANSION}");
            heading(&mut report.text, &title, limits.caller);
        }
        for callout in &callouts {
            let costs = self.costs(false, |edge| self.callout(edge) == Some(*callout));
            let name = callout.map_or("an unknown callout".to_owned(), |index| self.name(index));
            for entry in &expanding {
                let what = format!("{} -> {name}", self.name(*entry));
                self.sum(&mut report, &costs, *entry, &what, limits.caller);
            }
        }
        if !known.is_empty() {
            heading(&mut report.text, "on the reserved stack", limits.reserved);
        }
        for callout in &known {
            let what = self.name(*callout);
            self.sum(&mut report, &deepest, *callout, &what, limits.reserved);
        }
        if callouts.contains(&None) {
            report.broken.push(format!(
                "{EXPANSION} is called with a callout that the code does not show: what the reserved stack carries is not known"
            ));
        }
        self.unexpanded(&mut report.text, &known, &deepest);
        let measured: Vec<usize> = if callouts.is_empty() {
            self.entries.clone()
        } else {
            expanding.into_iter().chain(known).collect()
        };
        self.unseen(&mut report, &measured);
        for (at, edge, name) in self.tail_calls() {
            report.broken.push(format!(
                "{} jumps into {name}: a tail call, for which Filter Verifier takes another caller's address",
                self.place(at, edge.at)
            ));
        }
        report
    }

    /// One sum, its gate, and its frames, oldest first.
    fn sum(&self, report: &mut Report, costs: &Costs, from: usize, what: &str, limit: Option<u32>) {
        let Some(bytes) = costs.bytes(from) else {
            return;
        };
        let verdict = match limit {
            Some(limit) if bytes > limit => {
                report.broken.push(format!(
                    "{what}: {bytes:#x} bytes of our frames; the limit is {limit:#x}"
                ));
                "TOO MUCH"
            }
            Some(_) => "ok",
            None => "",
        };
        let text = &mut report.text;
        let _ = writeln!(text, "  {bytes:>#8x} {verdict:>8}  {what}");
        for step in costs.way(&self.functions, from) {
            let name = match step.calls_at {
                Some(at) => self.place(step.function, at),
                None => self.name(step.function),
            };
            let _ = writeln!(text, "  {:>8} {:>#8x}    {name}", "", step.frame);
        }
    }

    /// What each entry puts on the stack that it is called on, at its deepest, while nothing expands.
    fn unexpanded(&self, text: &mut String, callouts: &BTreeSet<usize>, deepest: &Costs) {
        let title = "on the stack each is called on, where nothing expands: other callbacks, a policy's choice, before and after";
        heading(text, title, None);
        let mut rows: Vec<(u32, String)> = self
            .entries
            .iter()
            .filter(|entry| self.functions[**entry].stub.is_none() && !callouts.contains(entry))
            .map(|entry| {
                let mut names = vec![self.name(*entry)];
                let way = deepest.way(&self.functions, *entry);
                names.extend(way.iter().map(|step| self.name(step.function)));
                names.dedup();
                (deepest.bytes(*entry).unwrap_or(0), names.join(" > "))
            })
            .collect();
        rows.sort_by(|one, other| other.cmp(one));
        for (bytes, names) in rows {
            let _ = writeln!(text, "  {bytes:>#8x} {:>8}  {names}", "");
        }
    }

    /// What cannot be told of the measured ways.
    fn unseen(&self, report: &mut Report, measured: &[usize]) {
        let reach: BTreeSet<usize> = measured.iter().flat_map(|from| self.reach(*from)).collect();
        let mut lines = Vec::new();
        for (at, edge) in &self.recursive {
            let place = self.place(*at, self.functions[*at].edges[*edge].at);
            let line = format!("{place} comes back to itself");
            if reach.contains(at) {
                report
                    .broken
                    .push(format!("recursion: {line}, and there is no bound"));
            }
            lines.push(line);
        }
        for at in &reach {
            for unseen in &self.functions[*at].unseen {
                let place = self.place(*at, unseen.at);
                lines.push(match unseen.what {
                    What::Call => format!("{place} calls through a pointer"),
                    What::Jump => format!("{place} jumps through a pointer"),
                    What::Moves => {
                        let line =
                            format!("{place} moves the stack pointer by what no unwind data says");
                        report.broken.push(format!("{line}, and there is no bound"));
                        line
                    }
                });
            }
        }
        let text = &mut report.text;
        if !lines.is_empty() {
            let _ = writeln!(text, "\n  cannot be seen");
        }
        for line in lines {
            let _ = writeln!(text, "                     {line}");
        }
        self.imports(text, measured, &reach);
    }

    /// Imports that the measured ways call, with how much of our own lies on the stack then, at most.
    fn imports(&self, text: &mut String, measured: &[usize], reach: &BTreeSet<usize>) {
        let mut imports: BTreeMap<&str, BTreeMap<usize, Vec<u32>>> = BTreeMap::new();
        for (at, edge) in self.edges().filter(|(at, _)| reach.contains(at)) {
            if let Target::Import { name, .. } = &edge.target {
                let offset = edge.at.wrapping_sub(self.functions[at].start);
                imports
                    .entry(name)
                    .or_default()
                    .entry(at)
                    .or_default()
                    .push(offset);
            }
        }
        if imports.is_empty() {
            return;
        }
        let mut rows: Vec<_> = imports
            .into_iter()
            .map(|(name, places)| {
                let costs = self.to_import(name);
                let bytes = measured.iter().filter_map(|from| costs.bytes(*from)).max();
                (bytes.unwrap_or(0), name, places)
            })
            .collect();
        rows.sort_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(other.1)));
        let width = rows.iter().map(|row| row.1.len()).max().unwrap_or_default();
        let _ = writeln!(
            text,
            "\n  cannot be seen: what imported routines need, and what they call back into the driver\n  {:>8}  {:<width$}  called at",
            "on top of", "routine"
        );
        for (bytes, name, places) in rows {
            let mut label = format!("  {bytes:>#9x}  {name:<width$}  ");
            for (function, offsets) in places {
                let offsets: Vec<String> = offsets.iter().map(|at| format!("+{at:#x}")).collect();
                let _ = writeln!(text, "{label}{} {}", self.name(function), offsets.join(" "));
                label = " ".repeat(label.len());
            }
        }
    }

    /// `function+0x12`.
    fn place(&self, function: usize, at: u32) -> String {
        let offset = at.wrapping_sub(self.functions[function].start);
        format!("{}+{offset:#x}", self.name(function))
    }
}

fn heading(text: &mut String, title: &str, limit: Option<u32>) {
    let limit = limit.map(|limit| format!(" (at most {limit:#x})"));
    let _ = writeln!(
        text,
        "\n  {title}{}\n  {:>8} {:>8}  function",
        limit.unwrap_or_default(),
        "sum",
        "frame"
    );
}
