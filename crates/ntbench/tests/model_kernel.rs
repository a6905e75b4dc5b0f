//! The kernel's functions as a driver finds them, asked by a driver.

mod model;

use model::{Bench, bug_check, compile, lines, rules, spec};
use ntbench::NtStatus;
use ntbench::wire::MachineConfig;

#[test]
fn the_kernel_answers_as_documented() {
    let bench = Bench::new();
    assert_eq!(bench.load(compile("kernel", &[])), NtStatus::SUCCESS);
    assert_eq!(lines(&bench.trace()), ["58 checks"]);
    assert_eq!(
        bench.machine.unload_driver("kernel").unwrap(),
        NtStatus::SUCCESS
    );
    assert_eq!(lines(&bench.trace()), ["unloaded"]);
    let report = bench.end();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

#[test]
fn what_no_kernel_survives_ends_the_machine() {
    for (misuse, code, parameter) in [
        (1, 0xC4, 0x30),
        (2, 0xC4, 0x31),
        (3, 0xC4, 0x1000),
        (4, 0xC4, 0x1000),
        (5, 0xB8, 0),
        (6, 0x18, 0),
        (7, 0x93, 0xFFFF_FFFF_8000_1234),
        (8, 0xC2, 8),
        (9, 0xC2, 0x46),
        (10, 0x7E, 0xFFFF_FFFF_C000_0005),
        (11, 0x10, 0),
        (12, 0x7E, 0xFFFF_FFFF_C000_0005),
        (13, 0x7E, 0xFFFF_FFFF_C000_0005),
        (14, 0x7E, 0xFFFF_FFFF_C000_0005),
    ] {
        let bench = Bench::new();
        let image = compile("misuse", &[&format!("MISUSE={misuse}")]);
        let (found, first, text) = bug_check(bench.machine.load_driver(spec(image, "370000")));
        assert_eq!(found, code, "misuse {misuse}: {text}");
        if parameter != 0 {
            assert_eq!(first, parameter, "misuse {misuse}: {text}");
        }
    }
}

#[test]
fn unicode_is_printed_at_passive_level_and_formatted_at_any() {
    let bench = Bench::new();
    assert_eq!(bench.load(compile("printer", &[])), NtStatus::SUCCESS);
    let trace = bench.trace();
    assert_eq!(
        lines(&trace),
        ["13 characters", "name", "name", "n", "name and name"]
    );
    let report = bench.end();
    assert_eq!(rules(&report), ["dbgprint-unicode-irql"; 3]);
    let last = &report.findings[2].text;
    assert!(last.starts_with("DbgPrintEx with"), "{last}");
}

#[test]
fn a_machine_is_the_windows_that_was_asked_for() {
    for (windows, build) in [(None, 19_045), (Some(26_100), 26_100)] {
        let bench = Bench::with(MachineConfig {
            windows,
            ..MachineConfig::default()
        });
        assert_eq!(bench.load(compile("dated", &[])), NtStatus::SUCCESS);
        let expected = format!("00000000 10.0.{build} {build}");
        assert_eq!(lines(&bench.trace()), [expected.as_str()]);
    }
}
