//! The analysis on code made by hand, each byte of it known.

use super::{Analysis, EXPANSION, Limits, Report, frames::Chunk, image::Image, names::Names};

const CODE: u32 = 0x1000;
const END: u32 = 0x2000;
/// Slots of the import address table.
const EXPAND: u32 = 0x3000;
const RELEASE: u32 = 0x3008;
const PRINT: u32 = 0x3010;

const CALLBACK: u32 = 0x1000;
const CALLOUT: u32 = 0x1200;
const HELPER: u32 = 0x1400;
const OTHER: u32 = 0x1600;
/// Has no symbol.
const STUB: u32 = 0x1800;

/// An image with functions at fixed places; the callback is the entry.
struct Made {
    image: Image,
    at: u32,
}

impl Made {
    fn new() -> Self {
        let mut image = Image {
            // int3, as between functions.
            memory: vec![0xcc; END as usize],
            ..Image::default()
        };
        image.code.push(CODE..END);
        for (slot, name) in [
            (EXPAND, EXPANSION),
            (RELEASE, "FltReleaseContext"),
            (PRINT, "DbgPrintEx"),
        ] {
            image.imports.insert(slot, name.to_owned());
        }
        image.entries.insert(CALLBACK);
        Self { image, at: CODE }
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        let at = self.at as usize;
        self.image.memory[at..at + bytes.len()].copy_from_slice(bytes);
        self.at += u32::try_from(bytes.len()).unwrap();
        self
    }

    /// An instruction that ends with the distance from its end to `target`.
    fn relative(self, opcode: &[u8], target: u32) -> Self {
        let end = self.at + u32::try_from(opcode.len()).unwrap() + 4;
        let distance = target.wrapping_sub(end).to_le_bytes();
        self.bytes(opcode).bytes(&distance)
    }

    /// A function with that much of a frame, which does `body` between prolog and epilog; 0: a leaf without unwind data.
    fn function(mut self, at: u32, frame: u8, body: impl FnOnce(Self) -> Self) -> Self {
        self.at = at;
        if frame == 0 {
            return body(self);
        }
        let made = body(self.bytes(&[0x48, 0x83, 0xec, frame - 8]));
        let mut made = made.bytes(&[0x48, 0x83, 0xc4, frame - 8]).ret();
        made.image.chunks.push(Chunk {
            start: at,
            end: made.at,
            function: at,
            frame: frame.into(),
            prolog_end: at + 4,
        });
        made.image.chunks.sort_by_key(|chunk| chunk.start);
        made
    }

    fn call(self, target: u32) -> Self {
        self.relative(&[0xe8], target)
    }

    fn jump(self, target: u32) -> Self {
        self.relative(&[0xe9], target)
    }

    fn call_import(self, slot: u32) -> Self {
        self.relative(&[0xff, 0x15], slot)
    }

    fn jump_import(self, slot: u32) -> Self {
        self.relative(&[0xff, 0x25], slot)
    }

    fn lea_rcx(self, target: u32) -> Self {
        self.relative(&[0x48, 0x8d, 0x0d], target)
    }

    fn ret(self) -> Self {
        self.bytes(&[0xc3])
    }

    /// The callback expands for the callout.
    fn expanding(self) -> Self {
        self.function(CALLBACK, 0x40, |f| f.lea_rcx(CALLOUT).call_import(EXPAND))
    }

    fn analysis(mut self) -> Analysis {
        let names = Names::from([
            (CALLBACK, "callback"),
            (CALLOUT, "callout"),
            (HELPER, "helper"),
            (OTHER, "other"),
        ]);
        Analysis::new(&mut self.image, names).unwrap()
    }

    fn report(self, caller: u32, reserved: u32) -> Report {
        self.analysis().report(Limits {
            caller: Some(caller),
            reserved: Some(reserved),
        })
    }
}

fn ret(made: Made) -> Made {
    made.ret()
}

