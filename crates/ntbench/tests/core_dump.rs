//! Crash dumps, read by a reader that was not written for them: the `kdmp-parser` crate.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod core;

use std::mem::offset_of;
use std::path::{Path, PathBuf};

use core::{compile, compile_from, load, machine, scratch};
use kdmp_parser::gxa::{Gva, Gxa as _};
use kdmp_parser::parse::KernelDumpParser;
use kdmp_parser::structs::KdDebuggerData64;
use kdmp_parser::virt;
use ntbench::MachineError;
use ntbench::wire::{BugCheckReport, DumpOutcome, FrameKind, MachineConfig};

/// The report of a case that must end its machine, which was asked for a dump there.
fn bug_check(path: &Path, image: PathBuf) -> BugCheckReport {
    let machine = machine(MachineConfig {
        crash_dump: Some(path.to_owned()),
        ..MachineConfig::default()
    });
    match load(&machine, image) {
        Err(MachineError::BugCheck(report)) => *report,
        other => panic!("no bug check but {other:?}"),
    }
}

fn open(path: &Path) -> KernelDumpParser {
    KernelDumpParser::new(path).expect("kdmp-parser opens it")
}

fn read<const N: usize>(dump: &KernelDumpParser, address: u64) -> [u8; N] {
    let mut bytes = [0; N];
    virt::Reader::new(dump)
        .read_exact(Gva::from(address), &mut bytes)
        .unwrap_or_else(|error| panic!("{address:#x}: {error}"));
    bytes
}

fn word(dump: &KernelDumpParser, address: u64) -> u64 {
    u64::from_le_bytes(read(dump, address))
}

/// Where a driver's file has its code: RVA, and the bytes.
fn code(image: &Path) -> (u64, Vec<u8>) {
    use object::{Object as _, ObjectSection as _};
    let file = std::fs::read(image).expect("the image");
    let object = object::File::parse(&*file).expect("a PE image");
    let text = object.section_by_name(".text").expect("code");
    let rva = text.address() - object.relative_address_base();
    (rva, text.data().expect("its bytes").to_vec())
}

#[test]
fn the_header_says_what_the_report_says() {
    let path = scratch().join("header.dmp");
    let report = bug_check(&path, compile("recurse", &[]));
    let dump = open(&path);
    let header = dump.headers();
    assert_eq!(header.bug_check_code, report.code);
    assert_eq!(header.bug_check_code_parameters, report.parameters);
    let bytes = std::fs::metadata(&path).expect("the file").len();
    assert_eq!(report.dump, Some(DumpOutcome::Written { path, bytes }));
    // The place where the driver was: the newest frame of the report.
    let newest = &report.stack.frames[0];
    assert_eq!(dump.context_record().rsp, newest.child_sp);
    let driver = dump
        .kernel_modules()
        .find(|(_, name)| name.ends_with("\\recurse.sys"));
    let (range, _) = driver.expect("the driver is in the list");
    let rip = dump.context_record().rip;
    assert!(
        (range.start.u64()..range.end.u64()).contains(&rip),
        "{rip:#x}"
    );
}

#[test]
fn a_drivers_code_is_read_through_the_page_tables() {
    let path = scratch().join("code.dmp");
    let image = compile("recurse", &[]);
    bug_check(&path, image.clone());
    let dump = open(&path);
    let (range, _) = dump
        .kernel_modules()
        .find(|(_, name)| name.ends_with("\\recurse.sys"))
        .expect("the driver");
    let (rva, expected) = code(&image);
    let start = range.start.u64() + rva;
    let mut found = vec![0; expected.len()];
    let reader = virt::Reader::new(&dump);
    reader
        .read_exact(Gva::from(start), &mut found)
        .expect("the code");
    // The image was relocated; this driver's code has nothing to relocate.
    assert!(found == expected);
    let page = reader.translate(Gva::from(start)).expect("a page");
    assert!(page.executable && !page.writable);
}

