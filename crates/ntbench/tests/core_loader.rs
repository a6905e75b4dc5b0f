//! What is no driver is refused with a reason, and no bytes bring the host down.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod core;

use core::{clang, compile, load, machine, scratch};

use ntbench::wire::{DriverSpec, MachineConfig, Refusal};
use ntbench::{MachineError, NtStatus, imports, map_image};

fn good() -> Vec<u8> {
    std::fs::read(compile("expand", &["SIZE=0x6000", "WAIT=0", "CONTEXT=0"])).expect("an image")
}

fn word(image: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([image[at], image[at + 1]]))
}

fn dword(image: &[u8], at: usize) -> usize {
    word(image, at) | word(image, at + 2) << 16
}

/// File offset of the PE signature; the COFF header is 4 bytes, the optional header 24 bytes behind it.
fn pe(image: &[u8]) -> usize {
    dword(image, 0x3C)
}

fn put(image: &mut [u8], at: usize, value: u32) {
    image[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn put16(image: &mut [u8], at: usize, value: u16) {
    image[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

/// File offset of the header of a section by its index.
fn section(image: &[u8], index: usize) -> usize {
    let pe = pe(image);
    pe + 24 + word(image, pe + 20) + index * 40
}

#[track_caller]
fn refused(image: &[u8], because: &str) {
    let error = map_image(image).expect_err(because).to_string();
    assert!(error.contains(because), "{error:?} should say {because:?}");
}

#[test]
fn a_good_image_maps() {
    map_image(&good()).expect("maps");
}

#[test]
fn what_is_no_driver_is_named() {
    let good = good();
    let pe = pe(&good);
    refused(&[], "the file is empty");
    refused(b"\x7fELF", "does not begin with MZ");
    refused(&good[..0x50], "ends before its headers");
    refused(&good[..good.len() / 2], "truncated");
    for (machine, name) in [
        (0x14C, "x86 (32 bit)"),
        (0xAA64, "ARM64"),
        (0x1234, "0x1234"),
    ] {
        let mut image = good.clone();
        put16(&mut image, pe + 4, machine);
        refused(&image, name);
    }
    let mut image = good.clone();
    put16(&mut image, pe + 24 + 68, 3);
    refused(&image, "subsystem is Windows console");
    let mut image = good.clone();
    put(&mut image, pe + 24 + 16, 0);
    refused(&image, "no entry point");
    let mut image = good.clone();
    put(&mut image, pe + 24 + 16, 0x10);
    refused(&image, "lies in no executable section");
    let mut image = good.clone();
    let characteristics = u16::try_from(word(&image, pe + 22)).expect("a word");
    put16(&mut image, pe + 22, characteristics | 1);
    refused(&image, "no relocations");
    let mut image = good.clone();
    put(&mut image, pe + 24 + 32, 0x200);
    refused(&image, "section alignment");
    let mut image = good.clone();
    put(&mut image, pe + 24 + 56, 0x7000_0000);
    refused(&image, "SizeOfImage");
}

#[test]
fn sections_that_lie_are_named() {
    let good = good();
    let text = section(&good, 0);
    let mut image = good.clone();
    put(&mut image, text + 36, 0xE000_0020);
    refused(&image, "writable and executable");
    let mut image = good.clone();
    put(&mut image, text + 8, 0x0100_0000);
    refused(&image, "leaves the image");
    let mut image = good.clone();
    put(&mut image, section(&good, 1) + 12, 0x1000);
    refused(&image, "overlaps");
    let mut image = good.clone();
    put(&mut image, text + 12, 0x1010);
    refused(&image, "not on a page");
    let mut image = good.clone();
    put(&mut image, text + 12, 0x10_0000);
    refused(&image, "does not begin where");
    let mut image = good;
    let length = u32::try_from(image.len()).expect("small");
    put(&mut image, text + 20, length - 4);
    refused(&image, "truncated");
}

#[test]
fn directories_that_leave_the_image_are_named() {
    let good = good();
    let directories = pe(&good) + 24 + 112;
    for (index, name) in [
        (1, "import"),
        (3, "exception"),
        (5, "relocation"),
        (10, "load configuration"),
    ] {
        let mut image = good.clone();
        put(&mut image, directories + index * 8, 0x1000);
        put(&mut image, directories + index * 8 + 4, 0x7FFF_0000);
        refused(&image, name);
    }
}

#[test]
fn all_unknown_imports_are_named_at_once() {
    let image = compile("unknown", &[]);
    let listed = imports(&image).expect("readable");
    let missing: Vec<&str> = listed
        .iter()
        .filter(|import| !import.known)
        .map(|import| import.name.as_str())
        .collect();
    assert_eq!(missing, ["NoSuchFunction", "NorThisOne"]);
    let machine = machine(MachineConfig::default());
    match load(&machine, image) {
        Err(MachineError::Refused(Refusal::Image(text))) => {
            assert!(text.contains("unknown.sys"), "{text}");
            assert!(
                text.contains("ntoskrnl.exe!NoSuchFunction, ntoskrnl.exe!NorThisOne"),
                "{text}"
            );
        }
        other => panic!("{other:?}"),
    }
    machine.shutdown().expect("the machine lives");
}

#[test]
fn a_refused_image_names_its_file() {
    let file = scratch().join("notes.sys");
    std::fs::write(&file, "not a driver").expect("written");
    let machine = machine(MachineConfig::default());
    match load(&machine, file) {
        Err(MachineError::Refused(Refusal::Image(text))) => {
            assert!(text.contains("notes.sys: is not"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    match load(&machine, scratch().join("missing.sys")) {
        Err(MachineError::Refused(Refusal::Image(text))) => {
            assert!(text.contains("cannot be read"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pdb_of_another_build_is_refused_by_name() {
    let pdb = scratch().join("other.pdb");
    std::fs::write(&pdb, "no symbols").expect("written");
    let machine = machine(MachineConfig::default());
    let image = compile("limits", &[]);
    match machine.load_driver(DriverSpec {
        image,
        pdb: Some(pdb),
        ..DriverSpec::default()
    }) {
        Err(MachineError::Refused(Refusal::Image(text))) => {
            assert!(text.contains("other.pdb"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

/// A small generator of its own, so that a failing image can be made again from its number.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }
}

#[test]
fn no_mutation_brings_the_host_down() {
    let good = good();
    let (mut refused, mut mapped) = (0, 0);
    let length = good.len();
    for seed in 1..=6000u64 {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut image = good.clone();
        // Headers and tables are where a loader can be led astray; the rest is mutated too, less often.
        let reach = if seed % 4 == 0 { image.len() } else { 0x600 };
        for _ in 0..=random.below(6) {
            let at = random.below(reach - 8);
            match random.below(4) {
                0 => image[at] = u8::try_from(random.next() & 0xFF).expect("a byte"),
                1 => put(
                    &mut image,
                    at,
                    [0, 1, 0x1000, 0x7FFF_FFFF, 0x8000_0000, u32::MAX][random.below(6)],
                ),
                2 => put(
                    &mut image,
                    at & !3,
                    u32::try_from(random.below(length * 2)).expect("small"),
                ),
                _ => image[at] ^= 1 << random.below(8),
            }
        }
        if seed % 16 == 0 {
            image.truncate(random.below(image.len()));
        }
        match map_image(&image) {
            Ok(()) => mapped += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(
        mapped > 100 && refused > 100,
        "{mapped} mapped, {refused} refused: the mutations are of one kind only"
    );
}

/// Where an RVA lies in the file.
fn offset(image: &[u8], rva: usize) -> usize {
    let sections = word(image, pe(image) + 6);
    (0..sections)
        .map(|index| section(image, index))
        .find_map(|header| {
            let (start, length) = (dword(image, header + 12), dword(image, header + 16));
            let inside = (start..start + length).contains(&rva);
            inside.then(|| rva - start + dword(image, header + 20))
        })
        .expect("an address in a section")
}

#[test]
fn what_no_driver_has_is_refused_by_name() {
    let good = good();
    let directories = pe(&good) + 24 + 112;
    for (index, name) in [
        (9, "thread-local storage"),
        (13, "delay-loaded imports"),
        (14, "managed code"),
    ] {
        let mut image = good.clone();
        put(&mut image, directories + index * 8, 0x1000);
        put(&mut image, directories + index * 8 + 4, 0x28);
        refused(&image, name);
    }
}

#[test]
fn an_import_by_ordinal_is_refused_by_number_and_one_of_another_dll_by_name() {
    let good = good();
    let imports = dword(&good, pe(&good) + 24 + 112 + 8);
    let descriptor = offset(&good, imports);
    let mut image = good.clone();
    let thunks = offset(&image, dword(&image, descriptor));
    put(&mut image, thunks, 17);
    put(&mut image, thunks + 4, 0x8000_0000);
    refused(&image, "ntoskrnl.exe!#17");

    let mut image = good;
    let name = offset(&image, dword(&image, descriptor + 12));
    image[name..name + 12].copy_from_slice(b"ndis.sys\0\0\0\0");
    refused(&image, "ndis.sys!");
}

#[test]
fn sections_may_share_a_name() {
    let mut image = good();
    let first = section(&image, 0);
    let name: [u8; 8] = image[first..first + 8].try_into().expect("eight bytes");
    let second = section(&image, 1);
    image[second..second + 8].copy_from_slice(&name);
    map_image(&image).expect("names are for people");
}

#[test]
fn a_load_configuration_that_points_elsewhere_is_named() {
    let mut image = good();
    let directories = pe(&image) + 24 + 112;
    // Its first words are code: as a directory they are long enough to name a cookie somewhere.
    let code = dword(&image, section(&image, 0) + 12);
    put(
        &mut image,
        directories + 10 * 8,
        u32::try_from(code).expect("small"),
    );
    put(&mut image, directories + 10 * 8 + 4, 0x140);
    refused(&image, "leave the image");
}

fn helper(name: &str, flags: &[&str], link: &[&str]) -> std::path::PathBuf {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/core/helper.c");
    clang::driver(&source, name, flags, link)
}

#[test]
fn a_driver_imports_from_one_that_is_loaded_and_through_its_forwarders() {
    let exporting = helper(
        "helper",
        &["-DHELPER"],
        &[
            "/export:HelperLimits=ntoskrnl.IoGetStackLimits",
            // To an export of its own that is a forwarder.
            "/export:HelperSecond=helper.HelperLimits",
            "/export:HelperNowhere=ntoskrnl.NoSuchFunction",
        ],
    );
    let names = [
        "HelperAdd",
        "HelperRead",
        "HelperLimits",
        "HelperSecond",
        "HelperNowhere",
    ];
    let library = clang::library(&scratch(), "helper.sys", &names);
    let library = library.display().to_string();
    let importing = helper("importing", &[], &[&library]);
    let machine = machine(MachineConfig::default());
    match load(&machine, importing.clone()) {
        Err(MachineError::Refused(Refusal::Image(text))) => {
            assert!(text.contains("helper.sys!HelperAdd"), "{text}");
        }
        other => panic!("without it: {other:?}"),
    }
    load(&machine, exporting).expect("loads");
    load(&machine, importing).expect("loads");
    let address = machine.symbol("importing!result").expect("a symbol");
    let bytes = machine.read(address, 32).expect("its memory");
    let words: Vec<u64> = bytes
        .chunks_exact(8)
        .map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")))
        .collect();
    assert_eq!(words, [42, 0xC000_0005, 1, 1], "{words:x?}");
}

#[test]
fn an_image_stays_as_long_as_another_imports_from_it() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/core/lender.c");
    let lender = clang::driver(&source, "lender", &["-DLENDER"], &[]);
    let library = clang::library(&scratch(), "lender.sys", &["LenderAdd"]);
    let borrower = clang::driver(&source, "borrower", &[], &[&library.display().to_string()]);
    let machine = machine(MachineConfig::default());
    let service = |name: &str, image: &std::path::Path| {
        machine.load_driver(DriverSpec {
            image: image.to_owned(),
            service: name.to_owned(),
            ..DriverSpec::default()
        })
    };
    let modules = || -> Vec<String> {
        let modules = machine.modules().expect("modules");
        modules.into_iter().map(|module| module.name).collect()
    };
    service("lender", &lender).expect("loads");
    service("borrower", &borrower).expect("loads");
    let status = machine.unload_driver("lender").expect("unloads");
    assert_eq!(status, NtStatus::SUCCESS, "its driver goes");
    assert_eq!(modules(), ["lender", "borrower"], "its image does not");
    match service("lender", &lender) {
        Err(MachineError::Refused(Refusal::Image(text))) => {
            assert!(text.contains("borrower imports from it"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    // What it does at its unload calls into the lender: nothing ends here.
    machine.unload_driver("borrower").expect("unloads");
    assert_eq!(modules(), [""; 0], "both are gone");
    service("lender", &lender).expect("loads again");
    machine.shutdown().expect("a report");
}

#[test]
fn a_forwarder_that_leads_nowhere_is_named() {
    let exporting = helper(
        "helper",
        &["-DHELPER"],
        &[
            "/export:HelperLimits=ntoskrnl.NoSuchFunction",
            // A ring.
            "/export:HelperSecond=helper.HelperSecond",
        ],
    );
    let names = ["HelperAdd", "HelperRead", "HelperLimits", "HelperSecond"];
    let library = clang::library(&scratch(), "helper.sys", &names);
    let importing = helper("importing", &[], &[&library.display().to_string()]);
    let machine = machine(MachineConfig::default());
    load(&machine, exporting).expect("loads");
    match load(&machine, importing) {
        Err(MachineError::Refused(Refusal::Image(text))) => {
            assert!(
                text.ends_with("helper.sys!HelperLimits, helper.sys!HelperSecond"),
                "{text}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn imports_that_were_bound_are_bound_anew() {
    let mut image = good();
    let directories = pe(&image) + 24 + 112;
    let descriptor = offset(&image, dword(&image, directories + 8));
    assert_ne!(dword(&image, descriptor), 0, "names beside the addresses");
    // As bind.exe leaves it: -1 for a time stamp, addresses of another day in the slots, and a directory behind the headers
    // that says of which DLL.
    put(&mut image, descriptor + 4, u32::MAX);
    let slots = offset(&image, dword(&image, descriptor + 16));
    put(&mut image, slots, 0x8001_2340);
    put(&mut image, slots + 4, 0xFFFF_F800);
    put(&mut image, directories + 11 * 8, 0x3C0);
    put(&mut image, directories + 11 * 8 + 4, 0x20);
    let file = scratch().join("expand.sys");
    std::fs::write(&file, &image).expect("written");
    let machine = machine(MachineConfig::default());
    load(&machine, file).expect("runs: every call leads where it should");
    let address = machine.symbol("expand!result").expect("a symbol");
    let low = machine.read(address, 8).expect("its memory");
    assert_ne!(low, [0; 8]);
}

#[test]
fn a_pdb_of_another_build_beside_the_image_is_told_of_and_not_used() {
    let image = helper("stale", &["-DHELPER"], &[]);
    let machine = machine(MachineConfig::default());
    let module = load(&machine, image.clone()).expect("loads").module;
    assert_eq!(
        (module.pdb, module.stale_pdb),
        (Some(image.with_extension("pdb")), None)
    );
    assert_eq!(ntbench::stale_pdb(&image), None);
    machine.shutdown().expect("a report");

    let other = helper("other", &["-DHELPER", "-DANOTHER=1", "-O2"], &[]);
    let pdb = image.with_extension("pdb");
    std::fs::copy(other.with_extension("pdb"), &pdb).expect("copied");
    let machine = core::machine(MachineConfig::default());
    let module = load(&machine, image.clone()).expect("loads").module;
    assert_eq!((module.pdb, module.stale_pdb), (None, Some(pdb)));
    machine.shutdown().expect("a report");

    let output = std::process::Command::new(env!("CARGO_BIN_EXE_ntbench"))
        .args(["run", "--keep-loaded"])
        .arg(&image)
        .output()
        .expect("the command runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        said.matches("stale.pdb holds symbols of another build")
            .count(),
        1,
        "{said}"
    );
}
