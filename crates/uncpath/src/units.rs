//! UTF-16 units and slices of them, without a bound that could be missed.

pub(crate) const BACKSLASH: u16 = b'\\' as u16;
pub(crate) const COLON: u16 = b':' as u16;
pub(crate) const SEMICOLON: u16 = b';' as u16;

/// Compares with ASCII text. Only the fixed words of the grammar are compared, and those are ASCII.
pub(crate) fn eq_ignore_ascii_case(units: &[u16], text: &[u8]) -> bool {
    units.len() == text.len()
        && units.iter().zip(text).all(|(&unit, byte)| {
            u8::try_from(unit).is_ok_and(|unit| unit.eq_ignore_ascii_case(byte))
        })
}

/// What follows `text` at the start of `units`.
pub(crate) fn strip<'a>(units: &'a [u16], text: &[u8]) -> Option<&'a [u16]> {
    let (start, rest) = units.split_at_checked(text.len())?;
    eq_ignore_ascii_case(start, text).then_some(rest)
}

pub(crate) fn position(units: &[u16], wanted: u16) -> Option<usize> {
    units.iter().position(|&unit| unit == wanted)
}

/// Up to the first backslash.
pub(crate) fn first_component(units: &[u16]) -> &[u16] {
    let end = position(units, BACKSLASH).unwrap_or(units.len());
    units.get(..end).unwrap_or(units)
}

/// Where `units` end without their trailing backslashes, but not before `floor`.
pub(crate) fn trim_end(units: &[u16], floor: usize) -> usize {
    let trailing = units
        .iter()
        .rev()
        .take_while(|&&unit| unit == BACKSLASH)
        .count();
    units.len().saturating_sub(trailing).max(floor)
}