#[test]
fn the_debuggers_data_lead_to_the_thread_and_its_stack() {
    let path = scratch().join("thread.dmp");
    let report = bug_check(&path, compile("recurse", &[]));
    let dump = open(&path);
    let block = dump.headers().kd_debugger_data_block;
    assert_eq!(&read::<4>(&dump, block + 0x10), b"KDBG");
    let long = |offset: usize| word(&dump, block + offset as u64);
    let short = |offset: usize| u64::from(u16::from_le_bytes(read(&dump, block + offset as u64)));
    assert_eq!(
        long(offset_of!(KdDebuggerData64, ps_loaded_module_list)),
        dump.headers().ps_loaded_module_list
    );
    let processor = word(
        &dump,
        long(offset_of!(KdDebuggerData64, ki_processor_block)),
    );
    let context = word(
        &dump,
        processor + short(offset_of!(KdDebuggerData64, offset_prcb_context)),
    );
    // CONTEXT.Rsp
    assert_eq!(word(&dump, context + 0x98), dump.context_record().rsp);
    let thread = word(
        &dump,
        processor + short(offset_of!(KdDebuggerData64, offset_prcb_current_thread)),
    );
    let initial = word(
        &dump,
        thread + short(offset_of!(KdDebuggerData64, offset_kthread_initial_stack)),
    );
    let segment = &report.stack.segments[0];
    assert!(
        (segment.low..segment.high).contains(&initial),
        "{initial:#x}"
    );
    // KSTACK_CONTROL.StackBase, ActualLimit; no segment before it.
    let control = [0, 8, 16].map(|offset| word(&dump, initial + offset));
    assert_eq!(control, [segment.high, segment.low, 0]);
    // KTHREAD.Process, EPROCESS.UniqueProcessId, ImageFileName of the build in the header.
    assert_eq!(dump.headers().minor_version, 19041);
    let process = word(&dump, thread + 0x220);
    assert_eq!(word(&dump, process + 0x440), report.pid);
    let name = read::<15>(&dump, process + 0x5A8);
    assert!(
        name.starts_with(report.process_image.as_bytes()),
        "{name:?}"
    );
    assert_eq!(word(&dump, thread + 0x480), report.tid);
}

#[test]
fn nothing_is_left_of_a_dump_that_cannot_be_written() {
    let folder = scratch();
    let path = folder.join("taken");
    std::fs::create_dir(&path).expect("a folder in its place");
    let report = bug_check(&path, compile("recurse", &[]));
    assert_eq!(report.code, 0x7F);
    assert!(
        matches!(&report.dump, Some(DumpOutcome::Failed { path: told, .. }) if *told == path),
        "{:?}",
        report.dump
    );
    let left: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.contains("partial"))
        .collect();
    assert_eq!(left, [""; 0]);
}

/// Every frame of the report is found again by an unwinder that has only the dump: Child-SP, function, segment. `extra`
/// frames stand before the report's first.
fn same_frames(path: &Path, report: &BugCheckReport, extra: usize) {
    let dump = crashdump::analyse(path, &[]).expect("an analysis");
    let found: Vec<_> = dump.frames.iter().skip(extra).collect();
    let told = |frame: &crashdump::Frame| format!("{:#x} {}", frame.child_sp, frame.symbol);
    let all: Vec<String> = dump.frames.iter().map(told).collect();
    assert_eq!(found.len(), report.stack.frames.len(), "{all:#?}");
    for (found, listed) in found.into_iter().zip(&report.stack.frames) {
        assert_eq!(
            found.child_sp, listed.child_sp,
            "{}: {all:#?}",
            listed.symbol
        );
        assert_eq!(found.segment, Some(listed.segment), "{}", listed.symbol);
        let module = listed.symbol.split(['!', '+']).next();
        assert_eq!(found.module.as_deref(), module, "{}", listed.symbol);
        if listed.kind == FrameKind::Modelled {
            let function = |symbol: &str| symbol.split('+').next().map(str::to_owned);
            assert_eq!(function(&found.symbol), function(&listed.symbol));
        }
        assert_ne!(found.how, crashdump::How::Searched, "{}", listed.symbol);
    }
}

#[test]
fn an_overflow_is_unwound_from_the_dump_alone() {
    let path = scratch().join("recursion.dmp");
    let report = bug_check(&path, compile("recurse", &[]));
    same_frames(&path, &report, 0);
    let dump = crashdump::analyse(&path, &[]).expect("an analysis");
    assert!(dump.overflowed(), "{}", dump.sentence());
}

#[test]
fn an_exception_in_a_callout_is_unwound_across_segments() {
    let path = scratch().join("callout.dmp");
    let report = bug_check(&path, compile("escape", &[]));
    assert_eq!(report.stack.segments.len(), 2);
    same_frames(&path, &report, 0);
    let dump = open(&path);
    let record = dump.exception_record();
    // STATUS_ACCESS_VIOLATION: a write, to that address.
    assert_eq!(
        (record.exception_code, record.number_parameters),
        (0xC000_0005, 2)
    );
    assert_eq!(record.exception_information[..2], [1, 0x20]);
    assert_eq!(record.exception_address, dump.context_record().rip);
}

