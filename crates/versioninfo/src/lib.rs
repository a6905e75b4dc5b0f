//! Version resources of Windows images.
//!
//! Explorer, `lm v` in a debugger and WER tell files apart by this resource. A build script writes it into a `.res` file
//! ([`VersionInfo::to_resource_file`]), which link.exe and lld-link both take as an input, so that no resource compiler is needed and the
//! bytes depend on nothing but what is said here; for GNU ld there is an object file ([`VersionInfo::to_object_file`]).
//! [`VersionInfo::parse`] reads the resource back.
//!
//! The formats are those of "VS_VERSIONINFO structure" and "Resource File Formats" in the Windows documentation.
#![forbid(unsafe_code)]

mod block;
mod object;
mod read;
mod script;

use block::{Value, block};
pub use read::ReadError;
pub use script::{link_driver, link_program};

/// What kind of file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A kernel driver.
    Driver,
    /// A program.
    Application,
}

impl Kind {
    /// `dwFileType` and `dwFileSubtype`: VFT_DRV with VFT2_DRV_SYSTEM, VFT_APP.
    const fn numbers(self) -> (u32, u32) {
        match self {
            Self::Driver => (3, 7),
            Self::Application => (1, 0),
        }
    }
}

/// A version resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionInfo {
    /// The kind of file.
    pub kind: Kind,
    /// Its version, and its product's.
    pub version: [u16; 4],
    /// The strings, by name, in the order in which they are written.
    pub strings: Vec<(String, String)>,
}

/// English (United States), in Unicode.
const LANGUAGE: u16 = 0x0409;
const CODE_PAGE: u16 = 0x04b0;
/// RT_VERSION.
const TYPE: u16 = 16;
/// `VS_FIXEDFILEINFO.dwSignature`.
const SIGNATURE: u32 = 0xfeef_04bd;

/// The strings that every file should have.
pub const STRINGS: [&str; 8] = [
    "CompanyName",
    "FileDescription",
    "FileVersion",
    "InternalName",
    "LegalCopyright",
    "OriginalFilename",
    "ProductName",
    "ProductVersion",
];

impl VersionInfo {
    /// A resource with all of [`STRINGS`]. `version` is a package's: up to four numbers, and what follows a `-` or `+` is left out of the
    /// numbers and kept in `ProductVersion`.
    #[must_use]
    pub fn new(kind: Kind, file: &str, version: &str, product: &Product<'_>) -> Self {
        let numbers = version.split(['-', '+']).next().unwrap_or_default();
        let mut parsed = [0; 4];
        for (number, text) in parsed.iter_mut().zip(numbers.split('.')) {
            *number = text.parse().unwrap_or_default();
        }
        let [a, b, c, d] = parsed;
        let file_version = format!("{a}.{b}.{c}.{d}");
        let values = [
            product.company,
            product.description,
            &file_version,
            file,
            product.copyright,
            file,
            product.name,
            version,
        ];
        Self {
            kind,
            version: parsed,
            strings: STRINGS
                .iter()
                .zip(values)
                .map(|(name, value)| ((*name).to_owned(), value.to_owned()))
                .collect(),
        }
    }

    /// A string by its name.
    #[must_use]
    pub fn string(&self, name: &str) -> Option<&str> {
        let found = self.strings.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| &**value)
    }

    /// The resource itself, as it stands in an image.
    #[must_use]
    pub fn to_resource(&self) -> Vec<u8> {
        let strings: Vec<_> = self
            .strings
            .iter()
            .map(|(name, value)| block(name, &Value::Text(value), &[]))
            .collect();
        let table = format!("{LANGUAGE:04x}{CODE_PAGE:04x}");
        let table = block(&table, &Value::NoText, &strings);
        let translation = [LANGUAGE.to_le_bytes(), CODE_PAGE.to_le_bytes()].concat();
        let translation = block("Translation", &Value::Binary(&translation), &[]);
        block(
            "VS_VERSION_INFO",
            &Value::Binary(&self.fixed()),
            &[
                block("StringFileInfo", &Value::NoText, &[table]),
                block("VarFileInfo", &Value::NoText, &[translation]),
            ],
        )
    }

    /// A `.res` file that holds the resource alone, as number 1.
    #[must_use]
    pub fn to_resource_file(&self) -> Vec<u8> {
        let resource = self.to_resource();
        let mut file = header(0, 0, 0, 0, 0);
        // MOVEABLE and PURE, as resource compilers write it.
        file.extend(header(resource.len(), TYPE, 1, 0x0030, LANGUAGE));
        file.extend(resource);
        file.resize(file.len().next_multiple_of(4), 0);
        file
    }

    /// An object file for x64 that holds the resource alone, as number 1: for a linker that takes no `.res` file, as GNU ld.
    #[must_use]
    pub fn to_object_file(&self) -> Vec<u8> {
        object::object(&self.to_resource())
    }

    fn fixed(&self) -> Vec<u8> {
        let [a, b, c, d] = self.version.map(u32::from);
        let (high, low) = (a << 16 | b, c << 16 | d);
        let (kind, subtype) = self.kind.numbers();
        // VOS_NT_WINDOWS32
        [
            SIGNATURE, 0x1_0000, high, low, high, low, 0x3f, 0, 0x4_0004, kind, subtype, 0, 0,
        ]
        .map(u32::to_le_bytes)
        .concat()
    }
}

/// What a file belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Product<'a> {
    /// The product's name.
    pub name: &'a str,
    /// Who makes it.
    pub company: &'a str,
    /// What the file is, in a sentence.
    pub description: &'a str,
    /// Under which terms.
    pub copyright: &'a str,
}

/// A resource's header: type and name as numbers.
fn header(length: usize, kind: u16, name: u16, flags: u16, language: u16) -> Vec<u8> {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    let mut header = [length.to_le_bytes(), 32_u32.to_le_bytes()].concat();
    for number in [
        0xffff, kind, 0xffff, name, 0, 0, flags, language, 0, 0, 0, 0,
    ] {
        header.extend(number.to_le_bytes());
    }
    header
}
