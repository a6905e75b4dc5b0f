//! Every bug check, reached by a driver, with all four parameters as Microsoft's reference has them; in the crash dump as well,
//! where the records that parameters point to can be read.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod core;

use std::collections::BTreeSet;
use std::path::Path;

use core::{clang, compile, load, machine, scratch};
use kdmp_parser::gxa::{Gva, Gxa as _};
use kdmp_parser::parse::KernelDumpParser;
use kdmp_parser::virt;
use ntbench::MachineError;
use ntbench::wire::{BugCheckReport, MachineConfig, StackKind, ThreadSpec, VerifierConfig};

/// The cases of ends.c; the code is the lowest twelve bits.
const CASES: &[u32] = &[
    0x01, 0x05, 0x06, 0x0A, 0x0C, 0x10, 0x12, 0x18, 0x1018, 0x2018, 0x19, 0x1A, 0x1E, 0x201E,
    0x301E, 0x35, 0x3B, 0x103B, 0x203B, 0x44, 0x48, 0x50, 0x1050, 0x2050, 0x3050, 0x7E, 0x407E,
    0x507E, 0x107E, 0x207E, 0x307E, 0x7F, 0x93, 0xB8, 0xBE, 0x10BE, 0xC1, 0xC2, 0x10C2, 0x20C2,
    0x30C2, 0x40C2, 0xC4, 0x10C4, 0xC5, 0xC7, 0xC8, 0xC9, 0x10C9, 0xCE, 0xD1, 0x10D1, 0x20D1, 0xD5,
    0xD6, 0xE2, 0xE3, 0xE4, 0xF5, 0xF7, 0xFC, 0x10FC, 0x107, 0x139, 0x8A, 0x50C2, 0x10C7,
];

/// What ends.c expects of a parameter that it cannot know.
const CODE: u64 = 0xC0DE_0000_0000_0001;
const STACK: u64 = 0xC0DE_0000_0000_0002;
const CONTEXT: u64 = 0xC0DE_0000_0000_0003;
const RECORD: u64 = 0xC0DE_0000_0000_0004;
const TRAP: u64 = 0xC0DE_0000_0000_0005;
const PTE: u64 = 0xC0DE_0000_0000_0006;

fn code(case: u32) -> u32 {
    match case {
        0x107 | 0x139 => case,
        0x8A => 0x4000_008A,
        _ => case & 0xFF,
    }
}

#[test]
fn every_bug_check_is_reached() {
    let reached: BTreeSet<u32> = CASES.iter().map(|case| code(*case)).collect();
    let known: BTreeSet<u32> = ntbench::bug_checks().map(|(code, _)| code).collect();
    assert_eq!(reached, known, "cases on the left, codes on the right");
}

/// Ends a machine by that case, leaving a dump there.
fn end(case: u32, dump: &Path) -> Result<BugCheckReport, String> {
    let machine = machine(MachineConfig {
        crash_dump: Some(dump.to_owned()),
        verifier: VerifierConfig {
            special_pool: case != 0x19,
            ..VerifierConfig::default()
        },
        ..MachineConfig::default()
    });
    let gone = if case == 0xCE {
        let gone = load(&machine, compile("fail", &[])).expect("an answer");
        gone.module.base + 0x1000
    } else {
        0
    };
    let user = code(case) == 0x3B;
    let flags = [
        format!("-DCASE={case:#x}"),
        format!("-DUSER={}", u8::from(user)),
        format!("-DGONE={gone:#x}ull"),
    ];
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/core/ends.c");
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let flags = [
        &*flags,
        &[
            "-fno-optimize-sibling-calls",
            "-Wno-unused-variable",
            "-Wno-infinite-recursion",
            "-Wno-multichar",
            "-Wno-four-char-constants",
        ],
    ]
    .concat();
    let image = clang::driver(&source, &format!("ends{case:x}"), &flags, &[]);
    let outcome = load(&machine, image).and_then(|_| {
        let thread = machine.thread(ThreadSpec {
            process_image: "user.exe".to_owned(),
            process: 0,
            stack: StackKind::Ordinary,
        })?;
        let run = machine.symbol(&format!("ends{case:x}!run"))?;
        thread.measure_routine(run, &[], 1)
    });
    match outcome {
        Err(MachineError::BugCheck(report)) => Ok(*report),
        other => Err(format!("{case:#x}: no bug check but {other:?}")),
    }
}

struct Dump {
    parser: KernelDumpParser,
    base: u64,
    end: u64,
    expected: u64,
}