#[test]
fn a_bug_check_of_the_drivers_own_begins_in_the_function_that_it_called() {
    let path = scratch().join("own.dmp");
    let report = bug_check(&path, compile("bugcheck", &[]));
    same_frames(&path, &report, 1);
    let dump = crashdump::analyse(&path, &[]).expect("an analysis");
    assert_eq!(dump.frames[0].symbol, "nt!KeBugCheckEx+0x0");
    let culprit = dump.culprit().map(|frame| &*frame.symbol);
    assert!(
        culprit.is_some_and(|symbol| symbol.starts_with("bugcheck!")),
        "{culprit:?}"
    );
    // `call [rip + n]`: the driver's import leads to the function that a debugger would name.
    let parser = open(&path);
    let back = dump.frames[1].address;
    let call = read::<6>(&parser, back - 6);
    assert_eq!(call[..2], [0xFF, 0x15]);
    let distance = i32::from_le_bytes([call[2], call[3], call[4], call[5]]);
    let slot = back.wrapping_add_signed(distance.into());
    assert_eq!(word(&parser, slot), dump.frames[0].address);
    assert!(!dump.overflowed(), "{}", dump.sentence());
}

#[test]
fn a_probe_of_the_guard_page_begins_in_the_probe() {
    let path = scratch().join("probe.dmp");
    let report = bug_check(&path, compile("chkstk", &["SIZE=0x8000"]));
    assert_eq!(report.code, 0x50);
    let dump = crashdump::analyse(&path, &[]).expect("an analysis");
    assert_eq!(dump.frames[0].symbol, "nt!__chkstk+0x0");
    assert!(dump.overflowed(), "{}", dump.sentence());
    // The function that probes takes stack that its unwind data say nothing of: from there on a search helps.
    assert_eq!(dump.frames[1].symbol, report.stack.frames[0].symbol);
    let entry = dump
        .frames
        .iter()
        .find(|frame| frame.how == crashdump::How::Searched);
    assert_eq!(
        entry.map(|frame| &*frame.symbol),
        Some("chkstk!DriverEntry+0xd")
    );
    let last = dump.frames.last().map(|frame| &*frame.symbol);
    assert_eq!(last, Some("nt!KiStartSystemThread+0x2a"));
    assert!(
        dump.notes.iter().any(|note| note.contains("by searching")),
        "{:?}",
        dump.notes
    );
}

#[test]
fn a_bug_check_in_an_exceptions_handling_is_unwound_through_the_exception() {
    for (case, defines, extra) in [
        ("filter_stops", &["ANSWER=1"][..], 1),
        ("unhandled", &[], 1),
        ("callout", &[], 0),
        ("low", &[], 1),
    ] {
        let path = scratch().join(format!("{case}.dmp"));
        let report = bug_check(&path, compile_from("seh.c", case, defines));
        same_frames(&path, &report, extra);
    }
}

#[test]
fn other_threads_are_there_and_ended_ones_are_not() {
    let path = scratch().join("threads.dmp");
    let machine = machine(MachineConfig {
        crash_dump: Some(path.clone()),
        ..MachineConfig::default()
    });
    let start = || {
        machine.thread(ntbench::wire::ThreadSpec {
            process_image: "other.exe".to_owned(),
            process: 0,
            stack: ntbench::wire::StackKind::Ordinary,
        })
    };
    let ended = start().expect("a thread");
    let lives = start().expect("a thread");
    let tid = ended.info().tid;
    ended.end().expect("its end");
    // What ends a thread does not wait for it.
    let gone = machine.await_threads(std::time::Duration::from_secs(60), |threads| {
        threads.iter().all(|thread| thread.tid != tid)
    });
    assert!(gone.expect("the machine lives"), "the thread has not ended");
    let outcome = load(&machine, compile("recurse", &[]));
    assert!(
        matches!(outcome, Err(MachineError::BugCheck(_))),
        "{outcome:?}"
    );
    let dump = open(&path);
    let head = dump.headers().ps_active_process_head;
    let mut threads = Vec::new();
    let mut at = word(&dump, head);
    while at != head {
        // EPROCESS.ActiveProcessLinks, KPROCESS.ThreadListHead; KTHREAD.ThreadListEntry, ETHREAD.Cid.UniqueThread,
        // KTHREAD.StackBase.
        let list = at - 0x448 + 0x30;
        let mut entry = word(&dump, list);
        while entry != list {
            let thread = entry - 0x2F8;
            threads.push((word(&dump, thread + 0x480), word(&dump, thread + 0x38)));
            entry = word(&dump, entry);
        }
        at = word(&dump, at);
    }
    let lives = lives.info();
    assert!(
        threads.contains(&(lives.tid, lives.stack_high)),
        "{threads:x?}"
    );
    // The one that crashed is the system's.
    assert_eq!(threads.len(), 2, "{threads:x?}");
}
