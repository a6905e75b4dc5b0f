//! A stack as a debugger's `kL` prints it, with the bytes of each frame.

use anstyle::{AnsiColor, Style};

use crate::model::{Frame, Listing};
use crate::table::grouped;

const OWN: Style = AnsiColor::Yellow.on_default().bold();
const FAINT: Style = Style::new().dimmed();

/// The listing's lines, newest frame first; with each, whether a loaded driver's own code stands on it.
#[must_use]
pub fn lines(listing: &Listing) -> Vec<(String, bool)> {
    let mut lines = vec![(
        format!("{:>3}  {:17}  {:>6}  Call Site", "#", "Child-SP", "Bytes"),
        false,
    )];
    let mut segment = None;
    for (index, frame) in listing.frames.iter().enumerate() {
        if listing.segments.len() > 1 && segment.replace(frame.segment) != Some(frame.segment) {
            lines.extend(listing.segments.get(frame.segment).map(|&[low, high]| {
                let size = grouped(high.saturating_sub(low));
                (
                    format!(
                        "     -- segment {} - {}, {size} bytes",
                        address(low),
                        address(high)
                    ),
                    false,
                )
            }));
        }
        lines.push((line(index, frame), frame.real));
    }
    lines
}

/// The whole listing for a terminal.
#[must_use]
pub fn full(listing: &Listing) -> String {
    painted(&lines(listing))
}

/// The newest and the oldest lines; between them, how many there are and where to read them.
#[must_use]
pub fn folded(listing: &Listing, newest: usize, oldest: usize, whole: &str) -> String {
    let lines = lines(listing);
    let Some(between) = lines
        .len()
        .checked_sub(newest + oldest)
        .filter(|&between| between > 1)
    else {
        return painted(&lines);
    };
    let (first, rest) = lines.split_at(newest);
    let last = &rest[between..];
    format!(
        "{}     {FAINT}… {between} lines more, in {whole}{FAINT:#}\n{}",
        painted(first),
        painted(last)
    )
}

fn line(index: usize, frame: &Frame) -> String {
    let bytes = frame
        .bytes_to_older
        .map_or_else(String::new, |bytes| format!("{bytes:#x}"));
    let source = frame
        .source
        .as_ref()
        .map_or_else(String::new, |source| format!(" [{source}]"));
    format!(
        "{index:>3}  {}  {bytes:>6}  {}{source}",
        address(frame.child_sp),
        short(&frame.symbol)
    )
}

fn painted(lines: &[(String, bool)]) -> String {
    let mut text = String::new();
    for (line, own) in lines {
        if *own {
            text.push_str(&format!("{OWN}{line}{OWN:#}"));
        } else {
            text.push_str(line);
        }
        text.push('\n');
    }
    text
}

/// A symbol without its parameters, which a .pdb spells out at length: `module!function(type, …)+0x12` as
/// `module!function+0x12`.
pub(crate) fn short(symbol: &str) -> String {
    match (symbol.find('('), symbol.rfind(')')) {
        (Some(open), Some(close)) if open < close => {
            format!("{}{}", &symbol[..open], &symbol[close + 1..])
        }
        _ => symbol.to_owned(),
    }
}

/// An address as WinDbg writes it.
fn address(value: u64) -> String {
    format!("{:08x}`{:08x}", value >> 32, value & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_is_shown_without_its_parameters() {
        assert_eq!(
            short("m!f(enum2$<core::option::Option<ref$<x> > >)+0x1a"),
            "m!f+0x1a"
        );
        assert_eq!(short("m!a::b<c>(d*)"), "m!a::b<c>");
        assert_eq!(short("nt!KiSwapContext+0x7f"), "nt!KiSwapContext+0x7f");
    }
}
