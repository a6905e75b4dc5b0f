//! What came of a run, as `--json` writes it. Statuses are written by name.

use std::collections::BTreeMap;

use ntbench::MachineError;
use ntbench::wire::{BugCheckReport, Finding, StackListing, StackUse, TraceEvent};
use serde::Serialize;

use super::scenario::StepResult;

/// The whole of it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// The command's exit status: 0, all went as it should; 1, a driver failed or a result was not the expected one; 2, it could not be tried.
    pub(super) exit_status: u8,
    /// The drivers, from the lowest altitude up.
    pub(super) drivers: Vec<DriverReport>,
    /// What `--create` and `--query` asked for.
    pub(super) calls: Vec<CallReport>,
    /// What came of the scenarios' steps.
    pub(super) steps: Vec<StepResult>,
    /// What the verifier found, and how often.
    pub(super) findings: Vec<FindingReport>,
    /// What each callback used of the kernel stack.
    pub(super) stack_use: Vec<StackUse>,
    /// How the machine ended, where it was not shut down.
    pub(super) end: Option<End>,
    /// What the machine told, in order.
    pub(super) trace: Vec<TraceEvent>,
    /// What `--faults` made fail.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) faults: Vec<FaultReport>,
    /// What `--low-stack` tried.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) low_stack: Vec<LowStackReport>,
    /// What `--seed` and `--schedules` tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) schedules: Option<SchedulesReport>,
}

/// A driver.
#[derive(Debug, Serialize)]
pub(super) struct DriverReport {
    pub(super) service: String,
    pub(super) image: String,
    pub(super) altitude: String,
    /// What `DriverEntry` returned.
    pub(super) entry: Option<String>,
    /// What the unload returned.
    pub(super) unload: Option<String>,
    /// Why it is still loaded, where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stays: Option<&'static str>,
    /// Calls of its callbacks.
    pub(super) callbacks: u64,
    /// How many findings are its.
    pub(super) findings: usize,
}

/// A call that was asked for by itself.
#[derive(Debug, Serialize)]
pub(super) struct CallReport {
    pub(super) call: String,
    pub(super) status: String,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct FindingReport {
    /// Whose it is; `None`: the machine cannot tell.
    pub(super) driver: Option<String>,
    pub(super) rule: String,
    pub(super) text: String,
    /// How to mend it.
    pub(super) advice: String,
    /// Where in the driver.
    pub(super) site: Option<String>,
    pub(super) times: usize,
}

/// How a machine ended before its time.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(super) enum End {
    /// As Windows would have.
    BugCheck(Box<BugCheckReport>),
    /// It did not answer any more.
    TimeLimit {
        /// What was said.
        text: String,
        /// Where its threads were.
        stacks: Vec<StackListing>,
    },
    /// The bench failed, or could not begin.
    Other {
        /// What was said.
        text: String,
    },
}

impl From<&MachineError> for End {
    fn from(error: &MachineError) -> Self {
        match error {
            MachineError::BugCheck(report) => Self::BugCheck(report.clone()),
            MachineError::TimeLimit { stacks, .. } => Self::TimeLimit {
                text: error.to_string(),
                stacks: stacks.clone(),
            },
            other => Self::Other {
                text: other.to_string(),
            },
        }
    }
}

/// A call that was made to fail.
#[derive(Clone, Debug, Serialize)]
pub(super) struct FaultReport {
    pub(super) call: String,
    pub(super) status: String,
    /// The driver's frames that lead to it, newest first.
    pub(super) frames: Vec<String>,
    /// The calls that failed before it.
    pub(super) after: Vec<String>,
    /// Whether the call was come to again.
    pub(super) happened: bool,
    /// `ok`, `leak`, `finding`, `bug check`, `time limit`.
    pub(super) outcome: String,
    /// What a program notices, where the machine lives.
    pub(super) effect: String,
    /// What is behind that.
    pub(super) detail: Vec<String>,
    /// The command that lets that call fail again, and tells the run in full.
    pub(super) replay: String,
}

/// Creates with so much stack left.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LowStackReport {
    /// Bytes left where a create begins.
    pub(super) bytes: u32,
    /// Bytes left where each filter's pre-create callback begins, at least.
    pub(super) at_callback: BTreeMap<String, u64>,
    /// The fewest bytes left in a callback.
    pub(super) least: Option<u64>,
    /// Whether it goes wrong without the drivers, too.
    pub(super) without_too: bool,
    /// As in [`FaultReport`].
    pub(super) outcome: String,
    /// What is behind that.
    pub(super) detail: Vec<String>,
    /// The command that does that run again, and tells it in full.
    pub(super) replay: String,
}

/// Schedules.
#[derive(Clone, Debug, Serialize)]
pub(super) struct SchedulesReport {
    /// The first seed.
    pub(super) from: u64,
    /// How many were tried.
    pub(super) tried: u64,
    /// The one that failed.
    pub(super) failed: Option<u64>,
    /// The command that runs it again.
    pub(super) replay: Option<String>,
}

/// Findings, each once.
pub(super) fn findings(found: &[Finding]) -> Vec<FindingReport> {
    let mut reports: Vec<FindingReport> = Vec::new();
    for finding in found {
        let same = |known: &&mut FindingReport| {
            known.rule == finding.rule
                && known.site == finding.site
                && known.driver == finding.driver
                && without_numbers(&known.text) == without_numbers(&finding.text)
        };
        match reports.iter_mut().find(same) {
            Some(known) => known.times += 1,
            None => reports.push(FindingReport {
                driver: finding.driver.clone(),
                rule: finding.rule.clone(),
                text: finding.text.clone(),
                advice: finding.advice.clone(),
                site: finding.site.clone(),
                times: 1,
            }),
        }
    }
    reports.sort_by(|a, b| a.driver.cmp(&b.driver));
    reports
}

/// Addresses differ from one time to the next, and say nothing.
pub(super) fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    for word in text.split(' ') {
        out.push_str(if word.starts_with("0x") { "0x" } else { word });
        out.push(' ');
    }
    out
}

/// Why something is bad, in a word: what a column of a table has room for.
pub(super) fn outcome(error: Option<&MachineError>, found: &[FindingReport]) -> String {
    match error {
        Some(MachineError::BugCheck(_)) => "bug check".to_owned(),
        Some(MachineError::TimeLimit { .. }) => "time limit".to_owned(),
        Some(_) => "not tried".to_owned(),
        None if found.is_empty() => "ok".to_owned(),
        None if found.iter().all(|finding| finding.rule.contains("leak")) => "leak".to_owned(),
        None => "finding".to_owned(),
    }
}

/// The same, in sentences.
pub(super) fn detail(error: Option<&MachineError>, found: &[FindingReport]) -> Vec<String> {
    let mut lines = Vec::new();
    match error {
        Some(MachineError::BugCheck(report)) => {
            lines.push(format!(
                "{:#04X} {}: {}",
                report.code, report.name, report.text
            ));
        }
        Some(error) => lines.push(error.to_string()),
        None => {}
    }
    for finding in found {
        let whose = finding.driver.as_deref().unwrap_or("?");
        let site = finding
            .site
            .as_ref()
            .map_or_else(String::new, |site| format!(", at {site}"));
        lines.push(format!("{whose}: {}: {}{site}", finding.rule, finding.text));
    }
    lines
}
