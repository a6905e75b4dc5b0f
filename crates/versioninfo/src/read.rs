//! Reading a version resource.

use thiserror::Error;

use crate::{Kind, SIGNATURE, VersionInfo};

/// Why bytes are no version resource.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// A length leads out of the resource.
    #[error("the version resource ends in the middle of a block")]
    Truncated,
    /// The outermost block is another one.
    #[error("the version resource begins with `{0}`, not with `VS_VERSION_INFO`")]
    NotVersionInfo(String),
    /// The fixed part is damaged.
    #[error("the version resource has no VS_FIXEDFILEINFO")]
    NoFixedPart,
    /// It is for another kind of file.
    #[error("the version resource is that of a file of type {0}, neither a driver nor a program")]
    OtherKind(u32),
}

/// A block's parts.
struct Block<'a> {
    key: String,
    value: &'a [u8],
    children: &'a [u8],
}

impl VersionInfo {
    /// Reads the resource as it stands in an image.
    ///
    /// # Errors
    /// [`ReadError`]: it is none.
    pub fn parse(resource: &[u8]) -> Result<Self, ReadError> {
        let (root, _) = next(resource)?.ok_or(ReadError::Truncated)?;
        if root.key != "VS_VERSION_INFO" {
            return Err(ReadError::NotVersionInfo(root.key));
        }
        let number = |index: usize| {
            let bytes = root.value.get(index * 4..index * 4 + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        if number(0) != Some(SIGNATURE) {
            return Err(ReadError::NoFixedPart);
        }
        let (Some(high), Some(low), Some(kind)) = (number(2), number(3), number(9)) else {
            return Err(ReadError::NoFixedPart);
        };
        let kind = match kind {
            1 => Kind::Application,
            3 => Kind::Driver,
            other => return Err(ReadError::OtherKind(other)),
        };
        let half = |number: u32| {
            let [a, b, c, d] = number.to_be_bytes();
            [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
        };
        let ([a, b], [c, d]) = (half(high), half(low));

        let mut strings = Vec::new();
        for info in blocks(root.children)? {
            if info.key == "StringFileInfo" {
                for table in blocks(info.children)? {
                    for string in blocks(table.children)? {
                        strings.push((string.key, text(string.value)));
                    }
                }
            }
        }
        Ok(Self {
            kind,
            version: [a, b, c, d],
            strings,
        })
    }
}

/// The blocks one after the other.
fn blocks(mut bytes: &[u8]) -> Result<Vec<Block<'_>>, ReadError> {
    let mut all = Vec::new();
    while let Some((block, rest)) = next(bytes)? {
        all.push(block);
        bytes = rest;
    }
    Ok(all)
}

/// The first block, and what follows it; none where nothing but padding is left.
fn next(bytes: &[u8]) -> Result<Option<(Block<'_>, &[u8])>, ReadError> {
    let word = |at: usize| {
        let word = bytes.get(at..at + 2)?;
        Some(usize::from(u16::from_le_bytes([word[0], word[1]])))
    };
    let (Some(total), Some(length), Some(kind)) = (word(0), word(2), word(4)) else {
        return Ok(None);
    };
    let block = bytes.get(..total).ok_or(ReadError::Truncated)?;
    let name = block.get(6..).ok_or(ReadError::Truncated)?;
    let (pairs, _) = name.as_chunks::<2>();
    let units = pairs
        .iter()
        .position(|unit| *unit == [0, 0])
        .ok_or(ReadError::Truncated)?;
    let key = text(&name[..units * 2]);
    let value_at = (6 + units * 2 + 2).next_multiple_of(4);
    let length = if kind == 1 { length * 2 } else { length };
    let end = value_at + length;
    let value = block
        .get(value_at.min(total)..end.min(total))
        .unwrap_or_default();
    if value.len() < length {
        return Err(ReadError::Truncated);
    }
    let children = block.get(end.next_multiple_of(4)..).unwrap_or_default();
    let rest = bytes.get(total.next_multiple_of(4)..).unwrap_or_default();
    Ok(Some((
        Block {
            key,
            value,
            children,
        },
        rest,
    )))
}

/// Text up to its null.
fn text(bytes: &[u8]) -> String {
    let (pairs, _) = bytes.as_chunks::<2>();
    let units: Vec<u16> = pairs
        .iter()
        .map(|pair| u16::from_le_bytes(*pair))
        .take_while(|unit| *unit != 0)
        .collect();
    String::from_utf16_lossy(&units)
}
