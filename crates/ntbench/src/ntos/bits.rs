//! Bits of a number, and runs of clear bits in a bit map.

use super::bitmap::Bitmap;
use super::memory::Guest;

/// A run of clear bits: where it begins, and how many there are.
type Run = (u32, u32);

/// The runs of clear bits, in order.
fn clear_runs(map: Guest<Bitmap>) -> Vec<Run> {
    let map = map.read();
    let mut runs: Vec<Run> = Vec::new();
    for bit in (0..map.size()).filter(|bit| !map.get(*bit)) {
        match runs.last_mut() {
            Some((start, count)) if *start + *count == bit => *count += 1,
            _ => runs.push((bit, 1)),
        }
    }
    runs
}

/// Tells of a run: its length; 0 where there is none.
fn tell(run: Option<Run>, start: Guest<u32>, none: u32) -> u32 {
    let (at, count) = run.unwrap_or((none, 0));
    start.write(at);
    count
}

fn bit(found: Option<u32>) -> i8 {
    found.and_then(|bit| i8::try_from(bit).ok()).unwrap_or(-1)
}

exports! { "ntoskrnl.exe";
    /// The highest bit that is set; -1: none is.
    fn RtlFindMostSignificantBit(set: u64) -> i8 {
        bit(63_u32.checked_sub(set.leading_zeros()))
    }

    /// The lowest.
    fn RtlFindLeastSignificantBit(set: u64) -> i8 {
        bit(Some(set.trailing_zeros()).filter(|bit| *bit < 64))
    }

    /// How many bits are set.
    fn RtlNumberOfSetBitsUlongPtr(set: u64) -> u32 {
        set.count_ones()
    }

    /// Runs of clear bits: the first, or the longest, as many as there is room for.
    fn RtlFindClearRuns(map: Guest<Bitmap>, out: Guest<[u32; 2]>, room: u32, longest: u8) -> u32 {
        let mut runs = clear_runs(map);
        if longest != 0 {
            runs.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        }
        runs.truncate(room as usize);
        for (index, (start, count)) in runs.iter().enumerate() {
            out.add(index).write([*start, *count]);
        }
        u32::try_from(runs.len()).unwrap_or(0)
    }

    /// The longest run of clear bits.
    fn RtlFindLongestRunClear(map: Guest<Bitmap>, start: Guest<u32>) -> u32 {
        let runs = clear_runs(map);
        // Of equally long ones the first.
        let longest = runs.into_iter().rev().max_by_key(|(_, count)| *count);
        tell(longest, start, 0)
    }

    /// The first run of clear bits.
    fn RtlFindFirstRunClear(map: Guest<Bitmap>, start: Guest<u32>) -> u32 {
        tell(clear_runs(map).into_iter().next(), start, 0)
    }

    /// The first run of clear bits from an index on.
    fn RtlFindNextForwardRunClear(map: Guest<Bitmap>, from: u32, start: Guest<u32>) -> u32 {
        let end = map.read().size();
        let from_there = |(at, count): Run| {
            let begin = at.max(from);
            (begin < at + count).then(|| (begin, at + count - begin))
        };
        tell(clear_runs(map).into_iter().find_map(from_there), start, end)
    }

    /// The last run of clear bits that begins at an index or before it, as far as that index.
    fn RtlFindLastBackwardRunClear(map: Guest<Bitmap>, from: u32, start: Guest<u32>) -> u32 {
        let up_to_there = |(at, count): Run| (at <= from).then(|| (at, count.min(from - at + 1)));
        tell(clear_runs(map).into_iter().rev().find_map(up_to_there), start, from)
    }
}
