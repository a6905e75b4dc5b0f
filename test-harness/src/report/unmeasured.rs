//! What a report cannot say, and why: the part that keeps the rest honest.

use super::Origin;
use super::measures::{Create, unrecorded};
use crate::model::{End, Run};
use crate::table::grouped;

/// What could not be measured in `runs`, in sentences. Never empty: some things nobody measures.
pub(super) fn sentences(
    origin: &Origin,
    runs: &[(&Run, &[Create<'_>])],
    of_scenario: bool,
    no_driver: bool,
) -> Vec<String> {
    let mut told = Vec::new();
    for (run, creates) in runs {
        of_run(&mut told, run, creates);
    }
    if no_driver {
        told.push(
            "The driver. These calls were made without it: nothing was recorded, and of the stack nothing is known.".to_owned(),
        );
    }
    if !of_scenario {
        told.push(
            "These are records from a log. What was opened and what had to come of it is not in them: there is no verdict, no \
             stack listing, and no second witness for the samples."
                .to_owned(),
        );
    }
    told.push(
        "Between the samples. A create's stack is known at three points: as it arrived, as its inspection started and as the \
         expansion returned. The file system below goes deeper than any of them; how deep, only its own nested creates and a \
         bug check show."
            .to_owned(),
    );
    told.push(
        "The expansion by itself. The driver times an inspection from the create's arrival to its end, expansion, name query \
         and ancestors' opens together; what KeExpandKernelStackAndCalloutEx alone took is not recorded."
            .to_owned(),
    );
    if origin.is_simulated() {
        told.push(
            "Windows itself. The driver's own frames are real, measured in its own binary; the kernel's are charged from public \
             stack listings of a few Windows versions, some of them assumed. A depth at which the simulated machine dies is a \
             fact about that model. That it dies, and what prevents it, is what it shows."
                .to_owned(),
        );
        told.push(
            "Windows' limits. It documents no number of stack segments and does not say how much of a new one is committed: the \
             machine's numbers are settings, and an outcome shown as grown could be direct there."
                .to_owned(),
        );
        told.push(
            "Time on Windows. Times are this host's, with the simulated machine's own checks and traces in them. Compare them \
             with each other, not with a Windows machine."
                .to_owned(),
        );
    }
    told
}

fn of_run(told: &mut Vec<String>, run: &Run, creates: &[Create<'_>]) {
    let policy = run.expand.name();
    let missing = creates.iter().filter(|create| !create.recorded).count();
    if let End::BugCheck(bug_check) = &run.end {
        told.push(format!(
            "{policy}: the machine died of bug check {:#04X}. {} had not returned and so have no record: for those only the stack at \
             arrival is known, by the machine's own measure, with no sample inside or after, no process and no duration.",
            bug_check.code,
            creates_of(missing)
        ));
        if run.losses.is_none() {
            told.push(format!(
                "{policy}: what the driver lost of its records died with the machine."
            ));
        }
    } else {
        if run.losses.is_none() && of_records(run) {
            told.push(format!(
                "{policy}: how many records the driver lost is not known; nobody asked it."
            ));
        }
        if !run.arrivals.is_empty() {
            let unseen = unrecorded(run).len();
            if unseen > 0 {
                told.push(format!(
                    "{policy}: {} arrived at the driver and left no record.",
                    creates_of(unseen)
                ));
            }
        }
    }
    if let Some(why) = &run.unrecorded {
        told.push(format!("{policy}: there are no records: {why}."));
    }
    if run.interrupted {
        told.push(format!(
            "{policy}: what would have come after: Ctrl-C ended the run early."
        ));
    }
    if run.arrivals_dropped > 0 {
        told.push(format!(
            "{policy}: the machine saw {} creates more than it had room to remember.",
            grouped(run.arrivals_dropped)
        ));
    }
    if let Some(losses) = run.losses {
        let lost = losses.overwritten + losses.skipped + losses.skipped_low_stack;
        if lost > 0 {
            told.push(format!(
                "{policy}: {} records were lost (see the losses above): a create that came closer to the end of its stack may be \
                 among them.",
                grouped(lost)
            ));
        }
    }
    for (sample, name) in ["before", "inside", "after"].into_iter().enumerate() {
        let without = creates
            .iter()
            .filter(|create| create.recorded && create.samples[sample].is_none())
            .count();
        if without > 0 {
            let why = match name {
                "inside" => " (nothing was inspected, or the inspection did not start)",
                "after" => " (there was no expansion to return from)",
                _ => "",
            };
            told.push(format!(
                "{policy}: {} without the sample \u{201c}{name}\u{201d}{why}.",
                creates_of(without)
            ));
        }
    }
    let open = run
        .records
        .iter()
        .filter(|record| record.create_status.is_none())
        .count();
    if open > 0 {
        told.push(format!(
            "{policy}: what {} came to was not known yet when the records were read.",
            creates_of(open)
        ));
    }
    if run.records.is_empty() && run.arrivals.is_empty() && run.unrecorded.is_none() {
        told.push(format!(
            "{policy}: no create was recorded at all: no driver answered, or none of the opens was its business."
        ));
    }
    let frequency = run.losses.map_or(0, |losses| losses.ticks_per_second);
    if frequency == 0 && !run.records.is_empty() {
        told.push(format!(
            "{policy}: how long a tick is. Durations are in ticks of the performance counter: its frequency is not in the file."
        ));
    }
}

fn of_records(run: &Run) -> bool {
    !run.records.is_empty()
}

fn creates_of(count: usize) -> String {
    if count == 1 {
        "1 create".to_owned()
    } else {
        format!("{} creates", grouped(count as u64))
    }
}
