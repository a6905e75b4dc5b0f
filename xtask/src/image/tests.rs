//! A driver image made by hand, and what is said of it once it is damaged.

use object::pe;

use versioninfo::{Kind, Product, VersionInfo};

use super::Image;

const TEXT: usize = 0x400;
const RDATA: usize = 0x600;
const RSRC: usize = 0x800;
/// The resource itself, behind three tables of one entry each.
const VERSION: usize = RSRC + 0x58;
const SIZE: usize = 0xc00;
const NT: usize = 0x40;
const OPTIONAL: usize = NT + 24;
const SECTIONS: usize = OPTIONAL + 240;

/// An image of three sections that imports DbgPrintEx from ntoskrnl.exe.
fn driver() -> Vec<u8> {
    let mut data = vec![0; SIZE];
    let mut put = |at: usize, bytes: &[u8]| data[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x3c, &0x40_u32.to_le_bytes());
    put(NT, b"PE\0\0");
    put(NT + 4, &0x8664_u16.to_le_bytes());
    put(NT + 6, &3_u16.to_le_bytes());
    put(NT + 20, &240_u16.to_le_bytes());
    put(NT + 22, &0x22_u16.to_le_bytes());
    put(OPTIONAL, &0x20b_u16.to_le_bytes());
    put(OPTIONAL + 16, &0x1000_u32.to_le_bytes());
    put(OPTIONAL + 32, &0x1000_u32.to_le_bytes());
    put(OPTIONAL + 36, &0x200_u32.to_le_bytes());
    put(OPTIONAL + 56, &0x4000_u32.to_le_bytes());
    put(OPTIONAL + 60, &0x400_u32.to_le_bytes());
    put(OPTIONAL + 68, &1_u16.to_le_bytes());
    put(OPTIONAL + 70, &0x1e0_u16.to_le_bytes());
    put(OPTIONAL + 108, &16_u32.to_le_bytes());
    // imports, and relocations that are only claimed
    put(
        OPTIONAL + 112 + 8,
        &[0x2000_u32.to_le_bytes(), 40_u32.to_le_bytes()].concat(),
    );
    put(
        OPTIONAL + 112 + 40,
        &[0x2100_u32.to_le_bytes(), 8_u32.to_le_bytes()].concat(),
    );
    let product = Product {
        name: "X",
        company: "Y",
        description: "Z",
        copyright: "W",
    };
    let resource = VersionInfo::new(Kind::Driver, "x.sys", "1.2.3", &product).to_resource();
    let length = u32::try_from(resource.len()).unwrap();
    put(
        OPTIONAL + 112 + 16,
        &[0x3000_u32, 0x400].map(u32::to_le_bytes).concat(),
    );
    for (at, id, offset) in [
        (0, 16_u32, 0x8000_0018_u32),
        (0x18, 1, 0x8000_0030),
        (0x30, 0x409, 0x48),
    ] {
        put(RSRC + at + 14, &1_u16.to_le_bytes());
        put(RSRC + at + 16, &[id, offset].map(u32::to_le_bytes).concat());
    }
    put(
        RSRC + 0x48,
        &[0x3058, length].map(u32::to_le_bytes).concat(),
    );
    put(VERSION, &resource);
    for (at, name, address, offset, flags) in [
        (SECTIONS, b".text\0\0\0", 0x1000_u32, TEXT, 0x6000_0020_u32),
        (SECTIONS + 40, b".rdata\0\0", 0x2000, RDATA, 0x4000_0040),
        (SECTIONS + 80, b".rsrc\0\0\0", 0x3000, RSRC, 0x4000_0040),
    ] {
        put(at, name);
        let length = if offset == RSRC { 0x400 } else { 0x200 };
        let offset = u32::try_from(offset).unwrap();
        put(
            at + 8,
            &[length, address, length, offset]
                .map(u32::to_le_bytes)
                .concat(),
        );
        put(at + 36, &flags.to_le_bytes());
    }
    // descriptor: names at 0x2040, module at 0x2080, addresses at 0x2060
    put(
        RDATA,
        &[0x2040_u32, 0, 0, 0x2080, 0x2060]
            .map(u32::to_le_bytes)
            .concat(),
    );
    put(RDATA + 0x40, &0x20a0_u64.to_le_bytes());
    put(RDATA + 0x60, &0x20a0_u64.to_le_bytes());
    put(RDATA + 0x80, b"ntoskrnl.exe\0");
    put(RDATA + 0xa0, b"\0\0DbgPrintEx\0");
    put(
        RDATA + 0x100,
        &[0x1000_u32, 8].map(u32::to_le_bytes).concat(),
    );
    sealed(data)
}

/// The image with the checksum that its bytes give.
fn sealed(mut data: Vec<u8>) -> Vec<u8> {
    let sum = Image::parse(&data).unwrap().computed_checksum;
    data[OPTIONAL + 64..OPTIONAL + 68].copy_from_slice(&sum.to_le_bytes());
    data
}

/// What is said of the image after `damage`, checksum mended.
fn said(damage: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut data = driver();
    damage(&mut data);
    Image::parse(&sealed(data))
        .unwrap()
        .broken_rules()
        .join("; ")
}

