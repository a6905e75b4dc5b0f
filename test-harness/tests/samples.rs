//! The driver's three samples against what the bench knows of its own stacks.
//!
//! The bound: a sample is the stack pointer at the place of sampling minus the segment's low end, so the stack pointer that
//! it stands for (low end + sample) lies within the frame of the function that took it: not below that frame's Child-SP, and
//! below the Child-SP of the function that called it.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use common::{boot, config, directories, driver, end, open, records, thread};
use ntbench::wire::{FrameInfo, FrameKind, StackKind, StackListing, TraceEvent};
use protocol::{NtStatus, Outcome, Record};

/// The frame at whose entry the bench lists the stack: the ancestor's open has come down to the file system.
const BELOW: &str = "mup!MupCreate";
const EXPANSION: &str = "nt!KeExpandKernelStackAndCalloutEx";

/// One open, two levels below the share, and the deepest listing taken while its ancestors were opened.
fn sampled(stack: StackKind, reservation: Option<u32>) -> (Record, StackListing) {
    let folder = tempfile::tempdir().unwrap();
    let path = directories(folder.path(), 2);
    let mut driver = driver();
    driver.ancestors_from_top = false;
    driver.reservation_bytes = reservation;
    let mut config = config(folder.path());
    config.snapshot_at = vec![BELOW.to_owned()];
    let machine = boot(config, &driver);
    let thread = thread(&machine, stack);
    assert_eq!(open(&thread, &path), NtStatus::SUCCESS);
    let (_, records) = records(&machine);
    assert_eq!(
        records.len(),
        1,
        "opens below the driver's instance do not come back to it"
    );
    let mut events = machine.trace().unwrap().events;
    events.extend(end(machine).trace.events);
    let listings = events.into_iter().filter_map(|event| match event {
        TraceEvent::Snapshot(listing) => Some(*listing),
        _ => None,
    });
    let mut within = listings.filter(|listing| {
        listing
            .frames
            .iter()
            .any(|frame| frame.symbol.starts_with(EXPANSION))
    });
    (
        records[0],
        within
            .next_back()
            .expect("a listing from within the expansion"),
    )
}

/// The driver's frame that holds `sp`, which has to be on the given side of the expansion's own frame.
#[track_caller]
fn frame_at(listing: &StackListing, sp: u64, newer_than_expansion: bool) -> &FrameInfo {
    let expansion = listing
        .frames
        .iter()
        .position(|frame| frame.symbol.starts_with(EXPANSION))
        .unwrap();
    let (index, frame) = listing
        .frames
        .iter()
        .enumerate()
        .find(|(_, frame)| {
            frame
                .bytes_to_older
                .is_some_and(|bytes| (frame.child_sp..frame.child_sp + bytes).contains(&sp))
        })
        .unwrap_or_else(|| panic!("{sp:#x} lies in no frame of {listing:#?}"));
    assert_eq!(index < expansion, newer_than_expansion, "{}", frame.symbol);
    assert_eq!(
        frame.kind,
        FrameKind::Driver,
        "{sp:#x} lies in {}",
        frame.symbol
    );
    frame
}

/// What holds whatever the outcome.
#[track_caller]
fn agree(record: &Record, listing: &StackListing) {
    let before = record.before_low + u64::from(record.before_remaining);
    let after = record.after_low + u64::from(record.after_remaining);
    let before_frame = frame_at(listing, before, false);
    let after_frame = frame_at(listing, after, false);
    assert_eq!(
        before_frame.child_sp, after_frame.child_sp,
        "before and after are sampled by one function"
    );
    frame_at(
        listing,
        record.inside_low + u64::from(record.inside_remaining),
        true,
    );
    let oldest = listing.segments.last().unwrap();
    assert_eq!(record.before_high, oldest.high);
    let newest = &listing.segments[0];
    assert_eq!(
        (record.inside_low, record.inside_high),
        (newest.low, newest.high)
    );
    assert_eq!(record.reservation_status, NtStatus::SUCCESS);
}

#[test]
fn switched() {
    let (record, listing) = sampled(StackKind::Ordinary, None);
    agree(&record, &listing);
    assert_eq!(record.outcome, Outcome::SWITCHED);
    assert_eq!(listing.segments.len(), 2);
    assert_eq!(record.before_high - record.before_low, 0x6000);
    assert_eq!(record.after_low, record.before_low);
    assert!(
        record.inside_remaining >= 0x6000,
        "at least what was asked for"
    );
}

#[test]
fn direct() {
    let (record, listing) = sampled(StackKind::Ordinary, Some(0x2000));
    agree(&record, &listing);
    assert_eq!(record.outcome, Outcome::DIRECT);
    assert_eq!(listing.segments.len(), 1);
    assert_eq!(
        (record.inside_low, record.inside_high),
        (record.before_low, record.before_high)
    );
    assert!(record.inside_remaining < record.before_remaining);
}

#[test]
fn grown() {
    let (record, listing) = sampled(StackKind::Large, None);
    agree(&record, &listing);
    assert_eq!(record.outcome, Outcome::GROWN);
    assert_eq!(listing.segments.len(), 1);
    assert_eq!(record.inside_high, record.before_high);
    assert!(
        record.inside_low < record.before_low,
        "the same segment, with a lower end"
    );
    assert_eq!(record.after_low, record.inside_low, "and it stays grown");
    assert!(record.inside_remaining + 0x400 >= 0x6000);
}
