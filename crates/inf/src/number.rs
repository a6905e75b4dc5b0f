//! Numbers as INF files write them.

use crate::{document::Field, error::ErrorKind};

/// A number with 32 bits: decimal, negative decimal, or hexadecimal with `0x`.
pub(crate) fn parse(text: &str) -> Option<u32> {
    let text = text.trim();
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        // `from_str_radix` takes a sign.
        return digits
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit())
            .then(|| u32::from_str_radix(digits, 16).ok())?;
    }
    if text.starts_with('-') {
        return text.parse::<i32>().ok().map(i32::cast_unsigned);
    }
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// The same for a field, with its place.
pub(crate) fn of(field: &Field) -> Result<u32, crate::Error> {
    parse(&field.text)
        .ok_or_else(|| crate::Error::new(field.at, ErrorKind::NotANumber(field.text.clone())))
}
