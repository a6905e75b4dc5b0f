//! What a round works with, and what is held against what at each rest.

use std::time::{Duration, Instant};

use ntbench::Machine;
use ntbench::wire::{Trace, TraceEvent};

use crate::actor::{Actor, hash};
use crate::defect::Defect;
use crate::ledger::{Account, Broken, Invariant, Ledger};
use crate::place::Place;
use crate::resident::Held;
use crate::round::{DENIED, Order, Outcome};
use crate::settings::Scope;
use crate::trouble::{Subject, Troublemaker};

/// How long memory may take to be given back once no worker has anything to do any more, which a busy host may put off for long.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long workers are waited for: one that never ends is not.
const WORK: Duration = Duration::from_secs(300);

/// What a round works with.
pub(crate) struct Stage {
    pub(crate) machine: Machine,
    pub(crate) twin: Machine,
    pub(crate) openers: Vec<(Actor, Actor)>,
    /// The first may do everything; the others talk to the port.
    pub(crate) troublemakers: Vec<Troublemaker>,
    pub(crate) ledger: Ledger,
    pub(crate) subject: Subject,
    /// Pool in use after loading.
    pub(crate) pool: Option<(u64, u64)>,
    pub(crate) places: [Place; 2],
}

impl Stage {
    /// The one who may do everything.
    pub(crate) fn ruler(&mut self) -> &mut Troublemaker {
        &mut self.troublemakers[0]
    }

    /// Everybody has stopped: what was seen and what the driver says of it have to agree.
    pub(crate) fn rest(
        &mut self,
        order: Order,
        scope: Scope,
        denied: u64,
        defect: Option<Defect>,
        outcome: &mut Outcome,
    ) -> Result<(), Broken> {
        for maker in &mut self.troublemakers {
            maker.calm()?;
        }
        self.ruler().settle(None)?;
        let mut trace = self.machine.trace()?;
        Defect::spoil_trace(defect, &mut trace, &self.subject.spec.service);
        let before = self.ledger.total;
        self.ledger.absorb(&trace)?;
        if order == Order::Seeded {
            outcome.digest = hash(outcome.digest, &happened(&trace));
        }
        outcome.creates += self.ledger.total - before;
        if scope == Scope::Denying && self.ledger.denied != denied {
            let text = format!(
                "{denied} opens came to {DENIED}, of which the driver denied {}",
                self.ledger.denied
            );
            return Err(Broken::new(Invariant::Denials, text));
        }
        outcome.denied += denied;
        if self.subject.ours {
            let mut account = Account::read(&self.machine)?;
            Defect::spoil_account(defect, &mut account);
            self.ledger.check(&account)?;
            outcome.digest = hash(outcome.digest, &self.told(&account));
            let [written, skipped, low] = self.ledger.news(&account.anchor);
            outcome.written += written;
            outcome.skipped += skipped;
            outcome.skipped_low_stack += low;
        }
        self.memory(defect, outcome)
    }

    /// Pool in use has to be what it was. What workers still hold they give back in a moment.
    fn memory(&mut self, defect: Option<Defect>, outcome: &mut Outcome) -> Result<(), Broken> {
        let began = Instant::now();
        let mut quiet = began;
        let usage = loop {
            let mut usage = self.machine.usage()?;
            Defect::spoil_usage(defect, &mut usage);
            let now = (usage.pool_blocks, usage.pool_bytes);
            if usage.work_under_way > 0 && began.elapsed() < WORK {
                quiet = Instant::now();
            }
            match self.pool.filter(|_| self.subject.ours) {
                Some(first) if first == now => break usage,
                // What another driver keeps between its calls is its own affair; what it leaves at its end is a finding.
                None => break usage,
                Some(first) if quiet.elapsed() > PATIENCE => {
                    let text = format!(
                        "{} blocks of {} bytes after loading, now {} of {}",
                        first.0, first.1, now.0, now.1
                    );
                    return Err(Broken::new(Invariant::Pool, text));
                }
                Some(_) => {
                    std::thread::sleep(Duration::from_millis(5));
                    // Under a schedule workers have turns only while somebody calls.
                    self.ruler().linger(8)?;
                }
            }
        };
        outcome.resident.push(Held {
            creates: outcome.creates,
            loads: self.troublemakers.iter().map(|maker| maker.loads).sum(),
            bytes: usage.resident_bytes,
        });
        Ok(())
    }

    /// What the driver says, without times and addresses.
    fn told(&self, account: &Account) -> Vec<u8> {
        let anchor = &account.anchor;
        let mut told = format!(
            "{} {} {} {} {} {}",
            self.ledger.seen,
            anchor.head,
            anchor.written,
            anchor.skipped,
            anchor.skipped_low_stack,
            anchor.overwritten
        );
        for record in &account.records {
            told += &format!(
                "\n{} {} {} {} {} {} {} {} {} {:?} {:?} {:?} {:?} {}",
                record.sequence,
                record.path_hash,
                record.nest_depth,
                record.before_remaining,
                record.inside_remaining,
                record.after_remaining,
                record.reservation_bytes,
                record.ancestors_opened,
                record.outcome,
                record.flags,
                record.reservation_status,
                record.inspect_status,
                record.create_status(),
                record.policy,
            );
        }
        told.into_bytes()
    }
}

/// What the machine saw, in order, without times and addresses.
fn happened(trace: &Trace) -> Vec<u8> {
    let mut told = String::new();
    for event in &trace.events {
        let line = match event {
            TraceEvent::Callback(event) => {
                // Other routines return nothing that means anything.
                let returned = event
                    .returned
                    .filter(|_| ["pre", "post"].contains(&event.phase.as_str()));
                format!(
                    "{} {} {} {} {} {returned:?}\n",
                    event.tid, event.filter, event.phase, event.operation, event.path
                )
            }
            TraceEvent::Switch { tid, at, to } => format!("{tid} {at} {to}\n"),
            _ => continue,
        };
        told += &line;
    }
    told.into_bytes()
}
