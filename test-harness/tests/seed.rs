//! The published stack: for every pair of neighbours in it that the bench models, the distance between their Child-SPs.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::collections::BTreeSet;

use common::{config, driver, sys};
use headroom_harness::backend::bench;
use headroom_harness::model::Expand;
use ntbench::Machine;
use ntbench::wire::{DfsLink, DfsNamespace, FrameKind, StackKind, StackListing, TraceEvent};

const SEED: &str = include_str!("../../crates/ntbench/models/server2008-dfs.csv");

struct Pair {
    newer: String,
    older: String,
    bytes: u64,
    gap: bool,
}

/// Neighbours of the published listing. Offsets are left out: the bench names modelled frames as the table does, with them.
fn seed() -> Vec<Pair> {
    let rows: Vec<Vec<&str>> = SEED
        .lines()
        .skip(1)
        .map(|line| line.split(',').collect())
        .collect();
    let name = |row: &[&str]| bare(row[2]).to_owned();
    rows.windows(2)
        .map(|pair| Pair {
            newer: name(&pair[0]),
            older: name(&pair[1]),
            bytes: u64::from_str_radix(pair[0][1].trim_start_matches("0x"), 16).unwrap(),
            gap: !pair[0][4].is_empty(),
        })
        .collect()
}

fn bare(symbol: &str) -> &str {
    symbol.split_once('+').map_or(symbol, |(name, _)| name)
}

/// The deepest stack while the attributes of a file behind a DFS link are queried.
fn query(with_driver: Option<Expand>) -> StackListing {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("plan.txt"), "x").unwrap();
    let mut config = config(folder.path());
    config.namespace.dfs = vec![DfsNamespace {
        server: "corp".to_owned(),
        root: "public".to_owned(),
        links: vec![DfsLink {
            path: "projects".to_owned(),
            server: "server".to_owned(),
            share: "share".to_owned(),
            folder: String::new(),
        }],
    }];
    config.snapshot_at = vec!["nt!KiSwapContext".to_owned()];
    let machine = Machine::boot(config).unwrap();
    if let Some(expand) = with_driver {
        let mut driver = driver();
        driver.ancestors_from_top = false;
        driver.expand = expand;
        bench::load(&machine, &driver).unwrap();
    }
    // The published thread's expansion ran in place: it had a large stack.
    let thread = common::thread(&machine, StackKind::Large);
    let completion = thread
        .query_attributes(r"\??\UNC\corp\public\projects\plan.txt")
        .unwrap();
    assert!(completion.status.is_success(), "{}", completion.status);
    let trace = machine.trace().unwrap();
    let listings = trace.events.into_iter().filter_map(|event| match event {
        TraceEvent::Snapshot(listing) => Some(*listing),
        _ => None,
    });
    listings
        .max_by_key(|listing| listing.frames.len())
        .expect("the redirector waited for a connection")
}

/// Each pair of the seed that stands in `listing` as neighbours, its distance compared. Pairs with a gap are the places
/// where other filters stood.
fn compare(listing: &StackListing) -> BTreeSet<(String, String)> {
    let seed = seed();
    let mut seen = BTreeSet::new();
    for neighbours in listing.frames.windows(2) {
        let [newer, older] = neighbours else { continue };
        if newer.segment != older.segment {
            continue;
        }
        let names = (bare(&newer.symbol), bare(&older.symbol));
        let pairs: Vec<&Pair> = seed
            .iter()
            .filter(|pair| (pair.newer.as_str(), pair.older.as_str()) == names && !pair.gap)
            .collect();
        if pairs.is_empty() {
            continue;
        }
        let bytes = newer.bytes_to_older.unwrap();
        assert!(
            pairs.iter().any(|pair| pair.bytes == bytes),
            "{} to {}: {bytes:#x}, published {:#x}",
            names.0,
            names.1,
            pairs[0].bytes
        );
        seen.insert((names.0.to_owned(), names.1.to_owned()));
    }
    seen
}

#[test]
fn every_distance_that_is_modelled_is_the_published_one() {
    let seen = compare(&query(None));
    let all: BTreeSet<(String, String)> = seed()
        .into_iter()
        .filter(|pair| !pair.gap)
        .map(|pair| (pair.newer, pair.older))
        .collect();
    let missing: Vec<_> = all.difference(&seen).collect();
    assert!(
        missing.is_empty(),
        "{} of {} pairs are not modelled: {missing:#?}",
        missing.len(),
        all.len()
    );
}

#[test]
fn the_driver_stands_where_the_published_stack_has_other_filters() {
    sys();
    for expand in [Expand::Always, Expand::Never] {
        let listing = query(Some(expand));
        assert!(compare(&listing).len() >= 30);
        let own: Vec<usize> = listing
            .frames
            .iter()
            .enumerate()
            .filter(|(_, frame)| frame.kind == FrameKind::Driver)
            .map(|(index, _)| index)
            .collect();
        let (first, last) = (
            *own.first().expect("the driver's frames"),
            *own.last().unwrap(),
        );
        assert!(
            listing.frames[first..=last]
                .iter()
                .all(|frame| frame.bytes_to_older != Some(0))
        );
        assert!(
            own.iter()
                .all(|&index| listing.frames[index].symbol.starts_with("headroom!")),
            "symbols come from the .pdb"
        );
        let older = listing.frames[last + 1..]
            .iter()
            .map(|frame| bare(&frame.symbol))
            .collect::<Vec<_>>();
        assert!(
            older
                .first()
                .is_some_and(|name| name.starts_with("fltmgr!")),
            "called by the Filter Manager: {older:#?}"
        );
        assert!(
            older.contains(&"nt!NtQueryAttributesFile"),
            "in the outer create: {older:#?}"
        );
    }
}