impl Dump {
    fn open(path: &Path) -> Self {
        let parser = KernelDumpParser::new(path).expect("kdmp-parser opens it");
        let (range, _) = parser
            .kernel_modules()
            .find(|(_, name)| name.contains("\\ends"))
            .expect("the driver is in the list");
        let (base, end) = (range.start.u64(), range.end.u64());
        let mut dump = Self {
            parser,
            base,
            end,
            expected: 0,
        };
        // The section table: e_lfanew, NumberOfSections, SizeOfOptionalHeader.
        let headers = base + (dump.word(base + 0x3C) & 0xFFFF_FFFF);
        let sections = dump.word(headers + 6) & 0xFFFF;
        let first = headers + 24 + (dump.word(headers + 20) & 0xFFFF);
        let expect = (0..sections)
            .map(|index| first + index * 40)
            .find(|at| dump.word(*at) & 0xFFFF_FFFF_FFFF == u64::from_le_bytes(*b"EXPECT\0\0"))
            .expect("the section of what is expected");
        dump.expected = base + (dump.word(expect + 12) & 0xFFFF_FFFF);
        dump
    }

    fn word(&self, address: u64) -> u64 {
        let mut bytes = [0; 8];
        virt::Reader::new(&self.parser)
            .read_exact(Gva::from(address), &mut bytes)
            .unwrap_or_else(|error| panic!("{address:#x}: {error}"));
        u64::from_le_bytes(bytes)
    }

    fn in_code(&self, address: u64) -> bool {
        let page = virt::Reader::new(&self.parser).translate(Gva::from(address));
        (self.base..self.end).contains(&address) && page.expect("a page").executable
    }
}

/// Whether a parameter is what was expected; `rip` is where the exception happened, as far as a parameter says it.
fn is_as_expected(
    dump: &Dump,
    report: &BugCheckReport,
    expected: u64,
    found: u64,
    rip: Option<u64>,
) -> bool {
    let segment = report.stack.segments.last().expect("a segment");
    let stack = segment.low - 0x1000..segment.high;
    match expected {
        CODE => dump.in_code(found),
        STACK => stack.contains(&found),
        // CONTEXT.ContextFlags, SegCs, Rsp, Rip.
        CONTEXT => {
            dump.word(found + 0x30) & 0x10_0003 == 0x10_0003
                && dump.word(found + 0x38) & 0xFFFF == 0x10
                && stack.contains(&dump.word(found + 0x98))
                && Some(dump.word(found + 0xF8)) == rip
        }
        // EXCEPTION_RECORD: ExceptionCode, ExceptionAddress, NumberParameters, and the first of them.
        RECORD => {
            let status = dump.word(found) & 0xFFFF_FFFF;
            let (count, first) = (
                dump.word(found + 0x18) & 0xFFFF_FFFF,
                dump.word(found + 0x20),
            );
            let fast_fail = report.code == 0x139;
            status
                == if fast_fail {
                    0xC000_0409
                } else {
                    report.parameters[0] & 0xFFFF_FFFF
                }
                && rip.is_none_or(|rip| dump.word(found + 0x10) == rip)
                && match status {
                    0xC000_0005 => (count, first) == (2, 0),
                    0xC000_0409 => (count, first) == (1, report.parameters[0]),
                    _ => count == 0,
                }
        }
        // KTRAP_FRAME: Rip, SegCs, EFlags, Rsp.
        TRAP => {
            dump.in_code(dump.word(found + 0x168))
                && dump.word(found + 0x170) == 0x10
                && dump.word(found + 0x180) == dump.parser.context_record().rsp
        }
        // By the tables' own addresses, as `MiGetPteAddress` has them: valid, and not allowing what was tried.
        PTE => {
            let page = report.parameters[0] >> 12 & 0xF_FFFF_FFFF;
            let refused = if report.code == 0xBE { 2 } else { 0 };
            found == dump.word(0xFFFF_F680_0000_0000 | page << 3)
                && found & 1 == 1
                && found & refused == 0
                && (report.code == 0xBE || found >> 63 == 1)
        }
        expected => found == expected,
    }
}

/// What is wrong with the end of a machine by that case.
fn wrong(case: u32) -> Option<String> {
    let path = scratch().join("ends.dmp");
    let report = match end(case, &path) {
        Ok(report) => report,
        Err(error) => return Some(error),
    };
    let dump = Dump::open(&path);
    let headers = dump.parser.headers();
    assert_eq!(headers.bug_check_code, report.code);
    assert_eq!(headers.bug_check_code_parameters, report.parameters);
    let expected = [0, 1, 2, 3].map(|index| dump.word(dump.expected + 8 * index));
    let rip = (expected[1] == CODE).then_some(report.parameters[1]);
    let right = expected
        .iter()
        .zip(report.parameters)
        .all(|(expected, found)| is_as_expected(&dump, &report, *expected, found, rip));
    (report.code != code(case) || !right).then(|| {
        format!(
            "{case:#x}: {:#x} {:#x?}, expected {expected:#x?}: {}",
            report.code, report.parameters, report.text
        )
    })
}

#[test]
fn parameters_are_those_of_the_reference() {
    // Most of the time goes into compiling the cases.
    let half = |first: usize| -> Vec<String> {
        let cases = CASES.iter().skip(first).step_by(2);
        cases.filter_map(|case| wrong(*case)).collect()
    };
    let wrong = std::thread::scope(|scope| {
        let other = scope.spawn(|| half(1));
        [half(0), other.join().expect("its half")].concat()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
