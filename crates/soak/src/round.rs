//! A round: a machine with the driver and its twin without, the same programs on both, and trouble on the first. It is made of
//! stretches; after each one everybody stops, and the invariants are held against what was seen.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;
use ntbench::wire::{
    EtwSession, MachineConfig, ScheduleConfig, StackConfig, StackKind, ThreadSpec, Trace,
    TraceEvent, VerifierConfig,
};
use ntbench::{Machine, MachineError, NtStatus};

use crate::actor::{Act, Actor, Step, hash};
use crate::defect::Defect;
use crate::ledger::{Account, Broken, Invariant, Ledger, found};
use crate::place::Place;
use crate::resident::{self, Held};
use crate::seed::{Chooser, pick, rng};
use crate::settings::{Scope, capacity, no_stack, settings};
use crate::trouble::{Subject, Troublemaker};

/// What a create that is denied comes to.
const DENIED: NtStatus = NtStatus(0xc000_009a_u32.cast_signed());
/// Events that a machine keeps: more than a stretch can bring.
const EVENTS: usize = 0x40_0000;
/// How long what was put off to workers may take to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Which round, and of what size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) seed: u64,
    pub(crate) number: u64,
    /// Programs.
    pub(crate) threads: u64,
    pub(crate) order: Order,
    pub(crate) stretches: u64,
    /// What each program does in a stretch.
    pub(crate) acts: u64,
    pub(crate) defect: Option<Defect>,
}

/// Who decides when each of a round's programs and troublemakers runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// One program and one troublemaker, one after the other.
    InTurn,
    /// They run at once, as ntbench's seeded schedule says: one at a time, with switches where the seed has them.
    Seeded,
    /// They run at once on as many processors as the host has; the seed decides what is done and not when.
    Host,
}

/// What a round came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Stretches that were played.
    pub(crate) stretches: u64,
    /// Creates that the driver saw, by the machine.
    pub(crate) creates: u64,
    /// Things done by programs, each compared with the twin's.
    pub(crate) acts: u64,
    /// Creates that the driver denied, as it was told to.
    pub(crate) denied: u64,
    /// Of the records: written, skipped for want of a slot, of stack.
    pub(crate) written: u64,
    pub(crate) skipped: u64,
    pub(crate) skipped_low_stack: u64,
    /// Records that clients drained.
    pub(crate) drained: u64,
    pub(crate) loads: u64,
    pub(crate) troubles: BTreeMap<&'static str, u64>,
    /// What the machine's process held, after each stretch.
    pub(crate) resident: Vec<Held>,
    /// What everything came to, of a round that is the same whenever it is played.
    pub(crate) digest: u64,
    /// What did not hold, and in which stretch.
    pub(crate) broken: Option<(u64, Broken)>,
}

/// What a round works with.
pub(crate) struct Stage {
    pub(crate) machine: Machine,
    twin: Machine,
    pub(crate) openers: Vec<(Actor, Actor)>,
    /// The first may do everything; the others talk to the port.
    pub(crate) troublemakers: Vec<Troublemaker>,
    ledger: Ledger,
    subject: Subject,
    /// Pool in use after loading.
    pool: Option<(u64, u64)>,
    places: [Place; 2],
}

impl Round {
    fn is_strict(&self) -> bool {
        self.order == Order::InTurn
    }

    /// Whether it is the same whenever it is played.
    pub(crate) fn replays(&self) -> bool {
        self.order != Order::Host
    }

    /// Plays it.
    pub(crate) fn play(&self, subject: &Subject, progress: &dyn Fn(&Outcome)) -> Outcome {
        let mut outcome = Outcome::default();
        let ended = match self.set_up(subject) {
            Ok(mut stage) => self
                .perform(&mut stage, &mut outcome, progress)
                .and_then(|()| self.take_down(stage, &mut outcome)),
            Err(broken) => Err(broken),
        };
        if let Err(broken) = ended {
            outcome.broken = Some((outcome.stretches, broken));
        }
        outcome
    }

