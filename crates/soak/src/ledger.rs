//! What the machine saw, beside what the driver says of it: the invariants.
//!
//! ntbench's trace has every callback of every filter. What the driver counts and records is read from its memory, as a debugger reads
//! it, while nobody opens anything.

use headroom_harness::backend::bench::{self, SERVICE};
use ntbench::wire::{Finding, Trace, TraceEvent};
use ntbench::{Machine, MachineError};
use protocol::{Anchor, Record, WATERMARKS_SYMBOL, Watermarks};

/// `FLT_PREOP_COMPLETE`: the filter ends the operation itself.
const COMPLETED: u64 = 4;

/// The volume that UNC names lead to.
const MUP: &str = r"\Device\Mup";

/// What must always hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Invariant {
    /// Creates seen = records + counted skips.
    Creates,
    /// Every record is whole, and numbered as it has to be.
    Records,
    /// The watermarks know every create.
    Watermarks,
    /// What opens come to is what they come to without the driver.
    Results,
    /// Creates that were denied are those that the driver denied.
    Denials,
    /// No rule of the verifier's is broken.
    Findings,
    /// Pool in use is what it was after loading.
    Pool,
    /// The machine lives.
    Survival,
    /// The port answers as it is documented to.
    Port,
    /// The driver loads and unloads.
    Loading,
    /// The bench's own memory grows no more than is known.
    Resident,
}

impl Invariant {
    /// In words.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Creates => "creates seen = records + counted skips",
            Self::Records => "records are whole and numbered in order",
            Self::Watermarks => "the watermarks know every create",
            Self::Results => "results as without the driver",
            Self::Denials => "only the driver's own denials",
            Self::Findings => "no rule of the verifier's broken",
            Self::Pool => "pool in use as after loading",
            Self::Survival => "the machine lives",
            Self::Port => "the port answers as documented",
            Self::Loading => "the driver loads and unloads",
            Self::Resident => "the machine's process does not grow",
        }
    }
}

/// An invariant that did not hold.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    pub(crate) invariant: Invariant,
    pub(crate) text: String,
}

impl Broken {
    pub(crate) fn new(invariant: Invariant, text: impl Into<String>) -> Self {
        Self {
            invariant,
            text: text.into(),
        }
    }
}

impl From<MachineError> for Broken {
    fn from(error: MachineError) -> Self {
        let mut text = error.to_string();
        if let MachineError::BugCheck(report) = &error {
            for frame in report.stack.frames.iter().take(12) {
                let source = frame.source.as_deref().unwrap_or_default();
                text += &format!("\n      {} {source}", frame.symbol);
            }
        }
        Self::new(Invariant::Survival, text)
    }
}

/// The driver's own account of itself.
pub(crate) struct Account {
    pub(crate) anchor: Anchor,
    pub(crate) records: Vec<Record>,
    pub(crate) marks: Box<Watermarks>,
}

impl Account {
    /// Reads it from the driver's memory.
    pub(crate) fn read(machine: &Machine) -> Result<Self, Broken> {
        let (anchor, records) = bench::read_ring(machine)
            .map_err(|error| Broken::new(Invariant::Records, format!("{error:?}")))?;
        let address = machine.symbol(&format!("{SERVICE}!{WATERMARKS_SYMBOL}"))?;
        let bytes = machine.read(address, size_of::<Watermarks>())?;
        let marks = Watermarks::decode(&bytes)
            .map_err(|error| Broken::new(Invariant::Watermarks, error.to_string()))?;
        Ok(Self {
            anchor,
            records,
            marks: Box::new(marks),
        })
    }
}

/// Counts what the trace has.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    service: String,
    /// The openers' threads.
    openers: Vec<u64>,
    /// What the driver had counted in this life when it was last asked.
    counted: [u64; 3],
    /// Creates that the driver saw since it was loaded.
    pub(crate) seen: u64,
    /// How many of them it had seen when the watermarks were last reset.
    pub(crate) seen_at_reset: u64,
    /// Creates of the whole round.
    pub(crate) total: u64,
    /// Creates from outside that it ended itself, in this stretch.
    pub(crate) denied: u64,
}

impl Ledger {
    pub(crate) fn new(service: &str, openers: Vec<u64>) -> Self {
        Self {
            service: service.to_owned(),
            openers,
            ..Self::default()
        }
    }

