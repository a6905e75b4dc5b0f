//! The blocks that a version resource is nested of: length, length of the value, type, key, value, children; each aligned to 4 bytes.

/// A block's value.
pub(crate) enum Value<'a> {
    /// Bytes.
    Binary(&'a [u8]),
    /// Text, whose length is counted in characters with its null.
    Text(&'a str),
    /// None, in a block of text.
    NoText,
}

/// A block. Children are padded to where the next one begins, but the last is not.
pub(crate) fn block(key: &str, value: &Value<'_>, children: &[Vec<u8>]) -> Vec<u8> {
    let (bytes, length, kind) = match value {
        Value::Binary(bytes) => (bytes.to_vec(), bytes.len(), 0),
        Value::Text(text) => {
            let bytes = wide(text);
            let length = bytes.len() / 2;
            (bytes, length, 1)
        }
        Value::NoText => (Vec::new(), 0, 1),
    };
    let mut block = vec![0; 6];
    block.extend(wide(key));
    for part in std::iter::once(&bytes).chain(children) {
        block.resize(block.len().next_multiple_of(4), 0);
        block.extend(part);
    }
    let total = u16::try_from(block.len()).unwrap_or(u16::MAX);
    let length = u16::try_from(length).unwrap_or(u16::MAX);
    for (at, number) in [(0, total), (2, length), (4, kind)] {
        block[at..at + 2].copy_from_slice(&number.to_le_bytes());
    }
    block
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect()
}
