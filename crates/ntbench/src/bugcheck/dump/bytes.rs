//! Structures written by their fields' offsets, as the documents give them.

/// A structure of a known size, zeroed.
pub(super) struct Structure(Vec<u8>);

impl Structure {
    pub(super) fn new(size: usize) -> Self {
        Self(vec![0; size])
    }

    /// The structure's bytes filled with a pattern, as what nobody writes is filled in a dump's header.
    pub(super) fn filled(size: usize, pattern: [u8; 4]) -> Self {
        Self(pattern.into_iter().cycle().take(size).collect())
    }

    pub(super) fn bytes(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub(super) fn u16(self, offset: usize, value: u16) -> Self {
        self.bytes(offset, &value.to_le_bytes())
    }

    pub(super) fn u32(self, offset: usize, value: u32) -> Self {
        self.bytes(offset, &value.to_le_bytes())
    }

    pub(super) fn u64(self, offset: usize, value: u64) -> Self {
        self.bytes(offset, &value.to_le_bytes())
    }

    /// Text with a zero byte behind it, cut to `room` bytes.
    pub(super) fn text(self, offset: usize, room: usize, text: &str) -> Self {
        let blank = vec![0; room];
        let kept = text.len().min(room - 1);
        self.bytes(offset, &blank)
            .bytes(offset, &text.as_bytes()[..kept])
    }

    pub(super) fn done(self) -> Vec<u8> {
        self.0
    }
}
