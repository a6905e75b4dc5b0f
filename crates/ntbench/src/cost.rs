//! The cost model: kernel frames that are charged to the driver's stack without being run.
//!
//! Sizes come from public stack listings, as tables in `models/`. A frame's size is the distance of its Child-SP to
//! its caller's Child-SP, its return address included.

use std::sync::LazyLock;

use crate::maps::HashMap;

/// A frame to charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The call site, as a debugger names it.
    pub symbol: &'static str,
    /// Distance from its Child-SP to its caller's.
    pub bytes: u32,
}

/// A row of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The Child-SP in the listing.
    pub child_sp: u64,
    /// The frame, its size as listed; 0 for the listing's oldest.
    pub frame: Frame,
    /// Which create it belongs to.
    pub create: &'static str,
    /// Whether the article cut other frames out between this row and the next older.
    pub gap: bool,
}

const SERVER2008_DFS: &str = include_str!("../models/server2008-dfs.csv");
/// Frames that are not in that listing: chain, call site, size, and the public listing that shows it.
const KERNEL_FRAMES: &str = include_str!("../models/kernel-frames.csv");

/// The rows of `models/server2008-dfs.csv`, newest frame first as in the listing.
pub fn server2008_dfs() -> &'static [Row] {
    static ROWS: LazyLock<Vec<Row>> =
        LazyLock::new(|| SERVER2008_DFS.lines().skip(1).filter_map(row).collect());
    &ROWS
}

fn row(line: &'static str) -> Option<Row> {
    let mut fields = line.split(',');
    let hex = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    let child_sp = hex(fields.next()?)?;
    let bytes = fields.next()?;
    let bytes = if bytes.is_empty() {
        0
    } else {
        u32::try_from(hex(bytes)?).ok()?
    };
    let symbol = fields.next()?;
    let create = fields.next()?;
    let gap = !fields.next().unwrap_or("").is_empty();
    Some(Row {
        child_sp,
        frame: Frame { symbol, bytes },
        create,
        gap,
    })
}

/// Name, which create, oldest frame, newest frame: each chain is a run of rows of the listing.
const CHAINS: &[(&str, &str, &str, &str)] = &[
    // From user mode, above the system call's own frame, to the device's driver.
    ("create", "inner", "nt!NtCreateFile", "nt!IopParseDevice"),
    (
        "query_attributes",
        "outer",
        "nt!NtQueryAttributesFile",
        "nt!IopParseDevice",
    ),
    // ZwCreateFile from kernel mode.
    (
        "zw_create",
        "inner",
        "nt!KiServiceLinkage",
        "nt!IopParseDevice",
    ),
    // From MUP to the redirector's create, and from there to where it waits for the server.
    (
        "mup.provider",
        "inner",
        "mup!MupCreate",
        "rdbss!RxCreateTreeConnect",
    ),
    (
        "redirector.connect",
        "inner",
        "rdbss!RxFindOrConstructVirtualNetRoot",
        "nt!KiSwapContext",
    ),
    // From MUP to the point where the DFS client guards itself with an expansion; its callout.
    (
        "mup.dfs",
        "outer",
        "mup!MupCreate",
        "dfsc!DfscGetIpcConnection",
    ),
    (
        "dfs.callout",
        "outer",
        "dfsc!DfscConnOpenIpcConnectionCallout",
        "dfsc!DfscConnOpenIpcConnectionCallout",
    ),
    (
        "expand",
        "outer",
        "nt!KeExpandKernelStackAndCalloutEx",
        "nt!KeExpandKernelStackAndCalloutEx",
    ),
];

/// The chain of that name, oldest frame first: the order in which `with_frames` charges it.
///
/// # Panics
/// When there is no such chain: names are fixed in the bench's own code.
#[must_use]
pub fn chain(name: &str) -> &'static [Frame] {
    static ALL: LazyLock<HashMap<&'static str, Vec<Frame>>> = LazyLock::new(|| {
        let mut chains: HashMap<&'static str, Vec<Frame>> = CHAINS
            .iter()
            .map(|(name, create, oldest, newest)| (*name, cut(create, oldest, newest)))
            .collect();
        for (name, frame) in KERNEL_FRAMES.lines().skip(1).filter_map(kernel_frame) {
            chains.entry(name).or_default().push(frame);
        }
        chains
    });
    ALL.get(name).map_or_else(
        || panic!("the cost model has no chain {name}"),
        Vec::as_slice,
    )
}

fn kernel_frame(line: &'static str) -> Option<(&'static str, Frame)> {
    let mut fields = line.split(',');
    let (chain, symbol, bytes) = (fields.next()?, fields.next()?, fields.next()?);
    let bytes = u32::from_str_radix(bytes.trim_start_matches("0x"), 16).ok()?;
    Some((chain, Frame { symbol, bytes }))
}

fn cut(create: &str, oldest: &str, newest: &str) -> Vec<Frame> {
    let is = |row: &Row, name: &str| row.frame.symbol.split('+').next() == Some(name);
    let mut rows = server2008_dfs()
        .iter()
        .rev()
        .filter(|row| row.create == create)
        .skip_while(|row| !is(row, oldest));
    let mut frames = Vec::new();
    for row in &mut rows {
        frames.push(row.frame);
        if is(row, newest) {
            break;
        }
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listing_agrees_with_its_own_distances() {
        let rows = server2008_dfs();
        assert_eq!(rows.len(), 46);
        for pair in rows.windows(2) {
            assert_eq!(
                pair[1].child_sp - pair[0].child_sp,
                u64::from(pair[0].frame.bytes),
                "{}",
                pair[0].frame.symbol
            );
        }
    }

    #[test]
    fn every_row_of_the_kernels_frames_counts() {
        for name in ["system_thread", "expand.switch", "expand.segment"] {
            assert!(!chain(name).is_empty(), "{name}");
        }
        let rows = KERNEL_FRAMES.lines().count() - 1;
        assert_eq!(KERNEL_FRAMES.lines().filter_map(kernel_frame).count(), rows);
    }

    #[test]
    fn chains_end_where_they_say() {
        for (name, _, oldest, newest) in CHAINS {
            let frames = chain(name);
            assert!(
                frames
                    .first()
                    .is_some_and(|frame| frame.symbol.starts_with(oldest)),
                "{name}"
            );
            assert!(
                frames
                    .last()
                    .is_some_and(|frame| frame.symbol.starts_with(newest)),
                "{name}"
            );
            assert!(frames.iter().all(|frame| frame.bytes != 0), "{name}");
        }
        assert_eq!(
            chain("create").iter().map(|frame| frame.bytes).sum::<u32>(),
            0x90 + 0xa0 + 0xd0 + 0x110 + 0x1a0
        );
    }
}
