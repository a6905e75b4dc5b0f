//! The same over a crash dump that the bench wrote of the `Never` policy's overflow: everything but the unwinding comes from
//! the file, and the script has to say what `crates/crashdump` reads in it and what the machine itself reported.

use serde_json::{Value, json};

use crate::node;
use crate::overflow::{judge, overflow};
use crate::records::{losses, marks, settings, told};

#[test]
fn a_dump_tells_what_the_machine_reported() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("overflow.dmp");
    let report = overflow(Some(file.clone()));
    let symbols = [crate::common::sys().parent().unwrap().to_owned()];
    let dump = crashdump::analyse(&file, &symbols).unwrap();
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
    let frames_file = folder.path().join("frames.json");
    std::fs::write(&frames_file, Value::from(frames).to_string()).unwrap();
    let arguments = [file.to_str().unwrap(), frames_file.to_str().unwrap()];
    if std::env::var_os("HEADROOM_SHOW").is_some() {
        for command in [
            "headroom",
            "hrrecords",
            "hrwatermarks",
            "hrconfig",
            "hrstacks",
        ] {
            let text = node::run(&[arguments[0], arguments[1], command]);
            println!("!{command}\n{}", text.unwrap_or_default());
        }
    }
    let Some(mut said) = node::run_json(&arguments) else {
        return;
    };
    // The frame that did not fit is in the dump, and not in the machine's own list: the others agree.
    let by_module = &dump.segments[0].by_module;
    for (module, bytes) in report
        .stack
        .by_module
        .iter()
        .filter(|(module, _)| module != "rdbss")
    {
        assert!(
            by_module.contains(&(module.clone(), *bytes)),
            "{module}: {by_module:?}"
        );
    }
    judge(&said, &report, by_module);

    let driver = dump.driver.as_ref().unwrap();
    let items = said["Records"]["items"].as_array_mut().unwrap();
    for item in items {
        item.as_object_mut().unwrap().remove("Time");
    }
    let records: Vec<Value> = driver.records.iter().map(told).collect();
    assert!(records.len() >= 3, "the create that went well, nested");
    assert_eq!(said["Records"]["items"], Value::from(records));
    // Those nested on the stack that ran out.
    let mut under_way = driver.unfinished.clone();
    under_way.sort_by_key(|record| record.sequence);
    assert!(under_way.len() >= 5, "{under_way:?}");
    let items = said["UnderWay"].as_array().unwrap();
    assert_eq!(items.len(), under_way.len());
    for (item, record) in items.iter().zip(&under_way) {
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

    let said = &said["Analysis"]["Stack"];
    assert_eq!(said["Notes"], json!([]));
    let segments: Vec<Value> = said["Segments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|segment| json!([segment["Limit"], segment["Base"]]))
        .collect();
    let expected: Vec<Value> = dump
        .segments
        .iter()
        .map(|segment| {
            json!([
                format!("{:#x}", segment.limit),
                format!("{:#x}", segment.base)
            ])
        })
        .collect();
    assert_eq!(segments, expected);
}
