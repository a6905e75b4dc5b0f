//! What an AddReg section writes.

use crate::{
    document::{Entry, Section},
    error::{Error, ErrorKind},
    number,
};

/// A registry value that an INF writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The key, relative to the root: the service's key for `HKR` in a service's AddReg. Empty for the root itself.
    pub subkey: String,
    /// The value's name, empty for the default value.
    pub name: String,
    /// Its type and content.
    pub data: Data,
}

/// A registry value's type and content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// `REG_NONE` and other types without a form of their own.
    None(Vec<u8>),
    /// `REG_SZ`.
    Sz(String),
    /// `REG_EXPAND_SZ`.
    ExpandSz(String),
    /// `REG_BINARY`.
    Binary(Vec<u8>),
    /// `REG_DWORD`.
    Dword(u32),
    /// `REG_MULTI_SZ`.
    MultiSz(Vec<String>),
    /// `REG_QWORD`.
    Qword(u64),
}

/// Bits of an entry's flags ("INF AddReg Directive").
pub(crate) mod flags {
    /// The value is deleted.
    pub(crate) const DELETE: u32 = 0x4;
    /// The strings are appended to what is there.
    pub(crate) const APPEND: u32 = 0x8;
    /// The key alone is made.
    pub(crate) const KEY_ONLY: u32 = 0x10;
    /// Bits that say the type.
    pub(crate) const TYPE: u32 = 0xFFFF_0001;
}

/// A line of an AddReg section.
#[derive(Clone, Debug)]
pub(crate) struct Line<'a> {
    pub(crate) entry: &'a Entry,
    /// `HKR`, `HKLM`, … in capitals.
    pub(crate) root: String,
    pub(crate) flags: u32,
    /// The value, unless the line only makes a key or deletes something.
    pub(crate) value: Option<Value>,
}

/// The lines of an AddReg section.
pub(crate) fn lines(section: &Section) -> Result<Vec<Line<'_>>, Error> {
    section.entries.iter().map(line).collect()
}

fn line(entry: &Entry) -> Result<Line<'_>, Error> {
    let root = entry.text(0).to_ascii_uppercase();
    if !["HKR", "HKLM", "HKCR", "HKCU", "HKU"].contains(&&*root) {
        return Err(Error::new(entry.at, ErrorKind::RegistryRoot(root)));
    }
    let flags = entry.field(3).map_or(Ok(0), number::of)?;
    let value = if flags & (flags::DELETE | flags::KEY_ONLY) != 0 {
        None
    } else {
        Some(Value {
            subkey: entry.text(1).to_owned(),
            name: entry.text(2).to_owned(),
            data: data(entry, flags)?,
        })
    };
    Ok(Line {
        entry,
        root,
        flags,
        value,
    })
}

fn data(entry: &Entry, flags: u32) -> Result<Data, Error> {
    let text = || entry.text(4).to_owned();
    Ok(match flags & flags::TYPE {
        0x0000_0000 => Data::Sz(text()),
        0x0002_0000 => Data::ExpandSz(text()),
        0x0001_0000 => {
            let fields = entry.fields.iter().skip(4);
            Data::MultiSz(
                fields
                    .filter(|field| !field.text.is_empty())
                    .map(|field| field.text.clone())
                    .collect(),
            )
        }
        0x0000_0001 => Data::Binary(bytes(entry)?),
        0x0002_0001 => Data::None(bytes(entry)?),
        0x0001_0001 => Data::Dword(match bytes_of_dword(entry)? {
            Some(number) => number,
            None => entry.field(4).map_or(Ok(0), number::of)?,
        }),
        0x000B_0001 => Data::Qword(
            bytes(entry)?
                .iter()
                .take(8)
                .rev()
                .fold(0, |number, byte| number << 8 | u64::from(*byte)),
        ),
        _ => return Err(Error::new(entry.at, ErrorKind::RegistryType(flags))),
    })
}

/// The fields from the value on, each a byte in hexadecimal, with or without `0x`.
fn bytes(entry: &Entry) -> Result<Vec<u8>, Error> {
    let fields = entry.fields.iter().skip(4);
    fields
        .filter(|field| !field.text.is_empty())
        .map(|field| {
            let digits = field.text.trim();
            let digits = digits
                .strip_prefix("0x")
                .or_else(|| digits.strip_prefix("0X"))
                .unwrap_or(digits);
            u8::from_str_radix(digits, 16)
                .map_err(|_| Error::new(field.at, ErrorKind::NotANumber(field.text.clone())))
        })
        .collect()
}

/// A REG_DWORD may be written as four bytes, the lowest first.
fn bytes_of_dword(entry: &Entry) -> Result<Option<u32>, Error> {
    if entry.fields.len() != 8 {
        return Ok(None);
    }
    let bytes = bytes(entry)?;
    Ok(<[u8; 4]>::try_from(bytes).ok().map(u32::from_le_bytes))
}
