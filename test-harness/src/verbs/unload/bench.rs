//! Unloading from a machine of ntbench's.

use serde::Serialize;

use super::{Failure, Verdict};
use crate::link::LinkError;
use crate::listing;
use crate::machine::{Connection, MachineError};
use crate::model::BugCheck;
use crate::verbs::{say, say_json};

/// How it ended.
#[derive(Debug, Serialize)]
struct Ended {
    findings: Vec<String>,
    bug_check: Option<BugCheck>,
}

/// Unloads the driver, ends the machine, and says what its verifier found.
pub(super) fn run(json: bool) -> Result<Verdict, Failure> {
    let machine = Connection::open().map_err(|error| match error {
        MachineError::None => LinkError::NotLoaded.into(),
        other => Failure::from(other),
    })?;
    let unloaded = machine.unload()?;
    let ended = Ended {
        findings: unloaded.findings,
        bug_check: unloaded.bug_check.map(|report| BugCheck::from(&*report)),
    };
    let clean = ended.findings.is_empty() && ended.bug_check.is_none();
    if json {
        say_json(&ended)?;
    } else {
        say(&text(&ended))?;
    }
    Ok(Verdict::from_checks(clean))
}

fn text(ended: &Ended) -> String {
    let mut text = match &ended.bug_check {
        Some(bug_check) => format!(
            "The machine had stopped with bug check {:#04X} {}: {}\n\n{}\n",
            bug_check.code,
            bug_check.name,
            bug_check.text,
            listing::full(&bug_check.stack)
        ),
        None => "Unloaded the driver and ended the machine.\n".to_owned(),
    };
    if ended.findings.is_empty() {
        text += "The verifier found nothing.\n";
    } else {
        text += "The verifier found:\n";
    }
    for finding in &ended.findings {
        text += &format!("  {finding}\n");
    }
    text
}