#[test]
fn frames_add_up_on_either_side_of_the_expansion() {
    let made = || {
        Made::new()
            .function(CALLBACK, 0x40, |f| f.call(HELPER))
            .function(HELPER, 0x30, |f| f.lea_rcx(CALLOUT).call_import(EXPAND))
            .function(CALLOUT, 0x20, |f| f.call(OTHER).call_import(PRINT))
            .function(OTHER, 0x50, |f| f)
    };
    let report = made().report(0x70, 0x70);
    assert_eq!(report.broken, [""; 0], "{}", report.text);
    let row = |verdict: &str, what: &str| {
        let found = report.text.lines().find(|line| line.ends_with(what));
        assert!(
            found.is_some_and(|line| line.trim_start().starts_with(verdict)),
            "{}",
            report.text
        );
    };
    row("0x70       ok", "  callback -> callout");
    row("0x70       ok", "  callout");
    row("0x20  DbgPrintEx", "callout +0x9");
    let broken = made().report(0x68, 0x6f).broken;
    assert_eq!(
        broken,
        [
            "callback -> callout: 0x70 bytes of our frames; the limit is 0x68",
            "callout: 0x70 bytes of our frames; the limit is 0x6f"
        ]
    );
}

#[test]
fn a_stub_of_an_import_library_is_the_import_itself() {
    let analysis = Made::new()
        .function(CALLBACK, 0x40, |f| f.lea_rcx(CALLOUT).call(STUB))
        .function(STUB, 0, |f| f.jump_import(EXPAND))
        .function(CALLOUT, 0, ret)
        .analysis();
    assert_eq!(analysis.to_the_expansion("callback"), [0x40]);
    assert_eq!(analysis.report(Limits::default()).broken, [""; 0]);
    assert_eq!(analysis.frames_of("callout"), [8], "a return address");
}

#[test]
fn a_function_that_jumps_on_leaves_no_frame() {
    let analysis = Made::new()
        .expanding()
        .function(CALLOUT, 0x70, |f| {
            f.bytes(&[0x48, 0x83, 0xc4, 0x68]).jump(HELPER)
        })
        .function(HELPER, 0x30, |f| f.call(OTHER))
        .function(OTHER, 0x38, |f| f)
        .analysis();
    let report = analysis.report(Limits::default());
    // 0x30 + 0x38 < 0x70: deepest before the jump.
    assert!(
        report.text.contains("0x70           callout"),
        "{}",
        report.text
    );
}

#[test]
fn recursion_is_found_and_has_no_bound() {
    let made = Made::new()
        .expanding()
        .function(CALLOUT, 0x20, |f| f.call(HELPER))
        .function(HELPER, 0x30, |f| f.call(OTHER))
        .function(OTHER, 0x30, |f| f.call(HELPER));
    let broken = made.report(0x200, 0x1800).broken;
    assert_eq!(broken.len(), 2, "{broken:?}");
    assert!(broken[0].starts_with("recursion: helper+0x4 comes back"));
    assert!(broken[1].starts_with("recursion: other+0x4 comes back"));
}

#[test]
fn a_loop_of_jumps_ends_and_is_no_recursion() {
    let made = Made::new()
        .expanding()
        .function(CALLOUT, 0, |f| f.jump(HELPER))
        .function(HELPER, 0, |f| {
            f.bytes(&[0x0f, 0x84, 0, 0, 0, 0]).jump(CALLOUT)
        });
    let report = made.report(0x200, 0x1800);
    assert_eq!(report.broken, [""; 0]);
}