#[test]
fn a_driver_is_read_and_breaks_no_rule() {
    let image = Image::parse(&driver()).unwrap();
    assert_eq!(image.broken_rules(), Vec::<String>::new());
    assert_eq!(
        (
            image.imports.len(),
            &*image.imports[0].dll,
            &*image.imports[0].names
        ),
        (1, "ntoskrnl.exe", &["DbgPrintEx".to_owned()][..])
    );
    assert_eq!(
        (image.subsystem, image.entry, &*image.sections[0].name),
        (pe::IMAGE_SUBSYSTEM_NATIVE, 0x1000, ".text")
    );
    let table = super::report::table("x.sys", &image);
    assert!(
        table.contains("X 1.2.3.0, Y") && table.contains("Windows 6.0.6000, which has DbgPrintEx"),
        "{table}"
    );
    assert!(
        table.contains("HIGH_ENTROPY_VA DYNAMIC_BASE FORCE_INTEGRITY NX_COMPAT")
            && table.contains("verified"),
        "{table}"
    );
}

#[test]
fn every_rule_can_be_broken() {
    let cases: [(usize, &[u8], &str); 20] = [
        (
            OPTIONAL + 32,
            &[0, 2, 0, 0],
            "sections are aligned to 0x200, not to pages",
        ),
        (OPTIONAL + 70, &[0xe0, 0x41], "GUARD_CF is set"),
        (
            SECTIONS + 12,
            &[0, 0x11, 0, 0],
            "section .text begins at 0x1100",
        ),
        (OPTIONAL + 112 + 16, &[0; 8], "there is no version resource"),
        (RSRC + 16, &[3], "there is no version resource"),
        (VERSION + 6, b"X", "begins with `XS_VERSION_INFO`"),
        (VERSION + 40, &[0], "no VS_FIXEDFILEINFO"),
        (VERSION + 40 + 36, &[1], "that of a program"),
        (VERSION + 40 + 36, &[4], "a file of type 4"),
        (VERSION + 40 + 8, &[9], "FileVersion is not 1.9.3.0"),
        (OPTIONAL + 68, &[3, 0], "the subsystem is 3"),
        (OPTIONAL + 70, &[0x60, 0x01], "FORCE_INTEGRITY is not set"),
        (OPTIONAL + 70, &[0xe0, 0x00], "NX_COMPAT is not set"),
        (OPTIONAL + 16, &[0, 0, 0, 0], "no entry point"),
        (OPTIONAL + 112 + 44, &[0, 0, 0, 0], "no base relocations"),
        (
            SECTIONS + 36,
            &[0x20, 0, 0, 0xe0],
            "section .text is writable and executable",
        ),
        (SECTIONS, b"INIT\0\0\0\0", "section INIT is not discardable"),
        (RDATA + 0x80, b"kernel32.dll\0", "kernel32.dll is imported"),
        (
            RDATA + 0xa0,
            b"\0\0DbgPrantEx\0",
            "DbgPrantEx is imported from ntoskrnl.exe",
        ),
        (
            RDATA + 0xa0,
            b"\0\0CcCanIWrite\0",
            "nobody wrote into xtask/assets/imports/ntoskrnl.exe.txt since which Windows",
        ),
    ];
    for (at, bytes, expected) in cases {
        let said = said(|data| data[at..at + bytes.len()].copy_from_slice(bytes));
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let mut data = driver();
    data[TEXT] ^= 1;
    let said = Image::parse(&data).unwrap().broken_rules().join("; ");
    assert!(
        said.contains("the header's checksum is") && said.contains("wrong"),
        "{said}"
    );
}

#[test]
fn a_truncated_image_is_refused_or_breaks_a_rule() {
    let whole = driver();
    for length in 0..whole.len() {
        if let Ok(image) = Image::parse(&whole[..length]) {
            assert!(
                !image.broken_rules().is_empty(),
                "{length} bytes pass for a whole driver"
            );
        }
    }
    let error = format!("{:#}", Image::parse(b"not a driver").unwrap_err());
    assert!(error.contains("MS-DOS header"), "{error}");
}

#[test]
fn no_single_damaged_byte_brings_the_reader_down() {
    let whole = driver();
    let mut read = 0;
    for at in 0..whole.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut data = whole.clone();
            data[at] = value;
            if let Ok(image) = Image::parse(&data) {
                drop(super::report::table("x", &image));
                read += 1;
                assert!(
                    data == whole || !image.broken_rules().is_empty(),
                    "byte {at:#x} = {value:#x} is not noticed"
                );
            }
        }
    }
    assert!(read > whole.len());
}

/// What is built for windows-gnu is linked by GNU ld, from an object.
#[test]
fn a_program_that_gnu_ld_links_has_its_version_resource() {
    const COMPILER: &str = "x86_64-w64-mingw32-gcc";
    if crate::run::which(COMPILER).is_none() {
        println!("skipped: there is no {COMPILER} to link with");
        return;
    }
    let product = Product {
        name: "P",
        company: "C",
        description: "D",
        copyright: "R",
    };
    let info = VersionInfo::new(Kind::Application, "p.exe", "1.2.3", &product);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("version.o"), info.to_object_file()).unwrap();
    std::fs::write(file("main.c"), "int main(void) { return 0; }").unwrap();
    let linked = std::process::Command::new(COMPILER)
        .current_dir(folder.path())
        .args(["main.c", "version.o", "-o", "p.exe"])
        .output()
        .unwrap();
    assert!(linked.status.success(), "{linked:?}");
    let image = std::fs::read(file("p.exe")).unwrap();
    let found = Image::parse(&image).unwrap().version;
    assert_eq!(found.unwrap().unwrap(), info);
}
