//! A line for each interval.

use super::Snapshot;
use crate::table::grouped;

/// How often the names of the columns are repeated.
const LINES_PER_HEAD: u64 = 30;

/// The interval's line, the names of the columns above it where it is time for them.
pub(super) fn line(snapshot: &Snapshot, number: u64) -> String {
    let mut text = String::new();
    if number.is_multiple_of(LINES_PER_HEAD) {
        text += &format!(
            "{:<12}  {:>9}  {:>10}  {:>11}  {:>7}  {:>7}  {:<16}  {}\n",
            "time (UTC)",
            "creates/s",
            "lowest now",
            "since reset",
            "deepest",
            "lost",
            "process",
            "path"
        );
    }
    let clock = snapshot
        .time
        .split_once('T')
        .map_or("", |(_, clock)| clock.trim_end_matches('Z'));
    let rate = snapshot.records as f64 / snapshot.seconds.max(0.001);
    let bytes =
        |value: Option<u32>| value.map_or_else(|| "-".to_owned(), |value| grouped(value.into()));
    let now = snapshot.lowest_now.as_ref();
    let system = &snapshot.since_reset.system;
    let line = format!(
        "{clock:<12}  {rate:>9.1}  {:>10}  {:>11}  {:>7}  {:>7}  {:<16}  {}",
        bytes(now.map(|lowest| lowest.before)),
        bytes(system.lowest_before),
        bytes(system.deepest),
        grouped(snapshot.lost),
        now.map_or("", |lowest| &lowest.process),
        now.map_or("", |lowest| &lowest.path),
    );
    text + line.trim_end() + "\n"
}