    /// Takes over what happened since the last time.
    pub(crate) fn absorb(&mut self, trace: &Trace) -> Result<(), Broken> {
        if trace.dropped > 0 {
            let text = format!(
                "{} events were dropped: the soak keeps too few",
                trace.dropped
            );
            return Err(Broken::new(Invariant::Creates, text));
        }
        for event in &trace.events {
            match event {
                TraceEvent::Finding(finding) => return Err(found(finding)),
                TraceEvent::Callback(event) if event.filter == self.service => {
                    match (event.phase.as_str(), event.operation.as_str()) {
                        // It is attached there first and once in its life. A life ends with what it counted; creates that it saw
                        // while it was being unloaded are in nobody's account.
                        ("setup", _) if event.path == MUP => {
                            self.seen = 0;
                            self.seen_at_reset = 0;
                            self.counted = [0; 3];
                        }
                        ("pre", "IRP_MJ_CREATE") => {
                            self.total += 1;
                            self.seen += 1;
                            let from_outside = event.nest == 1 && self.openers.contains(&event.tid);
                            if from_outside && event.returned == Some(COMPLETED) {
                                self.denied += 1;
                            }
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Records written, skipped, and skipped for want of stack, since it was last asked.
    pub(crate) fn news(&mut self, anchor: &Anchor) -> [u64; 3] {
        let now = [anchor.written, anchor.skipped, anchor.skipped_low_stack];
        let before = std::mem::replace(&mut self.counted, now);
        [0, 1, 2].map(|at| now[at] - before[at])
    }

    /// Holds the driver's account against it. Nobody opens anything meanwhile.
    pub(crate) fn check(&self, account: &Account) -> Result<(), Broken> {
        let Anchor {
            head,
            written,
            overwritten,
            skipped,
            skipped_low_stack,
            voided,
            abandoned,
            ..
        } = account.anchor;
        let counters = format!(
            "{written} records written, {skipped} skipped, {skipped_low_stack} for want of stack, {abandoned} abandoned, {voided} \
             voided, {overwritten} overwritten, head {head}"
        );
        let counted = written + skipped + skipped_low_stack;
        if self.seen != counted || abandoned != 0 {
            let text = format!("{} creates seen; {counters}", self.seen);
            return Err(Broken::new(Invariant::Creates, text));
        }
        let kept = account.records.len() as u64;
        if head != written + voided || kept != written - overwritten {
            let text = format!("{kept} records in the ring; {counters}");
            return Err(Broken::new(Invariant::Records, text));
        }
        let numbers = account.records.windows(2);
        for pair in numbers {
            if pair[0].sequence >= pair[1].sequence {
                let text = format!("{} and then {}", pair[0].sequence, pair[1].sequence);
                return Err(Broken::new(Invariant::Records, text));
            }
        }
        account.records.iter().try_for_each(sound)?;
        let marked = account.marks.system().creates;
        if marked != self.seen - self.seen_at_reset {
            let text = format!(
                "{} creates seen, {} of them before the last reset; the watermarks have {marked}; {counters}",
                self.seen, self.seen_at_reset
            );
            return Err(Broken::new(Invariant::Watermarks, text));
        }
        Ok(())
    }
}

/// A finding, as what is broken.
pub(crate) fn found(finding: &Finding) -> Broken {
    let site = finding.site.as_deref().unwrap_or("no place in the driver");
    Broken::new(
        Invariant::Findings,
        format!("{}: {} ({site})", finding.rule, finding.text),
    )
}

/// Whether a record can be what one create left: torn ones cannot.
pub(crate) fn sound(record: &Record) -> Result<(), Broken> {
    let bad = |why: &str| {
        Err(Broken::new(
            Invariant::Records,
            format!(
                "record {}: {why}: {:?} of {:#x}-{:#x}, {:?} of {:#x}-{:#x}, {}, {}, IRQL {}, path of {} units",
                record.sequence,
                record.before_remaining,
                record.before_low,
                record.before_high,
                record.inside_remaining,
                record.inside_low,
                record.inside_high,
                record.policy,
                record.outcome,
                record.irql,
                record.path_length,
            ),
        ))
    };
    if record.path_is_whole()
        && record.path_hash != protocol::fnv1a64(record.tail())
        && record.path_length > 0
    {
        return bad("its path is not the one that its hash is of");
    }
    if record.before_low >= record.before_high
        || u64::from(record.before_remaining) > record.before_high - record.before_low
    {
        return bad("more stack was left than there is");
    }
    if record.inside_high != 0
        && u64::from(record.inside_remaining) > record.inside_high - record.inside_low
    {
        return bad("more of the reserved stack was left than there is");
    }
    if record.outcome.name().is_none() || record.policy.name().is_none() || record.irql > 1 {
        return bad("it has values without a meaning");
    }
    Ok(())
}
