//! The same over crash dumps that the bench wrote: everything but the unwinding comes from the file, and the script has to
//! say what `crates/crashdump` reads in it and what the machine itself reported.

use std::path::Path;

use crashdump::Analysis;
use ntbench::wire::BugCheckReport;
use serde_json::{Value, json};

use crate::common::{dword, sys, text};
use crate::node;
use crate::overflow::{judge, nest, overflow};
use crate::records::{losses, marks, settings, told};

/// What the script says of a dump, and what the Rust reader does; without Node, nothing.
fn read(file: &Path) -> Option<(Value, Analysis)> {
    let symbols = [sys().parent().unwrap().to_owned()];
    let dump = crashdump::analyse(file, &symbols).unwrap();
    // A debugger's unwinder is not to be had here: the frames are crates/crashdump's.
    let frames: Vec<Value> = dump
        .frames
        .iter()
        .map(|frame| {
            json!({
                "childSp": frame.child_sp.to_string(), "symbol": frame.symbol, "instruction": frame.address.to_string(),
            })
        })
        .collect();
    let frames_file = file.with_extension("json");
    std::fs::write(&frames_file, Value::from(frames).to_string()).unwrap();
    let arguments = [file.to_str().unwrap(), frames_file.to_str().unwrap()];
    let said = node::run_json(&arguments)?;
    Some((said, dump))
}

/// The segments are the dump's, each with the bytes that each module has on it, and nothing was left open.
fn segments(said: &Value, dump: &Analysis) {
    let stack = &said["Analysis"]["Stack"];
    assert_eq!(
        (&stack["Notes"], &stack["Elsewhere"]),
        (&json!([]), &json!([]))
    );
    let said: Vec<Value> = stack["Segments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|segment| {
            let sums = segment["Modules"].as_array().unwrap().iter();
            let modules: Vec<Value> = sums
                .map(|sum| json!([sum["Module"], sum["Bytes"]]))
                .collect();
            json!([segment["Limit"], segment["Base"], segment["InUse"], modules])
        })
        .collect();
    let expected: Vec<Value> = dump
        .segments
        .iter()
        .map(|segment| {
            let (limit, base) = (
                format!("{:#x}", segment.limit),
                format!("{:#x}", segment.base),
            );
            json!([limit, base, segment.used(), segment.by_module])
        })
        .collect();
    assert_eq!(said, expected);
}

/// The frame that did not fit is in the dump, and not in the machine's own list: the modules of the others agree.
fn agree(report: &BugCheckReport, dump: &Analysis) {
    let newest = dump.frames[0].module.as_deref();
    for (module, bytes) in &report.stack.by_module {
        let segments = dump.segments.iter().flat_map(|segment| &segment.by_module);
        let read: u64 = segments
            .filter(|(of, _)| of == module)
            .map(|(_, bytes)| bytes)
            .sum();
        assert!(
            read == *bytes || newest == Some(module),
            "{module}: {read}, not {bytes}"
        );
    }
}

#[test]
fn a_dump_tells_what_the_machine_reported() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("overflow.dmp");
    let report = overflow(Some(file.clone()));
    let Some((mut said, dump)) = read(&file) else {
        return;
    };
    agree(&report, &dump);
    judge(&said, &report, &dump.segments[0].by_module);
    segments(&said, &dump);

    let driver = dump.driver.as_ref().unwrap();
    for item in said["Records"]["items"].as_array_mut().unwrap() {
        item.as_object_mut().unwrap().remove("Time");
    }
    let records: Vec<Value> = driver.records.iter().map(told).collect();
    assert!(records.len() >= 3, "the create that went well, nested");
    assert_eq!(said["Records"]["items"], Value::from(records));
    // Those nested on the stack that ran out.
    let items = said["UnderWay"].as_array().unwrap();
    assert!(items.len() >= 5, "{items:?}");
    assert_eq!(items.len(), driver.unfinished.len());
    for (item, record) in items.iter().zip(&driver.unfinished) {
        let told = told(record);
        for field in [
            "Sequence",
            "Depth",
            "Before",
            "BeforeSampled",
            "Inside",
            "Path",
            "Flags",
        ] {
            assert_eq!(item[field], told[field], "{field}");
        }
    }
    assert_eq!(said["Losses"], losses(&driver.anchor));
    let watermarks = driver.watermarks.as_ref().unwrap();
    assert_eq!(said["Watermarks"]["System"], marks(&watermarks.system()));
    assert_eq!(said["Config"], settings(&driver.config.unwrap()));
}

/// A reservation that is too small for what follows it lets a thread overflow after it has moved. Which one does, the sizes
/// of frames decide: it is searched for.
#[test]
fn an_overflow_on_another_segment_is_told_from_the_chain_in_the_dump() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("segments.dmp");
    let moved = (1..0x30).find_map(|step| {
        let settings = [
            text("AncestorOpens", "Top"),
            dword("ReservationBytes", step * 0x100),
            dword("MinimumStackBytes", 0),
        ];
        let report = nest(Some(file.clone()), &settings).err()?;
        (report.stack.segments.len() > 1).then_some(report)
    });
    let report = moved.expect("a reservation with which a thread overflows on another segment");
    let Some((said, dump)) = read(&file) else {
        return;
    };
    agree(&report, &dump);
    segments(&said, &dump);
    let (sentence, number) = (
        said["Sentence"].as_str().unwrap(),
        report.stack.segments.len(),
    );
    let part = format!("ran out of segment {number} of {number} (");
    assert!(sentence.contains(&part), "{part}\n{sentence}");
}