#[test]
fn calls_and_jumps_through_pointers_are_named() {
    let text = Made::new()
        .expanding()
        // call [rbx+68h]; call rax
        .function(CALLOUT, 0x20, |f| {
            f.bytes(&[0xff, 0x53, 0x68, 0xff, 0xd0]).call(HELPER)
        })
        // jmp rax
        .function(HELPER, 0, |f| f.bytes(&[0xff, 0xe0]))
        .report(0x200, 0x1800)
        .text;
    for line in [
        "callout+0x4 calls through a pointer",
        "callout+0x7 calls through a pointer",
        "helper+0x0 jumps through a pointer",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn a_switch_is_no_jump_through_a_pointer() {
    let text = Made::new()
        .expanding()
        // movsxd rax, [rcx+rax*4]; add rax, rcx; jmp rax
        .function(CALLOUT, 0x20, |f| {
            f.bytes(&[0x48, 0x63, 0x04, 0x81, 0x48, 0x01, 0xc8, 0xff, 0xe0])
        })
        .report(0x200, 0x1800)
        .text;
    assert!(!text.contains("pointer"), "{text}");
}

#[test]
fn an_import_kept_in_a_register_is_seen_unless_the_register_has_another_use() {
    let made = |more: &'static [u8]| {
        Made::new()
            .expanding()
            .function(CALLOUT, 0x20, |f| {
                // mov rsi, [slot]; call rsi; pop rsi
                f.relative(&[0x48, 0x8b, 0x35], PRINT)
                    .bytes(&[0xff, 0xd6, 0x5e])
                    .bytes(more)
            })
            .report(0x200, 0x1800)
            .text
    };
    let text = made(&[]);
    assert!(
        text.contains("DbgPrintEx") && !text.contains("pointer"),
        "{text}"
    );
    // xor esi, esi
    let text = made(&[0x31, 0xf6]);
    assert!(
        text.contains("callout+0xb calls through a pointer"),
        "{text}"
    );
}

#[test]
fn a_tail_call_of_a_release_routine_is_refused_through_a_stub_too() {
    let direct = Made::new()
        .expanding()
        .function(CALLOUT, 0, |f| f.jump_import(RELEASE).ret());
    let stub = Made::new()
        .expanding()
        .function(CALLOUT, 0x20, |f| {
            f.bytes(&[0x48, 0x83, 0xc4, 0x18]).jump(STUB)
        })
        .function(STUB, 0, |f| f.jump_import(RELEASE));
    // A conditional one: jne
    let conditional = Made::new()
        .expanding()
        .function(CALLOUT, 0x20, |f| f.relative(&[0x0f, 0x85], STUB))
        .function(STUB, 0, |f| f.jump_import(RELEASE));
    for (made, place) in [
        (direct, "callout+0x0"),
        (stub, "callout+0x8"),
        (conditional, "callout+0x4"),
    ] {
        let broken = made.report(0x200, 0x1800).broken;
        assert_eq!(broken.len(), 1, "{broken:?}");
        assert!(
            broken[0].starts_with(&format!("{place} jumps into FltReleaseContext")),
            "{broken:?}"
        );
    }
    let harmless = Made::new().expanding().function(CALLOUT, 0x20, |f| {
        f.bytes(&[0x48, 0x83, 0xc4, 0x18]).jump_import(PRINT)
    });
    assert_eq!(harmless.report(0x200, 0x1800).broken, [""; 0]);
}

#[test]
fn a_stack_pointer_that_moves_outside_the_prolog_has_no_bound() {
    // sub rsp, rax
    let made = Made::new()
        .expanding()
        .function(CALLOUT, 0x20, |f| f.bytes(&[0x48, 0x29, 0xc4]));
    let broken = made.report(0x200, 0x1800).broken;
    assert_eq!(broken.len(), 1, "{broken:?}");
    assert!(broken[0].starts_with("callout+0x4 moves the stack pointer"));
}

#[test]
fn a_callout_that_the_code_does_not_show_is_not_passed_over() {
    // mov rcx, rdx
    let made = Made::new().function(CALLBACK, 0x40, |f| {
        f.bytes(&[0x48, 0x89, 0xd1]).call_import(EXPAND)
    });
    let report = made.report(0x200, 0x1800);
    assert!(
        report.text.contains("callback -> an unknown callout"),
        "{}",
        report.text
    );
    assert_eq!(report.broken.len(), 1, "{:?}", report.broken);
    assert!(report.broken[0].contains("the code does not show"));
}

#[test]
fn a_limit_for_what_does_not_happen_is_no_pass() {
    let made = || Made::new().function(CALLBACK, 0x40, |f| f.call_import(PRINT));
    let broken = made().report(0x200, 0x1800).broken;
    assert_eq!(broken.len(), 1, "{broken:?}");
    assert!(broken[0].contains("nothing is measured"));
    let report = made().analysis().report(Limits::default());
    assert_eq!(report.broken, [""; 0]);
    assert!(
        report.text.contains("0x40           callback"),
        "{}",
        report.text
    );
}

#[test]
fn damaged_images_are_refused() {
    for data in [&b"MZ"[..], b"", &[0; 4096]] {
        assert!(Image::parse(data).is_err());
    }
}
