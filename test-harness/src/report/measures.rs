//! What the records of a run come to: the least stack of each create, how samples spread over depths, what became of
//! expansions and what inspections took. Numbers only, no pixels and no words for pages.

use std::collections::BTreeMap;

use crate::model::{Arrival, End, RecordView, Run};

/// A create, by its record or, where the machine died before that was written, by its arrival.
#[derive(Clone, Copy, Debug)]
pub(super) struct Create<'a> {
    pub(super) depth: u32,
    pub(super) path: &'a str,
    /// Empty where only the machine saw it.
    pub(super) process: &'a str,
    pub(super) process_id: u32,
    pub(super) thread_id: u64,
    /// Bytes left before the expansion, where the inspection started, and after the return.
    pub(super) samples: [Option<u64>; 3],
    /// The least of them.
    pub(super) lowest: u64,
    /// The segment that this was left of.
    pub(super) segment: [u64; 2],
    /// The segment that the create arrived on.
    pub(super) caller: [u64; 2],
    /// Empty where only the machine saw it.
    pub(super) outcome: &'a str,
    /// Whether the driver recorded it.
    pub(super) recorded: bool,
}

/// Every create of a run of which a sample is known.
pub(super) fn creates(run: &Run) -> Vec<Create<'_>> {
    let mut creates: Vec<Create> = run.records.iter().filter_map(recorded).collect();
    if matches!(run.end, End::BugCheck(_)) {
        creates.extend(unrecorded(run).into_iter().map(arrived));
    }
    creates
}

/// The arrivals that no record tells of.
pub(super) fn unrecorded(run: &Run) -> Vec<&Arrival> {
    if run.records.is_empty() {
        return run.arrivals.iter().collect();
    }
    let told: Vec<*const Arrival> = run
        .pairs()
        .into_iter()
        .filter_map(|(_, arrival)| arrival.map(std::ptr::from_ref))
        .collect();
    let told: std::collections::HashSet<*const Arrival> = told.into_iter().collect();
    run.arrivals
        .iter()
        .filter(|&arrival| !told.contains(&std::ptr::from_ref(arrival)))
        .collect()
}

fn recorded(record: &RecordView) -> Option<Create<'_>> {
    let samples = [record.before, record.inside, record.after].map(|bytes| bytes.map(u64::from));
    let (at, lowest) = samples
        .iter()
        .enumerate()
        .filter_map(|(at, bytes)| Some((at, (*bytes)?)))
        .min_by_key(|&(_, bytes)| bytes)?;
    Some(Create {
        depth: record.depth,
        path: &record.path,
        process: &record.process,
        process_id: record.process_id,
        thread_id: record.thread_id.into(),
        samples,
        lowest,
        segment: if at == 1 {
            record.inside_segment
        } else {
            record.caller_segment
        },
        caller: record.caller_segment,
        outcome: &record.outcome,
        recorded: true,
    })
}

fn arrived(arrival: &Arrival) -> Create<'_> {
    Create {
        depth: arrival.depth,
        path: &arrival.path,
        process: "",
        process_id: 0,
        thread_id: arrival.thread_id,
        samples: [Some(arrival.remaining), None, None],
        lowest: arrival.remaining,
        segment: [arrival.segment_low, arrival.segment_high],
        caller: [arrival.segment_low, arrival.segment_high],
        outcome: "",
        recorded: false,
    }
}

/// Least, middle and most of some numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spread {
    pub(super) least: u64,
    pub(super) middle: u64,
    /// Nine of ten are no greater.
    pub(super) tenth: u64,
    pub(super) most: u64,
}

impl Spread {
    pub(super) fn of(numbers: impl IntoIterator<Item = u64>) -> Option<Self> {
        let mut numbers: Vec<u64> = numbers.into_iter().collect();
        numbers.sort_unstable();
        let last = numbers.len().checked_sub(1)?;
        Some(Self {
            least: numbers[0],
            middle: numbers[last / 2],
            tenth: numbers[last * 9 / 10],
            most: numbers[last],
        })
    }
}

/// The samples of one depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DepthSpread {
    pub(super) depth: u32,
    pub(super) creates: usize,
    /// Before, inside, after.
    pub(super) samples: [Option<Spread>; 3],
}

/// The samples by depth.
pub(super) fn by_depth(creates: &[Create]) -> Vec<DepthSpread> {
    let mut depths: BTreeMap<u32, Vec<&Create>> = BTreeMap::new();
    for create in creates {
        depths.entry(create.depth).or_default().push(create);
    }
    depths
        .into_iter()
        .map(|(depth, creates)| DepthSpread {
            depth,
            creates: creates.len(),
            samples: [0, 1, 2].map(|sample| {
                Spread::of(
                    creates
                        .iter()
                        .filter_map(|create: &&Create| create.samples[sample]),
                )
            }),
        })
        .collect()
}

/// The creates that came closest to the end of their stack, those first.
pub(super) fn worst<'a>(creates: &[Create<'a>], most: usize) -> Vec<Create<'a>> {
    let mut creates = creates.to_vec();
    creates.sort_by_key(|create| (create.lowest, create.depth));
    creates.truncate(most);
    creates
}

/// What became of the creates that had one outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OutcomeRow {
    /// The driver's word for it.
    pub(super) outcome: String,
    /// What the expansion returned, where it was refused; why nothing was tried, where nothing was.
    pub(super) why: String,
    pub(super) creates: usize,
    /// Ticks from arrival to the end of the inspection.
    pub(super) ticks: Option<Spread>,
    /// The same without those of the creates nested in it, where they can be told apart.
    pub(super) own_ticks: Option<Spread>,
}

