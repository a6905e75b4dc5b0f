//! The Filter Manager's own frames, charged to the driver's stack.
//!
//! `models/fltmgr-frames.csv` has their sizes and where each is known from. `W1703` are two x64 listings with
//! a Child-SP column, of Windows 10 1703, in the public repository slavaim/windows-notes: `FltCreateFile.md`
//! and `FltWriteFile_recursion.md`. They agree with each other, and for `FltpCreate` and
//! `FltpLegacyProcessingAfterPreCallbacksCompleted` with a third, of a build that is not named, in
//! openzfsonwindows/openzfs #249. `assumed` marks what no listing shows.

use std::sync::LazyLock;

use crate::cost;
use crate::maps::HashMap;
use crate::stack::Frame;

const TABLE: &str = include_str!("../../models/fltmgr-frames.csv");

static FRAMES: LazyLock<HashMap<&'static str, Frame>> =
    LazyLock::new(|| TABLE.lines().skip(1).filter_map(row).collect());

fn row(line: &'static str) -> Option<(&'static str, Frame)> {
    let mut fields = line.splitn(3, ',');
    let bytes = u32::from_str_radix(fields.next()?.strip_prefix("0x")?, 16).ok()?;
    let symbol = fields.next()?;
    fields.next().filter(|source| !source.is_empty())?;
    Some((symbol, Frame { symbol, bytes }))
}

/// The frame of that function.
///
/// # Panics
/// When the table does not have it: names are fixed in the bench's own code.
pub(crate) fn frame(symbol: &str) -> Frame {
    *FRAMES
        .get(symbol)
        .unwrap_or_else(|| panic!("models/fltmgr-frames.csv has no {symbol}"))
}

/// The frames of these functions, oldest first.
pub(super) fn frames<const N: usize>(symbols: [&str; N]) -> [Frame; N] {
    symbols.map(frame)
}

/// What lies between a filter's call of an `FltCreateFile…` function and the device's driver.
pub(super) fn create_from_filter(function: &str) -> Vec<Frame> {
    let mut chain = frames([function, "fltmgr!FltpCreateFile", "nt!IoCreateFileEx"]).to_vec();
    // As for a system call, but without its own function.
    chain.extend(cost::chain("create").iter().skip(1));
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read_and_aligned_as_frames_are() {
        assert_eq!(FRAMES.len(), TABLE.lines().count() - 1);
        assert!(
            FRAMES
                .values()
                .all(|frame| frame.bytes % 0x10 == 0 && frame.bytes >= 0x30)
        );
    }

    #[test]
    fn a_filters_create_goes_through_the_io_manager() {
        let chain = create_from_filter("fltmgr!FltCreateFileEx2");
        let names: Vec<&str> = chain
            .iter()
            .map(|frame| frame.symbol.split('+').next().unwrap_or(""))
            .collect();
        assert_eq!(
            names,
            [
                "fltmgr!FltCreateFileEx2",
                "fltmgr!FltpCreateFile",
                "nt!IoCreateFileEx",
                "nt!IopCreateFile",
                "nt!ObOpenObjectByName",
                "nt!ObpLookupObjectName",
                "nt!IopParseDevice"
            ]
        );
    }
}
