//! UTF-16 names.

use std::ffi::OsStr;
use std::os::windows::ffi::OsStrExt as _;

use windows_sys::Win32::Foundation::UNICODE_STRING;

use crate::{Error, Result};

/// A name in UTF-16 with a NUL behind it, as Win32 wants it, or counted, as the kernel does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wide(Vec<u16>);

impl Wide {
    /// A name.
    ///
    /// # Errors
    /// [`Error::Name`]: it holds a NUL, or is longer than a UNICODE_STRING can be.
    pub fn new(name: impl AsRef<OsStr>) -> Result<Self> {
        let name = name.as_ref();
        Self::from_units(name.encode_wide().collect())
            .map_err(|_| Error::Name(name.to_string_lossy().chars().take(256).collect()))
    }

    /// A name as units, which need not be well-formed UTF-16.
    ///
    /// # Errors
    /// [`Error::Name`]: as for [`Wide::new`].
    pub fn from_units(mut units: Vec<u16>) -> Result<Self> {
        // A UNICODE_STRING counts bytes in 16 bits.
        if units.contains(&0) || units.len() > 32_767 {
            return Err(Error::Name(lossy(&units[..units.len().min(256)])));
        }
        units.push(0);
        Ok(Self(units))
    }

    /// Up to the first NUL, or whole.
    pub(crate) fn ptr(&self) -> *const u16 {
        self.0.as_ptr()
    }

    /// The units, without the NUL.
    #[must_use]
    pub fn units(&self) -> &[u16] {
        &self.0[..self.0.len() - 1]
    }

    /// As the kernel takes names. It is valid as long as this is.
    pub(crate) fn counted(&self) -> UNICODE_STRING {
        let bytes = u16::try_from(self.units().len() * 2).unwrap_or(0xfffe);
        UNICODE_STRING {
            Length: bytes,
            MaximumLength: bytes,
            // The kernel reads names that it opens; the field is not const because other uses write.
            Buffer: self.0.as_ptr().cast_mut(),
        }
    }
}

/// Units as text, up to a NUL if there is one.
pub(crate) fn lossy(units: &[u16]) -> String {
    let end = units.iter().position(|&unit| unit == 0);
    String::from_utf16_lossy(&units[..end.unwrap_or(units.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_without_their_nul() {
        let name = Wide::new("ab").unwrap();
        assert_eq!(name.units(), [0x61, 0x62]);
        let counted = name.counted();
        assert_eq!((counted.Length, counted.MaximumLength), (4, 4));
    }

    #[test]
    fn a_nul_inside_and_too_many_units_are_refused() {
        Wide::new("a\0b").unwrap_err();
        Wide::from_units(vec![0x61; 32_768]).unwrap_err();
        let longest = Wide::from_units(vec![0x61; 32_767]).unwrap();
        assert_eq!(longest.counted().Length, 65_534);
    }
}
