//! A round: a machine with the driver and its twin without, the same programs on both, and trouble on the first. It is made of
//! stretches; after each one everybody stops, and the invariants are held against what was seen.

use std::collections::BTreeMap;

use fastrand::Rng;
use ntbench::wire::{
    EtwSession, MachineConfig, ScheduleConfig, StackConfig, StackKind, ThreadSpec, VerifierConfig,
    When,
};
use ntbench::{Machine, MachineError, NtStatus};

use crate::actor::{Act, Actor, Step, hash};
use crate::defect::Defect;
use crate::ledger::{Broken, Invariant, Ledger, found};
use crate::place::Place;
use crate::resident::{self, Held};
use crate::seed::{Chooser, dealt, pick, rng};
use crate::settings::{Scope, capacity, no_stack, settings};
use crate::stage::Stage;
use crate::trouble::{Subject, Troublemaker};

/// What a create that is denied comes to.
pub(crate) const DENIED: NtStatus = NtStatus(0xc000_009a_u32.cast_signed());
/// The stretches of each four, and whether the driver may be reloaded in each of three, in orders that the seed says. What a driver
/// counted goes with it, so most stretches leave it loaded and check all that they did.
const SCOPES: [Scope; 4] = [Scope::Usual, Scope::Usual, Scope::Denying, Scope::InPlace];
const RELOADS: [bool; 3] = [true, false, false];
/// Events that a machine keeps: more than a stretch can bring.
const EVENTS: usize = 0x40_0000;

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
        let log_capacity = capacity(&mut choose, self.number);
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
            let hands = |chooser: fn(u64) -> Chooser| {
                move |hand| rng(self.seed, self.number, chooser(hand))
            };
            let scope = match stage.subject.ours {
                true => dealt(&SCOPES, number, hands(Chooser::Scopes)),
                false => Scope::Usual,
            };
            let config = settings(
                &mut choose,
                scope,
                stage.troublemakers[0].config.log_capacity,
            );
            let reloads = dealt(&RELOADS, number, hands(Chooser::Reloads));
            let defect = self.defect.filter(|_| number == injected);
            outcome.stretches = number;
            stage.ledger.denied = 0;
            let certain = match stage.subject.ours {
                true => stage.begin(scope, outcome)?,
                false => 0,
            };
            stage.ruler().settle(Some(config))?;
            if scope == Scope::Denying {
                // Or little more would be denied.
                let when = When::From(choose.u64(1..8));
                stage.machine.set_faults(vec![no_stack(when)])?;
            }
            let denied = certain
                + if self.is_strict() {
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