    fn set_up(&self, subject: &Subject) -> Result<Stage, Broken> {
        let mut choose = rng(self.seed, self.number, Chooser::Round);
        let contents = choose.u64(..);
        let place = || {
            Place::make(&mut Rng::with_seed(contents), self.threads)
                .map_err(|error| Broken::new(Invariant::Survival, error.to_string()))
        };
        let places = [place()?, place()?];
        let mut config = MachineConfig {
            time_limit_ms: Some(120_000),
            trace_capacity: Some(EVENTS),
            stack: StackConfig {
                segment_limit: pick(&mut choose, &[3, 16, 1024]),
                pooled_segments: pick(&mut choose, &[0, 2, 32]),
            },
            verifier: if choose.u32(0..4) == 0 {
                VerifierConfig::OFF
            } else {
                VerifierConfig::default()
            },
            ..MachineConfig::default()
        };
        let plain = MachineConfig {
            namespace: places[1].namespace(),
            ..config.clone()
        };
        config.namespace = places[0].namespace();
        if self.order == Order::Seeded {
            let seed = rng(self.seed, self.number, Chooser::Schedule).u64(..);
            config.schedule = Some(ScheduleConfig { seed });
        }
        if choose.bool() {
            config.etw = vec![EtwSession::default()];
        }
        let stack = pick(
            &mut choose,
            &[StackKind::Ordinary, StackKind::Ordinary, StackKind::Large],
        );
        let log_capacity = capacity(&mut choose);
        let machine = Machine::boot(config)?;
        let twin = Machine::boot(plain)?;
        let mut tids = Vec::new();
        let openers = (0..self.threads)
            .map(|number| {
                let mut actor = |machine: &Machine| {
                    let spec = ThreadSpec {
                        process_image: format!("opener{}.exe", number % 3),
                        process: 0,
                        stack,
                    };
                    let thread = machine.thread(spec)?;
                    tids.push(thread.info().tid);
                    let chosen = rng(self.seed, self.number, Chooser::Opener(number));
                    Ok::<_, MachineError>(Actor::new(thread, chosen, number))
                };
                Ok((actor(&machine)?, actor(&twin)?))
            })
            .collect::<Result<Vec<_>, MachineError>>()?;
        // The twin's threads have numbers of their own machine; they do no harm in the list but by being taken for the others'.
        let tids = tids.into_iter().step_by(2).collect();
        let makers = if self.is_strict() { 1 } else { 3 };
        let troublemakers = (0..makers)
            .map(|number| {
                let chosen = rng(self.seed, self.number, Chooser::Trouble(number));
                let mut maker = Troublemaker::new(&machine, subject, chosen, number == 0)?;
                maker.config.log_capacity = log_capacity;
                Ok(maker)
            })
            .collect::<Result<Vec<_>, Broken>>()?;
        let mut stage = Stage {
            ledger: Ledger::new(&subject.spec.service, tids),
            machine,
            twin,
            openers,
            troublemakers,
            subject: subject.clone(),
            pool: None,
            places,
        };
        stage.ruler().load()?;
        let usage = stage.machine.usage()?;
        stage.pool = Some((usage.pool_blocks, usage.pool_bytes));
        Ok(stage)
    }

    fn perform(
        &self,
        stage: &mut Stage,
        outcome: &mut Outcome,
        progress: &dyn Fn(&Outcome),
    ) -> Result<(), Broken> {
        let injected = rng(self.seed, self.number, Chooser::Defect).u64(0..self.stretches);
        for number in 0..self.stretches {
            let mut choose = rng(self.seed, self.number, Chooser::Stretch(number));
            let scope = pick(
                &mut choose,
                &[Scope::Usual, Scope::Usual, Scope::Denying, Scope::InPlace],
            );
            let scope = if stage.subject.ours {
                scope
            } else {
                Scope::Usual
            };
            let config = settings(
                &mut choose,
                scope,
                stage.troublemakers[0].config.log_capacity,
            );
            // What a driver counted goes with it, so most stretches leave it loaded and check all that they did.
            let reloads = choose.u32(0..3) == 0;
            let defect = self.defect.filter(|_| number == injected);
            outcome.stretches = number;
            stage.ruler().settle(Some(config))?;
            if scope == Scope::Denying {
                // Or little would be denied.
                stage.machine.set_faults(vec![no_stack(&mut choose)])?;
            }
            stage.ledger.denied = 0;
            let denied = if self.is_strict() {
                self.in_turn(stage, (scope, reloads), defect, outcome)?
            } else {
                self.at_once(stage, (scope, reloads), config, defect, outcome)?
            };
            stage.rest(self.order, scope, denied, defect, outcome)?;
            if stage.subject.ours && choose.u32(0..3) == 0 {
                stage.ruler().reset()?;
                stage.ledger.seen_at_reset = stage.ledger.seen;
            }
            outcome.stretches = number + 1;
            progress(outcome);
        }
        resident::flat(&outcome.resident)
    }

