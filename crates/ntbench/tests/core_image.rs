//! What the loader does for an image as Microsoft's tools make it, and what holds it to that: cookies, control-flow guard,
//! sections that go away.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod core;

use core::{clang, load, machine};
use std::path::{Path, PathBuf};

use ntbench::wire::{BugCheckReport, MachineConfig};
use ntbench::{Machine, MachineError, NtStatus};

const FLAGS: &[&str] = &["-fstack-protector-all", "-Wno-unused-parameter"];
const GUARD: &[&str] = &["-DGUARDED", "-Xclang", "-cfguard"];

fn compile(case: &str, flags: &[&str], link: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/core/image.c");
    let case_flag = format!("-DCASE_{case}");
    let flags = [FLAGS, flags, &[&case_flag]].concat();
    clang::driver(&source, case, &flags, link)
}

fn results(machine: &Machine, case: &str) -> Vec<u64> {
    let address = machine.symbol(&format!("{case}!result")).expect("a symbol");
    let bytes = machine.read(address, 64).expect("its memory");
    let word = |word: &[u8]| u64::from_le_bytes(word.try_into().expect("eight bytes"));
    bytes.chunks_exact(8).map(word).collect()
}

fn loads(case: &str, flags: &[&str], link: &[&str]) -> Vec<u64> {
    let machine = machine(MachineConfig::default());
    let loaded = load(&machine, compile(case, flags, link)).expect("loads");
    assert_eq!(loaded.status, NtStatus::SUCCESS);
    results(&machine, case)
}

fn bug_check(case: &str, flags: &[&str], link: &[&str]) -> BugCheckReport {
    let machine = machine(MachineConfig::default());
    let ended = load(&machine, compile(case, flags, link)).map(drop);
    match ended.and_then(|()| machine.unload_driver(case).map(drop)) {
        Err(MachineError::BugCheck(report)) => *report,
        other => panic!("{case}: no bug check but {other:?}"),
    }
}

#[test]
fn the_cookie_is_random_and_has_its_high_bits_clear() {
    let (one, other) = (loads("cookie", &[], &[])[0], loads("cookie", &[], &[])[0]);
    for cookie in [one, other] {
        assert_ne!(cookie, 0x2B99_2DDF_A232, "the linker's");
        assert!(cookie != 0 && cookie >> 48 == 0, "{cookie:#x}");
    }
    assert_ne!(one, other);
}

#[test]
fn a_smashed_cookie_is_a_security_check_failure() {
    let seen = loads("smashed", &["-DSMASH=16"], &[]);
    assert_eq!(seen[0], 2, "as long as the buffer");
    for check in [None, Some("-DIMPORTED_CHECK")] {
        let flags: Vec<&str> = ["-DSMASH=40"].into_iter().chain(check).collect();
        let report = bug_check("smashed", &flags, &[]);
        assert_eq!(
            (report.code, report.parameters[0]),
            (0x139, 2),
            "{}",
            report.text
        );
        assert!(report.text.contains("STACK_COOKIE"), "{}", report.text);
        let culprit = |frame: &ntbench::wire::FrameInfo| frame.symbol.contains("!smash+");
        assert!(report.stack.frames.iter().any(culprit), "{report:#?}");
    }
    let seen = loads("smashed", &["-DSMASH=16", "-DIMPORTED_CHECK"], &[]);
    assert_eq!(seen[0], 2, "an intact one passes the imported check");
}

#[test]
fn the_older_library_ends_with_0xf7() {
    let report = bug_check("overran", &["-DSMASH=40"], &[]);
    assert_eq!(
        (report.code, report.name.as_str()),
        (0xF7, "DRIVER_OVERRAN_STACK_BUFFER")
    );
    let [actual, expected, complement, _] = report.parameters;
    assert_ne!(actual, expected);
    assert_eq!(complement, !expected);
}

#[test]
fn an_indirect_call_leads_to_a_function() {
    let link = &["/guard:cf"];
    // To the function, and one byte into it, which without the guard runs into whatever is there.
    let seen = loads("guard", &[GUARD, &["-DOFFSET=0"]].concat(), link);
    assert_eq!(seen[..2], [4321, 4321], "with its arguments");
    let report = bug_check("guard", &[GUARD, &["-DOFFSET=1"]].concat(), link);
    assert_eq!(
        (report.code, report.parameters[0]),
        (0x139, 10),
        "{}",
        report.text
    );
    assert!(
        report.text.starts_with("guard!DriverEntry+") && report.text.contains("GUARD_ICALL"),
        "{}",
        report.text
    );
    assert_eq!(loads("guard_import", GUARD, link)[0], 0x6000);
}

#[test]
fn what_is_discarded_is_gone() {
    // By its flag, and by its name alone.
    for link in [&["/section:INIT,erd"][..], &[]] {
        let report = bug_check("init", &[], link);
        assert_eq!(
            (report.code, report.parameters[1]),
            (0x50, 0x10),
            "{}",
            report.text
        );
        assert!(report.text.contains("init!once"), "{}", report.text);
    }
}

#[test]
fn what_may_be_patched_is_left_as_it_was_linked() {
    for table in ["-DRETPOLINES=2", "-DRETPOLINES=99"] {
        let flags = [GUARD, &[table]].concat();
        let seen = loads("guard_import", &flags, &["/guard:cf"]);
        assert_eq!(seen[0], 0x6000, "{table}");
    }
}

#[test]
fn sections_begin_on_pages_or_on_several() {
    let seen = loads("cookie", &[], &["/align:8192"]);
    assert_ne!(seen[0], 0);
    let machine = machine(MachineConfig::default());
    let image = compile("cookie", &[], &["/align:32"]);
    let refused = load(&machine, image).expect_err("a refusal").to_string();
    assert!(
        refused.contains("a section alignment of 0x20, no multiple of 0x1000"),
        "{refused}"
    );
}

#[test]
fn paged_code_and_data_are_gone_at_dispatch_level() {
    for (case, operation) in [("paged", 8), ("paged_data", 1)] {
        let seen = loads(case, &["-DLEVEL=1"], &[]);
        assert_ne!(seen[0], 0, "below it they are there");
        let report = bug_check(case, &["-DLEVEL=2"], &[]);
        assert_eq!(
            (report.code, report.parameters[1], report.parameters[2]),
            (0xD1, 2, operation),
            "{}",
            report.text
        );
    }
}