/// The order in which outcomes are told.
pub(super) const OUTCOMES: [&str; 7] = [
    "direct",
    "grown",
    "switched",
    "not expanded",
    "worker",
    "failed",
    "not tried",
];

/// What became of expansions, by outcome and reason.
pub(super) fn outcomes(run: &Run) -> Vec<OutcomeRow> {
    let own = own_ticks(&run.records);
    let mut rows: BTreeMap<(usize, String, String), Vec<usize>> = BTreeMap::new();
    for (index, record) in run.records.iter().enumerate() {
        let rank = OUTCOMES
            .iter()
            .position(|&known| known == record.outcome)
            .unwrap_or(OUTCOMES.len());
        let why = match record.outcome.as_str() {
            "failed" | "worker" => record.reservation_status.to_string(),
            "not tried" => record
                .flags
                .split(", ")
                .find_map(|flag| flag.strip_prefix("skipped: "))
                .unwrap_or_default()
                .to_owned(),
            _ => String::new(),
        };
        rows.entry((rank, record.outcome.clone(), why))
            .or_default()
            .push(index);
    }
    rows.into_iter()
        .map(|((_, outcome, why), indices)| OutcomeRow {
            outcome,
            why,
            creates: indices.len(),
            ticks: Spread::of(
                indices
                    .iter()
                    .map(|&index| run.records[index].inspect_ticks)
                    .filter(|&ticks| ticks != 0),
            ),
            own_ticks: own.as_ref().and_then(|own| {
                Spread::of(
                    indices
                        .iter()
                        .filter(|&&index| run.records[index].inspect_ticks != 0)
                        .map(|&index| own[index]),
                )
            }),
        })
        .collect()
}

/// What each inspection took without those nested in it; `None` where the records do not nest as the creates did (some
/// were lost, say). Sequences are given out on arrival: on one thread, a nested create's follows that of the one around it.
fn own_ticks(records: &[RecordView]) -> Option<Vec<u64>> {
    let mut order: Vec<usize> = (0..records.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(records[index].sequence));
    let mut nested: BTreeMap<(u32, u32), u64> = BTreeMap::new();
    let mut own = vec![0; records.len()];
    for index in order {
        let record = &records[index];
        let deeper = record.depth.checked_add(1);
        let below = deeper.and_then(|depth| nested.remove(&(record.thread_id, depth)));
        own[index] = record.inspect_ticks.checked_sub(below.unwrap_or(0))?;
        let ticks = nested.entry((record.thread_id, record.depth)).or_default();
        *ticks = ticks.saturating_add(record.inspect_ticks);
    }
    Some(own)
}

/// How many creates had how much stack left, in steps of `step` bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Histogram {
    pub(super) step: u64,
    /// For each run, the number of creates in each step.
    pub(super) runs: Vec<Vec<u32>>,
}

impl Histogram {
    /// Of several runs, in the same steps.
    pub(super) fn of(runs: &[Vec<Create>]) -> Option<Self> {
        let most = runs.iter().flatten().map(|create| create.lowest).max()?;
        let step = [512, 1024, 2048, 4096]
            .into_iter()
            .find(|step| most / step < 40)
            .unwrap_or(8192);
        let steps = usize::try_from(most / step).ok()? + 1;
        let runs = runs
            .iter()
            .map(|creates| {
                let mut counts = vec![0; steps];
                for create in creates {
                    if let Some(count) = usize::try_from(create.lowest / step)
                        .ok()
                        .and_then(|at| counts.get_mut(at))
                    {
                        *count += 1;
                    }
                }
                counts
            })
            .collect();
        Some(Self { step, runs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Record;

    fn record(sequence: u64, depth: u32, thread: u32, ticks: u64) -> RecordView {
        let mut record = Record::EMPTY;
        record.sequence = sequence;
        record.nest_depth = depth - 1;
        record.thread_id = thread;
        record.inspect_ticks = ticks;
        RecordView::from(&record)
    }

    #[test]
    fn a_spread_has_its_ends_and_its_middle() {
        let spread = Spread::of([5, 1, 3, 9, 7]).unwrap();
        assert_eq!(
            (spread.least, spread.middle, spread.tenth, spread.most),
            (1, 5, 7, 9)
        );
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn an_inspections_own_time_leaves_out_those_nested_in_it() {
        // Two threads at a time; on the first, one create with two nested in it, one of which nests a third.
        let records = [
            record(1, 1, 1, 100),
            record(2, 2, 1, 30),
            record(3, 1, 2, 50),
            record(4, 3, 1, 10),
            record(5, 2, 2, 45),
            record(6, 2, 1, 40),
        ];
        assert_eq!(own_ticks(&records), Some(vec![30, 20, 5, 10, 45, 40]));
        // Where a record is missing, nothing is made up.
        let impossible = [record(1, 1, 1, 10), record(2, 2, 1, 30)];
        assert_eq!(own_ticks(&impossible), None);
    }

    #[test]
    fn steps_hold_every_create_once() {
        let create = |lowest| Create {
            depth: 1,
            path: "",
            process: "",
            process_id: 0,
            thread_id: 0,
            samples: [Some(lowest), None, None],
            lowest,
            segment: [0, 0],
            caller: [0, 0],
            outcome: "",
            recorded: true,
        };
        let runs = [
            vec![create(0), create(1023), create(1024), create(30_000)],
            vec![create(4096)],
        ];
        let histogram = Histogram::of(&runs).unwrap();
        assert_eq!(histogram.step, 1024);
        assert_eq!(histogram.runs[0].iter().sum::<u32>(), 4);
        assert_eq!((histogram.runs[0][0], histogram.runs[0][1]), (2, 1));
        assert_eq!((histogram.runs[0][29], histogram.runs[1][4]), (1, 1));
    }
}