    /// One thing after the other: what the program does, and between it some trouble. Returns how many of its creates were denied.
    fn in_turn(
        &self,
        stage: &mut Stage,
        (scope, reloads): (Scope, bool),
        defect: Option<Defect>,
        outcome: &mut Outcome,
    ) -> Result<u64, Broken> {
        let harmless = scope == Scope::Denying;
        let mut denied = 0;
        for number in 0..self.acts {
            stage.troublemakers[0].make(scope, reloads)?;
            let Some((actor, twin)) = stage.openers.first_mut() else {
                break;
            };
            let (act, mut ours) = actor.act(harmless)?;
            let (_, theirs) = twin.act(harmless)?;
            if number == self.acts / 2 {
                Defect::spoil_results(defect, &mut ours);
            }
            outcome.digest = hash(outcome.digest, format!("{act} {ours:?}").as_bytes());
            denied += compare(&act, &ours, &theirs, harmless)?;
            outcome.acts += 1;
        }
        Ok(denied)
    }

    /// Ends what is open, unloads the driver and ends the machines.
    fn take_down(&self, stage: Stage, outcome: &mut Outcome) -> Result<(), Broken> {
        let _until_then = stage.places;
        for (actor, twin) in stage.openers {
            actor.finish()?;
            twin.finish()?;
        }
        for maker in stage.troublemakers {
            for (what, count) in &maker.done {
                *outcome.troubles.entry(what).or_default() += count;
            }
            outcome.drained += maker.drained;
            outcome.loads += maker.loads;
        }
        let unloaded = stage.machine.unload_driver(&stage.subject.spec.service)?;
        if !unloaded.is_success() {
            let text = format!("unloading at the end returned {unloaded}");
            return Err(Broken::new(Invariant::Loading, text));
        }
        let report = stage.machine.shutdown()?;
        stage.twin.shutdown()?;
        match report.findings.first() {
            Some(finding) => Err(found(finding)),
            None => Ok(()),
        }
    }
}

impl Stage {
    /// The one who may do everything.
    fn ruler(&mut self) -> &mut Troublemaker {
        &mut self.troublemakers[0]
    }

    /// Everybody has stopped: what was seen and what the driver says of it have to agree.
    fn rest(
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
        let usage = loop {
            let mut usage = self.machine.usage()?;
            Defect::spoil_usage(defect, &mut usage);
            let now = (usage.pool_blocks, usage.pool_bytes);
            match self.pool.filter(|_| self.subject.ours) {
                Some(first) if first == now => break usage,
                // What another driver keeps between its calls is its own affair; what it leaves at its end is a finding.
                None => break usage,
                Some(first) if began.elapsed() > PATIENCE => {
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

/// Holds what an act came to against what it came to on the twin. Returns 1 where it was denied, which is allowed if `may_deny`.
pub(crate) fn compare(
    act: &Act,
    ours: &[Step],
    theirs: &[Step],
    may_deny: bool,
) -> Result<u64, Broken> {
    if ours == theirs {
        return Ok(0);
    }
    let differ = ours
        .iter()
        .zip(theirs)
        .position(|(ours, theirs)| ours != theirs);
    let at = differ.unwrap_or(ours.len().min(theirs.len()));
    let denied = ours.get(at).is_some_and(|step| step.status == DENIED);
    if may_deny && denied {
        return Ok(1);
    }
    let told = |step: Option<&Step>| step.map_or("nothing more".to_owned(), ToString::to_string);
    Err(Broken::new(
        Invariant::Results,
        format!(
            "{act}, call {}: {} with the driver, {} without",
            at + 1,
            told(ours.get(at)),
            told(theirs.get(at))
        ),
    ))
}
