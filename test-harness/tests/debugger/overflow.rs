//! A stack that ran out: the script's sentence against the bench's own report of the same crash.

use std::path::PathBuf;

use ntbench::wire::{BugCheckReport, MachineConfig, RegistryValue, StackKind};
use ntbench::{Machine, MachineError};
use num_format::{Locale, ToFormattedString as _};
use protocol::NtStatus;
use serde_json::Value;

use crate::common::{booted, config, directories, open, text, thread};
use crate::node::{self, Snapshot};

/// The `Never` policy's overflow, after a create that went well.
pub(crate) fn overflow(crash_dump: Option<PathBuf>) -> BugCheckReport {
    let settings = [text("AncestorOpens", "Top"), text("ExpandPolicy", "Never")];
    match nest(crash_dump, &settings) {
        Err(report) => *report,
        Ok(()) => panic!("the machine lives on"),
    }
}

/// What becomes of a machine with these settings when creates nest on it.
pub(crate) fn nest(
    crash_dump: Option<PathBuf>,
    settings: &[(String, RegistryValue)],
) -> Result<(), Box<BugCheckReport>> {
    let folder = tempfile::tempdir().unwrap();
    let path = directories(folder.path(), 40);
    let machine: Machine = booted(
        MachineConfig {
            crash_dump,
            ..config(folder.path())
        },
        settings,
    );
    let thread = thread(&machine, StackKind::Ordinary);
    assert_eq!(open(&thread, r"\d01\d02"), NtStatus::SUCCESS);
    let name = format!(r"\??\UNC\server\share{path}");
    let create = ntbench::wire::CreateFile {
        name,
        ..Default::default()
    };
    match thread.create_file(&create) {
        Err(MachineError::BugCheck(report)) => Err(report),
        Ok(_) => Ok(()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_sentence_names_the_segment_and_who_filled_it() {
    let report = overflow(None);
    let mut snapshot = Snapshot::new(&report.process_image, report.pid);
    snapshot.bug_check(report.code, report.parameters);
    snapshot.thread(&report.stack);
    let Some(said) = node::run_json(&[&snapshot.write()]) else {
        return;
    };
    judge(&said, &report, &report.stack.by_module);
}

/// The sentence names the bug check, the thread, the segment, and who filled it with how many bytes, as the bench has it.
pub(crate) fn judge(said: &Value, report: &BugCheckReport, by_module: &[(String, u64)]) {
    let sentence = said["Sentence"].as_str().unwrap();
    println!("{sentence}");
    let [segment] = report.stack.segments.as_slice() else {
        panic!("{:?}", report.stack.segments);
    };
    for part in [
        "Bug check 0x7F UNEXPECTED_KERNEL_MODE_TRAP (0x8), a double fault".to_owned(),
        format!("thread {:#x} of {}", report.tid, report.process_image),
        format!(
            "ran out of segment 1 of 1 ({:08x}`{:08x}",
            segment.low >> 32,
            segment.low & 0xffff_ffff
        ),
        "24,576 bytes".to_owned(),
    ] {
        assert!(sentence.contains(&part), "{part}\n{sentence}");
    }
    assert!(by_module.iter().any(|(module, _)| module == "headroom"));
    assert!(by_module.iter().any(|(module, _)| module == "rdbss"));
    let mut at = 0;
    for (module, bytes) in by_module {
        let part = format!("{module} {} in ", bytes.to_formatted_string(&Locale::en));
        let found = sentence[at..].find(&part);
        at += found.unwrap_or_else(|| panic!("{part}, in this order\n{sentence}"));
    }
    assert_eq!(said["Analysis"]["StackOverflow"], true);
}
