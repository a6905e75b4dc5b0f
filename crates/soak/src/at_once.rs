//! A stretch in which everybody acts at once.
//!
//! In a round whose order is the seed's, one simulated thread runs at a time, and none while the thread of this program that calls for it
//! is between two calls. So all that these threads share beside the machine is seen at the same points in each replay, too.

use std::sync::atomic::{AtomicUsize, Ordering};

use ntbench::MachineError;
use protocol::Config;

use crate::actor::Actor;
use crate::defect::Defect;
use crate::ledger::{Broken, Invariant};
use crate::round::{Outcome, Round, compare};
use crate::settings::Scope;
use crate::stage::Stage;
use crate::trouble::Troublemaker;

impl Round {
    /// Everybody at once; the twin's programs follow when the others have ended.
    pub(crate) fn at_once(
        &self,
        stage: &mut Stage,
        (scope, reloads): (Scope, bool),
        config: Config,
        defect: Option<Defect>,
        outcome: &mut Outcome,
    ) -> Result<u64, Broken> {
        let harmless = scope == Scope::Denying;
        let opening = AtomicUsize::new(stage.openers.len());
        let open = |number: usize, actor: &mut Actor, twin: &mut Actor| -> Result<u64, Broken> {
            let acted: Result<Vec<_>, MachineError> =
                (0..self.acts).map(|_| actor.act(harmless)).collect();
            // Before it gives up its turn: so a schedule has the troublemakers see that at the same point each time.
            opening.fetch_sub(1, Ordering::Release);
            actor.thread().leave_together()?;
            let mut denied = 0;
            for (index, (act, mut ours)) in acted?.into_iter().enumerate() {
                let (_, theirs) = twin.act(harmless)?;
                if number == 0 && index as u64 == self.acts / 2 {
                    Defect::spoil_results(defect, &mut ours);
                }
                denied += compare(&act, &ours, &theirs, harmless)?;
            }
            Ok(denied)
        };
        let disturb = |maker: &mut Troublemaker| -> Result<u64, Broken> {
            let mut made = Ok(());
            while made.is_ok() && opening.load(Ordering::Acquire) > 0 {
                made = maker.make(scope, reloads);
            }
            // Whatever it met with, the others need not wait for it.
            maker.leave_together()?;
            made.map(|()| 0)
        };
        let opener = |(actor, _): &(Actor, Actor)| actor.thread().clone();
        let mut threads: Vec<_> = stage.openers.iter().map(opener).collect();
        for maker in &mut stage.troublemakers {
            maker.config = Config {
                log_capacity: maker.config.log_capacity,
                ..config
            };
            threads.push(maker.join_others(self.order));
        }
        stage.machine.schedule_together(&threads)?;
        let (openers, makers) = (&mut stage.openers, &mut stage.troublemakers);
        let ends: Vec<Result<u64, Broken>> = std::thread::scope(|scope| {
            let (open, disturb) = (&open, &disturb);
            let opening = openers
                .iter_mut()
                .enumerate()
                .map(|(number, (actor, twin))| scope.spawn(move || open(number, actor, twin)))
                .collect::<Vec<_>>();
            let disturbing = makers
                .iter_mut()
                .map(|maker| scope.spawn(move || disturb(maker)))
                .collect::<Vec<_>>();
            let all = opening.into_iter().chain(disturbing);
            all.map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
        });
        outcome.acts += self.acts * self.threads;
        // What was seen before the machine died tells more than that it died.
        let rank = |broken: &Broken| broken.invariant == Invariant::Survival;
        let (mut denied, mut worst) = (0, None::<Broken>);
        for end in ends {
            match end {
                Ok(count) => denied += count,
                Err(broken) if worst.as_ref().is_none_or(rank) => worst = Some(broken),
                Err(_) => {}
            }
        }
        worst.map_or(Ok(denied), Err)
    }
}
