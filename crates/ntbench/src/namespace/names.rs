//! Names as a file system sees them: backslash-separated UTF-16 components, compared without regard to case.

use super::streams::StreamName;
use crate::abi::status::NtStatus;

/// The longest component that NTFS and SMB servers take, in UTF-16 units.
const LONGEST_COMPONENT: usize = 255;

pub(crate) const BACKSLASH: u16 = b'\\' as u16;
const COLON: u16 = b':' as u16;

/// A path below a volume's or a share's root, split and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    /// The components, root first; none: the root itself.
    pub(crate) components: Vec<String>,
    /// Whether the name ended in a backslash, which only a directory may.
    pub(crate) trailing_backslash: bool,
    /// The stream that it names, and how that was written; `None`: the file or directory itself.
    pub(crate) stream: Option<(StreamName, Vec<u16>)>,
}

impl Path {
    /// Splits `name`, which is empty or begins with a backslash.
    ///
    /// What `NtCreateFile` answers for a name that no file system could hold is `STATUS_OBJECT_NAME_INVALID`: an empty
    /// component, `.` or `..` (the Win32 layer has resolved those before a name gets here), a reserved character, a
    /// lone surrogate, or a component that is too long. The last component may go on with a stream's name.
    pub(crate) fn parse(name: &[u16]) -> Result<Self, NtStatus> {
        if name.is_empty() {
            return Ok(Self {
                components: Vec::new(),
                trailing_backslash: false,
                stream: None,
            });
        }
        let (name, stream) = match name.iter().position(|unit| *unit == COLON) {
            None => (name, None),
            Some(at) => {
                let (name, suffix) = name.split_at(at);
                let stream = StreamName::parse(suffix).ok_or(NtStatus::OBJECT_NAME_INVALID)?;
                // A directory's own stream may be named behind the backslash of its root alone.
                if name.len() > 1 && name.last() == Some(&BACKSLASH) {
                    return Err(NtStatus::OBJECT_NAME_INVALID);
                }
                (name, Some((stream, suffix.to_vec())))
            }
        };
        let Some((&BACKSLASH, rest)) = name.split_first() else {
            return Err(NtStatus::OBJECT_NAME_INVALID);
        };
        let (rest, trailing_backslash) = match rest.split_last() {
            None => {
                return Ok(Self {
                    components: Vec::new(),
                    trailing_backslash: false,
                    stream,
                });
            }
            Some((&BACKSLASH, head)) => (head, true),
            Some(_) => (rest, false),
        };
        let components = rest
            .split(|&unit| unit == BACKSLASH)
            .map(component)
            .collect::<Option<Vec<_>>>()
            .ok_or(NtStatus::OBJECT_NAME_INVALID)?;
        Ok(Self {
            components,
            trailing_backslash,
            stream,
        })
    }
}

/// One component as text, if a file may be called that.
fn component(units: &[u16]) -> Option<String> {
    if units.is_empty() || units.len() > LONGEST_COMPONENT {
        return None;
    }
    let text = String::from_utf16(units).ok()?;
    let reserved =
        |c: char| c < ' ' || matches!(c, '"' | '*' | '/' | ':' | '<' | '>' | '?' | '|' | '\\');
    (text != "." && text != ".." && !text.contains(reserved)).then_some(text)
}

/// One component, if a file may be called that.
pub(crate) fn one(units: &[u16]) -> Option<String> {
    component(units)
}

/// `RtlUpcaseUnicodeChar`: one unit to one unit, so a character whose upper case is longer stays as it is.
pub(crate) fn upcase(unit: u16) -> u16 {
    if let Ok(ascii @ ..0x80) = u8::try_from(unit) {
        return ascii.to_ascii_uppercase().into();
    }
    let Some(character) = char::from_u32(u32::from(unit)) else {
        return unit;
    };
    let mut upper = character.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(single), None) => u16::try_from(u32::from(single)).unwrap_or(unit),
        _ => unit,
    }
}

/// Whether two names are the same but for case.
pub(crate) fn same(left: &str, right: &str) -> bool {
    left == right
        || left
            .encode_utf16()
            .map(upcase)
            .eq(right.encode_utf16().map(upcase))
}

/// A name as the key of a map that does not regard case.
pub(crate) fn key(name: &str) -> Vec<u16> {
    name.encode_utf16().map(upcase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str) -> Result<Path, NtStatus> {
        Path::parse(&name.encode_utf16().collect::<Vec<_>>())
    }

    #[test]
    fn the_root_has_no_components() {
        for name in ["", "\\"] {
            let path = parse(name).unwrap();
            assert!(
                path.components.is_empty() && !path.trailing_backslash,
                "{name:?}"
            );
        }
    }

    #[test]
    fn a_trailing_backslash_is_remembered() {
        let path = parse("\\a\\b\\").unwrap();
        assert_eq!(path.components, ["a", "b"]);
        assert!(path.trailing_backslash);
    }

    #[test]
    fn what_no_file_can_be_called_is_refused() {
        for name in [
            "a", "\\a\\\\b", "\\..", "\\a\\.", "\\a/b", "\\a:b\\c", "\\a:", "\\b\\:s", "\\a*",
            "\\a\u{1}", "\\\\",
        ] {
            assert_eq!(parse(name), Err(NtStatus::OBJECT_NAME_INVALID), "{name:?}");
        }
        assert_eq!(
            parse(&format!("\\{}", "x".repeat(256))),
            Err(NtStatus::OBJECT_NAME_INVALID)
        );
        assert!(parse(&format!("\\{}", "x".repeat(255))).is_ok());
        assert_eq!(
            Path::parse(&[BACKSLASH, 0xD800]),
            Err(NtStatus::OBJECT_NAME_INVALID)
        );
    }

    #[test]
    fn case_is_folded_unit_by_unit() {
        assert!(same("Größe", "GRÖßE"));
        assert!(!same("straße", "STRASSE"));
        assert_eq!(upcase(0x00DF), 0x00DF);
        assert_eq!(upcase(u16::from(b'z')), u16::from(b'Z'));
    }
}
