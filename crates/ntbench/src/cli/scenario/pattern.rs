//! Bytes that a program makes of a message it was sent: `01000000 {8..16}` is four of its own and eight of the message.

use std::ops::Range;

/// Bytes with gaps for parts of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Pattern(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Own(u8),
    Of(Range<usize>),
}

impl Pattern {
    /// Reads pairs of hexadecimal digits, with `{from..to}` where bytes of the message go; `None`: it is something else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            if let Some(gap) = rest.strip_prefix('{') {
                let (range, after) = gap.split_once('}')?;
                let (from, to) = range.split_once("..")?;
                let (from, to) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
                if from > to {
                    return None;
                }
                pieces.push(Piece::Of(from..to));
                rest = after.trim_start();
            } else {
                let pair = rest.get(..2)?;
                if !pair.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return None;
                }
                pieces.push(Piece::Own(u8::from_str_radix(pair, 16).ok()?));
                rest = rest.get(2..)?.trim_start();
            }
        }
        Some(Self(pieces))
    }

    /// The bytes for this message; zeros where it is too short.
    pub(super) fn fill_in(&self, message: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Own(byte) => bytes.push(*byte),
                Piece::Of(range) => bytes.extend(
                    range
                        .clone()
                        .map(|at| message.get(at).copied().unwrap_or(0)),
                ),
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn bytes_of_the_message_stand_where_the_gap_was() {
        let pattern = Pattern::parse("01 00{2..4} fF {0 .. 1}").expect("a pattern");
        assert_eq!(pattern.fill_in(&[7, 8, 9]), [1, 0, 9, 0, 0xFF, 7]);
        assert_eq!(
            Pattern::parse("").map(|none| none.fill_in(&[1])),
            Some(vec![])
        );
    }

    #[test]
    fn what_is_no_pattern_is_none() {
        for text in ["0", "0g", "{1}", "{2..1}", "{1..2", "+1", "é0"] {
            assert_eq!(Pattern::parse(text), None, "{text}");
        }
    }
}
