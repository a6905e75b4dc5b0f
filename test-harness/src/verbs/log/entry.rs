//! One record, for a line of a log.

use std::time::{Duration, SystemTime};

use protocol::Record;
use serde::Serialize;

use crate::model::RecordView;

/// Seconds from 1601-01-01, where Windows counts from, to 1970-01-01.
const UNIX_EPOCH: u64 = 11_644_473_600;

/// A record with what a line of its own needs beside it: when, and how long.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// When the create arrived: RFC 3339, UTC, milliseconds.
    pub time: String,
    /// How long the inspection took, in microseconds; `None`: the driver does not tell its clock's frequency.
    pub inspect_microseconds: Option<f64>,
    /// IRQL at which the create arrived.
    pub irql: u8,
    /// Length of the whole path in UTF-16 units.
    pub path_length: u16,
    /// A hash of the whole path.
    pub path_hash: String,
    /// The record.
    #[serde(flatten)]
    pub record: RecordView,
}

impl Entry {
    /// Puts a record in words; `frequency`: ticks a second of its clock.
    #[must_use]
    pub fn new(record: &Record, frequency: Option<u64>) -> Self {
        let frequency = frequency.filter(|&frequency| frequency > 0);
        let microseconds =
            frequency.map(|frequency| record.inspect_ticks as f64 * 1e6 / frequency as f64);
        Self {
            time: time(record.system_time),
            inspect_microseconds: microseconds.map(|time| (time * 10.0).round() / 10.0),
            irql: record.irql,
            path_length: record.path_length,
            path_hash: format!("{:016x}", record.path_hash),
            record: RecordView::from(record),
        }
    }

    /// The time of day.
    #[must_use]
    pub fn clock(&self) -> &str {
        self.time
            .split_once('T')
            .map_or("", |(_, clock)| clock.trim_end_matches('Z'))
    }
}

/// A Windows time, in units of 100 ns since 1601, as RFC 3339.
fn time(windows: u64) -> String {
    let since = Duration::new(windows / 10_000_000, (windows % 10_000_000) as u32 * 100);
    let unix = since.saturating_sub(Duration::from_secs(UNIX_EPOCH));
    // The formatter ends at the year 9999, which a damaged record may lie beyond.
    let latest = Duration::from_secs(253_402_300_799);
    let time = SystemTime::UNIX_EPOCH + unix.min(latest);
    humantime::format_rfc3339_millis(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_time_is_told_as_utc() {
        assert_eq!(time(116_444_736_000_000_000), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(133_801_200_001_234_567), "2024-12-31T12:00:00.123Z");
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(u64::MAX), "9999-12-31T23:59:59.000Z");
    }
}
